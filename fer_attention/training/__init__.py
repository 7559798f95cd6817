"""Training: validated configs, recipes, and runs that can stop and resume at any step."""

from fer_attention.training.checkpoint import TrainingError
from fer_attention.training.config import AugmentConfig, DegradeConfig, RandomSource, TrainConfig
from fer_attention.training.engine import train
from fer_attention.training.history import Epoch, TrainingProgress
from fer_attention.training.interrupts import TrainingStopped
from fer_attention.training.preflight import check_run
from fer_attention.training.recipes import load_recipe, recipe_names
from fer_attention.training.result import TrainingCallbacks, TrainingResult, TrainingWarning

__all__ = [
    "AugmentConfig",
    "RandomSource",
    "DegradeConfig",
    "Epoch",
    "TrainConfig",
    "TrainingCallbacks",
    "TrainingError",
    "TrainingProgress",
    "TrainingResult",
    "TrainingStopped",
    "TrainingWarning",
    "check_run",
    "load_recipe",
    "recipe_names",
    "train",
]
