"""Training: a validated config, recipes, and one run that can stop and go on anywhere."""

from fer_attention.training.checkpoint import TrainingError
from fer_attention.training.config import AugmentConfig, Chance, TrainConfig
from fer_attention.training.engine import Listener, TrainingResult, TrainingWarning, train
from fer_attention.training.history import Epoch, Progress
from fer_attention.training.recipes import load_recipe, recipe_names

__all__ = [
    "AugmentConfig",
    "Chance",
    "Epoch",
    "Listener",
    "Progress",
    "TrainConfig",
    "TrainingError",
    "TrainingResult",
    "TrainingWarning",
    "load_recipe",
    "recipe_names",
    "train",
]
