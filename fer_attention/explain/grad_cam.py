"""Class activation maps, computed by pytorch-grad-cam."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal, TypeAlias

import torch
from torch import nn

from fer_attention.explain.attention_maps import check_images
from fer_attention.inference import evaluation_mode
from fer_attention.optional import needs_extra
from fer_attention.registry import check_choice, unknown_name

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
    """Compute class activation maps (Selvaraju et al. 2017, arXiv:1610.02391).

    By default the last feature map before pooling is explained, including the final norm and the last
    attention block. This needs timm's `forward_features` and `forward_head`, which our models have. That map
    is coarse: 2×2 to 6×6 positions for a face of 48×48 pixels, depending on the stem. LayerCAM, whose
    per-position weights also suit early layers, defaults to the finer map of the first stage
    (`feature_info[1]`). The model's modes, gradients (`.grad`), hooks and the random state are restored, also
    after an error.

    >>> from fer_attention import create_model
    >>> model = create_model("resnetv2_18_eca_elu", width=0.25, stem="half")
    >>> maps = grad_cam(model, torch.randn(2, 1, 48, 48), target=3)
    >>> tuple(maps.shape), 0 <= float(maps.min()) <= float(maps.max()) <= 1
    ((2, 48, 48), True)

    Args:
        model: A CNN with logits (N, classes).
        images: (N, in_chans, H, W), normalised, on the model's device.
        target: Index of the class to explain, for all images or for each; None is the most probable class.
        layer: Dotted name of a layer whose output is a map (N, C, h, w), such as `"layer3"`.
        method: `"gradcam"`, `"gradcam++"` (arXiv:1710.11063), `"hirescam"` (arXiv:2011.08891), `"xgradcam"`
            (arXiv:2008.02312), `"layercam"` (Jiang et al. 2021), or `"eigencam"` (arXiv:2008.00299), which is
            independent of the class.
        batch_size: Images per pass.

    Returns:
        float32 (N, H, W) in [0, 1] on the CPU, each map scaled by its minimum and maximum; all 0 if no
        position contributes to the class.

    Raises:
        UnknownNameError: The layer or the method does not exist.
        ValueError: There are no images, a target is not a class, or the layer's output is not a map.
        ImportError: grad-cam is not installed: `fer_attention[explain]`.
    """
    method = check_method(method)
    check_images(images)
    with needs_extra("explain", "Class activation maps need grad-cam"):
        import pytorch_grad_cam

    levels = getattr(model, "feature_info", None) or []
    if layer is None and method == "layercam" and len(levels) > 1:
        layer = str(levels[1]["module"])
    wrapped, target_layer = _with_target_layer(model, layer)
    targets = _targets(target, len(images))
    parts: list[torch.Tensor] = []
    with _prepared(model, images):
        cam = getattr(pytorch_grad_cam, CLASSES[method])(wrapped, [target_layer])
        cam.compute_input_gradient = True  # the parameters require none
        try:  # not `with cam`, which swallows an IndexError
            for start in range(0, len(images), batch_size):
                batch = images[start : start + batch_size].clone()  # inference tensors have no gradient
                chosen = targets and targets[start : start + batch_size]
                parts.append(torch.from_numpy(_compute_maps(cam, batch, chosen, layer)).float())
        finally:
            cam.activations_and_grads.release()
    return torch.cat(parts)


def check_method(name: str) -> Method:
    """Check the name of a method, or raise an UnknownNameError."""
    if name not in CLASSES:
        raise unknown_name("method", name, CLASSES)
    return name


class _UpToHead(nn.Module):
    """A model whose last feature map is the output of a module, which VGG's sum is not."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model: Any = model
        self.last_map = nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.model.forward_head(self.last_map(self.model.forward_features(x)))
        return logits


def _with_target_layer(model: nn.Module, layer: str | None) -> tuple[nn.Module, nn.Module]:
    """Return the model to run, and its module whose output is the map."""
    if layer is not None:
        layers = dict(model.named_modules())
        layers.pop("")
        check_choice("layer", layer, layers)
        return model, layers[layer]
    if not (hasattr(model, "forward_features") and hasattr(model, "forward_head")):
        raise ValueError(
            f"{type(model).__name__} has no forward_features to take the last map from. Name the layer: "
            "grad_cam(model, images, layer='layer4')."
        )
    wrapped = _UpToHead(model)
    return wrapped, wrapped.last_map


def _targets(target: int | Sequence[int] | None, count: int) -> list[Any] | None:
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    if target is None:
        return None
    targets = [target] * count if isinstance(target, int) else [int(index) for index in target]
    if len(targets) != count:
        raise ValueError(
            f"target must be one class, or one per image; got {len(targets)} for {count} images."
        )
    return [ClassifierOutputTarget(index) for index in targets]


def _compute_maps(cam: Any, batch: torch.Tensor, targets: list[Any] | None, layer: str | None) -> Any:
    """Compute the maps of one batch, with clear errors for layers and classes that grad-cam cannot use."""
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
            f"The model calls {layer} {len(maps)} times; name a layer that it calls once."
        ) from failure
    if maps[0].ndim != 4:
        raise ValueError(
            f"{layer} has an output of shape {tuple(maps[0].shape)}; name a layer with maps (N, C, h, w)."
        ) from failure
    if failure is not None:
        raise failure
    return heat


@contextmanager
def _prepared(model: nn.Module, images: torch.Tensor) -> Iterator[None]:
    """Enter evaluation mode with gradients for the input only, and restore everything afterwards."""
    # checkpointed layers first run without gradients, which grad-cam would record
    checkpointed: list[Any] = [m for m in model.modules() if getattr(m, "grad_checkpointing", False)]
    parameters = list(model.parameters())
    saved = [(parameter.grad, parameter.requires_grad) for parameter in parameters]
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
            for parameter, (gradient, required) in zip(parameters, saved, strict=True):
                parameter.grad = gradient
                parameter.requires_grad_(required)
