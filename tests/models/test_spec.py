import dataclasses
import itertools
import json
import math

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from fer_attention.activations import ACTIVATIONS
from fer_attention.attention import ATTENTIONS
from fer_attention.models import BACKBONES, ModelSpec, list_models
from fer_attention.registry import UnknownNameError

BLOCKS = ("none", *ATTENTIONS)


def printed(backbone, attention, activation):
    """The name's grammar, written a second time."""
    attention_part = [] if attention == "none" else [attention]
    activation_part = [] if activation == "relu" else [activation]
    return "_".join([backbone, *attention_part, *activation_part])


class TestNames:
    def test_parsing_and_printing_are_inverse_for_every_combination(self):
        names = set()
        for parts in itertools.product(BACKBONES, BLOCKS, ACTIVATIONS):
            name = printed(*parts)
            spec = ModelSpec.parse(name)
            assert (spec.backbone, spec.attention, spec.activation) == parts
            assert spec.name == name
            assert ModelSpec(parts[0], attention=parts[1], activation=parts[2]) == spec
            names.add(name)
        assert len(names) == len(BACKBONES) * len(BLOCKS) * len(ACTIVATIONS)  # no two share a name

    def test_parsing_and_printing_are_inverse_for_every_listed_name(self):
        assert [ModelSpec.parse(name).name for name in list_models()] == list_models()

    def test_the_list_is_every_backbone_attention_and_relu_or_elu_sorted(self):
        names = list_models()
        expected = {printed(*parts) for parts in itertools.product(BACKBONES, BLOCKS, ("relu", "elu"))}
        assert names == sorted(expected)
        assert len(names) == len(BACKBONES) * len(BLOCKS) * 2

    def test_the_models_of_the_paper_are_listed(self):
        residual = itertools.product(("resnet", "resnetv2_"), (50, 101, 152))
        backbones = ["vgg16", "vgg19", *(f"{family}{depth}" for family, depth in residual)]
        paper = {printed(b, a, "elu") for b in backbones for a in ("none", "se", "eca", "cbam")}
        assert len(paper) == 32
        assert paper <= set(list_models())

    @pytest.mark.parametrize(
        ("name", "parts"),
        [
            ("vgg16", ("vgg16", "none", "relu")),
            ("vgg16_bn", ("vgg16_bn", "none", "relu")),
            ("vgg16_bn_se_elu", ("vgg16_bn", "se", "elu")),
            ("resnet50_selu", ("resnet50", "none", "selu")),  # not SE with "lu"
            ("resnet50_se_selu", ("resnet50", "se", "selu")),
            ("resnetv2_50_gelu_tanh", ("resnetv2_50", "none", "gelu_tanh")),
            ("resnet18_eca_leaky_relu", ("resnet18", "eca", "leaky_relu")),
            ("resnet18_gct_elu", ("resnet18", "gct", "elu")),  # not GC with "t"
            ("resnet18_gc_tanh", ("resnet18", "gc", "tanh")),
            ("vgg16_bn_bam", ("vgg16_bn", "bam", "relu")),
        ],
    )
    def test_names_with_overlapping_parts_are_parsed_correctly(self, name, parts):
        spec = ModelSpec.parse(name)
        assert (spec.backbone, spec.attention, spec.activation) == parts

    @pytest.mark.parametrize(
        "name",
        [
            "resnet50_relu",
            "resnet50_cbam_relu",
            "resnet50_none",
            "resnet50_none_elu",
            "resnet50_",
            "resnet50__elu",
            "resnet50_se_",
            "resnet50_se__elu",
            "_resnet50",
            "resnet50_elu_se",
            "resnet50_se_eca",
            "resnet50_elu_elu",
            "resnet50-se",
            "ResNet50_se",
            "resnet50 ",
            "resnet50_se.fer2013",
            "resnet",
            "se",
            "elu",
            "",
        ],
    )
    def test_each_model_has_one_name_and_other_spellings_are_refused(self, name):
        with pytest.raises(UnknownNameError, match="Unknown model") as caught:
            ModelSpec.parse(name)
        assert repr(name) in str(caught.value)

    @pytest.mark.parametrize(
        ("typo", "meant"),
        [
            ("resnetv2_50_cbam_elo", "resnetv2_50_cbam_elu"),
            ("resnet50_cbma", "resnet50_cbam"),
            ("vgg16bn_se", "vgg16_bn_se"),
            ("RESNET50_SE_ELU", "resnet50_se_elu"),
        ],
    )
    def test_the_nearest_name_is_suggested(self, typo, meant):
        with pytest.raises(UnknownNameError, match=f"Did you mean '{meant}'"):
            ModelSpec.parse(typo)

    fragments = st.sampled_from(
        [*BACKBONES, *ATTENTIONS, *ACTIVATIONS, "none", "bn", "_", "__", ".", "v2", ""]
    )

    @settings(max_examples=200)
    @given(
        st.lists(fragments, max_size=5).map("_".join)
        | st.lists(fragments, max_size=5).map("".join)
        | st.text()
    )
    @example("\x00")
    @example("resnet50\n")
    @example("[a-z")
    def test_any_text_is_the_name_of_one_model_or_unknown(self, text):
        try:
            spec = ModelSpec.parse(text)
        except UnknownNameError as error:
            assert str(error).startswith("Unknown model")  # noqa: PT017  (both outcomes are right)
        else:
            assert spec.name == text

    def test_parse_takes_other_fields(self):
        spec = ModelSpec.parse("resnet50_se", num_classes=8, width=0.5, attention_options={"reduction": 8})
        assert (spec.num_classes, spec.width, spec.attention_options) == (8, 0.5, {"reduction": 8})
        assert spec.name == "resnet50_se"
        with pytest.raises(UnknownNameError, match="Did you mean 'width'"):
            ModelSpec.parse("resnet50_se", widht=0.5)


