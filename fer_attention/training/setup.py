"""Parts of a run: the accelerator, the model it starts from, and facts about the machine."""

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
from fer_attention.training.batches import measured
from fer_attention.training.checkpoint import TrainingError
from fer_attention.training.config import TrainConfig

if TYPE_CHECKING:
    from accelerate import Accelerator
    from accelerate.state import PartialState

T = TypeVar("T")


def create_accelerator(
    config: TrainConfig, device: torch.device | str, output: Path
) -> tuple[Accelerator, str]:
    """Accelerate on this machine, one CPU or GPU or all processes of torchrun, and its precision.

    Raises:
        ImportError: accelerate or a tracker is not installed.
        TrainingError: float16 is asked for on the CPU.
    """
    with needs_extra("train", "Training runs on accelerate"):
        from accelerate import Accelerator  # noqa: PLC0415  (optional, loaded where it is used)
        from accelerate.state import AcceleratorState, PartialState  # noqa: PLC0415
        from accelerate.tracking import get_available_trackers  # noqa: PLC0415
    present = [str(getattr(tracker, "value", tracker)) for tracker in get_available_trackers()]
    if missing := sorted(set(config.trackers) - set(present)):
        raise ImportError(
            f"Trackers not installed: {', '.join(missing)}; installed: {', '.join(present) or 'none'}. "
            "tensorboard comes with fer_attention[train]; trackers=[] goes without."
        )
    resolved = resolve_device(device)
    if resolved.type == "cpu" and config.precision == "float16":
        raise TrainingError("float16 trains on GPUs only; take precision=bfloat16 or float32 on the CPU.")
    if resolved.type == "cuda" and resolved.index is not None:
        torch.cuda.set_device(resolved)
    several = int(os.environ.get("WORLD_SIZE", "1")) > 1
    AcceleratorState._reset_state(reset_partial_state=not several)  # else a second run keeps the first's
    cpu = resolved.type == "cpu"
    precision = resolve_precision(config, resolved)
    if several:
        state = PartialState(cpu=cpu)
        atexit.register(state.destroy_process_group)
        precision = of_main(precision, state)
    accelerator = Accelerator(
        cpu=cpu,
        mixed_precision={"float32": "no", "bfloat16": "bf16", "float16": "fp16"}[precision],
        dynamo_backend="inductor" if config.compile else "no",
        log_with=list(config.trackers) or None,
        project_dir=output,
    )
    return accelerator, precision


def resolve_precision(config: TrainConfig, device: torch.device) -> str:
    """The precision that a run takes on a device."""
    return fastest_precision(device) if config.precision == "auto" else config.precision


def of_main(value: T, state: Accelerator | PartialState) -> T:
    """The main process's value, in all of them: what decides how they go on must not differ."""
    if state.num_processes == 1:
        return value
    from accelerate.utils import broadcast_object_list  # noqa: PLC0415  (optional)

    values = [value]
    broadcast_object_list(values)
    return values[0]


def create_start(config: TrainConfig, training: FaceDataset) -> FERModel:
    """The model that a run starts from, with the labels and the preprocessing of its data.

    Raises:
        TrainingError: The weights are of another model than the config's.
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
        raise TrainingError(f"Faces are grey or RGB: in_chans is 1 or 3, got {channels}.")
    unit = Preprocessing(spec.input_size[1:], channels, mean=(0.0,) * channels, std=(1.0,) * channels)
    model.preprocessing = unit if config.normalization == "unit" else measured(unit, training)
    model.labels = training.label_names
    return model


def _from_weights(config: TrainConfig, training: FaceDataset) -> FERModel:
    model = load_weights(weights_path(str(config.weights)))
    if model.spec.name != config.spec().name:
        raise TrainingError(
            f"{config.weights} holds a {model.spec.name}; got model={config.model}. Set "
            f"model={model.spec.name}, or weights=null to start anew."
        )
    if model.labels != training.label_names:
        _relabel(model, training.label_names, seed=config.seed_of("initialisation"))
    return model


def _relabel(model: FERModel, labels: tuple[str, ...], *, seed: int) -> None:
    """Give the model a classifier for other labels; what it knows of shared ones is kept."""
    before: Any = model.get_classifier()
    known = model.labels or ()  # which the reset forgets
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
    """Images that a run trains and selects on, with those that its start weights and teachers have seen.

    Weights whose record does not say what they have seen add nothing.
    """
    seen = SeenImages.of(training, validation)
    for source in (config.weights, *config.teachers):
        if source is not None:
            before = SeenImages.from_record(read_metadata(weights_path(source)).record)
            seen = seen if before is None else seen | before
    return seen


def freeze(model: nn.Module, names: tuple[str, ...]) -> list[nn.Module]:
    """Take submodules out of training; gives those whose statistics are to stay as well."""
    frozen = []
    for name in names:
        try:
            module = model.get_submodule(name)
        except AttributeError as error:
            known = [path for path, _ in model.named_modules() if path and path.count(".") < 2]
            raise TrainingError(f"freeze: no submodule {name!r}; there are {', '.join(known)}.") from error
        module.requires_grad_(False)
        frozen.append(module)
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise TrainingError("freeze: nothing is left to train.")
    return frozen


def environment(device: torch.device, processes: int, *, precision: str | None = None) -> dict[str, Any]:
    """Record versions, machine, threads and precision, on which numbers depend besides the config."""
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
