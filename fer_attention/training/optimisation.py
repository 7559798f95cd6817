"""Optimisers of timm, schedules of timm and torch, as the config names them."""

from __future__ import annotations

from typing import Any, Protocol

import torch
from timm.optim import create_optimizer_v2
from timm.scheduler import CosineLRScheduler, StepLRScheduler
from torch import nn

from fer_attention.training.config import TrainConfig


class Schedule(Protocol):
    """Interface of a learning-rate schedule: the engine reports steps and epochs, and keeps its state."""

    def step(self) -> None:
        """One step of the optimiser is done."""

    def epoch(self, validation_loss: float) -> None:
        """One epoch is done."""

    def state_dict(self) -> dict[str, Any]:
        """State for `load_state_dict`."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state."""


def create_optimizer(model: nn.Module, config: TrainConfig) -> torch.optim.Optimizer:
    """The optimiser over the model's free parameters; one-dimensional ones have no weight decay."""
    return create_optimizer_v2(
        model,
        opt=config.optimizer,
        lr=config.lr,
        weight_decay=config.weight_decay,
        momentum=config.momentum,
        layer_decay=config.layer_decay,
    )


def create_schedule(optimizer: torch.optim.Optimizer, config: TrainConfig, *, steps: int) -> Schedule:
    """The schedule over a run.

    Args:
        optimizer: Whose learning rates it moves.
        config: Names the schedule; all but the plateau rise from `lr / 25` during `warmup`.
        steps: Steps per epoch.
    """
    total = config.epochs * steps
    if config.schedule == "one_cycle":
        return _OneCycle(optimizer, config, total)
    if config.schedule == "plateau":
        return _Plateau(optimizer, config)
    warm = int(config.warmup * total)
    common: dict[str, Any] = {
        "warmup_t": warm,
        "warmup_lr_init": config.lr / 25,
        "warmup_prefix": True,
        "t_in_epochs": False,
    }
    if config.schedule == "cosine":
        return _PerStep(
            CosineLRScheduler(optimizer, t_initial=total - warm, lr_min=config.lr * 1e-4, **common)
        )
    every = config.decay_epochs * steps if config.schedule == "step" else total + 1
    return _PerStep(StepLRScheduler(optimizer, decay_t=every, decay_rate=config.decay_rate, **common))


class _PerStep:
    """A schedule of timm that is a function of the number of steps."""

    def __init__(self, scheduler: Any) -> None:
        self._scheduler, self._done = scheduler, 0

    def step(self) -> None:
        self._done += 1
        self._scheduler.step_update(self._done)

    def epoch(self, validation_loss: float) -> None:
        """The steps say it all."""

    def state_dict(self) -> dict[str, Any]:
        return {"done": self._done}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._done = state["done"]
        self._scheduler.step_update(self._done)


class _Plateau:
    """torch's ReduceLROnPlateau, which looks at the validation loss; it has no warm-up."""

    def __init__(self, optimizer: torch.optim.Optimizer, config: TrainConfig) -> None:
        self._scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(
            optimizer, factor=config.decay_rate, patience=config.patience
        )

    def step(self) -> None:
        """Rates change between epochs only."""

    def epoch(self, validation_loss: float) -> None:
        self._scheduler.step(validation_loss)

    def state_dict(self) -> dict[str, Any]:
        return self._scheduler.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._scheduler.load_state_dict(state)


class _OneCycle:
    """torch's one-cycle policy (Smith and Topin 2017, arXiv:1708.07120), rate against momentum."""

    def __init__(self, optimizer: torch.optim.Optimizer, config: TrainConfig, total: int) -> None:
        total = max(total + 1, 4)  # shorter cycles have a phase without a step, which torch divides by
        self._scheduler = torch.optim.lr_scheduler.OneCycleLR(
            optimizer,
            max_lr=config.lr,
            total_steps=total,
            pct_start=min(max(config.warmup, 2 / total), 1 - 1 / total),
            cycle_momentum="momentum" in optimizer.param_groups[0] or "betas" in optimizer.param_groups[0],
        )

    def step(self) -> None:
        self._scheduler.step()

    def epoch(self, validation_loss: float) -> None:
        """The steps say it all."""

    def state_dict(self) -> dict[str, Any]:
        state: dict[str, Any] = self._scheduler.state_dict()
        return {name: value for name, value in state.items() if isinstance(value, (int, float, list, bool))}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._scheduler.load_state_dict(state)
