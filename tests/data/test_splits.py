import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fer_attention.data import DataError, FaceDataset, default_test_split, limit_training, selection_split
from fer_attention.data.splits import split_names, training_fraction


def faces(labels, splits="train"):
    labels = np.asarray(labels, dtype=np.int64)
    return FaceDataset(
        images=np.zeros((len(labels), 2, 2), np.uint8),
        labels=labels,
        names=np.arange(len(labels)).astype(str),
        splits=np.repeat(splits, len(labels)) if isinstance(splits, str) else np.array(splits),
        label_names=("sad", "happy", "fear"),
    )


@pytest.mark.parametrize(
    ("splits", "selects", "reports"),
    [
        (["train", "public", "private"], "public", "private"),
        (["test", "validation", "train"], "validation", "test"),
        (["train", "public", "validation"], "validation", None),
        (["train", "train", "test"], None, "test"),
        (["all", "all", "all"], None, "all"),
    ],
)
def test_each_role_has_the_first_suitable_split(splits, selects, reports):
    data = faces([0, 1, 2], splits)
    for choose, expected in ((selection_split, selects), (default_test_split, reports)):
        if expected is None:
            with pytest.raises(DataError, match=", ".join(split_names(data))):
                choose(data)
        else:
            assert choose(data) == expected


def test_limiting_the_training_split_keeps_the_other_splits_whole():
    data = faces([0, 1] * 10, ["train"] * 12 + ["test"] * 8)
    assert limit_training(data, 1) is data
    limited = limit_training(data, 0.5)
    assert limited.splits.tolist() == ["train"] * 6 + ["test"] * 8
    assert np.bincount(limited.split("train").labels).tolist() == [3, 3]
    with pytest.raises(DataError, match="No split 'train'"):
        limit_training(faces([0, 1], "all"), 0.5)


LABELS = st.lists(st.integers(0, 2), min_size=1, max_size=80)
SHARES = st.floats(0, 1, exclude_min=True)


@given(LABELS, SHARES, SHARES, st.integers(0, 9))
def test_training_fractions_are_stratified_and_nested(labels, one, other, seed):
    data = faces(labels)
    small, large = (training_fraction(data, share, seed=seed) for share in sorted((one, other)))
    assert set(small.tolist()) <= set(large.tolist())
    for rows, share in ((small, min(one, other)), (large, max(one, other))):
        assert rows.dtype == np.int64
        assert np.all(np.diff(rows) > 0)
        counts = np.bincount(data.labels)
        kept = np.bincount(data.labels[rows], minlength=len(counts))
        assert np.all(np.abs(kept - share * counts)[counts > 0] <= 1)
        assert np.all(kept[counts > 0] >= 1)
    assert training_fraction(data, 1.0, seed=seed).tolist() == list(range(len(data)))


def test_training_fractions_depend_on_the_seed_and_refuse_other_shares():
    data = faces([0, 1] * 50)
    first = training_fraction(data, 0.3, seed=1).tolist()
    assert first == training_fraction(data, 0.3, seed=1).tolist()
    assert first != training_fraction(data, 0.3, seed=2).tolist()
    for fraction in (0, -0.1, 1.01, float("nan")):
        with pytest.raises(ValueError, match="above 0 and at most 1"):
            training_fraction(data, fraction)
