"""Shared parts of all sections: device and types, the steps to time, measuring a case."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from cost_record import Case, Environment, Measured, Memory, Ratio, Settings, Spread
from machine_load import Load, cpu_features
from timing import Call, Effort, interleaved, peak_mib, ratio, spread
from torch import nn
from torch.nn import functional as F

from fer_attention.training.setup import environment

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "autocast": torch.float32}
VERSIONS = 64
LIBRARIES = ("torchvision", "numpy", "triton", "onnx", "onnxruntime")


@dataclass(frozen=True)
class Setup:
    """Device, types and duration of the measurements.

    Attributes:
        device: `"cpu"` or `"cuda"`.
        dtype: `"float32"`, `"bfloat16"` (including parameters), or `"autocast"` (float32 parameters under
            bfloat16 autocast, as in training).
        activation: Activation of the backbones, `"elu"` or `"relu"`.
        channels_last: Memory format of maps and weights.
        effort: Rounds and warm-up.
        seed: Seed of weights and inputs.
    """

    device: str = "cpu"
    dtype: str = "float32"
    activation: str = "elu"
    channels_last: bool = True
    effort: Effort = field(default_factory=Effort)
    seed: int = 0

    @property
    def memory_format(self) -> torch.memory_format:
        """Memory format as a torch constant."""
        return torch.channels_last if self.channels_last else torch.contiguous_format

    def placed(self, module: nn.Module) -> nn.Module:
        """Move a module to the device, type and memory format."""
        module = module.to(self.device, DTYPES[self.dtype])
        return module.to(memory_format=self.memory_format)

    def images(self, *shape: int) -> torch.Tensor:
        """Return noise in place of grey images, since pixel values do not affect times."""
        noise = torch.randn(shape, generator=torch.Generator().manual_seed(self.seed))
        return noise.to(self.device, DTYPES[self.dtype]).to(memory_format=self.memory_format)

    def maps(self, *shape: int) -> torch.Tensor:
        """Return noise in place of the maps that a block receives in a network."""
        return self.images(*shape).to(torch.bfloat16 if self.dtype == "autocast" else DTYPES[self.dtype])

    def autocast(self) -> AbstractContextManager[Any]:
        """Return bfloat16 autocast if it is enabled, else a null context."""
        return torch.autocast(self.device, torch.bfloat16) if self.dtype == "autocast" else nullcontext()

    def settings(self) -> Settings:
        """Return the settings for the record."""
        fields: dict[str, Any] = {
            "device": self.device,
            "dtype": self.dtype,
            "activation": self.activation,
            "memory_format": "channels_last" if self.channels_last else "contiguous",
            "rounds": self.effort.rounds,
            "seconds": self.effort.seconds,
            "warmup": self.effort.warmup,
            "least_ms": self.effort.least_ms,
            "seed": self.seed,
        }
        return Settings.model_validate(fields)


def batch_for(size: int, device: str, network: str = "") -> int:
    """Return the default batch size, which such a machine processes in about a second."""
    if device == "cuda":
        return 256
    small, large = (8, 2) if network.startswith("vgg") else (32, 4)
    return small if size <= 112 else large


def inference(model: nn.Module, x: torch.Tensor, setup: Setup) -> Call:
    """Return a call of the forward pass in evaluation mode."""

    def call() -> None:
        with torch.inference_mode(), setup.autocast():
            model(x)

    model.eval()
    return call


def training(model: nn.Module, x: torch.Tensor, setup: Setup) -> Call:
    """Return a call of forward pass, cross-entropy and backward pass, without an optimiser."""
    labels = torch.arange(len(x), device=x.device) % 7

    def call() -> None:
        with setup.autocast():
            logits = model(x)
        F.cross_entropy(logits.float(), labels).backward()  # type: ignore[no-untyped-call]
        model.zero_grad(set_to_none=True)

    model.train()
    return call


def block_training(block: nn.Module, x: torch.Tensor, setup: Setup) -> Call:
    """Return a call of a block's forward and backward pass, with gradients of input and parameters."""
    leaf = x.detach().clone().requires_grad_()
    wanted = (leaf, *block.parameters())
    gradient = torch.randn_like(x)

    def call() -> None:
        with setup.autocast():
            y = block(leaf)
        torch.autograd.grad(y, wanted, gradient.to(y.dtype))

    block.train()
    return call


STEPS = {"inference": inference, "training": training}


