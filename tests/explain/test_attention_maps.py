"""Attention maps: parts and values of each block, captured without side effects."""

import numpy as np
import pytest
import timm
import torch
import torchvision
from torch import nn

from fer_attention import add_attention, build_model
from fer_attention.attention import (
    ATTENTIONS,
    AttentionBlock,
    AttentionGate,
    create_attention,
    fusible,
    watch_inputs,
)
from fer_attention.attention.fused import choice
from fer_attention.explain import attention_maps

PARTS = {
    "se": ["channel"],
    "eca": ["channel"],
    "gct": ["channel"],
    "cbam": ["channel", "spatial"],
    "ecbam": ["channel", "spatial"],
    "gc": ["context"],
    "bam": ["full"],
    "coord": ["full"],
    "triplet": ["full"],
    "simam": ["full"],
    "sge": ["full"],
}
OPTIONS = {name: {"reduction": 4} for name in ("se", "cbam", "bam", "coord", "gc")} | {"sge": {"groups": 4}}


def small_model(attention, *, implementation=None, backbone="resnet18"):
    torch.manual_seed(0)
    options = dict(OPTIONS.get(attention, {}))
    if implementation is not None:
        options["implementation"] = implementation
    stem = "imagenet" if backbone.startswith("vgg") else "half"
    model = build_model(
        backbone, attention=attention, activation="elu", width=0.25, stem=stem, attention_options=options
    )
    for parameter in model.parameters():  # parameters that start at zero would hide differences
        if parameter.abs().max() == 0:
            nn.init.normal_(parameter, std=0.5)
    return model.eval()


