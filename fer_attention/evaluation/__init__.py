"""Measures of models: accuracy with intervals, and what a model costs."""

from fer_attention.evaluation.accuracy import Accuracy, accuracy, predict_logits, wilson_interval

__all__ = ["Accuracy", "accuracy", "predict_logits", "wilson_interval"]
