"""Inference in evaluation mode, alone and in threads."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import nn

from fer_attention.inference import evaluation_mode, predict_logits
from fer_attention.models import create_model


def modes(model):
    return [module.training for module in model.modules()]


def test_predict_logits_does_not_depend_on_batches_and_gives_modes_back():
    torch.manual_seed(0)
    model = create_model("resnet18_cbam", width=0.25, drop_rate=0.5).train()
    model.layer2.eval()
    inputs = torch.randn(7, 1, 48, 48)
    whole, split = predict_logits(model, inputs), predict_logits(model, inputs, batch_size=3)
    torch.testing.assert_close(whole, split, atol=1e-5, rtol=1e-5)
    assert model.training
    assert not model.layer2.training
    assert model.layer1.training


def test_inputs_take_the_type_of_the_model():
    model = create_model("resnet18", width=0.25)
    inputs = torch.rand(2, 1, 48, 48)
    torch.testing.assert_close(predict_logits(model.double(), inputs), predict_logits(model.float(), inputs))
    assert predict_logits(model.bfloat16(), inputs).dtype == torch.float32


def test_a_model_in_evaluation_mode_is_not_touched(monkeypatch):
    model = create_model("resnet18", width=0.25).eval()
    monkeypatch.setattr(nn.Module, "train", lambda *_: pytest.fail("the mode was set"))
    with evaluation_mode(model):
        assert not any(modes(model))


def test_the_last_of_several_threads_restores_the_modes():
    model = create_model("resnet18", width=0.25).train()
    model.layer2.eval()
    before = modes(model)
    inside, leave = threading.Event(), threading.Event()

    def stay():
        with evaluation_mode(model):
            inside.set()
            leave.wait(60)
            return any(modes(model))

    with ThreadPoolExecutor(1) as pool:
        staying = pool.submit(stay)
        inside.wait(60)
        with evaluation_mode(model), evaluation_mode(model):
            assert not any(modes(model))
        assert not any(modes(model))  # the other thread still computes
        leave.set()
        assert not staying.result()
    assert modes(model) == before


def test_an_error_in_the_block_restores_the_modes():
    model = create_model("resnet18", width=0.25).train()
    with pytest.raises(KeyError), evaluation_mode(model):
        raise KeyError
    assert all(modes(model))


def test_threads_that_share_a_model_in_training_mode_agree():
    torch.manual_seed(0)
    model = create_model("resnetv2_18_cbam", width=0.25, drop_rate=0.5).train()
    inputs = [torch.rand(1, 1, 48, 48) for _ in range(64)]
    expected = [predict_logits(model, one) for one in inputs]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda one: predict_logits(model, one), inputs))
    assert all(map(torch.equal, found, expected))
    assert all(modes(model))