def measured_case(
    facts: Mapping[str, Any],
    calls: Mapping[str, Call],
    setup: Setup,
    *,
    held: Mapping[str, float] | None = None,
    base: str | None = None,
    pairs: Iterable[tuple[str, str]] = (),
) -> Case:
    """Measure memory, times and ratios of calls in interleaved rounds.

    Args:
        facts: Other fields of the case: subject, mode, size, shape.
        calls: Calls to time, by name. One that fails is left out, with the reason; the base must work.
        setup: Device and effort.
        held: MiB of the tensors that exist before each call; None skips the memory measurement.
        base: The candidate that all others are compared with.
        pairs: Further ratios, (of, to).
    """
    added: dict[str, float | None] = {}
    left_out: dict[str, str] = {}
    for name, call in calls.items():
        try:
            call()
            added[name] = None if held is None else peak_mib(call, device=setup.device)
        except Exception as error:  # compilers and kernels raise anything; measure the others
            if name == base:
                raise
            left_out[name] = f"{type(error).__name__}: {error}".splitlines()[0][:200]
    times = interleaved({name: calls[name] for name in added}, setup.effort, device=setup.device)
    wanted = [*((name, base) for name in added if base not in (None, name)), *pairs]
    ratios = [
        Ratio(of=of, to=to, **ratio(times[of], times[to]))
        for of, to in dict.fromkeys(wanted)
        if to is not None and of in times and to in times
    ]
    candidates = [
        Measured(name=name, ms=Spread(**spread(times[name])), memory=_memory(name, held, more))
        for name, more in added.items()
    ]
    rounds = min(map(len, times.values()))
    log(f"{facts['subject']} {facts['shape']} {facts['mode']}: {rounds} rounds of {len(times)}")
    return Case(**facts, rounds=rounds, base=base, candidates=candidates, ratios=ratios, left_out=left_out)


def _memory(name: str, held: Mapping[str, float] | None, added: float | None) -> Memory | None:
    return None if held is None or added is None else Memory(held_mib=held[name], added_mib=added)


def pairs_of(names: Iterable[str]) -> list[tuple[str, str]]:
    """Pair our candidates with timm's and the naive ones of the same attention."""
    names = list(names)
    ours = [n for n in names if n.partition(" ")[2] in ("plain", "fused", "auto", "compiled")]
    others = [n for n in names if n.partition(" ")[2] in ("timm", "naive")]
    return [(a, b) for a in ours for b in others if a.split()[0] == b.split()[0]]


@contextmanager
def machine(threads: int | None, device: str, *, compiling: bool = False) -> Iterator[None]:
    """Set the number of threads and cuDNN's autotuning, and restore both afterwards.

    `compiling` raises the limit on recompilations of a function; beyond it, the compiler silently runs the
    function uncompiled.
    """
    before = torch.get_num_threads(), torch.backends.cudnn.benchmark
    torch.set_num_threads(threads or before[0])
    torch.backends.cudnn.benchmark = device == "cuda"
    try:
        with _many_versions() if compiling else nullcontext():
            yield
    finally:
        torch.set_num_threads(before[0])
        torch.backends.cudnn.benchmark = before[1]


def _many_versions() -> AbstractContextManager[Any]:
    import torch._dynamo

    patch: Any = torch._dynamo.config.patch
    versions: AbstractContextManager[Any] = patch(recompile_limit=VERSIONS)
    return versions


def environment_of(device: str | torch.device, load: Load, **more: Any) -> Environment:
    """Return facts about the machine, its other work during the run, and library versions."""
    device = torch.device(device)
    facts: dict[str, Any] = environment(device, 1)
    facts |= {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if _linux() else os.cpu_count(),
        "cpu_features": cpu_features(),
        "others_share": load.others,
        "busy": load.busy,
    }
    facts |= {"system": f"{platform.system()} {platform.machine()}"}
    if device.type == "cuda":
        cudnn: Any = torch.backends.cudnn
        facts |= {"cuda": torch.version.cuda, "cudnn": cudnn.version()}
    for library in LIBRARIES:
        try:
            facts[library] = version(library)
        except PackageNotFoundError:
            continue
    return Environment.model_validate(facts | more)


def _linux() -> bool:
    return sys.platform.startswith("linux")


def _processor() -> str:
    path = Path("/proc/cpuinfo")
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def log(text: str) -> None:
    """Print a progress message to standard error."""
    print(text, file=sys.stderr, flush=True)
