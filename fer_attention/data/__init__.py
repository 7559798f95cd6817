"""Data sets as labelled crops, and the one way from a crop to a tensor."""

from fer_attention.data.audit import DataAudit, audit
from fer_attention.data.ckplus import load_ckplus
from fer_attention.data.degradations import DEGRADATIONS, degrade, degrade_crops
from fer_attention.data.fer2013 import load_fer2013
from fer_attention.data.ferplus import label_by_votes, load_ferplus
from fer_attention.data.files import ImageFiles
from fer_attention.data.folds import Fold, Protocol
from fer_attention.data.image_folder import load_image_folder
from fer_attention.data.image_table import load_affectnet, load_rafdb, load_table
from fer_attention.data.jaffe import load_jaffe
from fer_attention.data.loading import FORMATS, describe, load_data
from fer_attention.data.protocols import (
    PROTOCOLS,
    ProtocolWarning,
    create_protocol,
    default_protocol,
    open_protocol,
)
from fer_attention.data.records import DataError, FaceDataset
from fer_attention.data.seen import SeenImages
from fer_attention.data.splits import default_test_split, limit_training, selection_split, training_fraction
from fer_attention.data.votes import with_votes

__all__ = [
    "DEGRADATIONS",
    "FORMATS",
    "PROTOCOLS",
    "DataAudit",
    "DataError",
    "FaceDataset",
    "Fold",
    "ImageFiles",
    "Protocol",
    "ProtocolWarning",
    "SeenImages",
    "audit",
    "create_protocol",
    "default_protocol",
    "default_test_split",
    "degrade",
    "degrade_crops",
    "describe",
    "label_by_votes",
    "limit_training",
    "load_affectnet",
    "load_ckplus",
    "load_data",
    "load_fer2013",
    "load_ferplus",
    "load_image_folder",
    "load_jaffe",
    "load_rafdb",
    "load_table",
    "open_protocol",
    "selection_split",
    "training_fraction",
    "with_votes",
]
