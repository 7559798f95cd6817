"""Optimisers of timm, and schedules of timm and torch, by the names in a config."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from timm.optim import create_optimizer_v2, param_groups_layer_decay, param_groups_weight_decay
from timm.scheduler import CosineLRScheduler, StepLRScheduler
from timm.scheduler.scheduler import Scheduler
from torch import nn
from torch.optim.lr_scheduler import OneCycleLR, ReduceLROnPlateau

from fer_attention.attention import AttentionBlock
from fer_attention.training.config import TrainConfig


class Schedule:
    """Common interface to the learning-rate schedulers of timm and torch.

    Args:
        scheduler: A scheduler of timm, updated by the number of steps, or of torch, updated after each step
            (plateau: after each epoch, by its validation loss).
    """

    def __init__(self, scheduler: Any) -> None:
        self._scheduler, self._done = scheduler, 0
        self._of_timm = isinstance(scheduler, Scheduler)
        self._of_epochs = isinstance(scheduler, ReduceLROnPlateau)

    def step(self) -> None:
        """Update the learning rate after a step of the optimiser."""
        self._done += 1
        if self._of_timm:
            self._scheduler.step_update(self._done)
        elif not self._of_epochs:
            self._scheduler.step()

    def epoch(self, validation_loss: float) -> None:
        """Update the learning rate after an epoch."""
        if self._of_epochs:
            self._scheduler.step(validation_loss)

    def state_dict(self) -> dict[str, Any]:
        """Return the state for `load_state_dict` as plain values."""
        if self._of_timm:
            return {"done": self._done}
        plain = self._scheduler.state_dict().items()
        return {name: value for name, value in plain if isinstance(value, (int, float, str, list))}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a state."""
        if self._of_timm:
            self._done = state["done"]
            self._scheduler.step_update(self._done)
        else:
            self._scheduler.load_state_dict(state)


def create_optimizer(model: nn.Module, config: TrainConfig) -> torch.optim.Optimizer:
    """Build the optimiser of the trainable parameters.

    One-dimensional parameters have no weight decay; with `decay_gates=False` neither have attention blocks.
    """
    return create_optimizer_v2(
        model,
        opt=config.optimizer,
        lr=config.lr,
        weight_decay=config.weight_decay,
        momentum=config.momentum,
        layer_decay=config.layer_decay,
        param_group_fn=None if config.decay_gates else partial(_without_gate_decay, config=config),
    )


def _without_gate_decay(model: nn.Module, config: TrainConfig) -> Any:
    gates = {
        f"{path}.{name}"
        for path, block in model.named_modules()
        if isinstance(block, AttentionBlock)
        for name, _ in block.named_parameters()
    }
    decay: dict[str, Any] = {"weight_decay": config.weight_decay, "no_weight_decay_list": gates}
    if config.layer_decay is None:
        return param_groups_weight_decay(model, **decay)
    return param_groups_layer_decay(model, layer_decay=config.layer_decay, **decay)


def create_schedule(optimizer: torch.optim.Optimizer, config: TrainConfig, *, steps: int) -> Schedule:
    """Build the schedule of a run.

    Args:
        optimizer: Optimiser whose learning rates are scheduled.
        config: Config of the run. All schedules but the plateau rise from `lr / 25` during `warmup`. One
            cycle (Smith and Topin 2017, arXiv:1708.07120) changes the momentum inversely to the rate.
        steps: Steps per epoch.
    """
    total = config.epochs * steps
    if config.schedule == "one_cycle":
        total = max(total + 1, 4)  # in a shorter cycle torch divides by a phase of zero steps
        rise = min(max(config.warmup, 2 / total), 1 - 1 / total)
        momentum = not {"momentum", "betas"}.isdisjoint(optimizer.param_groups[0])
        return Schedule(OneCycleLR(optimizer, config.lr, total, pct_start=rise, cycle_momentum=momentum))
    if config.schedule == "plateau":
        return Schedule(ReduceLROnPlateau(optimizer, factor=config.decay_rate, patience=config.patience))
    warm = int(config.warmup * total)
    common: dict[str, Any] = {"warmup_t": warm, "warmup_lr_init": config.lr / 25}
    common |= {"warmup_prefix": True, "t_in_epochs": False}
    if config.schedule == "cosine":
        return Schedule(CosineLRScheduler(optimizer, total - warm, lr_min=config.lr * 1e-4, **common))
    every = config.decay_epochs * steps if config.schedule == "step" else total + 1
    return Schedule(StepLRScheduler(optimizer, decay_t=every, decay_rate=config.decay_rate, **common))
