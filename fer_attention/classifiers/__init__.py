"""Classifiers of face crops: one protocol for PyTorch models, ONNX files and your own."""

from fer_attention.classifiers.base import Classifier, Pixels
from fer_attention.classifiers.loading import load_classifier
from fer_attention.classifiers.onnx_classifier import OnnxClassifier
from fer_attention.classifiers.torch_classifier import TorchClassifier, as_classifier

__all__ = [
    "Classifier",
    "OnnxClassifier",
    "Pixels",
    "TorchClassifier",
    "as_classifier",
    "load_classifier",
]
