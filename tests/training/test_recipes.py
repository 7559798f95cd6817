"""Recipes and configs: names, files, changes, and validation."""

import pytest
import yaml

from fer_attention.models.bundled import DEFAULT
from fer_attention.training import load_recipe, recipe_names, train
from tests.support.tiny_runs import stripes, tiny

pytestmark = pytest.mark.usefixtures("without_curves")


def test_the_documented_recipes_exist():
    assert recipe_names() == ["compact", "finetune", "paper", "quick", "robust", "speedrun", "strong"]


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_is_valid_and_takes_changes(name):
    config = load_recipe(name, {"epochs": 2, "augment": {"flip": 0.25}})
    assert (config.epochs, config.augment.flip) == (2, 0.25)
    assert config.augment.rotate == load_recipe(name).augment.rotate


def test_the_paper_recipe_has_the_settings_of_the_paper():
    config = load_recipe("paper")
    assert (config.optimizer, config.lr, config.weight_decay, config.schedule) == (
        "adam",
        1e-4,
        0,
        "constant",
    )
    assert (config.batch_size, config.epochs, config.stop_after) == (64, 200, 15)
    assert (config.augment.flip, config.augment.scale) == (0.5, 0.3)
    assert config.normalization == "unit"
    assert config.select_by == "accuracy"
    assert (config.label_smoothing, config.ema_decay, config.clip_norm) == (0, 0, None)


@pytest.mark.parametrize("name", [name for name in recipe_names() if name != "robust"])
def test_recipes_from_scratch_open_the_gates_except_those_of_the_paper(name):
    """As in docs/studies/open_gates: open gates are better than published ones in SE, ECA and CBAM."""
    config = load_recipe(name, {"model": "resnet18_cbam_elu"})
    assert config.spec().attention_options.get("start", "published") == (
        "published" if name == "paper" else "open"
    )


def test_the_start_of_gates_is_an_option_that_the_structure_overrides():
    changes = {"model": "resnet18_se", "gate_start": "open"}
    assert load_recipe("paper", changes).spec().attention_options == {"start": "open"}
    options = {"attention_options": {"start": "published", "reduction": 8}}
    assert load_recipe("quick", {**changes, "structure": options}).spec().attention_options == {
        "start": "published",
        "reduction": 8,
    }
    for model in ("resnet18", "resnet18_gct"):  # without gates, or with gates that have one start only
        assert load_recipe("quick", {"model": model}).spec().attention_options == {}
        with pytest.raises(ValueError, match="gate_start has no effect without a new model"):
            load_recipe("quick", {**changes, "model": model})
    with pytest.raises(ValueError, match="gate_start has no effect"):
        load_recipe("robust", {"gate_start": "open"})


@pytest.mark.parametrize(
    ("recipe", "model", "expected"),
    [
        ("quick", "resnetv2_18_elu", {"width": 0.25, "stem": "half", "drop_rate": 0.1}),
        ("quick", "resnet50_cbam", {"width": 0.25, "stem": "half", "drop_rate": 0.1}),
        ("compact", "vgg16_bn_se_elu", {"width": 0.5, "drop_rate": 0.2}),  # a VGG has no such stem
        ("finetune", "resnet50_se", {"img_size": 96, "in_chans": 3, "drop_rate": 0.2}),
        ("paper", "resnet18", {}),
    ],
)
def test_another_model_has_what_it_can_of_the_structure(recipe, model, expected):
    """So `train quick --model NAME` is quick, and `finetune` has its colours and size with any model."""
    config = load_recipe(recipe, {"model": model})
    assert config.structure == expected
    assert config.spec().name == model


