"""Where to compute."""

from __future__ import annotations

import torch


def resolve_device(device: str | torch.device) -> torch.device:
    """The torch device of a name; `"auto"` is the GPU where there is one.

    Raises:
        ValueError: There is no such device, or it is not available here.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        resolved = torch.device(device)
    except RuntimeError as error:
        raise ValueError(f"device is auto, cpu, cuda or cuda:N; got {device!r}.") from error
    if resolved.type == "cuda" and (resolved.index or 0) >= torch.cuda.device_count():
        raise ValueError(
            f"device {str(device)!r} is not available: torch sees {torch.cuda.device_count()} CUDA devices. "
            "Take device='cpu' or 'auto'."
        )
    return resolved
