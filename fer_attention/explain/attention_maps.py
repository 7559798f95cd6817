"""Attention maps of a model's blocks, by layer."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import nn

from fer_attention.attention import ATTENTIONS, CONTROLS, AttentionBlock, watch_inputs
from fer_attention.inference import evaluation_mode


@dataclass(frozen=True)
class AttentionMap:
    """One part of a block's attention for a batch of images.

    Attributes:
        layer: Dotted name of the block in its model, with `#2`, `#3`, … for repeated calls in a forward pass.
        kind: Registered name of the block, such as `"cbam"`, or the name of its class.
        part: `"channel"`, `"spatial"` and `"full"` are factors; `"context"` (`gc`) are shares that sum to 1.
        values: float32 on the CPU: channel (N, C, 1, 1), spatial and context (N, 1, H, W), full (N, C, H, W).
        map_shape: (C, H, W) of the block's input.

    >>> found = AttentionMap("layer1.0.attn", "bam", "full", torch.ones(2, 8, 6, 6), map_shape=(8, 6, 6))
    >>> tuple(found.channel.shape), tuple(found.spatial.shape)
    ((2, 8), (2, 6, 6))
    """

    layer: str
    kind: str
    part: str
    values: torch.Tensor
    map_shape: tuple[int, int, int]

    @property
    def channel(self) -> torch.Tensor | None:
        """Channel attention (N, C), for a full map its mean over positions; None for other maps."""
        return self.values.mean((2, 3)) if self.part in ("channel", "full") else None

    @property
    def spatial(self) -> torch.Tensor | None:
        """Spatial attention (N, H, W), for a full map its mean over channels; None for a channel map."""
        return None if self.part == "channel" else self.values.mean(1)

    def of_image(self, index: int) -> AttentionMap:
        """Return the map of one image of the batch, N = 1."""
        return replace(self, values=self.values[index][None])


def attention_maps(model: nn.Module, images: torch.Tensor) -> list[AttentionMap]:
    """Compute the attention maps of all blocks for some images, in the order of execution.

    The model runs in evaluation mode, and its logits are bit-identical to those of a normal forward pass: no
    hooks are set, so fused blocks stay fused, and their plain modules compute the maps separately. Modes,
    gradients and buffers are restored, also after an error. A compiled model runs uncompiled.

    >>> from fer_attention import create_model
    >>> model = create_model("resnet18_cbam", width=0.25)
    >>> found = attention_maps(model, torch.randn(2, 1, 48, 48))
    >>> found[0].layer, [record.part for record in found[:2]], tuple(found[0].values.shape)
    ('layer1.0.attn', ['channel', 'spatial'], (2, 16, 1, 1))

    Args:
        model: Any model with attention blocks, ours or one changed by `add_attention`.
        images: (N, in_chans, H, W), normalised, on the model's device.

    Returns:
        One record per block and part: `se`, `eca` and `gct` have "channel"; `cbam` and `ecbam` "channel" and
        "spatial"; `bam`, `coord`, `triplet`, `simam` and `sge` "full"; `gc` "context".

    Raises:
        ValueError: The model has no attention block, or there are no images.
    """
    names = _outermost_blocks(model)
    if not names:
        raise ValueError(
            f"{type(model).__name__} has no attention block. Create a model with attention, such as "
            "'resnet50_cbam', or insert blocks with add_attention(model, 'cbam')."
        )
    check_images(images)
    found: list[AttentionMap] = []
    calls: dict[AttentionBlock, int] = {}

    def watch(block: AttentionBlock, x: torch.Tensor) -> None:
        if block not in names:
            return  # a gate inside a block, which reports its maps
        calls[block] = calls.get(block, 0) + 1
        layer = names[block] + (f"#{calls[block]}" if calls[block] > 1 else "")
        registered = (
            name for kinds in (ATTENTIONS, CONTROLS) for name in kinds if kinds[name] is type(block)
        )
        kind = next(registered, type(block).__name__)
        for part, values in block.maps(x).items():
            copied = values.detach().to("cpu", torch.float32, copy=True)
            found.append(AttentionMap(layer, kind, part, copied, (x.shape[1], x.shape[2], x.shape[3])))

    with (
        evaluation_mode(model),
        torch.no_grad(),
        torch.random.fork_rng(devices=[images.device] if images.is_cuda else []),
        torch.compiler.set_stance("force_eager"),
        watch_inputs(watch),
    ):
        model(images)
    return found


def check_images(images: torch.Tensor) -> None:
    """Check that the images are a batch (N, in_chans, H, W) with N ≥ 1, or raise a ValueError."""
    if images.ndim != 4 or not images.numel():
        raise ValueError(f"Expected images (N, in_chans, H, W), at least one; got {tuple(images.shape)}.")


def _outermost_blocks(model: nn.Module) -> dict[AttentionBlock, str]:
    """Return the blocks that are not inside another block, with their names."""
    blocks: dict[AttentionBlock, str] = {}
    for name, module in model.named_modules():  # a block precedes its submodules
        if isinstance(module, AttentionBlock) and not any(name.startswith(f"{n}.") for n in blocks.values()):
            blocks[module] = name.removeprefix("_orig_mod.")
    return blocks
