"""FER+'s votes on FER2013's images."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fer_attention.data import (
    DataError,
    FaceDataset,
    label_by_votes,
    load_data,
    load_fer2013,
    load_ferplus,
    with_votes,
)
from fer_attention.data.ferplus import agreed_emotions
from fer_attention.emotions import FER2013, FERPLUS
from tests.support.datasets import (
    USAGES,
    noise,
    write_fer2013_csv,
    write_kaggle,
    write_text,
    write_votes,
    zipped,
)


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
def test_distribution_keeps_the_peaks_with_three_quarters_of_the_votes(counts, expected):
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


@given(st.lists(st.integers(0, 9), min_size=10, max_size=10))
def test_an_image_with_a_majority_has_a_distribution_with_the_same_label(people):
    counts = np.bincount(people, minlength=10).tolist()
    majority, left_out = agreed_emotions(counts, "majority")
    if not left_out:
        distribution, reason = agreed_emotions(counts, "distribution")
        assert (reason, np.argmax(distribution)) == ("", np.argmax(majority))


VOTES = [
    votes(happy=8, sad=2),
    votes(nf=10),
    votes(angry=5, disgust=3, fear=2),
    votes(contempt=6, neutral=4),
]


@pytest.fixture
def tables(tmp_path):
    """FER2013's table and FER+'s, of the same four rows."""
    return (
        write_fer2013_csv(tmp_path / "fer2013.csv"),
        write_votes(tmp_path / "fer2013new.csv", VOTES, usages=USAGES, removed=[1]),
    )


def test_rows_are_joined_by_number_and_excluded_ones_are_listed(tables):
    fer2013, table = tables
    faces = load_ferplus(fer2013, votes=table, target="majority")
    assert faces.names.tolist() == ["row0000001", "row0000004"]
    assert [FERPLUS[label] for label in faces.labels] == ["happy", "contempt"]
    assert faces.splits.tolist() == ["train", "private"]
    assert faces.label_names == FERPLUS
    assert faces.targets is None
    np.testing.assert_array_equal(faces.images, [noise(0), noise(3)])
    assert faces.votes.tolist() == [VOTES[0], VOTES[3]]
    assert faces.skipped == (("row0000002", "no votes"), ("row0000003", "no majority"))


def test_default_targets_are_distributions_over_eight_emotions(tables):
    fer2013, table = tables
    faces = load_ferplus(fer2013, votes=table)
    assert faces.targets.dtype == np.float32
    expected = [votes(happy=10)[:8], votes(angry=5, disgust=3)[:8], votes(contempt=6, neutral=4)[:8]]
    expected = np.array(expected) / np.sum(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(faces.targets, expected, atol=1e-7)
    assert [FERPLUS[label] for label in faces.labels] == ["happy", "angry", "contempt"]


def test_ties_are_labelled_with_the_first_emotion(tmp_path):
    faces = load_ferplus(
        write_fer2013_csv(tmp_path / "fer2013.csv", usages=["Training"]),
        votes=write_votes(tmp_path / "fer2013new.csv", [votes(surprise=5, happy=5)]),
        target="distribution",
    )
    assert FERPLUS[faces.labels[0]] == "happy"
    assert faces.targets[0, 1:3].tolist() == [0.5, 0.5]


@pytest.mark.parametrize("wrap", [lambda root: root, zipped], ids=["folder", "zip"])
def test_a_folder_or_zip_with_both_tables_is_recognised(tables, wrap):
    faces = load_data(wrap(tables[0].parent), target="distribution")
    assert faces.targets.shape == (3, 8)


def test_votes_beside_the_images_are_found_by_default(tables):
    fer2013, table = tables
    beside = load_ferplus(fer2013.parent)
    assert beside.names.tolist() == load_ferplus(fer2013, votes=table).names.tolist()
    for without in (fer2013, write_kaggle(fer2013.parent / "kaggle")):
        with pytest.raises(DataError, match=r"has no table of votes: fer2013new\.csv.*as votes \(--votes\)"):
            load_ferplus(without)


def test_tables_of_another_order_or_length_are_always_refused(tmp_path, tables):
    fer2013, table = tables
    moved = write_votes(tmp_path / "moved.csv", VOTES, usages=[USAGES[-1], *USAGES[:-1]])
    with pytest.raises(
        DataError, match=r"row0000001 is of the split 'train' .* 'PrivateTest' in .*moved\.csv"
    ):
        load_ferplus(fer2013, votes=moved, on_error="skip")
    shorter = write_fer2013_csv(tmp_path / "short.csv", usages=USAGES[:3])
    with pytest.raises(DataError, match=r"short\.csv has 3 rows and .*fer2013new\.csv have 4"):
        load_ferplus(shorter, votes=table, on_error="skip")
    longer = write_fer2013_csv(tmp_path / "long.csv", usages=[*USAGES, "PrivateTest"])
    with pytest.raises(DataError, match=r"long\.csv has 5 rows and .*fer2013new\.csv have 4"):
        load_ferplus(longer, votes=table, on_error="skip")


def test_skipped_rows_count_as_rows(tables):
    fer2013, table = tables
    lines = fer2013.read_text(encoding="utf-8").splitlines()
    write_text(fer2013, lines[0], f"9,{lines[1].split(',', 1)[1]}", *lines[2:])
    with pytest.raises(DataError, match="row 1: the label '9'"):
        load_ferplus(fer2013, votes=table)
    faces = load_ferplus(fer2013, votes=table, target="majority", on_error="skip")
    assert faces.names.tolist() == ["row0000004"]
    assert [name for name, _ in faces.skipped] == ["row 1", "row0000002", "row0000003"]


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        (lambda line: line.replace(",8,", ",eight,"), "not all whole numbers"),
        (lambda line: line.replace(",8,", ",-8,"), "not all whole numbers"),
        (lambda line: line.rsplit(",", 1)[0], "11 cells instead of 12"),
    ],
)
def test_damaged_votes_are_an_error_or_a_listed_skip(tables, broken, reason):
    fer2013, table = tables
    lines = table.read_text(encoding="utf-8").splitlines()
    write_text(table, lines[0], broken(lines[1]), *lines[2:])
    with pytest.raises(DataError, match=f"row 1: .*{reason}.* Pass on_error='skip'"):
        load_ferplus(fer2013, votes=table)
    faces = load_ferplus(fer2013, votes=table, target="majority", on_error="skip")
    assert faces.names.tolist() == ["row0000004"]
    assert faces.skipped[0][0] == "row0000001"
    assert reason in faces.skipped[0][1]


def test_unknown_choices_suggest_the_nearest(tables):
    fer2013, table = tables
    with pytest.raises(ValueError, match="Unknown target 'majorty'. Did you mean 'majority'"):
        load_ferplus(fer2013, votes=table, target="majorty")
    with pytest.raises(ValueError, match="Unknown emotions 'fer2103'. Did you mean 'fer2013'"):
        load_ferplus(fer2013, votes=table, emotions="fer2103")
    with pytest.raises(ValueError, match="label_share must be between 0 and 1; got 1.5"):
        load_ferplus(fer2013, votes=table, label_share=1.5)
    with pytest.raises(ValueError, match="Unknown on_error 'ignore'. Known: raise, skip"):
        load_ferplus(fer2013, votes=table, on_error="ignore")


@pytest.fixture
def voted(tables):
    """The four images with their votes, under FER2013's labels: angry, disgust, fear, happy."""
    fer2013, table = tables
    return with_votes(load_fer2013(fer2013), table)


