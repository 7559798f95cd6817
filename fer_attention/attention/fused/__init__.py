"""Fused attention: norm, gate, shortcut and activation as one differentiable step, on CPUs and GPUs.

`function.py` is the step for autograd and `computation.py` what it computes, with the passes of `aten.py`
(CPU) or `cuda.py` (Triton), the arithmetic of the gates in `gates.py` and that of the norm in `norm.py`.
`choice.py` says when it may stand in for the modules.
"""
