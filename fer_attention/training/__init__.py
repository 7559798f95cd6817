"""Training: a validated config, recipes, and one run that can stop and go on anywhere."""

from fer_attention.training.checkpoint import TrainingError
from fer_attention.training.config import AugmentConfig, Chance, DegradeConfig, TrainConfig
from fer_attention.training.engine import (
    TrainingCallbacks,
    TrainingResult,
    TrainingWarning,
    train,
)
from fer_attention.training.history import Epoch, TrainingProgress
from fer_attention.training.interrupts import TrainingStopped
from fer_attention.training.recipes import load_recipe, recipe_names

__all__ = [
    "AugmentConfig",
    "Chance",
    "DegradeConfig",
    "Epoch",
    "TrainConfig",
    "TrainingCallbacks",
    "TrainingError",
    "TrainingProgress",
    "TrainingResult",
    "TrainingStopped",
    "TrainingWarning",
    "load_recipe",
    "recipe_names",
    "train",
]
