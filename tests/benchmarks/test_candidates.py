"""Candidates of the attention benchmarks: the variants that exist, and their equal numbers."""

import pytest
import torch
from candidates import NAIVE, Candidate, build_block, build_network, candidates_for, share_weights
from naive_attention import insert_naive

from fer_attention import ModelSpec
from fer_attention.models.factory import from_spec
from tests.support.gates import awake, gate, maps


def copy_parameters(source, target):
    with torch.no_grad():
        for own, other in zip(source.parameters(), target.parameters(), strict=True):
            other.copy_(own.view_as(other))


def test_timm_and_naive_variants_are_listed_where_they_exist():
    names = [one.name for one in candidates_for(["se", "simam"], ["plain", "timm", "naive"])]
    assert names == ["se plain", "se timm", "se naive", "simam plain"]
    assert {"none timm", "cbam timm"} <= {c.name for c in candidates_for(["cbam"], ["timm"], "resnet50")}
    assert [c.name for c in candidates_for(["cbam"], ["timm"], "resnetv2_50")] == [
        "none plain",
        "none timm",
    ]
    assert [c.name for c in candidates_for(["cbam"], ["timm"], "vgg16")] == ["none plain"]
    assert "none compiled" in {c.name for c in candidates_for(["cbam"], ["compiled"], "vgg16")}


def test_only_blocks_with_several_implementations_get_several_variants(monkeypatch):
    known = {"se": ("reduction", "implementation"), "simam": ()}
    monkeypatch.setattr("candidates.attention_options", known.__getitem__)
    found = candidates_for(["se", "simam"], ["plain", "fused", "auto", "compiled"])
    assert {one.name: one.options.get("implementation") for one in found} == {
        **{"se plain": "plain", "se fused": "fused", "se auto": "auto", "se compiled": "plain"},
        **{"simam plain": None, "simam compiled": None},
    }


def test_unknown_candidates_are_rejected():
    with pytest.raises(ValueError, match="No candidate 'cbma' 'plain'. Attention is one of bam, "):
        Candidate("cbma", "plain")


@pytest.mark.parametrize("name", NAIVE)
def test_naive_blocks_compute_the_same_as_ours(name):
    ours, naive = gate(name), NAIVE[name](32)
    copy_parameters(ours, naive)
    x = maps(3, 32, 7, 5)
    torch.testing.assert_close(naive(x), ours(x), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("backbone", ["resnet18", "resnet50", "resnetv2_18", "resnetv2_50", "vgg11"])
def test_naive_blocks_are_inserted_at_the_positions_of_ours(backbone):
    torch.manual_seed(0)
    spec = ModelSpec(backbone, attention="cbam", activation="elu", width=0.25, img_size=32)
    ours = awake(from_spec(spec)).eval()
    theirs = from_spec(ModelSpec(backbone, activation="elu", width=0.25, img_size=32)).eval()
    theirs.load_state_dict({k: v for k, v in ours.state_dict().items() if ".attn." not in f".{k}"})
    gates = [module.attn for module in ours.modules() if hasattr(module, "attn")]
    for own, naive in zip(gates, insert_naive(theirs, "cbam"), strict=True):
        copy_parameters(own, naive.eval())
    x = maps(2, 1, 32, 32)
    torch.testing.assert_close(theirs(x), ours(x), rtol=1e-4, atol=1e-5)


def test_networks_of_timm_use_its_blocks_and_the_chosen_activation():
    model = build_network(Candidate("eca", "timm"), "resnet18", size=32, activation="elu")
    kinds = [type(module).__name__ for module in model.modules()]
    assert (kinds.count("EcaModule"), "ELU" in kinds, "ReLU" in kinds) == (8, True, False)
    assert type(build_block(Candidate("cbam", "timm"), 32)).__module__.startswith("timm")


def test_networks_share_common_weights():
    plain, gated = (
        build_network(Candidate(attention, "plain"), "resnet18", size=32, activation="elu")
        for attention in ("none", "se")
    )
    share_weights(gated, plain)
    assert gated.conv1.weight.data_ptr() == plain.conv1.weight.data_ptr()
    logits = gated(maps(2, 1, 32, 32))
    logits.sum().backward()
    assert gated.conv1.weight.grad is not None
    assert plain.conv1.weight.grad is None
