"""What a process does that carries runs out: one claimed run at a time."""

from __future__ import annotations

import traceback
from dataclasses import dataclass
from pathlib import Path

import torch

from fer_attention.study.config import StudyConfig
from fer_attention.study.datasets import DataSets
from fer_attention.study.execute import execute
from fer_attention.study.grid import RunSpec
from fer_attention.study.store import Store


@dataclass(frozen=True)
class Workplace:
    """What a process needs to carry out runs of a study; can be sent to another process.

    Attributes:
        folder: Of the study.
        study: The study.
        paths: Where its data sets are.
        device: Where to compute.
        threads: Of torch, on the CPU.
    """

    folder: Path
    study: StudyConfig
    paths: dict[str, Path]
    device: str
    threads: int


_data: dict[Path, DataSets] = {}  # of this process, which carries out many runs of a study


def work(run: RunSpec, place: Workplace) -> None:
    """Carry out one run unless it is done, has failed or is held by another process.

    Whatever comes of it is in the study's folder afterwards: a record, a failure with its reason, or, where
    another process holds the run, that one's checkpoint. Errors of the run are noted, not raised.
    """
    torch.set_num_threads(place.threads)
    data = _data.setdefault(place.folder, DataSets(place.study, place.paths))
    store = Store(place.folder)
    with store.claim(run.id) as held:
        if not held or store.state(run.id) != "open":
            return
        try:
            execute(run, data[str(run.factors["data"])], store.run_folder(run.id), device=place.device)
        except Exception as error:
            store.fail(run, f"{type(error).__name__}: {error}", traceback.format_exc())
