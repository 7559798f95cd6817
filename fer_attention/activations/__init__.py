"""Activations by name, their exchange in any module tree, and their measured statistics."""

from fer_attention.activations.registry import ACTIVATIONS, create_activation

__all__ = ["ACTIVATIONS", "create_activation"]
