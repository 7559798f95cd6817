"""An example of a plug-in: importing this module registers everything."""

from pathlib import Path

from fer_attention.plugins import register_recipes, register_studies
from fer_attention_mirror import block, dataset, detector, family  # noqa: F401  (they register themselves)

register_recipes(Path(__file__).parent / "recipes")
register_studies(Path(__file__).parent / "studies")