def test_seven_emotions_leave_out_the_votes_for_contempt(voted):
    faces = label_by_votes(voted, target="distribution", emotions="fer2013")
    assert faces.label_names == FER2013
    assert [FER2013[label] for label in faces.labels] == ["happy", "angry", "neutral"]
    expected = np.zeros((3, 7))
    expected[0, FER2013.index("happy")] = 1  # 8 of 10 hold three quarters
    expected[1, [FER2013.index("angry"), FER2013.index("disgust")]] = 5 / 8, 3 / 8
    expected[2, FER2013.index("neutral")] = 1  # four of ten, the only ones left
    np.testing.assert_allclose(faces.targets, expected, atol=1e-7)
    majority = label_by_votes(voted, target="majority", emotions="fer2013")
    assert majority.names.tolist() == ["row0000001"]
    assert majority.skipped[-1] == ("row0000004", "none of the emotions")


@given(
    counts=st.lists(st.lists(st.integers(0, 10), min_size=10, max_size=10), min_size=1, max_size=8),
    share=st.floats(0, 1),
    target=st.sampled_from(["majority", "distribution"]),
    names=st.sampled_from([FERPLUS, FER2013]),
)
def test_label_share_mixes_the_original_label_with_the_votes(counts, share, target, names):
    rows = range(len(counts))
    crops = FaceDataset(
        images=np.zeros((len(counts), 4, 4), np.uint8),
        labels=np.array([row % 7 for row in rows]),
        names=np.array([f"row{row:07}" for row in rows]),
        splits=np.array(["train"] * len(counts)),
        label_names=FER2013,
        votes=np.array(counts),
    )
    expected = {}
    for row in rows:
        agreed = by_the_paper(counts[row], target)
        seen = {name: n for name, n in zip(FERPLUS, agreed or [], strict=False) if name in names and n}
        if seen:
            own = FER2013[row % 7]
            of_votes = {name: seen.get(name, 0) / sum(seen.values()) for name in names}
            expected[f"row{row:07}"] = (
                [share * (name == own) + (1 - share) * of_votes[name] for name in names],
                names.index(max(names, key=of_votes.get)),
            )
    emotions = "fer2013" if names == FER2013 else "ferplus"
    if not expected:
        with pytest.raises(DataError, match="FER\\+'s rules leave none of"):
            label_by_votes(crops, target=target, emotions=emotions, label_share=share)
        return
    faces = label_by_votes(crops, target=target, emotions=emotions, label_share=share)
    assert faces.names.tolist() == list(expected)
    assert faces.labels.tolist() == [label for _, label in expected.values()]
    if target == "majority" and share == 0:
        assert faces.targets is None
    else:
        np.testing.assert_allclose(faces.targets, [row for row, _ in expected.values()], atol=1e-6)
        np.testing.assert_allclose(faces.targets.sum(1), 1, atol=1e-6)


def test_missing_votes_and_foreign_labels_are_refused(voted):
    with pytest.raises(DataError, match=r"no votes; add them with fer_attention\.data\.with_votes"):
        label_by_votes(replace(voted, votes=None))
    with pytest.raises(ValueError, match="Unknown target 'plurality'"):
        label_by_votes(voted, target="plurality")
    with pytest.raises(ValueError, match="Unknown emotions 'ckplus'"):
        label_by_votes(voted, emotions="ckplus")
    of_eight = label_by_votes(voted, target="distribution")
    assert len(label_by_votes(of_eight, target="distribution", emotions="fer2013")) == 3
    with pytest.raises(DataError, match="label 'contempt' is not one of angry, .* no share of it"):
        label_by_votes(of_eight, target="distribution", emotions="fer2013", label_share=0.5)
