"""Setup of a run: accelerator, initial model, seen images, and facts about the machine."""

from __future__ import annotations

import atexit
import os
import platform
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import timm
import torch
from torch import nn

import fer_attention
from fer_attention.data import FaceDataset, SeenImages
from fer_attention.device import fastest_precision, resolve_device
from fer_attention.emotions import label_map
from fer_attention.models import FERModel, load_weights, read_metadata
from fer_attention.models.backbone_weights import fill_backbone
from fer_attention.models.bundled import weights_path
from fer_attention.models.factory import from_spec
from fer_attention.optional import needs_extra
from fer_attention.preprocessing import Preprocessing
from fer_attention.training.batches import measure_normalization
from fer_attention.training.checkpoint import TrainingError
from fer_attention.training.config import TrainConfig

if TYPE_CHECKING:
    from accelerate import Accelerator
    from accelerate.state import PartialState

T = TypeVar("T")


def create_accelerator(
    config: TrainConfig, device: torch.device | str, output: Path
) -> tuple[Accelerator, str]:
    """Create the accelerator, on one CPU or GPU or all processes of torchrun, and choose its precision.

    Raises:
        ImportError: accelerate or a tracker is not installed.
        TrainingError: The precision is float16 on the CPU.
    """
    with needs_extra("train", "Training runs on accelerate"):
        from accelerate import Accelerator  # noqa: PLC0415  (optional, loaded where it is used)
        from accelerate.state import AcceleratorState, PartialState  # noqa: PLC0415
        from accelerate.tracking import get_available_trackers  # noqa: PLC0415
    present = [str(getattr(tracker, "value", tracker)) for tracker in get_available_trackers()]
    if missing := sorted(set(config.trackers) - set(present)):
        raise ImportError(
            f"Trackers not installed: {', '.join(missing)}; installed: {', '.join(present) or 'none'}. "
            "fer_attention[train] installs tensorboard; trackers=[] disables tracking."
        )
    resolved = resolve_device(device)
    if resolved.type == "cpu" and config.precision == "float16":
        raise TrainingError("float16 trains on GPUs only; use precision=bfloat16 or float32 on the CPU.")
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


def resolve_precision(config: TrainConfig, device: torch.device) -> str:
    """Return the precision of a run on a device."""
    return fastest_precision(device) if config.precision == "auto" else config.precision


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
        TrainingError: The weights belong to another model than the config's, or the number of channels is
            neither 1 nor 3.
    """
    if config.weights is not None:
        return _from_weights(config, training)
    spec = config.spec(num_classes=len(training.label_names))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed_of("initialisation"))
        model = from_spec(spec)
    if config.backbone_weights is not None:
        fill_backbone(model, config.backbone_weights)
    channels = spec.in_chans
    if channels not in (1, 3):
        raise TrainingError(f"Faces are grey or RGB: in_chans must be 1 or 3; got {channels}.")
    unit = Preprocessing(spec.input_size[1:], channels, mean=(0.0,) * channels, std=(1.0,) * channels)
    model.preprocessing = unit if config.normalization == "unit" else measure_normalization(unit, training)
    model.labels = training.label_names
    return model


def _from_weights(config: TrainConfig, training: FaceDataset) -> FERModel:
    model = load_weights(weights_path(str(config.weights)))
    if model.spec.name != config.spec().name:
        raise TrainingError(
            f"{config.weights} contains a {model.spec.name}; got model={config.model}. Set "
            f"model={model.spec.name}, or weights=null to train from scratch."
        )
    if model.labels != training.label_names:
        _relabel(model, training.label_names, seed=config.seed_of("initialisation"))
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
    for source in (config.weights, *config.teachers):
        if source is not None:
            before = SeenImages.from_record(read_metadata(weights_path(source)).record)
            seen = seen if before is None else seen | before
    return seen


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
