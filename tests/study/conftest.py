"""Fixtures of a finished study."""

import shutil

import pytest

from fer_attention.study import run_study, runner
from fer_attention.study.records import read_record
from tests.support.tiny_studies import InlineEngine, tiny_study


@pytest.fixture(scope="session")
def finished_study(tmp_path_factory):
    """Two finished runs: (folder of the study, one record, its folder)."""
    folder = tmp_path_factory.mktemp("store") / "study"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runner, "LocalEngine", InlineEngine)
        run_study(tiny_study(replications__seeds=1), folder, device="cpu")
    run_folder = next((folder / "runs").iterdir())
    return folder, read_record(run_folder), run_folder


@pytest.fixture
def study_folder(finished_study, tmp_path):
    """A copy to damage."""
    folder = shutil.copytree(finished_study[0], tmp_path / "study")
    return folder, folder / "runs" / finished_study[1].id
