"""Attention blocks, by name and for any CNN; `base.py` states their contract."""

from fer_attention.attention.bam import BAM
from fer_attention.attention.base import (
    ATTENTIONS,
    CONTROLS,
    AttentionBlock,
    AttentionGate,
    SigmoidGate,
    attention_options,
    check_attention_options,
    create_attention,
)
from fer_attention.attention.cbam import CBAM, CBAMChannelGate, CBAMSpatialGate
from fer_attention.attention.controls import ConstantGate, HalfGate
from fer_attention.attention.coord import CoordAttention
from fer_attention.attention.eca import ECABlock, eca_kernel_size
from fer_attention.attention.ecbam import ECBAM
from fer_attention.attention.gc import GCBlock
from fer_attention.attention.gct import GCTBlock
from fer_attention.attention.insertion import add_attention
from fer_attention.attention.se import SEBlock
from fer_attention.attention.sge import SGEBlock
from fer_attention.attention.simam import SimAM
from fer_attention.attention.triplet import TripletAttention
from fer_attention.attention.watching import watch_inputs

__all__ = [
    "ATTENTIONS",
    "BAM",
    "CBAM",
    "CONTROLS",
    "ECBAM",
    "AttentionBlock",
    "AttentionGate",
    "CBAMChannelGate",
    "CBAMSpatialGate",
    "ConstantGate",
    "CoordAttention",
    "ECABlock",
    "GCBlock",
    "GCTBlock",
    "HalfGate",
    "SEBlock",
    "SGEBlock",
    "SigmoidGate",
    "SimAM",
    "TripletAttention",
    "add_attention",
    "attention_options",
    "check_attention_options",
    "create_attention",
    "eca_kernel_size",
    "watch_inputs",
]
