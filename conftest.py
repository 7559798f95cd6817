"""What pytest leaves out when it collects the package's doctests."""

import importlib.util

# the kernels import Triton, which PyTorch's builds for some platforms do not bring
collect_ignore = (
    [] if importlib.util.find_spec("triton") else ["fer_attention/attention/fused/triton_kernels.py"]
)
