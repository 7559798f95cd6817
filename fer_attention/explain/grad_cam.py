"""Class activation maps: which positions of the last map speak for a class, by pytorch-grad-cam."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal, TypeAlias

import torch
from torch import nn

from fer_attention.explain.attention_maps import check_images
from fer_attention.inference import evaluation_mode
from fer_attention.optional import needs_extra
from fer_attention.registry import unknown_name

Method: TypeAlias = Literal["gradcam", "gradcam++", "hirescam", "xgradcam", "layercam", "eigencam"]

CLASSES: dict[Method, str] = {
    "gradcam": "GradCAM",
    "gradcam++": "GradCAMPlusPlus",
    "hirescam": "HiResCAM",
    "xgradcam": "XGradCAM",
    "layercam": "LayerCAM",
    "eigencam": "EigenCAM",
}


def grad_cam(
    model: nn.Module,
    images: torch.Tensor,
    *,
    target: int | Sequence[int] | None = None,
    layer: str | None = None,
    method: Method = "gradcam",
    batch_size: int = 64,
) -> torch.Tensor:
    """Map the positions of each image that speak for a class (Selvaraju et al. 2017, arXiv:1610.02391).

    Without `layer` the map is the last one before pooling, with the final norm and the last attention block
    in it; models with timm's `forward_features` and `forward_head` have it, ours among them. It is coarse:
    2×2 to 6×6 positions for a face of 48×48 pixels, by stem. For LayerCAM, whose weights are one per
    position and hold in early layers, too, it is the first stage's (`feature_info[1]`), which is fine. The
    model's modes, gradients (`.grad`), hooks and the random state are afterwards as they were, also after an
    error.

    Args:
        model: A CNN that gives logits (N, classes).
        images: (N, in_chans, H, W), normalised, on the model's device.
        target: Index of the class, one for all or one for each image; None is each one's most probable.
        layer: Dotted name of a layer that gives out maps (N, C, h, w), such as `"layer3"`.
        method: `"gradcam"`; `"gradcam++"` (arXiv:1710.11063), `"hirescam"` (arXiv:2011.08891), `"xgradcam"`
            (arXiv:2008.02312), `"layercam"` (Jiang et al. 2021), or `"eigencam"` (arXiv:2008.00299), which
            knows no class.
        batch_size: Images per pass.

    Returns:
        float32 (N, H, W) in [0, 1] on the CPU, each image's scaled by its own least and largest value; all 0
        where no position speaks for the class.

    Raises:
        UnknownNameError: The model has no such layer, or there is no such method.
        ValueError: There are no images, a target is no class, or the layer gives out no map.
        ImportError: grad-cam is not installed.
    """
    method = check_method(method)
    check_images(images)
    with needs_extra("explain", "Class activation maps run on grad-cam"):
        import pytorch_grad_cam

    levels = getattr(model, "feature_info", None) or []
    if layer is None and method == "layercam" and len(levels) > 1:
        layer = str(levels[1]["module"])
    watched, target_layer = _watched(model, layer)
    targets = _targets(target, len(images))
    parts: list[torch.Tensor] = []
    with _borrowed(model, images):
        cam = getattr(pytorch_grad_cam, CLASSES[method])(watched, [target_layer])
        cam.compute_input_gradient = True  # the parameters ask for none
        try:  # not `with cam`, which prints an IndexError instead of raising it
            for start in range(0, len(images), batch_size):
                batch = images[start : start + batch_size].clone()  # one of inference mode has no gradient
                chosen = targets and targets[start : start + batch_size]
                parts.append(torch.from_numpy(_run(cam, batch, chosen, layer)).float())
        finally:
            cam.activations_and_grads.release()
    return torch.cat(parts)


def check_method(name: str) -> Method:
    """The name if it is one of the methods, else an UnknownNameError."""
    if name not in CLASSES:
        raise unknown_name("method", name, CLASSES)
    return name


class _UpToHead(nn.Module):
    """A model with its last map as a module, which it has nowhere else: VGG's is a sum."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model: Any = model
        self.last_map = nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.model.forward_head(self.last_map(self.model.forward_features(x)))
        return logits


def _watched(model: nn.Module, layer: str | None) -> tuple[nn.Module, nn.Module]:
    """The model to be run, and the module in it whose output is the map."""
    if layer is not None:
        layers = dict(model.named_modules())
        layers.pop("")
        if layer not in layers:
            raise unknown_name("layer", layer, layers)
        return model, layers[layer]
    if not (hasattr(model, "forward_features") and hasattr(model, "forward_head")):
        raise ValueError(
            f"{type(model).__name__} does not say where its last map is. Name the layer: "
            "grad_cam(model, images, layer='layer4')."
        )
    watched = _UpToHead(model)
    return watched, watched.last_map


def _targets(target: int | Sequence[int] | None, count: int) -> list[Any] | None:
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    if target is None:
        return None
    targets = [target] * count if isinstance(target, int) else [int(index) for index in target]
    if len(targets) != count:
        raise ValueError(f"target is one class or one for each image; got {len(targets)} for {count} images.")
    return [ClassifierOutputTarget(index) for index in targets]


def _run(cam: Any, batch: torch.Tensor, targets: list[Any] | None, layer: str | None) -> Any:
    """The maps of one batch; what grad-cam cannot work with becomes an error that says so."""
    heat, failure = None, None
    try:
        heat = cam(batch, targets)
    except (AttributeError, IndexError, ValueError) as error:
        failure = error
    maps, count = cam.activations_and_grads.activations, cam.outputs.shape[-1]
    if wrong := sorted({t.category for t in targets or () if not 0 <= t.category < count}):
        raise ValueError(f"Classes are 0 to {count - 1}; got {', '.join(map(str, wrong))}.") from failure
    if len(maps) != 1:
        raise ValueError(
            f"The model calls {layer} itself {len(maps)} times; name a layer that it calls once."
        ) from failure
    if maps[0].ndim != 4:
        raise ValueError(
            f"{layer} gives out {tuple(maps[0].shape)}; name a layer that gives out maps (N, C, h, w)."
        ) from failure
    if failure is not None:
        raise failure
    return heat


@contextmanager
def _borrowed(model: nn.Module, images: torch.Tensor) -> Iterator[None]:
    """Evaluation mode with gradients for the input alone; all as it was afterwards."""
    # checkpointed layers run first without gradients, where grad-cam would look at them
    checkpointed: list[Any] = [m for m in model.modules() if getattr(m, "grad_checkpointing", False)]
    parameters = list(model.parameters())
    kept = [(parameter.grad, parameter.requires_grad) for parameter in parameters]
    devices = [images.device] if images.is_cuda else []
    with (
        evaluation_mode(model),
        torch.inference_mode(False),
        torch.enable_grad(),
        torch.random.fork_rng(devices=devices),
        torch.compiler.set_stance("force_eager"),
    ):
        try:
            for parameter in parameters:
                parameter.grad = None  # grad-cam clears gradients
                parameter.requires_grad_(False)
            for module in checkpointed:
                module.grad_checkpointing = False
            yield
        finally:
            for module in checkpointed:
                module.grad_checkpointing = True
            for parameter, (gradient, wanted) in zip(parameters, kept, strict=True):
                parameter.grad = gradient
                parameter.requires_grad_(wanted)