@pytest.mark.parametrize(
    ("model", "kept"),
    [
        ("resnet50_se_elu", {"attention_options", "stride_on"}),
        ("resnet50", {"stride_on"}),
        ("vgg11_se", {"attention_options"}),
    ],
)
def test_options_of_a_block_and_of_a_backbone_stay_with_them(tmp_path, model, kept):
    own = tmp_path / "own.yaml"
    special = {"attention_options": {"reduction": 8}, "stride_on": "1x1"}
    own.write_text(yaml.safe_dump({"model": "resnet50_se", "structure": {"width": 0.5, **special}}))
    structure = load_recipe(own, {"model": model}).structure
    assert structure == {"width": 0.5, **{name: special[name] for name in kept}}


def test_a_wrong_field_of_a_recipe_is_named_for_another_model_too(tmp_path):
    own = tmp_path / "own.yaml"
    own.write_text(yaml.safe_dump({"model": "resnet18", "structure": {"widht": 0.5}}))
    with pytest.raises(ValueError, match="Did you mean 'width'"):
        load_recipe(own, {"model": "resnet50"})
    with pytest.raises(ValueError, match="Unknown model"):
        load_recipe(own, {"model": "resnet51"})


@pytest.mark.parametrize(
    ("structure", "match"),
    [
        ({"stem": "tiny"}, "Unknown stem of resnet50 'tiny'"),
        (5, "structure: .* got 5"),
        (None, "structure: .* got None"),
    ],
)
def test_a_wrong_value_of_a_recipe_is_not_dropped_for_another_model(tmp_path, structure, match):
    own = tmp_path / "own.yaml"
    own.write_text(yaml.safe_dump({"model": "resnet18", "structure": structure}))
    with pytest.raises(ValueError, match=match):
        load_recipe(own, {"model": "resnet50"})


def test_start_weights_determine_model_and_structure(tmp_path):
    start = str(train(tiny(model="resnet18", epochs=1), stripes(), tmp_path).weights)
    for recipe in ("compact", "robust"):
        config = load_recipe(recipe, {"weights": start})
        assert (config.weights, config.model, config.structure) == (start, "resnet18", {})
    own = tmp_path / "own.yaml"
    own.write_text(yaml.safe_dump({"weights": start}))
    assert load_recipe(own).model == "resnet18"
    anew = load_recipe("robust", {"weights": None, "structure": {"width": 0.5}})
    assert (anew.weights, anew.model) == (None, load_recipe("robust").model)


@pytest.mark.parametrize("field", ["augment", "structure"])
@pytest.mark.parametrize("value", ["x", [1], 3])
def test_a_part_that_is_not_a_mapping_is_refused_with_and_without_changes(field, value, tmp_path):
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump({"model": "resnet18", field: value}))
    for changes in ({}, {"augment": {"degrade": {"blur": {"probability": 0.1}}}}, {"epochs": 2}):
        with pytest.raises(ValueError, match=rf"mine\.yaml(.|\n)*{field}: .*valid dictionary"):
            load_recipe(tmp_path / "mine.yaml", changes)


def test_a_recipe_can_be_a_file(tmp_path):
    config = load_recipe("compact", {"epochs": 3})
    saved = tmp_path / "config.json"
    saved.write_text(config.model_dump_json())
    assert load_recipe(saved) == config
    own = tmp_path / "mine.yaml"
    own.write_text(yaml.safe_dump({"model": "vgg11_cbam", "epochs": 7}))
    assert load_recipe(str(own), {"lr": 0.5}).lr == 0.5
    own.write_text("- a list")
    with pytest.raises(ValueError, match="must hold named fields; got a list"):
        load_recipe(own)
    own.write_text("epochs: 3\nmodel: [")
    with pytest.raises(ValueError, match=r"mine.yaml is not valid YAML: line 2, column 9: expected"):
        load_recipe(own)
    own.write_bytes(b"\x80abc")
    with pytest.raises(ValueError, match=r"mine.yaml is not valid YAML: \S+"):
        load_recipe(own)
    own.write_text("model: vgg11\naugment: {flip: 0, flip: 1}")
    with pytest.raises(ValueError, match=r"mine.yaml .*line 2, column 20: the field 'flip' is given twice"):
        load_recipe(own)
    with pytest.raises(ValueError, match="no recipe file"):
        load_recipe(tmp_path / "absent.yaml")


