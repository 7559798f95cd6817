"""Activations by name, their replacement in any model, and statistics of their outputs."""

from fer_attention.activations.registry import ACTIVATIONS, create_activation
from fer_attention.activations.statistics import ActivationStatistics, activation_statistics
from fer_attention.activations.swap import swap_activation

__all__ = [
    "ACTIVATIONS",
    "ActivationStatistics",
    "activation_statistics",
    "create_activation",
    "swap_activation",
]
