"""Measures of models: accuracy with intervals, and what a model costs."""

from fer_attention.evaluation.accuracy import Accuracy, accuracy, predict_logits, wilson_interval
from fer_attention.evaluation.complexity import Complexity, complexity, paper_parameters

__all__ = [
    "Accuracy",
    "Complexity",
    "accuracy",
    "complexity",
    "paper_parameters",
    "predict_logits",
    "wilson_interval",
]
