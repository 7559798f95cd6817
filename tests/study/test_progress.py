"""Progress of a study, read from its folder."""

import pytest

from fer_attention.study import progress
from fer_attention.study.progress import Running, Tracker
from fer_attention.study.records import RECORD
from fer_attention.study.store import Store
from fer_attention.training.history import Epoch, to_csv
from tests.support.tiny_studies import runs_of, tiny_study


def write_history(folder, *accuracies):
    (folder / "training").mkdir(parents=True, exist_ok=True)
    epochs = [Epoch(n, *[0.1] * 4, accuracy, *[0.1] * 5) for n, accuracy in enumerate(accuracies, 1)]
    (folder / "training" / "history.csv").write_bytes(to_csv(epochs))


def test_progress_estimates_time_from_the_epochs_of_this_call(tmp_path, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    runs = runs_of(tiny_study(changes__epochs=4))
    old, one, two, three = runs
    store = Store(tmp_path)
    store.run_folder(old.id).mkdir(parents=True)
    (store.run_folder(old.id) / RECORD).touch()
    write_history(store.run_folder(one.id), 0.2)
    tracker = Tracker(store, runs, {old.id: 9, one.id: 4, two.id: 4, three.id: 8})
    found = tracker.progress([one])
    assert (found.total, found.done, found.seconds_left) == (4, 1, None)
    assert found.running == (Running(one.title, 1, 4, 0.2),)  # from an earlier call: no basis for an estimate
    now[0] += 10
    write_history(store.run_folder(one.id), 0.2, 0.3, 0.25)
    (store.run_folder(two.id) / "training").mkdir(parents=True)
    found = tracker.progress([one, two, three])
    assert found.running == (Running(one.title, 3, 4, 0.25), Running(two.title, 0, 4, None))
    assert found.seconds_left == pytest.approx((1 + 4 + 8) / (2 / 10))
    now[0] += 10
    (store.run_folder(one.id) / RECORD).touch()
    store.fail(two, "why")
    tracker.elsewhere.append(three)
    found = tracker.progress()
    assert (found.done, found.failed, found.elsewhere) == (2, ((two.title, "why"),), (three.title,))
    assert found.seconds_left == pytest.approx(8 / (3 / 20))
    (store.run_folder(three.id)).mkdir()
    (store.run_folder(three.id) / RECORD).touch()
    found = tracker.progress()
    assert (found.done, found.elsewhere, found.seconds_left) == (3, (), 0)
