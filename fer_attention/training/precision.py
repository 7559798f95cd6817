"""The precision of a run: what its config says or the faster one, where its layers compute rightly in it."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import nn

from fer_attention.device import fastest_precision
from fer_attention.models import ModelSpec, read_metadata
from fer_attention.models.bundled import weights_path
from fer_attention.models.factory import from_spec
from fer_attention.training.checkpoint import TrainingError
from fer_attention.training.config import TrainConfig


def resolve_precision(config: TrainConfig, device: torch.device) -> str:
    """Return the precision of a run on a device.

    Raises:
        TrainingError: The precision is float16 on the CPU, or bfloat16 on the CPU for a model with
            convolutions that are computed wrongly there.
    """
    precision = fastest_precision(device) if config.precision == "auto" else config.precision
    if device.type != "cpu":
        return precision
    if precision == "float16":
        raise TrainingError("float16 trains on GPUs only; use precision=bfloat16 or float32 on the CPU.")
    if precision == "bfloat16" and (layer := _wrong_in_bfloat16(_spec_of(config))):
        if config.precision == "auto":
            return "float32"
        raise TrainingError(
            f"precision=bfloat16 computes wrong gradients for {layer} on the CPU, since its images are "
            "narrower than its stride. Use precision=float32, or a larger structure.img_size."
        )
    return precision


def _spec_of(config: TrainConfig) -> ModelSpec:
    return config.spec() if config.weights is None else read_metadata(weights_path(config.weights)).spec


@cache
def _wrong_in_bfloat16(spec: ModelSpec) -> str | None:
    """Return the first convolution whose images are narrower than its stride.

    For these, the weight gradient of oneDNN in bfloat16 contains uninitialised memory (measured with oneDNN
    3.12 on AVX-512: kernels of 2 to 7, strides 2 and 3, both memory formats; float32 is exact).
    """
    model = from_spec(spec, device="meta").eval()
    found: list[str] = []

    def check(name: str) -> Any:
        def hook(module: nn.Conv2d, inputs: tuple[torch.Tensor, ...]) -> None:
            if any(side < stride for side, stride in zip(inputs[0].shape[2:], module.stride, strict=True)):
                found.append(name)

        return hook

    for name, module in model.named_modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_pre_hook(check(name))
    with torch.no_grad():
        model(torch.empty(1, *model.spec.input_size, device="meta"))
    return found[0] if found else None
