import math

import pytest
import torch
import torchvision
from torch.nn import functional as F

from fer_attention.attention import SimAM, add_attention
from fer_attention.models import build_model, create_model, load_weights, save_weights
from tests.support.equations import assert_follows, sigmoid
from tests.support.gates import C, gate, maps, parameter_count


def test_values_and_gradients_follow_the_equations():
    def simam(x, p):
        y = torch.empty_like(x)
        for n in range(x.shape[0]):
            for c in range(x.shape[1]):
                t = x[n, c]
                mu = t.sum() / t.numel()
                v = ((t - mu) ** 2).sum() / t.numel()
                energy = 4 * (v + 1e-4) / ((t - mu) ** 2 + 2 * v + 2 * 1e-4)
                y[n, c] = t * sigmoid(1 / energy)
        return y

    assert_follows(simam, gate("simam", dtype=torch.float64))


def test_it_has_no_parameters():
    assert parameter_count("simam", 64) == 0


def test_the_smallest_scale_is_the_sigmoid_of_one_half():
    scale = SimAM(C, energy_lambda=0.1).scale(maps(2, C, 6, 6))
    assert scale.min() >= torch.tensor(0.5).sigmoid()
    constant = SimAM(C).scale(torch.ones(1, C, 3, 3))
    torch.testing.assert_close(constant, torch.tensor(0.5).sigmoid().expand_as(constant))


@pytest.mark.parametrize("wrong", [0, -1e-4, math.nan])
def test_a_lambda_that_is_not_positive_is_refused(wrong):
    with pytest.raises(ValueError, match=f"energy_lambda.*{wrong}"):
        SimAM(16, energy_lambda=wrong)


def test_it_can_be_added_to_any_cnn_and_trained():
    torch.manual_seed(0)
    net = torchvision.models.resnet18(num_classes=5)
    before = sum(p.numel() for p in net.parameters())
    assert add_attention(net, "simam", energy_lambda=1e-3) == 8
    assert sum(p.numel() for p in net.parameters()) == before
    assert {m.energy_lambda for m in net.modules() if isinstance(m, SimAM)} == {1e-3}
    optimiser = torch.optim.AdamW(net.parameters())
    F.cross_entropy(net(maps(2, 3, 32, 32)), torch.tensor([0, 1])).backward()
    optimiser.step()
    assert all(p.grad is not None for p in net.parameters())


def test_a_model_with_it_is_saved_and_loaded(tmp_path):
    torch.manual_seed(0)
    model = create_model("resnet18_simam_elu", width=0.25, attention_options={"energy_lambda": 0.01}).eval()
    assert not any(".attn" in key for key in model.state_dict())
    loaded = load_weights(save_weights(model, tmp_path / "w.safetensors"))
    x = maps(2, 1, 48, 48)
    torch.testing.assert_close(loaded(x), model(x), rtol=0, atol=0)
    plain = build_model("resnet18", activation="elu", width=0.25).eval()
    plain.load_state_dict(model.state_dict())
    assert not torch.allclose(plain(x), model(x))
