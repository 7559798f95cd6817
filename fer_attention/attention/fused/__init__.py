"""Fused attention: norm, gate, shortcut and activation as one differentiable step, on CPUs and GPUs.

`function.py` is the step for autograd and `computation.py` what it computes, with the passes of `aten.py`
(CPU) or `cuda.py` (Triton), the arithmetic of the gates in `gates.py` and that of the norm in `norm.py`.
`choice.py` says when it may stand in for the modules.
"""

from fer_attention.attention.fused.choice import Implementation, check_implementation, kernels_for, why_plain
from fer_attention.attention.fused.computation import FusedStep
from fer_attention.attention.fused.function import residual
from fer_attention.attention.fused.gates import ChannelFormula, FusedActivation, MLPFormula, NeighbourFormula
from fer_attention.attention.fused.norm import FusedBatchNorm

__all__ = [
    "ChannelFormula",
    "FusedActivation",
    "FusedBatchNorm",
    "FusedStep",
    "Implementation",
    "MLPFormula",
    "NeighbourFormula",
    "check_implementation",
    "kernels_for",
    "residual",
    "why_plain",
]
