"""Attention blocks inserted into the CNNs of other libraries."""

import pytest
import timm
import torch
import torchvision
from torch import nn
from torch.nn import functional as F

from fer_attention.attention import ATTENTIONS, AttentionBlock, ECABlock, add_attention
from fer_attention.registry import UnknownNameError


def maps(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def gates_of(model):
    """Paths of the inserted blocks, without the blocks inside them."""
    found = [path for path, module in model.named_modules() if isinstance(module, AttentionBlock)]
    return [path for path in found if not any(path.startswith(f"{other}.") for other in found)]


KNOWN_NETS = {
    "torchvision resnet18": (torchvision.models.resnet18, 8),
    "torchvision resnet50": (torchvision.models.resnet50, 16),
    "torchvision resnext50": (torchvision.models.resnext50_32x4d, 16),
    "timm resnet18": (lambda: timm.create_model("resnet18"), 8),
    "timm resnet50": (lambda: timm.create_model("resnet50"), 16),
    "timm resnetv2_50": (lambda: timm.create_model("resnetv2_50"), 16),
}


@pytest.fixture
def net():
    torch.manual_seed(0)
    return torchvision.models.resnet18(num_classes=5)


class TestAddAttention:
    @pytest.mark.parametrize("net", KNOWN_NETS)
    def test_every_residual_block_gets_one_gate_and_nothing_else_changes(self, net):
        torch.manual_seed(0)
        build, blocks = KNOWN_NETS[net]
        model = build().eval()
        randomise_norms(model)  # timm's last norms start at zero, where a gate after them changes nothing
        x = maps(2, 3, 64, 64)
        before = {id(p): p.detach().clone() for p in model.parameters()}
        with torch.no_grad():
            logits = model(x)

        assert add_attention(model, "cbam") == blocks
        assert len(gates_of(model)) == blocks

        after = list(model.parameters())
        kept = [p for p in after if id(p) in before]
        assert len(kept) == len(before)
        assert all(torch.equal(p, before[id(p)]) for p in kept)
        new = [p for p in after if id(p) not in before]
        assert len(new) == 3 * blocks  # fc1, fc2 and the spatial convolution
        assert not any(module.training for module in model.modules())

        gated = model(x)
        assert gated.shape == logits.shape
        assert not torch.allclose(gated, logits)
        model.train()(x).square().sum().backward()
        assert all(p.grad is not None for p in model.parameters())
        assert all(p.grad.abs().sum() > 0 for p in new)

    @pytest.mark.parametrize("name", ATTENTIONS)
    def test_every_block_can_be_added(self, net, name):
        x = maps(2, 3, 32, 32)
        assert add_attention(net, name) == 8
        net(x).sum().backward()
        assert all(p.grad is not None for p in net.parameters())

    @pytest.mark.parametrize(
        ("build", "last"),
        [
            (torchvision.models.resnet18, "bn2"),
            (torchvision.models.resnet50, "bn3"),
            (lambda: timm.create_model("resnet50"), "bn3"),
        ],
    )
    def test_the_gate_comes_before_the_sum_with_the_shortcut(self, build, last):
        model = build().eval()
        add_attention(model, "se")
        block, seen = model.layer2[1], {}
        gated = getattr(block, last)
        gated.register_forward_hook(lambda m, i, o: seen.update(gate_in=i[0], gate_out=o.clone()))
        block.register_forward_hook(lambda m, i, o: seen.update(shortcut=i[0], out=o))
        model(maps(1, 3, 64, 64))
        torch.testing.assert_close(seen["out"], F.relu(seen["gate_out"] + seen["shortcut"]))
        torch.testing.assert_close(seen["gate_out"], gated.attention(gated.layer(seen["gate_in"])))

    def test_options_reach_the_blocks(self, net):
        add_attention(net, "eca", kernel_size=9)
        assert {m.conv.kernel_size for m in net.modules() if isinstance(m, ECABlock)} == {(9,)}

    def test_blocks_have_the_type_and_mode_of_their_layer(self, net):
        add_attention(net.double().eval(), "se")
        for path in gates_of(net):
            block = net.get_submodule(path)
            assert not block.training
            assert all(p.dtype == torch.float64 for p in block.parameters())

    def test_blocks_follow_the_named_modules_of_any_cnn(self):
        model = torchvision.models.vgg16(num_classes=3, init_weights=False)
        assert add_attention(model, "se", after=["features.28", "features.21"]) == 2
        assert gates_of(model) == ["features.21.attention", "features.28.attention"]
        assert model(maps(1, 3, 32, 32)).shape == (1, 3)

    def test_blocks_follow_containers(self):
        model = torchvision.models.mobilenet_v3_small(num_classes=3).eval()
        names = [f"features.{i}" for i in range(1, 12)]
        assert add_attention(model, "cbam", after=names, reduction=4) == 11
        assert model(maps(1, 3, 64, 64)).shape == (1, 3)

    def test_a_module_and_its_part_can_both_be_gated(self):
        for names in (["features", "features.18"], ["features.18", "features"]):
            model = torchvision.models.vgg11(num_classes=3, init_weights=False)
            assert add_attention(model, "eca", after=names) == 2
            assert gates_of(model) == ["features.layer.18.attention", "features.attention"]
            assert list(dict(model.features.named_children())) == ["layer", "attention"]
            assert model(maps(1, 3, 32, 32)).shape == (1, 3)

    def test_a_mapping_gives_channel_counts_that_a_module_lacks(self):
        model = torchvision.models.vgg11(num_classes=3, init_weights=False)
        with pytest.raises(ValueError, match=r"features\.20 \(MaxPool2d\).*after=\{'features\.20': 256\}"):
            add_attention(model, "se", after=["features.20"])
        assert add_attention(model, "se", after={"features.20": 512}) == 1
        assert model.features[20].attention.channels == 512
        assert model(maps(1, 3, 32, 32)).shape == (1, 3)

    @pytest.mark.parametrize(
        ("arguments", "error", "message"),
        [
            ({"name": "cbma"}, UnknownNameError, "Did you mean 'cbam'"),
            ({"name": "se", "reductoin": 4}, TypeError, "'reductoin'.*reduction"),
            ({"name": "se", "reduction": 128}, ValueError, "reduction=128.*channels=64"),
            ({"name": "se", "after": ["layer5"]}, UnknownNameError, "Unknown module 'layer5'.*'layer"),
            ({"name": "se", "after": [""]}, UnknownNameError, "Unknown module ''"),
            (
                {"name": "se", "after": ["layer1.0.bn2", "avgpool"]},
                ValueError,
                r"avgpool \(AdaptiveAvgPool2d\)",
            ),
            ({"name": "se", "after": {"layer1.0.bn2": 64, "avgpool": 0}}, ValueError, "channels=0"),
            ({"name": "se", "after": {"layer1.0.bn2": 0}}, ValueError, "channels=0"),
            ({"name": "se", "after": []}, ValueError, "no block would be inserted"),
        ],
    )
    def test_an_error_leaves_the_model_unchanged(self, net, arguments, error, message):
        before = repr(net)
        with pytest.raises(error, match=message):
            add_attention(net, **arguments)
        assert repr(net) == before

    def test_a_second_gate_after_a_module_is_refused(self, net):
        add_attention(net, "se")
        before = repr(net)
        for arguments in ({}, {"after": ["layer4.1.bn2"]}, {"after": ["layer1.0.conv1", "layer4.1.bn2"]}):
            with pytest.raises(ValueError, match=r"bn2 already has an attention block, SEBlock"):
                add_attention(net, "eca", **arguments)
        assert repr(net) == before

    def test_a_model_without_residual_blocks_is_refused_with_a_remedy(self):
        for model in (torchvision.models.vgg11(init_weights=False), nn.Linear(2, 2)):
            with pytest.raises(ValueError, match=f"{type(model).__name__} has no residual block.*after="):
                add_attention(model, "se")


def randomise_norms(model):
    generator = torch.Generator().manual_seed(11)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.0, generator=generator)


def test_a_single_name_needs_no_list():
    model = nn.Sequential(nn.Conv2d(3, 32, 3), nn.ReLU())
    assert add_attention(model, "se", after="0") == 1
    assert model(torch.zeros(1, 3, 8, 8)).shape == (1, 32, 6, 6)
