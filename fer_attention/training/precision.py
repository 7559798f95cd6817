"""The precision of a run: what its config says or the faster one, where its layers compute rightly in it."""

from __future__ import annotations

import time
from dataclasses import replace
from functools import cache
from typing import Any, Literal

import torch
from torch import nn

from fer_attention.models import ModelSpec, read_metadata
from fer_attention.models.bundled import weights_path
from fer_attention.models.factory import from_spec
from fer_attention.training.checkpoint import TrainingError
from fer_attention.training.config import TrainConfig
from fer_attention.training.timing import step_timer

BFLOAT16_GAIN = 1.15
"""Least speed-up over float32 that makes up for the rounding of bfloat16."""

TIMED_IMAGES, TIMED_ROUNDS = 32, 6
"""Images of a step, and the most rounds of steps."""

TIMED_SECONDS, LONG = 2.0, 10.0
"""Seconds after which two rounds are enough, and after which one is. It warms up, which takes far less."""


def resolve_precision(config: TrainConfig, device: torch.device) -> str:
    """Return the precision of a run on a device.

    Raises:
        TrainingError: The precision is float16 on the CPU, or bfloat16 on the CPU for a model with
            convolutions that are computed wrongly there.
    """
    if device.type == "cpu" and config.precision == "float16":
        raise TrainingError("float16 trains on GPUs only; use precision=bfloat16 or float32 on the CPU.")
    layer = _wrong_in_bfloat16(spec_of(config)) if device.type == "cpu" else None
    if config.precision == "auto":
        return "float32" if layer else fastest_precision(config, device)
    if config.precision == "bfloat16" and layer:
        raise TrainingError(
            f"precision=bfloat16 computes wrong gradients for {layer} on the CPU, since its images are "
            "narrower than its stride. Use precision=float32, or a larger structure.img_size."
        )
    return config.precision


def fastest_precision(config: TrainConfig, device: torch.device) -> Literal["float32", "bfloat16"]:
    """Measure in which precision a device trains the network of a config faster.

    Neither the type of a processor nor the time of one convolution tells. Processors without bfloat16
    instructions take ten times as long as in float32 and GPUs before Ampere somewhat longer; on others a
    wide convolution can be faster while a narrow network is slower. So training steps are timed, once per
    process and in a few seconds. The network has no attention and ReLU, so that all variants of a comparison
    train in one precision. Rounds alternate and the fastest counts, so a busy machine decides as an idle one.
    """
    spec = replace(spec_of(config), attention="none", attention_options={}, activation="relu")
    return _fastest_precision(spec, config.channels_last, device)


@cache
def _fastest_precision(
    spec: ModelSpec, channels_last: bool, device: torch.device
) -> Literal["float32", "bfloat16"]:
    seconds = step_timer(spec, images=TIMED_IMAGES, channels_last=channels_last, device=device)
    rounds: list[list[float]] = []
    begun = time.perf_counter()
    for number in range(TIMED_ROUNDS):
        rounds.append([seconds(dtype) for dtype in (torch.float32, torch.bfloat16)])
        if time.perf_counter() - begun > (TIMED_SECONDS if number else LONG):
            break
    float32, bfloat16 = map(min, zip(*rounds, strict=True))
    return "bfloat16" if bfloat16 * BFLOAT16_GAIN < float32 else "float32"


def spec_of(config: TrainConfig) -> ModelSpec:
    """Return the spec of the model that a config trains; start weights determine theirs."""
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
