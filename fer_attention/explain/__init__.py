"""Attention maps, class activation maps, panels of both, and measures of faithfulness."""

from fer_attention.explain.attention_maps import AttentionMap, attention_maps
from fer_attention.explain.drawing import overlay
from fer_attention.explain.faces import Explanation, explain_faces, explain_predictions
from fer_attention.explain.faithfulness import Advantage, Faithfulness, faithfulness, perturbation_curves
from fer_attention.explain.grad_cam import grad_cam
from fer_attention.explain.panel import explanation_panel

__all__ = [
    "Advantage",
    "AttentionMap",
    "Explanation",
    "Faithfulness",
    "attention_maps",
    "explain_faces",
    "explain_predictions",
    "explanation_panel",
    "faithfulness",
    "grad_cam",
    "overlay",
    "perturbation_curves",
]
