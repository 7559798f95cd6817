"""Optimisers and learning-rate schedules."""

import pytest
from torch import nn

from fer_attention import create_model
from fer_attention.training.optimisation import create_optimizer, create_schedule
from tests.support.tiny_runs import tiny


@pytest.mark.parametrize("name", ["one_cycle", "cosine", "step", "plateau", "constant"])
@pytest.mark.parametrize("steps", [1, 7])
def test_schedules_rise_once_to_lr(name, steps):
    model = nn.Linear(2, 2)
    config = tiny(schedule=name, epochs=20, warmup=0.25, decay_epochs=5, patience=3)
    optimizer = create_optimizer(model, config)
    schedule = create_schedule(optimizer, config, steps=steps)
    rates = []
    for _ in range(20):
        for _ in range(steps):
            rates.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            schedule.step()
        schedule.epoch(1.0)
    top = rates.index(max(rates))
    assert max(rates) == pytest.approx(config.lr, rel=0.05)
    assert rates[:top] == sorted(rates[:top])
    assert rates[top:] == sorted(rates[top:], reverse=True)
    falls = {"one_cycle": 0.05, "cosine": 0.05, "step": 0.8, "plateau": 0.8, "constant": 1.0}
    assert rates[-1] <= falls[name] * config.lr
    if name not in ("plateau",):
        assert rates[0] < 0.1 * config.lr


def test_layer_decay_lowers_the_rate_of_early_levels():
    model = create_model("resnet18", width=0.125, stem="half", img_size=16)
    config = tiny(layer_decay=0.5, schedule="cosine", warmup=0)
    optimizer = create_optimizer(model, config)
    create_schedule(optimizer, config, steps=10)
    rate = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    first, last = rate[id(model.conv1.weight)], rate[id(model.fc.weight)]
    assert last == pytest.approx(config.lr)
    assert first < 0.1 * last


def test_weight_decay_excludes_norms_and_biases():
    model = create_model("resnet18", width=0.125, stem="half", img_size=16)
    for group in create_optimizer(model, tiny()).param_groups:
        flat = {p.ndim <= 1 for p in group["params"]}
        assert flat == {group["weight_decay"] == 0}


@pytest.mark.parametrize("layer_decay", [None, 0.5])
@pytest.mark.parametrize("attention", ["se", "eca", "cbam"])
def test_gates_can_be_exempt_from_weight_decay(attention, layer_decay):
    model = create_model(f"resnet18_{attention}", width=0.25, stem="half", img_size=16)
    decayed = {}
    for decay_gates in (True, False):
        config = tiny(decay_gates=decay_gates, layer_decay=layer_decay, schedule="cosine")
        groups = create_optimizer(model, config).param_groups
        with_decay = {id(p) for group in groups if group["weight_decay"] for p in group["params"]}
        assert len({id(p) for group in groups for p in group["params"]}) == len(list(model.parameters()))
        decayed[decay_gates] = {name for name, p in model.named_parameters() if id(p) in with_decay}
    exempt = decayed[True] - decayed[False]
    assert exempt == {name for name in decayed[True] if ".attn." in name}
    assert exempt
    assert decayed[False] < decayed[True]