def degrade(name, low, high, probability=1.0):
    return {"augment": {"degrade": {name: {"probability": probability, "low": low, "high": high}}}}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": 0}, "epochs"),
        ({"epoch": 3}, "epoch"),
        ({"augment": {"flipp": 1}}, "flipp"),
        ({"augment": 3}, "augment"),
        ({"model": "resnet18_cbma"}, "Did you mean 'resnet18_cbam'"),
        ({"structure": {"stem": "tiny"}}, "Unknown stem of resnetv2_18 'tiny'"),
        ({"optimizer": "admw"}, "Did you mean 'adamw'"),
        ({"schedule": "cosin"}, "schedule"),
        ({"layer_decay": 0.5}, "layer_decay does not work with schedule=one_cycle"),
        ({"teacher": DEFAULT}, "Did you mean 'teachers'"),
        ({"teachers": DEFAULT}, "teachers: Input should be a valid tuple"),
        ({"teachers": ["nowhere/best.safetensors"]}, "no weights file nowhere"),
        ({"teachers": ["resnetv2_18_ec_elu"]}, "Did you mean"),
        ({"teacher_views": "flp"}, "Did you mean 'flip'"),
        ({"weights": "nowhere/best.safetensors"}, "no weights file nowhere"),
        ({"weights": "resnetv2_18_ec_elu"}, "Did you mean"),
        ({"weights": 5}, "weights: Input should be a valid string; got 5"),
        ({"weights": DEFAULT, "structure": {"width": 0.5}}, "weights determine the structure.* weights=null"),
        ({"weights": "a.safetensors", "backbone_weights": "b"}, "set one of them"),
        ({"logit_adjustment": -1}, "logit_adjustment"),
        ({"logit_adjustment": 1, "loss": "binary"}, "loss=cross_entropy, focal or generalised"),
        ({"adjust": "wieghts"}, "'loss' or 'weights'"),
        ({"precision": "int8"}, "'auto', 'float32', 'bfloat16' or 'float16'"),
        ({"augment": {"degrade": {"nois": {}}}}, "probability: is missing"),
        (degrade("nois", 0, 1), "augment.degrade.nois: Unknown degradation 'nois'. Did you mean 'noise'"),
        (degrade("noise", 0, 300), "strength of noise is 0 to 255 .*, got 300"),
        (degrade("resampling", 2, 40), "strength of resampling is 4 to 1024 .*, got 2"),
        (degrade("blur", 3, 1), "blur: low=3 is above high=1"),
        (degrade("blur", 1, 3, probability=1.5), "degrade.blur.probability: .* less than or equal to 1"),
        ({"augment": {"degrade": {"blur": {"hihg": 3}}}}, "Did you mean 'high'"),
    ],
)
def test_invalid_fields_are_rejected(changes, message):
    with pytest.raises(ValueError, match=message) as caught:
        load_recipe("compact", changes)
    assert "pydantic" not in str(caught.value)


def test_an_unknown_recipe_suggests_the_nearest():
    with pytest.raises(ValueError, match="Did you mean 'compact'"):
        load_recipe("compcat")


def test_another_model_drops_the_weights_of_the_recipe():
    assert load_recipe("robust", {"model": "resnet18_se"}).weights is None
    assert load_recipe("robust").weights is not None


def test_degradations_are_merged_field_by_field():
    usual = load_recipe("robust").augment.degrade
    changed = load_recipe("robust", {"augment": {"degrade": {"noise": {"probability": 1.0}, "blur": None}}})
    degrade = changed.augment.degrade
    assert list(degrade) == [name for name in usual if name != "blur"]
    assert degrade["noise"] == usual["noise"].model_copy(update={"probability": 1.0})
    assert degrade["jpeg"] == usual["jpeg"]
    assert changed.augment.rotate == 15
