"""CBAM with ECA's channel gate."""

from __future__ import annotations

import torch
from torch.types import Device

from fer_attention.attention.base import ATTENTIONS, Start
from fer_attention.attention.cbam import CBAMSpatialGate, SequentialGate
from fer_attention.attention.eca import ECABlock
from fer_attention.attention.fused.choice import Implementation
from fer_attention.attention.fusible import GateFormula
from fer_attention.attention.parts import odd_kernel


@ATTENTIONS.register("ecbam")
class ECBAM(SequentialGate):
    """CBAM with ECA's channel gate (proposed beside Miskow and Altahhan 2022, arXiv:2410.17740).

    ECA's gate (Wang et al. 2020, arXiv:1910.03151, eq. 9 and 12) on the mean of each channel replaces
    CBAM's MLP. CBAM's spatial gate (Woo et al. 2018, arXiv:1807.06521, eq. 3) follows on the refined map.

    The proposal, a sentence in the first author's dissertation, does not define the input of the channel
    gate. Here it is the mean alone, as in ECA; CBAM's MLP also reads the maximum.

    Shape: (N, C, H, W) -> (N, C, H, W). One scale in (0, 1) per value, the product of both gates' scales.

    `kernel_size` is CBAM's option; `eca_kernel_size`, `eca_gamma` and `eca_b` are those of `ECABlock`,
    `start` is that of both gates.

    >>> ECBAM(64, eca_kernel_size=5).maps(torch.rand(2, 64, 12, 12))["spatial"].shape
    torch.Size([2, 1, 12, 12])
    """

    title = "ECBAM"
    summary = "CBAM with ECA's channel gate instead of its perceptron"

    def __init__(
        self,
        channels: int,
        *,
        kernel_size: int = 7,
        eca_kernel_size: int | None = None,
        eca_gamma: float = 2,
        eca_b: float = 1,
        start: Start = "published",
        implementation: Implementation = "auto",
        device: Device = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        if eca_kernel_size is not None:
            odd_kernel(eca_kernel_size, option="eca_kernel_size")
        channel = ECABlock(
            channels,
            kernel_size=eca_kernel_size,
            gamma=eca_gamma,
            b=eca_b,
            start=start,
            implementation="plain",
            device=device,
            dtype=dtype,
        )
        spatial = CBAMSpatialGate(channels, kernel_size=kernel_size, start=start, device=device, dtype=dtype)
        super().__init__(channel, spatial, start=start, implementation=implementation)

    def channel_formula(self) -> GateFormula | None:
        """Return the channel gate as the fused step computes it."""
        if type(self) is not ECBAM or not isinstance(self.channel, ECABlock):
            return None
        return self.channel.formula()
