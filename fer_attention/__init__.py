"""Attention-augmented CNNs for facial expression recognition.

SE, ECA, CBAM and other attention blocks in VGG, ResNet and ResNetV2, with ReLU or ELU, one name away; and
from a photo to its faces' expressions in two lines:

    from fer_attention import EmotionRecognizer
    print(EmotionRecognizer.from_pretrained().predict("photo.jpg"))
"""

__version__ = "0.1.0"

from fer_attention.activations import swap_activation
from fer_attention.attention import CBAM, ECABlock, SEBlock, add_attention, create_attention
from fer_attention.models import ModelSpec, build_model, create_model, list_models, list_pretrained
from fer_attention.recognizer import EmotionRecognizer, FacePrediction

__all__ = [
    "CBAM",
    "ECABlock",
    "EmotionRecognizer",
    "FacePrediction",
    "ModelSpec",
    "SEBlock",
    "add_attention",
    "build_model",
    "create_attention",
    "create_model",
    "list_models",
    "list_pretrained",
    "swap_activation",
]
