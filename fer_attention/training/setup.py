"""Setup of a run: accelerator, initial model, seen images, and facts about the machine."""

from __future__ import annotations

import atexit
import os
import platform
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import timm
import torch
from torch import nn

import fer_attention
from fer_attention.data import FaceDataset, SeenImages
from fer_attention.device import resolve_device
from fer_attention.emotions import label_map
from fer_attention.models import FERModel, load_weights, read_metadata
from fer_attention.models.backbone_weights import fill_backbone
from fer_attention.models.bundled import weights_path
from fer_attention.models.factory import from_spec
from fer_attention.optional import needs_extra
from fer_attention.training.batches import measure_normalization
from fer_attention.training.checkpoint import TrainingError
from fer_attention.training.config import TrainConfig
from fer_attention.training.precision import resolve_precision

if TYPE_CHECKING:
    from accelerate import Accelerator
    from accelerate.state import PartialState

T = TypeVar("T")


def check_device(config: TrainConfig, device: torch.device | str) -> torch.device:
    """Check that a config can be trained on a device with the libraries that are installed.

    Raises:
        ImportError: accelerate or a tracker is not installed.
        TrainingError: The precision does not fit the CPU.
        ValueError: There is no such device.
    """
    with needs_extra("train", "Training runs on accelerate"):
        from accelerate.tracking import get_available_trackers  # noqa: PLC0415  (optional, loaded on use)
    present = [str(getattr(tracker, "value", tracker)) for tracker in get_available_trackers()]
    if missing := sorted(set(config.trackers) - set(present)):
        raise ImportError(
            f"Trackers not installed: {', '.join(missing)}; installed: {', '.join(present) or 'none'}. "
            "fer_attention[train] installs tensorboard; trackers=[] disables tracking."
        )
    resolved = resolve_device(device)
    if config.precision != "auto":
        resolve_precision(config, resolved)
    return resolved


def create_accelerator(
    config: TrainConfig, device: torch.device | str, output: Path
) -> tuple[Accelerator, str]:
    """Create the accelerator, on one CPU or GPU or all processes of torchrun, and choose its precision.

    Raises:
        ImportError: accelerate or a tracker is not installed.
        TrainingError: The precision does not fit the CPU.
    """
    resolved = check_device(config, device)
    from accelerate import Accelerator  # noqa: PLC0415  (optional, loaded where it is used)
    from accelerate.state import AcceleratorState, PartialState  # noqa: PLC0415

    if resolved.type == "cuda" and resolved.index is not None:
        torch.cuda.set_device(resolved)
    several = int(os.environ.get("WORLD_SIZE", "1")) > 1
    AcceleratorState._reset_state(
        reset_partial_state=not several
    )  # else a second run would reuse the first one's
    cpu = resolved.type == "cpu"
    precision = resolve_precision(config, resolved)
    if several:
        state = PartialState(cpu=cpu)
        atexit.register(state.destroy_process_group)
        precision = from_main_process(precision, state)
    accelerator = Accelerator(
        cpu=cpu,
        mixed_precision={"float32": "no", "bfloat16": "bf16", "float16": "fp16"}[precision],
        dynamo_backend="inductor" if config.compile else "no",
        log_with=list(config.trackers) or None,
        project_dir=output,
    )
    return accelerator, precision


def from_main_process(value: T, state: Accelerator | PartialState) -> T:
    """Broadcast the main process's value, for decisions that all processes must share."""
    if state.num_processes == 1:
        return value
    from accelerate.utils import broadcast_object_list  # noqa: PLC0415  (optional)

    values = [value]
    broadcast_object_list(values)
    return values[0]


def create_initial_model(config: TrainConfig, training: FaceDataset) -> FERModel:
    """Create the initial model of a run, with the labels and the preprocessing of its data.

    Raises:
        TrainingError: The weights belong to another model than the config's.
    """
    model = build_model_of(config, training.label_names)
    if config.weights is None:
        assert model.preprocessing is not None  # noqa: S101  (for the type checker)
        channels = model.spec.in_chans
        unit = replace(model.preprocessing, mean=(0.0,) * channels, std=(1.0,) * channels)
        measured = config.normalization == "measured"
        model.preprocessing = measure_normalization(unit, training) if measured else unit
    return model


