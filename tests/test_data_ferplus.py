"""FER+'s votes on FER2013's images."""

import numpy as np
import pytest
from datasets import USAGES, noise, write_fer2013_csv, write_kaggle, write_votes, zipped
from hypothesis import given
from hypothesis import strategies as st

from fer_attention.data import DataError, load_data, load_ferplus
from fer_attention.data.ferplus import agreed_emotions
from fer_attention.emotions import FERPLUS


def votes(**counts):
    """Ten counts in FER+'s order, by name; `nf` is "not a face"."""
    return [counts.get(name, 0) for name in (*FERPLUS, "unknown", "nf")]


def kept(counts, target):
    """What is left as {emotion: votes}, or the reason for which the image is left out."""
    emotions, reason = agreed_emotions(counts, target)
    return reason or {name: count for name, count in zip(FERPLUS, emotions, strict=True) if count}


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        (votes(happy=10), {"happy": 10}),
        (votes(neutral=4, sad=1, angry=3, disgust=2), "no majority"),  # 4 of 9
        (votes(neutral=5, sad=1, angry=1, fear=1, unknown=2), {"neutral": 5}),  # 5 of 7, single votes dropped
        (votes(happy=5, surprise=5), "no majority"),
        (votes(neutral=1, happy=1, sad=1, angry=1, fear=1, unknown=1, nf=1), "no majority"),
        (votes(neutral=2, unknown=8), "unknown"),
        (votes(neutral=2, nf=8), "not a face"),
    ],
)
def test_majority_keeps_the_emotion_of_more_than_half_of_the_votes(counts, expected):
    assert kept(counts, "majority") == expected


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        (votes(happy=8, surprise=2), {"happy": 8}),  # three quarters are reached
        (votes(happy=5, surprise=3, fear=2), {"happy": 5, "surprise": 3}),  # 8 of 10
        (votes(neutral=4, sad=3, angry=3), {"neutral": 4, "sad": 3, "angry": 3}),  # a tie comes in together
        (votes(neutral=4, sad=2, angry=2, fear=2), "more than 3 emotions"),
        (votes(happy=5, unknown=3, fear=2), "no majority"),  # unknown ends it at 5 of 10
        (votes(happy=6, unknown=3), {"happy": 6}),  # and at 6 of 9
        (votes(neutral=3, sad=3, angry=2, unknown=2), {"neutral": 3, "sad": 3, "angry": 2}),
        (votes(happy=4, unknown=4, fear=2), "no majority"),
        (votes(unknown=7, happy=3), "unknown"),
        (votes(nf=7, happy=3), "not a face"),
        (votes(neutral=1, happy=1, sad=1), "no majority"),
    ],
)
def test_distribution_keeps_the_peaks_that_hold_three_quarters(counts, expected):
    assert kept(counts, "distribution") == expected


def by_the_paper(counts, target):
    """The rules a second way: one comparison a class, without any order of taking."""
    votes = np.where(np.array(counts) > 1, counts, 0)
    total = votes.sum()
    if target == "majority":
        taken = votes * (votes > total / 2)
    else:
        ahead = np.array([votes[votes > vote].sum() for vote in votes])
        number_ahead = np.array([(votes > vote).sum() for vote in votes])
        foreign = votes[8:].max()
        open_ = (ahead < 0.75 * total) & (number_ahead < 3) & (votes > 0) & (votes >= foreign)
        taken = votes * open_
        taken[8:] = 0
        if not taken.any() and total:
            first = 8 + votes[8:].argmax()
            taken[first] = votes[first]
    if taken.sum() <= total / 2 or (taken > 0).sum() > 3 or taken.argmax() >= 8:
        return None
    return taken[:8].tolist()


@given(
    st.lists(st.integers(0, 9), min_size=10, max_size=10).map(
        lambda people: np.bincount(people, minlength=10).tolist()
    ),
    st.sampled_from(["majority", "distribution"]),
)
def test_the_rules_agree_with_their_formula(counts, target):
    emotions, reason = agreed_emotions(counts, target)
    assert (None if reason else emotions) == by_the_paper(counts, target)


VOTES = [
    votes(happy=8, sad=2),
    votes(nf=10),
    votes(angry=5, disgust=3, fear=2),
    votes(contempt=6, neutral=4),
]


