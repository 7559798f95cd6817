"""Models by name: VGG, ResNet and ResNetV2 with any attention block and any activation.

The contract of a family is at the top of `base.py`; `spec.py` explains names.
"""

from fer_attention.models import resnet, resnetv2, vgg  # noqa: F401  (families register themselves)
from fer_attention.models.backbone_weights import fill_backbone
from fer_attention.models.base import FERModel
from fer_attention.models.bundled import PretrainedModel, bundled_names, bundled_path, list_pretrained
from fer_attention.models.factory import build_model, create_model, list_models
from fer_attention.models.family import BACKBONES, Traits
from fer_attention.models.hub import load_from_hub
from fer_attention.models.metadata import ModelMetadata, WeightsError
from fer_attention.models.spec import ModelSpec
from fer_attention.models.weights import load_weights, read_metadata, save_weights

__all__ = [
    "BACKBONES",
    "FERModel",
    "ModelMetadata",
    "ModelSpec",
    "PretrainedModel",
    "Traits",
    "WeightsError",
    "build_model",
    "bundled_names",
    "bundled_path",
    "create_model",
    "fill_backbone",
    "list_models",
    "list_pretrained",
    "load_from_hub",
    "load_weights",
    "read_metadata",
    "save_weights",
]
