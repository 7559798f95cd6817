"""Attention blocks (the contract is at the top of `base.py`), by name and for any CNN."""

from fer_attention.attention.base import (
    ATTENTIONS,
    AttentionGate,
    attention_options,
    check_attention_options,
    create_attention,
)
from fer_attention.attention.cbam import CBAM, CBAMChannelGate, CBAMSpatialGate
from fer_attention.attention.eca import ECABlock, eca_kernel_size
from fer_attention.attention.insertion import add_attention
from fer_attention.attention.se import SEBlock

__all__ = [
    "ATTENTIONS",
    "CBAM",
    "AttentionGate",
    "CBAMChannelGate",
    "CBAMSpatialGate",
    "ECABlock",
    "SEBlock",
    "add_attention",
    "attention_options",
    "check_attention_options",
    "create_attention",
    "eca_kernel_size",
]
