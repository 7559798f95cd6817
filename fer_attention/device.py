"""Devices by name."""

from __future__ import annotations

import torch


def resolve_device(device: str | torch.device) -> torch.device:
    """Resolve a name to a torch device; `"auto"` is the GPU if there is one, else the CPU.

    Raises:
        ValueError: The device is unknown, or not available on this machine.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        resolved = torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise ValueError(f"device is auto, cpu, cuda or cuda:N; got {device!r}.") from error
    if resolved.type == "cuda" and (resolved.index or 0) >= torch.cuda.device_count():
        raise ValueError(
            f"device {str(device)!r} is not available: torch sees {torch.cuda.device_count()} CUDA devices. "
            "Use device='cpu' or 'auto'."
        )
    if resolved.type != "cuda":  # which would start it
        try:
            torch.zeros(1, device=resolved).item()
        except Exception as error:  # every backend has errors of its own
            raise ValueError(
                f"device {str(device)!r} is not available: this PyTorch ({torch.__version__}) cannot compute "
                "on it here. Use device='cpu' or 'auto'."
            ) from error
    return resolved
