"""PyTorch models as classifiers, and the copies of them that are prepared for inference."""

import pickle

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from torch import nn

from fer_attention.activations import swap_activation
from fer_attention.attention import ATTENTIONS, watch_inputs
from fer_attention.classifiers import TorchClassifier
from fer_attention.classifiers.prepared import PreparedModel
from fer_attention.inference import predict_logits
from fer_attention.models import BACKBONES, build_model, create_model
from fer_attention.preprocessing import Preprocessing
from tests.support.gates import awake


def lively(name, **options):
    """A small model whose norms have statistics other than 0 and 1."""
    model = create_model(name, width=0.25, **options)
    for module in awake(model).modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.1, 0.1)
            nn.init.uniform_(module.running_var, 0.5, 2)
            nn.init.uniform_(module.weight, 0.5, 1)
            nn.init.uniform_(module.bias, -0.1, 0.1)
    return model


def crops_for(model, count=3, seed=0):
    shape = (count, model.preprocessing.channels, *model.preprocessing.size)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def expected_of(model, crops):
    return predict_logits(model, model.preprocessing.normalize(torch.from_numpy(crops))).softmax(1).numpy()


def prepared_of(classifier):
    """The copy that the classifier ran last, or None."""
    return classifier._prepared and classifier._prepared.graph


NAMES = [
    *(f"{backbone}_cbam_elu" for backbone in BACKBONES if "101" not in backbone and "152" not in backbone),
    *(f"resnetv2_18_{attention}" for attention in ATTENTIONS),
    "resnet18",
    "resnet50_elu",
    "resnetv2_18_prelu",
    "vgg11_bn_gelu",
]


@pytest.mark.parametrize("name", NAMES)
def test_the_prepared_copy_gives_the_answers_of_the_model(name):
    model = lively(name)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    classifier = TorchClassifier(model, device="cpu")
    for count in (1, 3):
        crops = crops_for(model, count)
        assert_allclose(classifier.probabilities(crops), expected_of(model, crops), atol=1e-5)
        assert prepared_of(classifier) is not None
    assert model.training
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_colour_images_and_large_maps_give_the_same_answers():
    model = lively("resnet18_cbam_elu", in_chans=3)
    model.preprocessing = Preprocessing((48, 48), 3, (0.5,) * 3, (0.25,) * 3)
    classifier = TorchClassifier(model, device="cpu")
    crops = crops_for(model, 200)  # the gates run as fused steps
    assert_allclose(classifier.probabilities(crops, batch_size=200), expected_of(model, crops), atol=1e-5)


def test_norms_behind_convolutions_are_folded():
    model = lively("resnet18_elu")
    classifier = TorchClassifier(model, device="cpu")
    classifier.probabilities(crops_for(model))
    assert not any(isinstance(module, nn.BatchNorm2d) for module in prepared_of(classifier).modules())


def change_weight(model):
    with torch.no_grad():
        model.get_classifier().bias.add_(1 + torch.arange(7))


def train_a_step(model):
    model.train()
    model(torch.randn(4, 1, 48, 48))  # the norms' statistics


@pytest.mark.parametrize(
    "change",
    [
        change_weight,
        train_a_step,
        lambda model: swap_activation(model, "tanh"),
        lambda model: model.load_state_dict(lively("resnetv2_18_se").state_dict(), assign=True),
        lambda model: setattr(model.stages[0].blocks[0], "attn", None),
    ],
    ids=["weights", "statistics", "activations", "state dict", "a layer"],
)
def test_changes_of_the_model_are_noticed(change):
    torch.manual_seed(2)
    model = lively("resnetv2_18_se")
    classifier = TorchClassifier(model, device="cpu")
    crops = crops_for(model)
    before = classifier.probabilities(crops)
    change(model)
    after = classifier.probabilities(crops)
    assert_allclose(after, expected_of(model, crops), atol=1e-5)
    assert np.abs(after - before).max() > 1e-4
    assert prepared_of(classifier) is not None


def test_an_unchanged_model_is_prepared_once():
    model = lively("resnetv2_18_se")
    classifier = TorchClassifier(model, device="cpu")
    classifier.probabilities(crops_for(model))
    first = prepared_of(classifier)
    classifier.probabilities(crops_for(model, 5))
    assert prepared_of(classifier) is first


def test_hooks_and_watchers_see_the_model_itself():
    model = lively("resnetv2_18_se")
    classifier = TorchClassifier(model, device="cpu")
    classifier.probabilities(crops_for(model))
    seen = []
    with watch_inputs(lambda block, x: seen.append(block)):
        classifier.probabilities(crops_for(model))
    assert seen == [block.attn for stage in model.stages for block in stage.blocks]
    handle = model.stages[1].register_forward_hook(lambda *_: seen.clear())
    classifier.probabilities(crops_for(model))
    assert seen == []
    handle.remove()
    classifier.probabilities(crops_for(model))
    assert prepared_of(classifier) is not None


class Untraceable(nn.Module):
    def forward(self, x):
        return x if x.sum() > 0 else -x


class Unequal(nn.Module):
    """Forward code that gives other numbers when it is traced."""

    def forward(self, x):
        return x * 2 if isinstance(x, torch.fx.Proxy) else x


@pytest.mark.parametrize("layer", [Untraceable(), Unequal()])
def test_a_model_that_cannot_be_prepared_runs_itself(layer):
    model = lively("resnet18_se")
    model.layer1.append(layer)
    classifier = TorchClassifier(model, device="cpu")
    crops = crops_for(model)
    assert_allclose(classifier.probabilities(crops), expected_of(model, crops), atol=1e-6)
    assert prepared_of(classifier) is None


def test_other_types_run_the_model_itself():
    model = build_model("resnet18", width=0.125, dtype=torch.float64)
    assert not PreparedModel.suits(model)
    assert PreparedModel.suits(model.float())


def test_a_classifier_can_be_pickled_after_use():
    model = lively("resnet18_eca")
    classifier = TorchClassifier(model, device="cpu")
    crops = crops_for(model)
    expected = classifier.probabilities(crops)
    assert_allclose(pickle.loads(pickle.dumps(classifier)).probabilities(crops), expected, atol=1e-6)  # noqa: S301
