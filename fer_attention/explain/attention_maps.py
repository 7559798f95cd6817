"""Attention maps of a model's blocks, layer by layer."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import nn

from fer_attention.attention import ATTENTIONS, CONTROLS, AttentionBlock, watch_inputs
from fer_attention.inference import evaluation_mode


@dataclass(frozen=True)
class AttentionMap:
    """One part of what one block gave out.

    Attributes:
        layer: Dotted name of the block in its model; with `#2`, `#3`, … where one forward calls it again.
        kind: The block's registered name, such as `"cbam"`, or its class's.
        part: `"channel"`, `"spatial"` and `"full"` are factors; `"context"` shares that sum to 1 (`gc`).
        values: float32 on the CPU, (N, C, 1, 1), (N, 1, H, W), (N, C, H, W) or (N, 1, H, W).
        map_shape: (C, H, W) of the block's input.
    """

    layer: str
    kind: str
    part: str
    values: torch.Tensor
    map_shape: tuple[int, int, int]

    @property
    def channel(self) -> torch.Tensor | None:
        """(N, C), a full map's mean over the positions; None of a spatial or context map."""
        return self.values.mean((2, 3)) if self.part in ("channel", "full") else None

    @property
    def spatial(self) -> torch.Tensor | None:
        """(N, H, W), a full map's mean over the channels; None of a channel map."""
        return None if self.part == "channel" else self.values.mean(1)

    def of_image(self, index: int) -> AttentionMap:
        """The same for one image of the batch, N = 1."""
        return replace(self, values=self.values[index][None])


def attention_maps(model: nn.Module, images: torch.Tensor) -> list[AttentionMap]:
    """The attention maps of every block for some images, in the order in which the blocks run.

    The model runs in evaluation mode and gives what it gives unwatched, to the bit: no hook is set, so fused
    blocks stay fused (their maps are computed beside them, by their plain modules). Modes, gradients and
    buffers are afterwards as they were, also after an error. A compiled model runs uncompiled.

    Args:
        model: Any module tree with attention blocks: ours, or one that `add_attention` went over.
        images: (N, in_chans, H, W), normalised, on the model's device.

    Returns:
        One record for each block and part: `se`, `eca` and `gct` have "channel"; `cbam` and `ecbam` "channel"
        and "spatial"; `bam`, `coord`, `triplet`, `simam` and `sge` "full"; `gc` "context".

    Raises:
        ValueError: The model has no attention block, or there are no images.
    """
    names = _outermost_blocks(model)
    if not names:
        raise ValueError(
            f"{type(model).__name__} has no attention block. Models have them by name, such as "
            "'resnet50_cbam'; add_attention(model, 'cbam') puts them into any other."
        )
    check_images(images)
    found: list[AttentionMap] = []
    calls: dict[AttentionBlock, int] = {}

    def watch(block: AttentionBlock, x: torch.Tensor) -> None:
        if block not in names:
            return  # a gate within a block, whose maps are the block's parts
        calls[block] = calls.get(block, 0) + 1
        layer = names[block] + (f"#{calls[block]}" if calls[block] > 1 else "")
        for part, values in block.maps(x).items():
            kept = values.detach().to("cpu", torch.float32, copy=True)
            found.append(AttentionMap(layer, _kind(block), part, kept, (x.shape[1], x.shape[2], x.shape[3])))

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
    """Refuse, by a ValueError, what is no batch of at least one image."""
    if images.ndim != 4 or not images.numel():
        raise ValueError(f"Expected images (N, in_chans, H, W), at least one; got {tuple(images.shape)}.")


def _outermost_blocks(model: nn.Module) -> dict[AttentionBlock, str]:
    """The blocks that are not part of another, with their names."""
    blocks: dict[AttentionBlock, str] = {}
    for name, module in model.named_modules():  # a block comes before what is inside it
        if isinstance(module, AttentionBlock) and not any(name.startswith(f"{n}.") for n in blocks.values()):
            blocks[module] = name.removeprefix("_orig_mod.")
    return blocks


def _kind(block: AttentionBlock) -> str:
    """The name under which the block's class is registered."""
    names = (name for kinds in (ATTENTIONS, CONTROLS) for name in kinds if kinds[name] is type(block))
    return next(names, type(block).__name__)
