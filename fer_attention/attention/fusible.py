"""Gates that can run as one fused step with the norm, shortcut and activation around them."""

from __future__ import annotations

from typing import NamedTuple, get_args

import torch
from torch import Tensor, nn

from fer_attention.attention.base import SigmoidGate, Start
from fer_attention.attention.fused.choice import Implementation, kernels_for, why_plain
from fer_attention.attention.fused.computation import FusedStep
from fer_attention.attention.fused.function import residual
from fer_attention.attention.fused.gates import ChannelFormula, FusedActivation, MLPFormula
from fer_attention.attention.fused.norm import FusedBatchNorm
from fer_attention.registry import check_choice


class GateFormula(NamedTuple):
    """Computation of a gate as the fused step needs it."""

    channel: ChannelFormula
    parameters: dict[str, Tensor]  # by name, in the order of the formula, then the spatial kernel
    modules: tuple[nn.Module, ...]  # all modules that the fused step does not call
    spatial: bool = False  # whether there is a spatial kernel


class FusibleGate(SigmoidGate):
    """A gate with a second, fused implementation, which is several times as fast.

    Subclasses define `scale` and `formula`. With `implementation="auto"` the fused step runs wherever it can;
    `why_plain` returns the reason where it cannot. `"plain"` never uses it. `"fused"` also uses it on small
    maps, and raises an error on a device that has no fused step.
    """

    def __init__(
        self, channels: int, *, start: Start = "published", implementation: Implementation = "auto"
    ) -> None:
        super().__init__(channels, start=start)
        check_choice("implementation", implementation, get_args(Implementation))
        self.implementation = implementation

    def extra_repr(self) -> str:
        """Return the text that `repr` shows before the layers."""
        return ", ".join(filter(None, [super().extra_repr(), f"implementation={self.implementation!r}"]))

    def formula(self) -> GateFormula | None:
        """Return the gate's formula; None if a layer was replaced or a subclass computes something else."""
        raise NotImplementedError

    def plain(self, x: Tensor) -> Tensor:
        """Multiply a map (N, C, H, W) by its scale, with the gate's own modules."""
        return x * self.scale(x)

    def forward(self, x: Tensor) -> Tensor:
        """Multiply a map (N, C, H, W) by its scale."""
        self._enter(x)
        formula = self._usable(x, None, ())
        return self.plain(x) if formula is None else self._fused(formula, x)

    def residual(
        self, x: Tensor, shortcut: Tensor, *, norm: nn.Module | None = None, act: nn.Module | None = None
    ) -> Tensor:
        """Compute act(self(norm(x)) + shortcut), as one fused step if possible."""
        formula = self._usable(x, shortcut, (norm, act))
        if formula is None:
            return super().residual(x, shortcut, norm=norm, act=act)
        inner = norm if FusedBatchNorm.takes(norm, x) else None
        if norm is not None and inner is None:
            x = norm(x)
        self._enter(x, inner)
        closing = FusedActivation.of(act)
        y = self._fused(formula, x, shortcut, inner, closing)
        return y if act is None or closing is not None else act(y)

    def why_plain(self, x: Tensor) -> str | None:
        """Return the reason why a call with x would run the plain modules; None if it runs fused."""
        formula = self.formula()
        if formula is None:
            return "a layer of the gate was replaced"
        return why_plain(self.implementation, x, None, formula.modules)

    def _usable(
        self, x: Tensor, shortcut: Tensor | None, around: tuple[nn.Module | None, ...]
    ) -> GateFormula | None:
        formula = None if isinstance(x, torch.fx.Proxy) else self.formula()
        if formula is None:
            return None
        obstacle = why_plain(self.implementation, x, shortcut, (*formula.modules, *around))
        if obstacle is None:
            return formula
        real = type(x) is Tensor and not x.is_meta
        if self.implementation == "fused" and real and kernels_for(x) is None:
            raise RuntimeError(
                f"{type(self).__name__} has implementation='fused', but {obstacle}. "
                "Use 'auto', which falls back to the plain modules."
            )
        return None

    def _fused(
        self,
        formula: GateFormula,
        x: Tensor,
        shortcut: Tensor | None = None,
        norm: nn.BatchNorm2d | None = None,
        activation: FusedActivation | None = None,
    ) -> Tensor:
        step = FusedStep(
            formula.channel,
            spatial=formula.spatial,
            activation=activation or FusedActivation(),
            norm=None if norm is None else FusedBatchNorm.of(norm),
            block=self,
            names=tuple(formula.parameters),
        )
        affine = None if norm is None else (norm.weight, norm.bias)
        return residual(step, x, shortcut, affine, tuple(formula.parameters.values()))


def mlp_formula(gate: nn.Module, channel: MLPFormula) -> GateFormula | None:
    """Return the formula of a gate of two 1×1 convolutions and a ReLU; None if it has other layers."""
    fc1, act, fc2 = gate.fc1, gate.act, gate.fc2
    if type(fc1) is not nn.Conv2d or type(act) is not nn.ReLU or type(fc2) is not nn.Conv2d:
        return None
    parameters = {
        "fc1.weight": fc1.weight,
        "fc1.bias": fc1.bias,
        "fc2.weight": fc2.weight,
        "fc2.bias": fc2.bias,
    }
    present = {name: parameter for name, parameter in parameters.items() if parameter is not None}
    if len(present) != (4 if channel.bias else 2):
        return None
    return GateFormula(channel, present, (gate, fc1, act, fc2))