def input_form(config: TrainConfig) -> tuple[tuple[int, int], int]:
    """Return the size (H, W) and the channels of the images that a config's model takes."""
    if config.weights is not None:
        preprocessing = read_metadata(weights_path(config.weights)).preprocessing
        return preprocessing.size, preprocessing.channels
    channels, *size = config.spec().input_size
    return (size[0], size[1]), channels


def build_model_of(config: TrainConfig, labels: tuple[str, ...]) -> FERModel:
    """Build the initial model of a config for these labels; without weights, its normalisation is not final.

    Raises:
        TrainingError: The weights belong to another model than the config's.
    """
    if config.weights is not None:
        return _from_weights(config, labels)
    spec = config.spec(num_classes=len(labels))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed_of("initialisation"))
        model = from_spec(spec)
    if config.backbone_weights is not None:
        fill_backbone(model, config.backbone_weights)
    model.labels = labels
    return model


def _from_weights(config: TrainConfig, labels: tuple[str, ...]) -> FERModel:
    model = load_weights(weights_path(str(config.weights)))
    if model.spec.name != config.spec().name:
        raise TrainingError(
            f"{config.weights} contains a {model.spec.name}; got model={config.model}. Set "
            f"model={model.spec.name}, or weights=null to train from scratch."
        )
    if model.labels != labels:
        _relabel(model, labels, seed=config.seed_of("initialisation"))
    return model


def _relabel(model: FERModel, labels: tuple[str, ...], *, seed: int) -> None:
    """Replace the classifier by one for other labels, keeping the rows of shared ones."""
    before: Any = model.get_classifier()
    known = model.labels or ()  # cleared by the reset
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model.reset_classifier(len(labels))
    after: Any = model.get_classifier()
    with torch.no_grad():
        for new, old in label_map(labels, known).items():
            if old is not None:
                after.weight[new], after.bias[new] = before.weight[old], before.bias[old]
    model.labels = labels


def seen_images(config: TrainConfig, training: FaceDataset, validation: FaceDataset) -> SeenImages:
    """Collect the images of training and selection, and those that start weights and teachers have seen.

    Weights whose record lacks their seen images add nothing.
    """
    seen = SeenImages.of(training, validation)
    for before in _seen_before(config):
        seen = seen | before
    return seen


def leakage_warning(config: TrainConfig, training: FaceDataset, validation: FaceDataset) -> str | None:
    """Return a warning if start weights or teachers were trained on images that select the epoch."""
    known = np.zeros(len(validation), dtype=bool)
    for before in _seen_before(config):
        known |= before.trained_on(validation)
    if not (known & ~validation.seen_in(training)).any():  # copies are part of the data's own splits
        return None
    return (
        f"{known.sum()} of the {len(validation)} images that select the epoch trained the start weights or a "
        "teacher, so the selection is optimistic. Use the fold that they were trained on."
    )


def _seen_before(config: TrainConfig) -> list[SeenImages]:
    sources = [source for source in (config.weights, *config.teachers) if source is not None]
    found = (SeenImages.from_record(read_metadata(weights_path(source)).record) for source in sources)
    return [seen for seen in found if seen is not None]


def freeze(model: nn.Module, names: tuple[str, ...]) -> list[nn.Module]:
    """Exclude submodules from training, and return them, since their statistics must not change either.

    Raises:
        TrainingError: There is no such submodule, or no trainable parameter is left.
    """
    frozen = []
    for name in names:
        try:
            module = model.get_submodule(name)
        except AttributeError as error:
            known = [path for path, _ in model.named_modules() if path and path.count(".") < 2]
            raise TrainingError(f"freeze: no submodule {name!r}; known: {', '.join(known)}.") from error
        module.requires_grad_(False)
        frozen.append(module)
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise TrainingError("freeze: no trainable parameter is left; freeze fewer submodules.")
    return frozen


def environment(device: torch.device, processes: int, *, precision: str | None = None) -> dict[str, Any]:
    """Return versions, machine, threads and precision, which affect results besides the config."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()
    return {
        "fer_attention": fer_attention.__version__,
        "torch": torch.__version__,
        "timm": timm.__version__,
        "python": platform.python_version(),
        "device": f"{device.type}: {name}",
        "processes": processes,
        "threads": torch.get_num_threads(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        **({} if precision is None else {"precision": precision}),
    }
