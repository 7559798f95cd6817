"""Listed names are built on the meta device; sampled small models run for real."""

import copy
import fnmatch

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from typer.testing import CliRunner

from fer_attention.activations import ACTIVATIONS, create_activation
from fer_attention.attention import ATTENTIONS, AttentionBlock, attention_options
from fer_attention.cli import app
from fer_attention.emotions import CKPLUS, FER2013, FERPLUS
from fer_attention.models import BACKBONES, ModelSpec, build_model, create_model, list_models
from fer_attention.registry import UnknownNameError
from tests.support.gates import awake

VGGS = [name for name in BACKBONES if name.startswith("vgg")]
RESIDUAL = [name for name in BACKBONES if name.startswith("resnet")]
SMALL = ("resnet18", "resnet50", "resnetv2_18", "resnetv2_50", "vgg11", "vgg11_bn")
"""One or two of each family, and whatever family is registered later."""
SMALL += tuple(name for name in BACKBONES if name not in VGGS and name not in RESIDUAL)
SHALLOW = [name for name in RESIDUAL if not name.endswith(("101", "152"))]
"""Depth changes nothing about stems, and takes its time."""

PAIRS = [(backbone, attention) for backbone in SMALL for attention in ("none", "cbam")]
PAIRS += [("resnet18", attention) for attention in ATTENTIONS if attention != "cbam"]
"""Every small backbone with one block and without, every block in one backbone."""