@pytest.fixture
def images():
    return torch.randn(3, 1, 48, 48, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", list(ATTENTIONS))
def test_every_registered_block_has_maps_of_its_parts(name):
    torch.manual_seed(2)
    block = create_attention(name, channels=16, **OPTIONS.get(name, {})).eval()
    x = torch.randn(2, 16, 6, 5)
    maps = block.maps(x)
    shapes = {
        "channel": (2, 16, 1, 1),
        "spatial": (2, 1, 6, 5),
        "full": (2, 16, 6, 5),
        "context": (2, 1, 6, 5),
    }
    assert list(maps) == PARTS[name]
    assert {part: tuple(values.shape) for part, values in maps.items()} == {p: shapes[p] for p in maps}


@pytest.mark.parametrize("name", [n for n in ATTENTIONS if issubclass(ATTENTIONS[n], AttentionGate)])
def test_gates_multiply_their_input_by_their_maps(name):
    torch.manual_seed(3)
    gate = create_attention(name, channels=16, **OPTIONS.get(name, {})).eval()
    x = torch.randn(2, 16, 6, 5)
    product = x.clone()
    for values in gate.maps(x).values():
        product = product * values
    torch.testing.assert_close(gate(x), product)


def test_context_maps_of_gc_are_the_weights_of_its_mean():
    torch.manual_seed(4)
    block = create_attention("gc", channels=16, reduction=4).eval()
    x = torch.randn(2, 16, 6, 5)
    (shares,) = block.maps(x).values()
    np.testing.assert_allclose(shares.detach().sum((1, 2, 3)), 1, rtol=1e-5)
    torch.testing.assert_close((x * shares).sum((2, 3)), block.context(x))


@pytest.mark.parametrize("name", list(ATTENTIONS))
def test_maps_of_a_model_are_those_of_its_blocks(name, images):
    model = small_model(name)
    seen = {}
    hooks = [
        module.register_forward_pre_hook(lambda m, x, layer=layer: seen.__setitem__(layer, x[0].clone()))
        for layer, module in model.named_modules()
        if layer.endswith(".attn")
    ]
    with torch.no_grad():
        model(images)
    expected = [
        (layer, part, values.detach())
        for layer, x in seen.items()
        for part, values in model.get_submodule(layer).maps(x).items()
    ]
    for hook in hooks:
        hook.remove()
    found = attention_maps(model, images)
    assert [(m.layer, m.part, m.kind) for m in found] == [(lay, part, name) for lay, part, _ in expected]
    for record, (layer, _, values) in zip(found, expected, strict=True):
        torch.testing.assert_close(record.values, values, rtol=1e-4, atol=1e-5)
        assert record.map_shape == tuple(seen[layer].shape[1:])


def test_se_maps_follow_the_published_formula(images):
    model = small_model("se")
    (first, *_) = attention_maps(model, images)
    seen = []
    block = model.get_submodule(first.layer)
    hook = block.register_forward_pre_hook(lambda module, x: seen.append(x[0].double().numpy()))
    with torch.no_grad():
        model(images)
    hook.remove()
    numbers = {name: p.detach().double().numpy().squeeze() for name, p in block.named_parameters()}
    z = seen[0].mean((2, 3))
    hidden = np.maximum(z @ numbers["fc1.weight"].T + numbers["fc1.bias"], 0)
    s = 1 / (1 + np.exp(-(hidden @ numbers["fc2.weight"].T + numbers["fc2.bias"])))
    np.testing.assert_allclose(first.channel.numpy(), s, rtol=1e-4)


@pytest.mark.parametrize("name", ["se", "eca", "cbam", "ecbam"])
@pytest.mark.parametrize("backbone", ["resnet18", "resnetv2_18", "vgg11_bn"])
def test_fused_blocks_stay_fused_and_have_the_maps_of_plain_ones(name, backbone, images, monkeypatch):
    fused = small_model(name, implementation="fused", backbone=backbone)
    plain = small_model(name, implementation="plain", backbone=backbone)
    reasons = []

    def why_plain(*arguments):
        reasons.append(choice.why_plain(*arguments))
        return reasons[-1]

    monkeypatch.setattr(fusible, "why_plain", why_plain)
    found = attention_maps(fused, images)
    assert reasons
    assert set(reasons) == {None}, "watching made a block fall back to its plain modules"
    for mine, other in zip(found, attention_maps(plain, images), strict=True):
        assert (mine.layer, mine.part) == (other.layer, other.part)
        torch.testing.assert_close(mine.values, other.values, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("implementation", ["plain", "fused"])
def test_logits_are_bit_identical_while_watched(implementation, images):
    model = small_model("cbam", implementation=implementation)
    with torch.no_grad():
        before = model(images)
        shown = []
        with watch_inputs(lambda block, x: shown.append(block)):
            during = model(images)
        after = model(images)
    assert len([block for block in shown if type(block) is ATTENTIONS["cbam"]]) == 8
    assert torch.equal(before, during)
    assert torch.equal(before, after)


def test_the_state_of_a_model_is_restored_also_after_an_error(images):
    model = small_model("cbam").train()
    model.layer2.eval()
    modes = {name: module.training for name, module in model.named_modules()}
    buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
    wrong = nn.Sequential(create_attention("se", channels=32))
    random = torch.get_rng_state()
    attention_maps(model, images)
    with pytest.raises(ValueError, match="was built for maps"):
        attention_maps(wrong, images)

    def fail(block, x):
        raise KeyError("on purpose")

    with pytest.raises(KeyError, match="on purpose"), watch_inputs(fail):
        model.eval()(images)
    for name, module in model.named_modules():
        module.training = modes[name]
    attention_maps(model, images)
    assert {name: module.training for name, module in model.named_modules()} == modes
    assert all(torch.equal(buffer, buffers[name]) for name, buffer in model.named_buffers())
    assert torch.equal(random, torch.get_rng_state())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    assert all(parameter.grad is None for parameter in model.parameters())
    shown = []
    with watch_inputs(lambda block, x: shown.append(block)):
        pass
    model.eval()(images)
    assert not shown


@pytest.mark.parametrize(
    ("model", "blocks"), [(torchvision.models.resnet18, 8), (lambda: timm.create_model("resnet26"), 8)]
)
def test_inserted_blocks_in_other_networks_have_maps(model, blocks):
    network = model()
    assert add_attention(network, "cbam") == blocks
    found = attention_maps(network, torch.randn(2, 3, 64, 64))
    assert len(found) == 2 * blocks
    assert found[0].layer.endswith(".attention")


def test_repeated_calls_of_a_block_are_numbered():
    block = create_attention("eca", channels=8)
    found = attention_maps(
        nn.Sequential(nn.Conv2d(1, 8, 3), block, nn.ReLU(), block), torch.randn(1, 1, 8, 8)
    )
    assert [record.layer for record in found] == ["1", "1#2"]


def test_a_compiled_model_has_the_same_maps(images):
    model = small_model("eca")
    whole = attention_maps(model, images)
    compiled = attention_maps(torch.compile(model), images)
    assert [record.layer for record in compiled] == [record.layer for record in whole]
    for one, other in zip(whole, compiled, strict=True):
        torch.testing.assert_close(one.values, other.values)


def test_maps_of_custom_blocks_are_optional(images):
    class Silent(AttentionBlock):
        def forward(self, x):
            self._enter(x)
            return x

    class Halves(AttentionGate):
        def scale(self, x):
            return torch.full((len(x), 1, *x.shape[2:]), 0.5)

    found = attention_maps(nn.Sequential(Silent(1), Halves(1), nn.Conv2d(1, 4, 1), Halves(4)), images)
    assert [(record.kind, record.part) for record in found] == [("Halves", "full"), ("Halves", "spatial")]


def test_channel_and_spatial_are_means_of_full_maps(images):
    found = attention_maps(small_model("coord"), images)[0]
    np.testing.assert_allclose(found.channel, found.values.numpy().mean((2, 3)), rtol=1e-5)
    np.testing.assert_allclose(found.spatial, found.values.numpy().mean(1), rtol=1e-5)
    se, cbam = attention_maps(small_model("se"), images)[0], attention_maps(small_model("cbam"), images)
    assert se.spatial is None
    assert cbam[1].channel is None
    one = cbam[1].of_image(2)
    assert torch.equal(one.spatial, cbam[1].spatial[2:])


def test_models_without_attention_and_empty_batches_are_rejected(images):
    with pytest.raises(ValueError, match="has no attention block"):
        attention_maps(build_model("resnet18", width=0.25), images)
    with pytest.raises(ValueError, match="at least one"):
        attention_maps(small_model("se"), images[:0])
