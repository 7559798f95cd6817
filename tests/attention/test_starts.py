"""How blocks start, what a norm does with one value, and a block without parameters."""

import copy

import pytest
import torch
import torchvision
from torch import nn
from torch.nn import functional as F

from fer_attention.attention import ATTENTIONS, AttentionGate, SimAM, add_attention, create_attention
from fer_attention.attention.base import GateBatchNorm
from fer_attention.models import build_model, create_model, load_weights, save_weights
from tests.support.gates import C, awake, distinct, gate, maps

LATE = {"gct": {"alpha"}, "gc": {"key.weight", "fc1.weight", "fc1.bias", "norm.weight", "norm.bias"}}
"""Parameters behind others that start at zero: they get no gradient in the first step."""


class TestStarts:
    @pytest.mark.parametrize("name", ["gct", "gc"])
    def test_two_blocks_start_as_the_identity(self, name):
        x = maps(2, C, 5, 4)
        torch.testing.assert_close(create_attention(name, C)(x), x, rtol=0, atol=0)

    def test_sge_starts_as_one_factor(self):
        x = maps(2, C, 5, 4)
        torch.testing.assert_close(create_attention("sge", C)(x), x * torch.tensor(1.0).sigmoid())

    @pytest.mark.parametrize("name", ATTENTIONS)
    def test_a_fresh_block_gives_a_gradient_to_all_that_no_zero_stands_before(self, name):
        torch.manual_seed(0)
        block = create_attention(name, 64)
        optimiser = torch.optim.SGD([*block.parameters(), torch.zeros(1, requires_grad=True)], lr=0.1)
        for late in (LATE.get(name, set()), set()):
            optimiser.zero_grad()
            (block(maps(8, 64, 5, 5).requires_grad_()) * maps(8, 64, 5, 5, seed=1)).sum().backward()
            without = {key for key, p in block.named_parameters() if not p.grad.abs().sum() > 0}
            assert without == late
            optimiser.step()

    @pytest.mark.parametrize("name", ATTENTIONS)
    @pytest.mark.parametrize("backbone", ["resnet18", "resnetv2_18", "vgg11_bn"])
    def test_a_model_leaves_the_start_of_its_blocks_alone(self, backbone, name):
        """The backbone's own initialisation (He, zero biases) stops at a block."""
        made = []

        def create(*arguments, **options):
            made.append((block := create_attention(*arguments, **options), copy.deepcopy(block.state_dict())))
            return block

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("fer_attention.models.base.create_attention", create)
            model = build_model(backbone, attention=name, width=0.25)
        placed = [module for path, module in model.named_modules() if path.split(".")[-1] == "attn"]
        assert [block for block, _ in made] == placed
        for block, start in made:
            for key, tensor in block.state_dict().items():
                torch.testing.assert_close(tensor, start[key], rtol=0, atol=0)

    def test_an_identity_start_leaves_a_trained_network_its_logits(self):
        torch.manual_seed(0)
        net = torchvision.models.resnet18(num_classes=5).eval()
        x = maps(2, 3, 32, 32)
        logits = net(x)
        assert add_attention(net, "gc") == 8
        torch.testing.assert_close(net(x), logits)


class TestGlobalContext:
    def test_it_adds_one_vector_to_all_positions_and_is_no_gate(self):
        block, x = gate("gc", dtype=torch.float64), distinct(2, C, 5, 4)
        added = block(x) - x
        assert not isinstance(block, AttentionGate)
        assert block.is_attention_gate is True
        torch.testing.assert_close(added, added.mean((2, 3), keepdim=True).expand_as(added))
        assert not torch.allclose(added[0], added[1])

    def test_its_context_is_a_mean_of_the_positions(self):
        block = gate("gc")
        vector = maps(2, C, 1, 1)
        torch.testing.assert_close(block.context(vector.expand(2, C, 5, 4)), vector.flatten(1))

    def test_narrow_maps_still_reach_the_output(self):
        block = gate("gc", 16)  # 16 // 16 is one hidden channel, of which a layer norm leaves nothing
        first, second = (block(x) - x for x in (maps(1, 16, 4, 4, seed=s) for s in (1, 2)))
        assert not torch.allclose(first, second)


