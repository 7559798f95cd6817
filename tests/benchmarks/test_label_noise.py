"""The benchmark of training under label noise."""

from importlib.util import find_spec

import label_noise
import numpy as np
import pytest
import yaml

from fer_attention.data import load_ferplus
from fer_attention.emotions import FER2013, FERPLUS
from fer_attention.study import load_study, run_study
from fer_attention.study.records import read_records
from tests.support.datasets import write_fer2013_csv, write_votes

OWN = np.minimum(np.arange(91) % 9, 6)
"""FER2013's labels; neutral is three times as frequent as the others."""


@pytest.fixture
def tables(tmp_path):
    """Images of FER2013 with votes: in every third one, ten people see the next emotion."""
    usages = ["Training"] * 63 + ["PublicTest"] * 14 + ["PrivateTest"] * 14
    votes = []
    for row in range(len(usages)):
        counts = [0] * 10
        counts[FERPLUS.index(FER2013[(OWN[row] + (row % 3 == 0)) % 7])] = 10
        votes.append(counts)
    table = write_votes(tmp_path / "votes.csv", votes, usages=usages)
    return write_fer2013_csv(tmp_path / "fer2013.csv", usages=usages, emotions=OWN.tolist()), table


def test_the_splits_for_training_keep_their_own_labels(tables):
    data, votes = tables
    shared = {"votes": votes, "target": "majority", "emotions": "fer2013"}
    majority = load_ferplus(data, **shared)
    faces = load_ferplus(data, own_labels=["train", "public"], **shared)
    np.testing.assert_array_equal(majority.labels, (OWN + (np.arange(91) % 3 == 0)) % 7)
    np.testing.assert_array_equal(faces.labels[:77], OWN[:77])
    np.testing.assert_array_equal(faces.labels[77:], majority.labels[77:])
    with pytest.raises(ValueError, match="own_labels needs target='majority'"):
        load_ferplus(data, votes=votes, own_labels=["train"])
    with pytest.raises(ValueError, match="No split 'test'"):
        load_ferplus(data, own_labels=["test"], **shared)


def test_the_noise_is_counted_by_split_and_emotion(tables):
    data, votes = tables
    shared = {"votes": votes, "target": "majority", "emotions": "fer2013"}
    own = load_ferplus(data, own_labels=["train", "public", "private"], **shared)
    majority = load_ferplus(data, **shared)
    table = label_noise.noise_table(own, majority)
    columns = [list(column.cells) for column in table.columns]
    assert columns[0] == [
        "split train",
        "split public",
        "split private",
        *(FER2013[label] for label in np.unique(majority.labels)),
    ]
    assert columns[1][:3] == ["63", "14", "14"]
    assert columns[2][0].startswith("66.67% (")  # 21 of 63 differ


def test_the_methods_differ_in_nothing_but_loss_and_targets():
    study = load_study(label_noise.STUDY)
    assert set(study.levels("setting")) == {"plain", "smoothing", "logit-adjusted", "generalised", "votes"}
    allowed = {"label_smoothing", "logit_adjustment", "loss", "gce_q", "targets"}
    assert {field for changes in study.factors.setting.values() for field in changes} == allowed
    assert study.data["fer2013"].options["own_labels"] == ["train", "public"]


@pytest.mark.slow
@pytest.mark.skipif(not find_spec("statsmodels"), reason="needs statsmodels")
def test_the_study_runs_resumes_and_reports_at_a_small_size(tables, tmp_path):
    from fer_attention.study.report import write_report

    data, votes = tables
    study = label_noise.study_of(votes, seeds=1, epochs=1)
    fields = study.model_dump(mode="json")
    fields["changes"] |= {"structure": {"width": 0.125, "stem": "half"}, "batch_size": 21}
    small = type(study).model_validate(yaml.safe_load(yaml.safe_dump(fields)))
    output = tmp_path / "study"
    done = run_study(small, output, paths={"fer2013": data}, workers=1, device="cpu")
    assert (done.done, done.total, done.failed) == (5, 5, ())
    again = run_study(small, output, paths={"fer2013": data}, workers=1, device="cpu")
    assert again.done == 5
    records = {record.factors["setting"]: record for record in read_records(output).runs.values()}
    losses = {name: record.history[0]["loss"] for name, record in records.items()}
    assert len(set(losses.values())) == 5  # each method trains on another objective
    assert {record.test.n for record in records.values()} == {14}
    assert "votes" in write_report(output).with_name("report.md").read_text(encoding="utf-8")
