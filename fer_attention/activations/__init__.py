"""Activations by name, their exchange in any module tree, and their measured statistics."""

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
