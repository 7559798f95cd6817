"""Data sets as labelled crops, and the one way from a crop to a tensor."""

from fer_attention.data.fer2013 import load_fer2013
from fer_attention.data.preprocessing import Preprocessing, as_batch
from fer_attention.data.records import DataError, FaceCrops

__all__ = ["DataError", "FaceCrops", "Preprocessing", "as_batch", "load_fer2013"]