class TestValues:
    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"img_size": 0}, r"img_size.*got 0"),
            ({"img_size": -48}, r"img_size.*got -48"),
            ({"img_size": 48.5}, r"img_size.*48\.5"),
            ({"img_size": (48,)}, r"img_size.*\(48,\)"),
            ({"img_size": (48, 48, 1)}, r"img_size.*\(48, 48, 1\)"),
            ({"img_size": (48, 0)}, r"img_size.*\(48, 0\)"),
            ({"img_size": "48"}, r"img_size.*'48'"),
            ({"img_size": None}, r"img_size.*None"),
            ({"width": 0}, r"width.*got 0"),
            ({"width": "abc"}, r"width.*got 'abc'"),
            ({"drop_rate": "abc"}, r"drop_rate.*got 'abc'"),
            ({"attention_options": 3}, r"attention_options is a mapping.*got 3"),
            ({"width": -1.0}, r"width.*got -1\.0"),
            ({"width": math.nan}, r"width.*nan"),
            ({"width": math.inf}, r"width.*inf"),
            ({"drop_rate": 1.0}, r"drop_rate.*1\.0"),
            ({"drop_rate": -0.1}, r"drop_rate.*-0\.1"),
            ({"drop_path_rate": 1.5}, r"drop_path_rate.*1\.5"),
            ({"drop_path_rate": math.nan}, r"drop_path_rate.*nan"),
            ({"num_classes": -1}, r"num_classes.*-1"),
            ({"num_classes": 7.5}, r"num_classes.*7\.5"),
            ({"num_classes": "7"}, r"num_classes.*'7'"),
            ({"in_chans": 0}, r"in_chans.*0"),
            ({"in_chans": 1.0}, r"in_chans.*1\.0"),
            ({"stem": "quarter"}, "Unknown stem of resnet50 'quarter'. Known: full, half, imagenet"),
            ({"global_pool": "mean"}, "Unknown global_pool 'mean'.*Known: '', avg"),
            ({"stride_on": "5x5"}, "stride_on='5x5' is not for resnet50, which takes '3x3' or '1x1'"),
            ({"backbone": "vgg16", "stem": "half"}, "Unknown stem of vgg16 'half'. Known: imagenet"),
            ({"backbone": "vgg16", "head": "conv"}, "Unknown head of vgg16 'conv'. Known: fc, gap"),
            ({"backbone": "vgg16", "stride_on": "1x1"}, "stride_on='1x1'.*vgg16"),
            ({"backbone": "vgg16", "drop_path_rate": 0.1}, "drop_path_rate=0.1.*vgg16"),
            ({"backbone": "vgg16", "global_pool": ""}, "global_pool=''.*num_classes=7"),
            ({"backbone": "resnet50", "global_pool": ""}, "global_pool=''.*num_classes=7"),
            ({"backbone": "resnet50", "head": "fc"}, "resnet50 has no head='fc'"),
            ({"backbone": "resnetv2_50", "stride_on": "1x1"}, "stride_on='1x1'.*resnetv2_50"),
            ({"backbone": "resnet18", "stride_on": "1x1"}, "stride_on='1x1'.*resnet18.*resnet50 can have it"),
        ],
        ids=str,
    )
    def test_an_impossible_value_is_refused_with_its_name_and_number(self, changes, message):
        with pytest.raises(ValueError, match=message):
            ModelSpec(**{"backbone": "resnet50", **changes})

    @pytest.mark.parametrize(
        ("field", "name", "suggestion"),
        [
            ("backbone", "resnet5", "resnet50"),
            ("attention", "cbma", "cbam"),
            ("attention", "", None),
            ("activation", "ellu", "elu"),
            ("activation", "", None),
        ],
    )
    def test_an_unknown_part_suggests_the_nearest(self, field, name, suggestion):
        message = f"Unknown {field} '{name}'" + (f".*Did you mean '{suggestion}'" if suggestion else "")
        with pytest.raises(UnknownNameError, match=message):
            ModelSpec(**{"backbone": "resnet50", field: name})

    @pytest.mark.parametrize("attention", ATTENTIONS)
    def test_an_unknown_attention_option_is_refused(self, attention):
        with pytest.raises(TypeError, match=f"'{attention}' has no option 'reductoin'"):
            ModelSpec("resnet50", attention=attention, attention_options={"reductoin": 8})

    def test_options_without_a_block_are_refused(self):
        with pytest.raises(TypeError, match="'none' has no option 'reduction'"):
            ModelSpec("resnet50", attention_options={"reduction": 8})

    def test_a_square_size_is_one_number(self):
        assert ModelSpec("resnet50", img_size=(48, 48)) == ModelSpec("resnet50", img_size=48)
        assert ModelSpec("resnet50", img_size=[64, 48]).img_size == (64, 48)
        assert ModelSpec("resnet50", img_size=48).input_size == (1, 48, 48)
        assert ModelSpec("resnet50", img_size=(64, 48), in_chans=3).input_size == (3, 64, 48)

    def test_the_defaults_are_the_setting_of_the_paper(self):
        spec = ModelSpec("resnet50")
        assert (spec.in_chans, spec.num_classes, spec.img_size, spec.stem) == (1, 7, 48, "imagenet")

    def test_a_spec_cannot_be_changed(self):
        spec = ModelSpec("resnet50")
        with pytest.raises(dataclasses.FrozenInstanceError):
            spec.width = 2.0

    def test_a_spec_keeps_its_own_copy_of_the_options(self):
        options = {"reduction": 8}
        spec = ModelSpec("resnet50", attention="se", attention_options=options)
        options["reduction"] = 4
        assert spec.attention_options == {"reduction": 8}

    def test_equal_specs_have_equal_hashes_and_options_count(self):
        def make(reduction):
            return ModelSpec("resnet50", attention="se", attention_options={"reduction": reduction})

        assert make(8) == make(8)
        assert hash(make(8)) == hash(make(8))
        assert make(8) != make(4)
        assert len({make(8), make(8), make(4)}) == 2


