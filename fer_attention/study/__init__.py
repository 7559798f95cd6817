"""Studies: controlled experiments over models, data and seeds, from YAML file to report with intervals."""

from fer_attention.optional import needs_extra

with needs_extra("study", "Studies run on filelock and psutil"):
    import filelock as _filelock  # noqa: F401  (checked once, here)
    import psutil as _psutil  # noqa: F401

from fer_attention.study.config import (
    Comparison,
    DataConfig,
    Replications,
    StudyConfig,
    StudyError,
    load_study,
    study_names,
)
from fer_attention.study.factors import AttentionLevel, Factors
from fer_attention.study.grid import RunSpec, expand
from fer_attention.study.progress import StudyProgress
from fer_attention.study.records import Records, RunRecord, read_records
from fer_attention.study.runner import run_study

__all__ = [
    "AttentionLevel",
    "Comparison",
    "DataConfig",
    "Factors",
    "Records",
    "Replications",
    "RunRecord",
    "RunSpec",
    "StudyConfig",
    "StudyError",
    "StudyProgress",
    "expand",
    "load_study",
    "read_records",
    "run_study",
    "study_names",
]
