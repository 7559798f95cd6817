"""Training: a validated config, recipes, and one run."""

from fer_attention.training.config import AugmentConfig, TrainConfig, load_recipe, recipe_names
from fer_attention.training.engine import Epoch, TrainingError, train

__all__ = ["AugmentConfig", "Epoch", "TrainConfig", "TrainingError", "load_recipe", "recipe_names", "train"]