@pytest.fixture
def tables(tmp_path):
    return (
        write_votes(tmp_path / "fer2013new.csv", VOTES, usages=USAGES, removed=[1]),
        write_fer2013_csv(tmp_path / "fer2013.csv"),
    )


def test_rows_are_joined_by_number_and_what_is_left_out_is_listed(tables):
    faces = load_ferplus(*tables)
    assert faces.names.tolist() == ["row0000001", "row0000004"]
    assert [FERPLUS[label] for label in faces.labels] == ["happy", "contempt"]
    assert faces.splits.tolist() == ["train", "private"]
    assert faces.label_names == FERPLUS
    assert faces.targets is None
    np.testing.assert_array_equal(faces.images, [noise(0), noise(3)])
    assert faces.skipped == (("row 2", "removed by FER+"), ("row 3", "no majority"))


def test_distributions_are_targets_over_the_eight_emotions(tables):
    faces = load_ferplus(*tables, target="distribution")
    assert faces.targets.dtype == np.float32
    expected = [votes(happy=10)[:8], votes(angry=5, disgust=3)[:8], votes(contempt=6, neutral=4)[:8]]
    expected = np.array(expected) / np.sum(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(faces.targets, expected, atol=1e-7)
    assert [FERPLUS[label] for label in faces.labels] == ["happy", "angry", "contempt"]


def test_of_equally_likely_emotions_the_first_is_the_label(tmp_path):
    faces = load_ferplus(
        write_votes(tmp_path / "fer2013new.csv", [votes(surprise=5, happy=5)]),
        write_fer2013_csv(tmp_path / "fer2013.csv", usages=["Training"]),
        target="distribution",
    )
    assert FERPLUS[faces.labels[0]] == "happy"
    assert faces.targets[0, 1:3].tolist() == [0.5, 0.5]


@pytest.mark.parametrize("wrap", [lambda root: root, zipped], ids=["folder", "zip"])
def test_a_folder_or_zip_with_both_tables_is_recognised(tables, wrap):
    faces = load_data(wrap(tables[0].parent), target="distribution")
    assert faces.targets.shape == (3, 8)


def test_tables_of_different_order_or_length_are_refused_even_when_rows_may_be_skipped(tmp_path, tables):
    table, fer2013 = tables
    moved = write_votes(tmp_path / "moved.csv", VOTES, usages=[USAGES[-1], *USAGES[:-1]])
    with pytest.raises(DataError, match=r"Row 1 is 'Training' in .*fer2013\.csv and 'PrivateTest' in"):
        load_ferplus(moved, fer2013, on_error="skip")
    shorter = write_fer2013_csv(tmp_path / "short.csv", usages=USAGES[:3])
    with pytest.raises(DataError, match=r"short\.csv has 3 rows and .*fer2013new\.csv has more"):
        load_ferplus(table, shorter, on_error="skip")
    longer = write_fer2013_csv(tmp_path / "long.csv", usages=[*USAGES, "PrivateTest"])
    with pytest.raises(DataError, match=r"fer2013new\.csv has 4 rows and .*long\.csv has more"):
        load_ferplus(table, longer, on_error="skip")


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        (lambda line: line.replace(",8,", ",eight,"), "not all whole numbers"),
        (lambda line: line.replace(",8,", ",-8,"), "not all whole numbers"),
        (lambda line: line.rsplit(",", 1)[0], "11 cells instead of 12"),
    ],
)
def test_damaged_votes_are_an_error_or_a_listed_skip(tables, broken, reason):
    lines = tables[0].read_text(encoding="utf-8").splitlines()
    tables[0].write_text("\n".join([lines[0], broken(lines[1]), *lines[2:]]), encoding="utf-8")
    with pytest.raises(DataError, match=f"row 1: .*{reason}"):
        load_ferplus(*tables)
    faces = load_ferplus(*tables, on_error="skip")
    assert faces.names.tolist() == ["row0000004"]
    assert faces.skipped[0][0] == "row 1"
    assert reason in faces.skipped[0][1]


def test_folders_of_images_lack_the_order_of_rows(tmp_path, tables):
    with pytest.raises(DataError, match=r"has no fer2013\.csv"):
        load_ferplus(tables[0], write_kaggle(tmp_path / "kaggle"))
    with pytest.raises(ValueError, match="Unknown target 'majorty'. Did you mean 'majority'"):
        load_ferplus(*tables, target="majorty")
