"""Attention-augmented CNNs for facial expression recognition.

Build VGG, ResNet and ResNetV2 with SE, ECA, CBAM and other attention blocks by name, or recognise the
expressions in a photo in two lines:

    from fer_attention import EmotionRecognizer, sample_photo
    print(EmotionRecognizer.from_pretrained().predict(sample_photo()))

Each public name imports its module, and with it torch, on first use.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from fer_attention.timm_names import follow_imports

__version__ = "0.1.0"

if TYPE_CHECKING:
    from fer_attention.activations import swap_activation
    from fer_attention.attention import CBAM, ECABlock, SEBlock, add_attention, create_attention
    from fer_attention.models import ModelSpec, build_model, create_model, list_models, list_pretrained
    from fer_attention.recognizer import EmotionRecognizer, FacePrediction
    from fer_attention.samples import sample_photo

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
    "sample_photo",
    "swap_activation",
]

_PARTS = {
    "activations": ("swap_activation",),
    "attention": ("CBAM", "ECABlock", "SEBlock", "add_attention", "create_attention"),
    "models": ("ModelSpec", "build_model", "create_model", "list_models", "list_pretrained"),
    "recognizer": ("EmotionRecognizer", "FacePrediction"),
    "samples": ("sample_photo",),
}

if not TYPE_CHECKING:  # a type checker would let every name pass

    def __getattr__(name: str) -> object:
        for part, names in _PARTS.items():
            if name in names:
                value = globals()[name] = getattr(import_module(f"fer_attention.{part}"), name)
                return value
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


follow_imports()
