"""Fused attention: norm, gate, shortcut and activation as one differentiable step, on CPUs and GPUs.

`function.py` defines the step for autograd, and `computation.py` its forward and backward pass. Passes over
whole maps are in `aten.py` (CPU) and `cuda.py` (Triton), the arithmetic of the gates in `gates.py`, that of
the norm in `norm.py`. `choice.py` decides whether the step may replace the modules.
"""