class TestOneValuePerChannel:
    @pytest.mark.parametrize("shape", [(1, 6, 1, 1), (1, 6, 2, 1), (3, 6, 1, 1)], ids=str)
    def test_the_norm_is_torch_s_wherever_torch_has_one(self, shape):
        ours, theirs = awake_norm(GateBatchNorm), awake_norm(nn.BatchNorm2d)
        x = maps(*shape)
        if shape == (1, 6, 1, 1):
            with pytest.raises(ValueError, match="more than 1 value"):
                awake_norm(nn.BatchNorm2d)(x)
            theirs.eval()
        torch.testing.assert_close(ours(x), theirs(x))
        for key, tensor in theirs.state_dict().items():
            torch.testing.assert_close(ours.state_dict()[key], tensor)
        torch.testing.assert_close(ours.eval()(x), theirs.eval()(x))

    def test_bam_trains_on_one_sample(self):
        block = gate("bam")
        for shape in ((1, C, 1, 1), (1, C, 6, 6)):
            block.zero_grad()
            block(maps(*shape)).sum().backward()
            assert all(p.grad.isfinite().all() for p in block.parameters())
        assert all(t.isfinite().all() for t in block.state_dict().values())
        assert not torch.equal(block.spatial[-1].running_mean, gate("bam").spatial[-1].running_mean)

    @pytest.mark.parametrize("name", ["bam", "coord", "triplet"])
    def test_an_empty_batch_leaves_the_running_statistics_alone(self, name):
        block = gate(name).train()
        before = copy.deepcopy(block.state_dict())
        assert block(maps(0, C, 4, 4)).shape == (0, C, 4, 4)
        for key, tensor in block.state_dict().items():
            if "running" in key:
                torch.testing.assert_close(tensor, before[key], rtol=0, atol=0)


def awake_norm(kind):
    norm = kind(6)
    for tensor, seed in ((norm.running_mean, 1), (norm.weight.data, 2), (norm.bias.data, 3)):
        tensor.copy_(maps(6, seed=seed))
    norm.running_var.copy_(maps(6, seed=4).square() + 0.5)
    return norm.train()


class TestSimAM:
    """A block without parameters goes everywhere where the others go."""

    def test_scale_starts_at_sigmoid_of_one_half(self):
        scale = SimAM(C, energy_lambda=0.1).scale(maps(2, C, 6, 6))
        assert scale.min() >= torch.tensor(0.5).sigmoid()
        constant = SimAM(C).scale(torch.ones(1, C, 3, 3))
        torch.testing.assert_close(constant, torch.tensor(0.5).sigmoid().expand_as(constant))

    def test_it_can_be_added_to_any_cnn_and_trained(self):
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

    def test_a_model_with_it_is_saved_and_loaded(self, tmp_path):
        torch.manual_seed(0)
        model = create_model(
            "resnet18_simam_elu", width=0.25, attention_options={"energy_lambda": 0.01}
        ).eval()
        assert not any(".attn" in key for key in model.state_dict())
        loaded = load_weights(save_weights(model, tmp_path / "w.safetensors"))
        x = maps(2, 1, 48, 48)
        torch.testing.assert_close(loaded(x), model(x), rtol=0, atol=0)
        plain = build_model("resnet18", activation="elu", width=0.25).eval()
        plain.load_state_dict(model.state_dict())
        assert not torch.allclose(plain(x), model(x))


@pytest.mark.parametrize("name", ["bam", "gct", "gc"])
def test_a_model_of_blocks_with_norms_or_vectors_is_saved_and_loaded(name, tmp_path):
    torch.manual_seed(0)
    model = awake(create_model(f"resnet18_{name}", width=0.25)).eval()
    loaded = load_weights(save_weights(model, tmp_path / "w.safetensors"))
    x = maps(2, 1, 48, 48)
    torch.testing.assert_close(loaded(x), model(x), rtol=0, atol=0)