LISTED = [
    ModelSpec(backbone, attention=attention, activation=("relu", "elu")[(i + k // 4) % 2]).name
    for i, backbone in enumerate(BACKBONES)
    for k, attention in enumerate(("none", *ATTENTIONS))
    if backbone in VGGS or backbone not in RESIDUAL or backbone in SHALLOW or (i + k) % 4 == 0
]
"""Every block in every backbone, either with ReLU or with ELU; a quarter of them where only depth is new."""

GRADIENTS = [(*pair, ("relu", "elu")[(i + i // 2) % 2]) for i, pair in enumerate(PAIRS)]

RESIDUAL_BLOCKS = {"18": 8, "34": 16, "50": 16, "101": 33, "152": 50}


def faces(n=2, channels=1, size=(48, 48), seed=0, dtype=torch.float32):
    return torch.randn(n, channels, *size, generator=torch.Generator().manual_seed(seed)).to(dtype)


def small(backbone, attention="none", activation="relu", seed=0, **structure):
    torch.manual_seed(seed)
    return build_model(backbone, attention=attention, activation=activation, **{"width": 0.25, **structure})


def options_of(attention):
    return () if attention == "none" else attention_options(attention)


def slots(model):
    """Paths of the attention blocks; what is inside of one does not count."""
    gates = [path for path, module in model.named_modules() if isinstance(module, AttentionBlock)]
    return [path for path in gates if path.split(".")[-1] == "attn"]


@pytest.fixture
def shapes_only(monkeypatch):
    """Norms and activations give their input back: on meta they take most of the time, and keep shapes."""

    def batch_norm(x, mean, *rest, **options):
        assert x.shape[1:2] == mean.shape
        return x

    monkeypatch.setattr(F, "batch_norm", batch_norm)
    for activation in ("relu", "elu"):
        monkeypatch.setattr(F, activation, lambda x, *rest, **options: x)


class TestShapes:
    def test_the_sampled_names_hold_every_backbone_and_block_with_relu_and_elu(self):
        specs = [ModelSpec.parse(name) for name in LISTED]
        assert set(LISTED) <= set(list_models())
        assert {(s.backbone, s.activation) for s in specs} == {
            (b, a) for b in BACKBONES for a in ("relu", "elu")
        }
        blocks = ("none", *ATTENTIONS)
        assert {(s.attention, s.activation) for s in specs} == {
            (b, a) for b in blocks for a in ("relu", "elu")
        }

    @pytest.mark.parametrize("name", LISTED)
    def test_a_listed_name_builds_and_gives_one_logit_per_class(self, name, shapes_only):
        model = create_model(name, device="meta").eval()
        with torch.inference_mode():
            assert model(torch.empty(2, 1, 48, 48, device="meta")).shape == (2, 7)
        assert model.spec.name == name
        assert all(t.device.type == "meta" for t in model.state_dict().values())

        backbone = model.spec.backbone
        depth = backbone.removeprefix("resnetv2_").removeprefix("resnet")
        expected = {"vgg": 1}.get(backbone[:3], RESIDUAL_BLOCKS.get(depth))
        if model.spec.attention == "none":
            assert slots(model) == []
        elif expected is not None:
            assert len(slots(model)) == expected

    @pytest.mark.parametrize(("stem", "total"), [("imagenet", 32), ("half", 16), ("full", 8)])
    @pytest.mark.parametrize("backbone", SHALLOW)
    def test_the_stem_determines_the_total_stride(self, backbone, stem, total):
        options = {"attention": "cbam", "stem": stem, "img_size": (64, 48), "in_chans": 3, "num_classes": 8}
        model = build_model(backbone, **options, width=0.5, device="meta")
        x = torch.empty(2, 3, 64, 48, device="meta")
        features = model.forward_features(x)
        size = (-(-64 // total), -(-48 // total))
        channels = 256 if int(backbone.split("_")[-1].removeprefix("resnet")) < 50 else 1024
        assert features.shape == (2, channels, *size)
        assert model.default_cfg["pool_size"] == size
        assert model.num_features == channels
        assert model.forward_head(features).shape == (2, 8)

    @pytest.mark.parametrize("head", ["fc", "gap"])
    @pytest.mark.parametrize("backbone", VGGS)
    def test_a_vgg_has_either_head_at_any_size(self, backbone, head):
        model = build_model(
            backbone, attention="cbam", head=head, img_size=(64, 50), in_chans=3, width=0.5, device="meta"
        )
        x = torch.empty(2, 3, 64, 50, device="meta")
        assert model.forward_features(x).shape == (2, 256, 2, 2)  # 50 -> 25 -> 13 -> 7 -> 4 -> 2
        assert model(x).shape == (2, 7)
        assert model.head_hidden_size == (2048 if head == "fc" else 256)

    @pytest.mark.parametrize("backbone", SMALL)
    def test_width_scales_every_layer_and_leaves_multiples_of_8(self, backbone):
        def channels(width):
            net = build_model(backbone, width=width, device="meta")
            convolutions = (
                m for m in net.modules() if isinstance(m, nn.Conv2d) and m is not net.get_classifier()
            )
            return [convolution.out_channels for convolution in convolutions]

        originals = channels(1.0)
        for width in (0.125, 0.5, 1.25):
            ours = channels(width)
            assert ours == [original * width for original in originals], width
            assert all(count % 8 == 0 for count in ours), width

    @pytest.mark.parametrize("backbone", SMALL)
    def test_another_input_size_than_built_for_is_accepted(self, backbone):
        model = build_model(backbone, img_size=48, width=0.25, device="meta").eval()
        for size in (32, 40, 48, 80, 112):
            assert model(torch.empty(1, 1, size, size, device="meta")).shape == (1, 7), size

    @pytest.mark.parametrize("backbone", SMALL)
    def test_maps_of_any_size_give_finite_logits(self, backbone):
        model = small(backbone).eval()
        for size in (24, 70):
            assert model(faces(size=(size, size))).isfinite().all()

    @pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16], ids=str)
    @pytest.mark.parametrize(("backbone", "attention"), PAIRS)
    def test_dtype_reaches_every_layer(self, backbone, attention, dtype):
        model = small(backbone, attention, activation="prelu", dtype=dtype)
        assert {t.dtype for t in model.state_dict().values() if t.is_floating_point()} == {dtype}
        assert model(faces(dtype=dtype)).dtype == dtype

    @pytest.mark.parametrize("backbone", SMALL)
    def test_building_leaves_the_default_dtype_and_device_alone(self, backbone):
        small(backbone, dtype=torch.float64)
        assert torch.get_default_dtype() == torch.float32
        assert torch.empty(0).device.type == "cpu"


class TestRuns:
    @pytest.mark.parametrize(("backbone", "attention", "activation"), GRADIENTS)
    def test_every_parameter_gets_a_gradient(self, backbone, attention, activation):
        wide = {"reduction": 2} if "reduction" in options_of(attention) else {}  # one hidden unit may be dead
        model = awake(small(backbone, attention, activation, attention_options=wide)).train()
        logits = model(faces(8))
        F.cross_entropy(logits, torch.arange(8) % 7).backward()
        assert logits.isfinite().all()
        for name, parameter in model.named_parameters():
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name
            assert parameter.grad.abs().sum() > 0, name

    @pytest.mark.parametrize(("backbone", "attention"), PAIRS)
    def test_evaluation_is_deterministic_and_independent_of_the_batch(self, backbone, attention):
        rates = {"drop_rate": 0.5} | ({} if backbone in VGGS else {"drop_path_rate": 0.5})
        model = small(backbone, attention, **rates).eval()
        x = faces(3)
        logits = model(x)
        torch.testing.assert_close(model(x), logits, rtol=0, atol=0)
        torch.testing.assert_close(torch.cat([model(face[None]) for face in x]), logits)

    @pytest.mark.parametrize("backbone", SMALL)
    def test_the_same_seed_gives_the_same_model(self, backbone):
        first, second, other = (small(backbone, "cbam", seed=seed).state_dict() for seed in (1, 1, 2))
        assert all(torch.equal(first[name], second[name]) for name in first)
        assert not all(torch.equal(first[name], other[name]) for name in first)

    @pytest.mark.parametrize("backbone", SMALL)
    def test_a_fresh_model_gives_every_class_about_the_same_probability(self, backbone):
        probabilities = small(backbone, "se").eval()(faces(16)).softmax(1)
        assert (probabilities.mean(0) - 1 / 7).abs().max() < 0.1

    @pytest.mark.parametrize("backbone", SMALL)
    def test_a_deep_copy_is_equal_and_independent(self, backbone):
        model, x = small(backbone, "cbam", "elu").eval(), faces()
        twin = copy.deepcopy(model)
        logits = model(x)
        torch.testing.assert_close(twin(x), logits, rtol=0, atol=0)
        with torch.no_grad():
            for parameter in twin.parameters():
                parameter.zero_()
        torch.testing.assert_close(model(x), logits, rtol=0, atol=0)
        assert not twin(x).any()

    @pytest.mark.parametrize("memory_format", [torch.channels_last], ids=str)
    @pytest.mark.parametrize("backbone", SMALL)
    def test_memory_layout_changes_no_number(self, backbone, memory_format):
        model, x = small(backbone, "cbam").eval(), faces()
        expected = model(x)
        torch.testing.assert_close(model.to(memory_format=memory_format)(x), expected, rtol=1e-5, atol=1e-6)

    @pytest.mark.parametrize("activation", ACTIVATIONS)
    def test_every_activation_builds_and_trains_a_model(self, activation):
        model = small("resnet18", "se", activation, width=0.125, attention_options={"reduction": 4})
        wanted = type(create_activation(activation))
        places = [m for path, m in model.named_modules() if path.split(".")[-1] in ("act1", "act2")]
        assert len(places) == 17
        assert all(type(m) is wanted for m in places)
        logits = model(faces(4))
        logits.square().sum().backward()
        assert logits.isfinite().all()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())

    @pytest.mark.parametrize("pool", ["avg", "max", "avgmax", "catavgmax"])
    @pytest.mark.parametrize(
        ("backbone", "head"), [("resnet18", "gap"), ("resnetv2_18", "gap"), ("vgg11", "gap"), ("vgg11", "fc")]
    )
    def test_every_pooling_works(self, backbone, head, pool):
        model = small(backbone, global_pool=pool, head=head).eval()
        x = faces()
        assert model(x).shape == (2, 7)
        pooled = model.forward_head(model.forward_features(x), pre_logits=True)
        assert pooled.shape == (2, model.head_hidden_size)
        if head == "gap":
            last = model.forward_features(x)
            mean, peak = last.mean((2, 3)), last.amax((2, 3))
            both = {"avgmax": (mean + peak) / 2, "catavgmax": torch.cat([mean, peak], 1)}
            torch.testing.assert_close(pooled, {"avg": mean, "max": peak, **both}[pool])


class TestDropout:
    @pytest.mark.parametrize("backbone", SMALL)
    def test_dropout_works_in_training_only(self, backbone):
        model, plain = small(backbone, drop_rate=0.5), small(backbone)
        x = faces()
        torch.testing.assert_close(model.eval()(x), plain.eval()(x), rtol=0, atol=0)
        features = model.forward_features(x).detach()
        pooled = model.forward_head(features, pre_logits=True)
        with torch.random.fork_rng():
            torch.manual_seed(1)
            dropped = model.train().forward_head(features, pre_logits=True)
        zeros = (dropped == 0).float().mean() - (pooled == 0).float().mean()
        assert zeros > 0.15

    @pytest.mark.parametrize("backbone", [name for name in SMALL if name in RESIDUAL])
    def test_stochastic_depth_works_in_training_only(self, backbone):
        model, plain = small(backbone, drop_path_rate=0.5), small(backbone)
        x = faces(4)
        torch.testing.assert_close(model.eval()(x), plain.eval()(x), rtol=0, atol=0)
        with torch.random.fork_rng():
            torch.manual_seed(1)
            first, second = model.train()(x), model.train()(x)
        assert not torch.allclose(first, second)
        torch.testing.assert_close(plain.train()(x), plain.train()(x))

    @pytest.mark.parametrize("backbone", [name for name in SMALL if name in RESIDUAL])
    def test_stochastic_depth_grows_linearly_from_0_to_its_rate(self, backbone):
        model = small(backbone, drop_path_rate=0.3, width=0.125)
        count = RESIDUAL_BLOCKS[backbone.split("_")[-1].removeprefix("resnet")]
        blocks = [m for m in model.modules() if hasattr(m, "drop_path")]
        rates = [0.0 if block.drop_path is None else block.drop_path.drop_prob for block in blocks]
        assert rates == pytest.approx([0.3 * i / (count - 1) for i in range(count)])


class TestFactory:
    def test_a_name_and_its_parts_give_the_same_model(self):
        structure = {"num_classes": 8, "in_chans": 3, "img_size": 64, "stem": "half", "width": 0.5}
        torch.manual_seed(0)
        by_name = create_model("resnetv2_18_cbam_elu", **structure)
        torch.manual_seed(0)
        by_parts = build_model("resnetv2_18", attention="cbam", activation="elu", **structure)
        assert by_name.spec == by_parts.spec
        pairs = zip(by_name.parameters(), by_parts.parameters(), strict=True)
        assert all(torch.equal(a, b) for a, b in pairs)

    def test_every_field_of_the_spec_can_be_given(self):
        given = {
            "num_classes": 5,
            "in_chans": 2,
            "img_size": (40, 56),
            "stem": "full",
            "width": 0.25,
            "attention_options": {"reduction": 4},
            "drop_rate": 0.1,
            "drop_path_rate": 0.2,
            "global_pool": "max",
            "stride_on": "1x1",
        }
        spec = build_model("resnet50", attention="se", activation="selu", **given, device="meta").spec
        assert spec == ModelSpec("resnet50", attention="se", activation="selu", **given)
        assert build_model("vgg11", head="gap", device="meta").spec.head == "gap"

    def test_only_seven_classes_start_with_the_labels_of_fer2013(self):
        assert create_model("resnet18", device="meta").labels == FER2013
        assert create_model("resnet18", num_classes=8, device="meta").labels is None

    def test_a_new_classifier_forgets_labels_of_another_count(self):
        model = small("resnet18")
        model.labels = CKPLUS
        model.reset_classifier(7)
        assert model.labels == CKPLUS
        model.reset_classifier(len(FERPLUS))
        assert model.labels is None
        assert model.spec.num_classes == 8

    def test_preprocessing_fits_the_input(self):
        model = create_model("resnet18", in_chans=3, img_size=(64, 48), device="meta")
        assert model.preprocessing.size == (64, 48)
        assert model.preprocessing.channels == len(model.preprocessing.mean) == 3
        assert create_model("resnet18", in_chans=2, device="meta").preprocessing is None

    @pytest.mark.parametrize(
        "pattern", ["*", "*_cbam_elu", "vgg1[19]_*", "resnetv2_*", "resnet??_se", "*_eca", "nothing", ""]
    )
    def test_wildcards_work_as_in_the_shell(self, pattern):
        assert list_models(pattern) == [name for name in list_models() if fnmatch.fnmatchcase(name, pattern)]

    def test_wildcards_find_the_expected_names(self):
        assert len(list_models("*_cbam_elu")) == len(BACKBONES)
        assert list_models("resnet50_se*") == ["resnet50_se", "resnet50_se_elu"]
        assert list_models("nothing") == []

    @pytest.mark.parametrize("backbones", ["vgg*", pytest.param("*", marks=pytest.mark.slow)])
    def test_the_command_line_lists_the_models_of_a_block(self, backbones):
        names = [f"{backbone}_simam_elu" for backbone in fnmatch.filter(BACKBONES, backbones)]
        result = CliRunner().invoke(app, ["models", f"{backbones}_simam_*"], env={"COLUMNS": "200"})
        assert result.exit_code == 0, result.output
        assert all(f" {name} " in result.stdout for name in names)
        assert f"{len(names)} models" in result.stdout
        assert set(names) == set(list_models(f"{backbones}_simam_*"))

    @pytest.mark.parametrize(
        ("name", "message"),
        [
            ("resnetv2_50_cbam_elo", "Unknown model .*Did you mean 'resnetv2_50_cbam_elu'"),
            ("resnet51", "Unknown model 'resnet51'"),
            ("resnet50.imagenet", "Unknown .*'resnet50.imagenet'"),
            ("", "Unknown model ''"),
        ],
    )
    def test_an_unknown_name_is_refused_with_the_nearest(self, name, message):
        with pytest.raises(UnknownNameError, match=message):
            create_model(name)

    def test_weights_that_do_not_exist_are_refused(self):
        with pytest.raises(UnknownNameError, match="Unknown .*'vgg11'"):
            create_model("vgg11", pretrained=True)

    @pytest.mark.parametrize("wrong", ["img_sze", "pretraned", "attention"])
    def test_an_unknown_or_fixed_keyword_is_a_type_error_that_names_it(self, wrong):
        with pytest.raises(TypeError, match=wrong):
            create_model("resnet18_se", **{wrong: 1})

    def test_an_unknown_part_is_refused_with_the_nearest(self):
        for part in ({"attention": "sse"}, {"activation": "ellu"}):
            with pytest.raises(UnknownNameError, match="Did you mean"):
                build_model("resnet18", **part)
        with pytest.raises(UnknownNameError, match="Did you mean 'resnet18'"):
            build_model("resnet19")

    def test_a_width_too_small_for_the_gate_is_refused_with_both_numbers(self):
        with pytest.raises(ValueError, match="reduction=16 .*channels=8"):
            build_model("resnet18", attention="se", width=0.125)

    def test_parts_are_keyword_arguments(self):
        with pytest.raises(TypeError, match="positional"):
            build_model("resnet18", "se")


def test_parts_given_by_the_name_cannot_be_given_again():
    with pytest.raises(TypeError, match=r"'resnet18_se' already gives attention; build_model"):
        create_model("resnet18_se", attention="eca")
