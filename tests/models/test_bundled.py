"""Weights that come with the package, by our own name and through timm."""

import pytest
import timm
import torch

from fer_attention import create_model, list_models, list_pretrained
from fer_attention.models import bundled_names, bundled_path, load_weights, read_metadata
from fer_attention.models.bundled import DEFAULT

NAMES = bundled_names()
IMAGES = torch.randn(2, 1, 48, 48, generator=torch.Generator().manual_seed(0))


def logits(model):
    with torch.no_grad():
        return model.eval()(IMAGES)


@pytest.fixture(params=NAMES)
def name(request):
    return request.param


def first_tag(name):
    """The bundled weights that the name without its tag stands for."""
    return next(known for known in NAMES if known.split(".")[0] == name.split(".")[0])


def test_the_bundled_names_are_listed():
    assert list_models(pretrained=True) == NAMES
    assert {"resnetv2_18_eca_elu.fer2013", "resnetv2_18_eca_elu.ferplus"} <= set(NAMES)
    assert [model.name for model in list_pretrained()] == [DEFAULT, *(n for n in NAMES if n != DEFAULT)]


def test_a_name_gives_the_model_of_its_file(name):
    expected = load_weights(bundled_path(name))
    untagged = create_model(name.split(".")[0], pretrained=True) if name == first_tag(name) else None
    for model in filter(None, (create_model(name, pretrained=True), untagged)):
        assert model.spec == expected.spec
        assert (model.labels, model.preprocessing) == (expected.labels, expected.preprocessing)
        assert torch.equal(logits(model), logits(expected))


def test_timm_gives_the_same_logits(name):
    expected = logits(load_weights(bundled_path(name)))
    assert torch.equal(logits(timm.create_model(name, pretrained=True)), expected)
    if name == first_tag(name):
        assert torch.equal(logits(timm.create_model(name.split(".")[0], pretrained=True)), expected)
    ours, theirs = create_model(name, pretrained=True), timm.create_model(name, pretrained=True)
    assert (theirs.labels, theirs.preprocessing) == (ours.labels, ours.preprocessing)
    for model in (ours, theirs):
        config = timm.data.resolve_model_data_config(model)
        assert (config["mean"], config["std"]) == (ours.preprocessing.mean, ours.preprocessing.std)
        assert config["input_size"] == ours.spec.input_size
    assert name in timm.list_pretrained(f"{name.split('.')[0]}*")


def test_a_tag_without_pretrained_gives_the_structure_alone(name):
    model = create_model(name)
    trained = load_weights(bundled_path(name))
    assert model.spec == trained.spec
    assert not torch.equal(logits(model), logits(trained))


def test_other_classes_keep_the_backbone_and_renew_the_classifier(name):
    model = create_model(name, pretrained=True, num_classes=3, drop_rate=0.1)
    trained = load_weights(bundled_path(name)).state_dict()
    assert logits(model).shape == (2, 3)
    assert model.labels is None
    assert (model.spec.num_classes, model.spec.drop_rate) == (3, 0.1)
    for key, tensor in model.state_dict().items():
        assert key.startswith("head.fc") or torch.equal(tensor, trained[key])


@pytest.mark.parametrize("structure", [{"stem": "full"}, {"width": 1.0}, {"in_chans": 3}, {"foo": 1}])
def test_structure_fixed_by_the_weights_cannot_be_changed(name, structure):
    with pytest.raises(TypeError, match=next(iter(structure))):
        create_model(name, pretrained=True, **structure)


@pytest.mark.parametrize("other", ["resnet50", "resnet18_cbam_elu", "resnetv2_18_eca_elu.affectnet"])
def test_a_model_without_bundled_weights_names_those_that_have_some(other):
    with pytest.raises(ValueError, match="resnetv2_18_eca_elu.fer2013"):
        create_model(other, pretrained=True)


def test_the_record_describes_the_origin_of_the_weights(name):
    record = read_metadata(bundled_path(name)).record
    assert {"config", "selected_on", "selected_epoch", "selection_accuracy"} <= set(record)
    assert {"environment", "machine"} & set(record)
    assert record["config"]["seed"] == 0
