"""Measures of models: accuracy with intervals, calibration, agreement with voters, and cost.

`evaluate` measures a model on a split of a data set; everything else here is a part of it.
"""

from fer_attention.evaluation.accuracy import Accuracy, accuracy, wilson_interval
from fer_attention.evaluation.calibrate import calibrate, fit_temperature, fit_threshold
from fer_attention.evaluation.complexity import Complexity, complexity, paper_parameters
from fer_attention.evaluation.crops import match_labels, predict_crops
from fer_attention.evaluation.crowd import CrowdAgreement, crowd_agreement
from fer_attention.evaluation.doubt import Doubt, measure_doubt
from fer_attention.evaluation.evaluate import ALL, NEW, Evaluation, evaluate
from fer_attention.evaluation.metrics import (
    ClassificationMetrics,
    ClassMetrics,
    Confusion,
    classification_metrics,
)
from fer_attention.evaluation.reliability import Reliability, reliability
from fer_attention.evaluation.report import EvaluationReport, library_versions
from fer_attention.evaluation.tta import VIEWS, tta_probabilities

__all__ = [
    "ALL",
    "NEW",
    "VIEWS",
    "Accuracy",
    "ClassMetrics",
    "ClassificationMetrics",
    "Complexity",
    "Confusion",
    "CrowdAgreement",
    "Doubt",
    "Evaluation",
    "EvaluationReport",
    "Reliability",
    "accuracy",
    "calibrate",
    "classification_metrics",
    "complexity",
    "crowd_agreement",
    "evaluate",
    "fit_temperature",
    "fit_threshold",
    "library_versions",
    "match_labels",
    "measure_doubt",
    "paper_parameters",
    "predict_crops",
    "reliability",
    "tta_probabilities",
    "wilson_interval",
]