specs = st.builds(
    dict,
    backbone=st.sampled_from(list(BACKBONES)),
    attention=st.sampled_from(BLOCKS),
    activation=st.sampled_from(list(ACTIVATIONS)),
    num_classes=st.integers(0, 1000),
    in_chans=st.integers(1, 4),
    img_size=st.integers(1, 512) | st.tuples(st.integers(1, 512), st.integers(1, 512)),
    stem=st.sampled_from(["imagenet", "half", "full"]),
    width=st.floats(0.01, 16),
    drop_rate=st.floats(0, 0.99),
    drop_path_rate=st.floats(0, 0.99),
    global_pool=st.sampled_from(["avg", "max", "avgmax", "catavgmax", ""]),
    head=st.sampled_from([None, "fc", "gap"]),
    stride_on=st.sampled_from([None, "3x3", "1x1"]),
)


class TestJson:
    @given(specs)
    def test_json_gives_back_an_equal_spec(self, fields):
        try:
            spec = ModelSpec(**fields)
        except ValueError:
            assume(False)
        text = spec.to_json()
        again = ModelSpec.from_json(text)
        assert again == spec
        assert hash(again) == hash(spec)
        assert again.to_json() == text
        assert "\n" not in text

    def test_options_survive(self):
        spec = ModelSpec("resnet50", attention="eca", attention_options={"kernel_size": None, "gamma": 1.5})
        assert ModelSpec.from_json(spec.to_json()) == spec

    @pytest.mark.parametrize(
        "text", ["", "{", "[]", "null", "7", '"resnet50"', '{"backbone": "resnet50", "x": 1}']
    )
    def test_other_json_is_refused(self, text):
        with pytest.raises(ValueError):  # noqa: PT011  (JSON's own message, or ours)
            ModelSpec.from_json(text)

    def test_an_unknown_field_is_shown(self):
        record = {**json.loads(ModelSpec("resnet50").to_json()), "se_module": True}
        with pytest.raises(ValueError, match="Not a model spec.*resnet50"):
            ModelSpec.from_json(json.dumps(record))

    @pytest.mark.parametrize(
        "change",
        [
            {"backbone": ["resnet50"]},
            {"width": "1"},
            {"img_size": {}},
            {"attention_options": 5},
            {"num_classes": None},
        ],
        ids=str,
    )
    def test_a_value_of_another_type_is_a_value_or_type_error(self, change):
        record = {**json.loads(ModelSpec("resnet50").to_json()), **change}
        with pytest.raises((ValueError, TypeError)):
            ModelSpec.from_json(json.dumps(record))
