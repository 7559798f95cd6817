import pytest
import yaml
from pydantic import ValidationError

from fer_attention.training import load_recipe, recipe_names


def test_the_recipes_are_those_the_documents_name():
    assert recipe_names() == ["compact", "finetune", "paper", "quick", "strong"]


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_is_valid_and_takes_changes(name):
    config = load_recipe(name, {"epochs": 2, "augment": {"flip": 0.25}})
    assert (config.epochs, config.augment.flip) == (2, 0.25)
    assert config.augment.rotate == load_recipe(name).augment.rotate


def test_the_paper_recipe_is_the_papers():
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


def test_another_model_starts_without_the_recipes_structure():
    assert load_recipe("compact").structure["width"] == 0.5
    assert load_recipe("compact", {"model": "resnet18"}).structure == {}


def test_a_recipe_may_be_a_file_of_the_user(tmp_path):
    config = load_recipe("compact", {"epochs": 3})
    saved = tmp_path / "config.json"
    saved.write_text(config.model_dump_json())
    assert load_recipe(saved) == config
    own = tmp_path / "mine.yaml"
    own.write_text(yaml.safe_dump({"model": "vgg11_cbam", "epochs": 7}))
    assert load_recipe(str(own), {"lr": 0.5}).lr == 0.5
    own.write_text("- a list")
    with pytest.raises(ValueError, match="holds no fields, but list"):
        load_recipe(own)
    with pytest.raises(ValueError, match="no recipe file"):
        load_recipe(tmp_path / "absent.yaml")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": 0}, "epochs"),
        ({"epoch": 3}, "epoch"),
        ({"augment": {"flipp": 1}}, "flipp"),
        ({"augment": 3}, "augment"),
        ({"model": "resnet18_cbma"}, "Did you mean 'resnet18_cbam'"),
        ({"structure": {"stem": "tiny"}}, "stem is one of"),
        ({"optimizer": "admw"}, "Did you mean 'adamw'"),
        ({"schedule": "cosin"}, "schedule"),
        ({"layer_decay": 0.5}, "layer_decay and schedule=one_cycle"),
        ({"teacher": "nowhere/best.safetensors"}, "no weights file"),
        ({"teacher": "resnetv2_18_ec_elu"}, "Did you mean"),
        ({"weights": "a.safetensors", "backbone_weights": "b"}, "give one"),
    ],
)
def test_a_wrong_field_fails_before_anything_runs(changes, message):
    with pytest.raises(ValidationError, match=message):
        load_recipe("compact", changes)


def test_an_unknown_recipe_names_the_nearest():
    with pytest.raises(ValueError, match="Did you mean 'compact'"):
        load_recipe("compcat")
