import json
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fer_attention.data import DataError, FaceDataset
from fer_attention.data.folds import PARTS, Fold, Protocol
from fer_attention.data.protocols import PROTOCOLS, ProtocolWarning, create_protocol, default_protocol
from fer_attention.registry import UnknownNameError


def faces(labels, *, splits=None, subjects=None, sequences=None):
    labels = np.asarray(labels, dtype=np.int64)
    return FaceDataset(
        images=np.zeros((len(labels), 2, 2), np.uint8),
        labels=labels,
        names=np.array([f"image{row:03d}.png" for row in range(len(labels))]),
        splits=np.array(["all"] * len(labels) if splits is None else splits),
        label_names=("sad", "happy", "fear"),
        subjects=None if subjects is None else np.array(subjects),
        sequences=None if sequences is None else np.array(sequences),
    )


def people(count, each=6):
    """`each` images of every person, two a sequence, of all three classes, person after person at random."""
    order = np.random.default_rng(3).permutation(count * each)
    who, number = order // each, order % each
    return faces(
        number % 3,
        subjects=[f"S{person:02d}" for person in who],
        sequences=[f"S{person:02d}_{n // 2}" for person, n in zip(who, number, strict=True)],
    )


SETS = {
    "official": lambda: faces([0, 1, 2] * 10, splits=["train"] * 20 + ["public"] * 4 + ["private"] * 6),
    "holdout": lambda: faces([0, 1, 2] * 20, splits=["train"] * 48 + ["test"] * 12),
    "subject_kfold": lambda: people(23),
    "loso": lambda: people(7),
    "stratified_kfold": lambda: faces([0] * 31 + [1] * 12 + [2] * 7),
    "paper": lambda: people(9),
}
PARTITIONS = ("subject_kfold", "loso", "stratified_kfold")


@pytest.fixture(params=sorted(SETS))
def name(request):
    return request.param


@pytest.fixture
def data(name):
    return SETS[name]()


def make(name, data, **options):
    if name != "paper":
        return create_protocol(name, data, **options)
    with pytest.warns(ProtocolWarning):
        return create_protocol(name, data, **options)


def rows_of(protocol):
    return [[getattr(fold, part).tolist() for part in PARTS] for fold in protocol.folds]


def test_the_contract_covers_every_protocol():
    assert set(SETS) == set(PROTOCOLS)


def test_the_parts_of_a_fold_hold_every_image_once(name, data):
    for fold in make(name, data).folds:
        parts = [getattr(fold, part) for part in PARTS]
        assert sorted(np.concatenate(parts).tolist()) == list(range(len(data)))
        assert all(len(part) and part.dtype == np.int64 for part in parts)


@pytest.mark.parametrize("name", PARTITIONS)
def test_the_tests_of_all_folds_hold_every_image_once(name, data):
    for part in ("test", "validation"):
        rows = np.concatenate([getattr(fold, part) for fold in make(name, data).folds])
        assert sorted(rows.tolist()) == list(range(len(data)))


def test_folds_depend_on_the_seed_only_and_keep_the_global_state(name, data):
    np.random.seed(1)  # noqa: NPY002  (the global state is what is tested)
    before = np.random.get_state()[1].tolist()  # noqa: NPY002
    first = rows_of(make(name, data, seed=5))
    assert np.random.get_state()[1].tolist() == before  # noqa: NPY002
    np.random.seed(2)  # noqa: NPY002
    assert rows_of(make(name, data, seed=5)) == first


@pytest.mark.parametrize("name", ["stratified_kfold", "paper"])
def test_another_seed_draws_other_folds(name, data):
    assert rows_of(make(name, data, seed=0)) != rows_of(make(name, data, seed=1))


@pytest.mark.parametrize("name", ["subject_kfold", "loso"])
def test_people_and_sequences_stay_in_one_part(name, data):
    for fold in make(name, data).folds:
        for column in (data.subjects, data.sequences):
            sides = [set(column[getattr(fold, part)].tolist()) for part in PARTS]
            assert len(set.union(*sides)) == sum(map(len, sides))


def test_subject_kfold_puts_every_tenth_sorted_subject_into_a_fold():
    data = people(23)
    for number, fold in enumerate(create_protocol("subject_kfold", data, seed=8).folds):
        for part, offset in (("test", number), ("validation", (number + 1) % 10)):
            expected = {f"S{k:02d}" for k in range(23) if k % 10 == offset}
            assert set(data.subjects[getattr(fold, part)].tolist()) == expected


def test_subject_kfold_shuffles_by_the_seed_on_request():
    data = people(23)
    plain, other = (rows_of(create_protocol("subject_kfold", data, seed=seed)) for seed in (0, 1))
    a, b = (rows_of(create_protocol("subject_kfold", data, seed=s, shuffle=True)) for s in (0, 1))
    assert plain == other
    assert a not in (plain, b)


@pytest.mark.parametrize("validating", [1, 3])
def test_loso_tests_one_subject_and_validates_on_the_next_in_turn(validating):
    data = people(7)
    protocol = create_protocol("loso", data, validation_subjects=validating)
    assert [fold.name for fold in protocol.folds] == [f"S{k:02d}" for k in range(7)]
    for k, fold in enumerate(protocol.folds):
        assert set(data.subjects[fold.test].tolist()) == {f"S{k:02d}"}
        expected = {f"S{(k + 1 + n) % 7:02d}" for n in range(validating)}
        assert set(data.subjects[fold.validation].tolist()) == expected


def test_stratified_folds_have_the_class_shares_of_the_set():
    data = SETS["stratified_kfold"]()
    for fold in create_protocol("stratified_kfold", data, folds=5).folds:
        share = np.bincount(data.labels) / 5
        assert np.abs(np.bincount(data.labels[fold.test]) - share).max() < 1


def test_official_uses_the_splits_of_the_data_set():
    fer2013 = SETS["official"]()
    [fold] = create_protocol("official", fer2013).folds
    assert [set(fer2013.splits[getattr(fold, part)]) for part in PARTS] == [
        {"train"}, {"public"}, {"private"}
    ]  # fmt: skip
    plain = faces([0] * 6, splits=["test", "train", "validation"] * 2)
    [fold] = create_protocol("official", plain).folds
    assert rows_of(Protocol("official", (fold,))) == [[[1, 4], [2, 5], [0, 3]]]


def test_paper_warns_and_draws_disjoint_random_shares():
    data = people(50, each=4)
    with pytest.warns(ProtocolWarning, match="one person") as caught:
        [fold] = create_protocol("paper", data).folds
    assert caught[0].filename == __file__
    assert [len(getattr(fold, part)) for part in PARTS] == [112, 48, 40]
    assert set(data.subjects[fold.train]) & set(data.subjects[fold.test])
    twice = Fold("twice", fold.train, fold.validation, fold.train[:2], shared=fold.shared)
    with pytest.raises(DataError, match="2 images are in train and in test"):
        twice.check(data)


def test_a_test_class_without_training_images_causes_a_warning():
    labels = [0, 1, 0, 1, 0, 2]
    data = faces(labels, subjects=["A", "A", "B", "B", "C", "C"])
    with pytest.warns(ProtocolWarning) as caught:
        create_protocol("loso", data)
    messages = [str(warning.message) for warning in caught]
    assert [("C" in m.split(":")[0], "fear" in m) for m in messages if "fear" in m] == [(True, True)]


@pytest.mark.parametrize(
    ("name", "data", "options", "message"),
    [
        ("official", people(5), {}, "there are all"),
        ("official", faces([0, 1], splits=["train", "test"]), {}, "there are test, train"),
        ("subject_kfold", faces([0, 1, 2]), {}, "needs subjects.*stratified_kfold"),
        ("subject_kfold", people(6), {}, "10 subjects or more, there are 6"),
        ("subject_kfold", people(6), {"folds": 2}, "3 folds or more.*got 2"),
        ("loso", faces([0, 1, 2]), {}, "needs subjects"),
        ("loso", people(2), {}, "3 subjects or more, there are 2"),
        ("loso", people(5), {"validation_subjects": 0}, "1 subject or more.*got 0"),
        ("stratified_kfold", people(6), {}, "use subject_kfold"),
        ("stratified_kfold", faces([0] * 9 + [1] * 4), {}, "from 3 to 4.*got 5"),
        ("stratified_kfold", faces([0] * 9 + [1] * 9), {"folds": 2}, "got 2"),
    ],
)
def test_an_unsuitable_set_explains_what_is_needed(name, data, options, message):
    with pytest.raises(DataError, match=message):
        create_protocol(name, data, **options)


def test_unknown_names_and_options_suggest_the_nearest():
    with pytest.raises(UnknownNameError, match="Did you mean 'subject_kfold'"):
        create_protocol("subject_fold", people(5))
    with pytest.raises(TypeError, match=r"'fold'.*Did you mean 'folds'"):
        create_protocol("subject_kfold", people(12), fold=5)


def test_stratified_kfold_without_scikit_learn_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.model_selection", None)
    with pytest.raises(ImportError, match=r"fer_attention\[train\]"):
        create_protocol("stratified_kfold", SETS["stratified_kfold"]())


@pytest.mark.parametrize("name", sorted(SETS))
def test_the_default_protocol_can_be_made(name):
    data = SETS[name]()
    expected = {"loso": "subject_kfold", "paper": "subject_kfold"}.get(name, name)
    assert default_protocol(data) == expected


def test_unusable_splits_do_not_make_official_the_default():
    data = faces([0, 1, 2] * 9, splits=["train"] * 20 + ["validation"] * 7)
    assert create_protocol(default_protocol(data), data).name == "stratified_kfold"


ROWS = np.arange(6)
OVERLAPS = {
    "2 images are in train and in test, such as 0, 1": (ROWS[:2], ROWS[2:4], ROWS[:2]),
    "1 subjects are in train and in validation, such as A": (ROWS[:1], ROWS[1:2], ROWS[4:]),
    "1 sequences are in validation and in test, such as B2": (ROWS[:2], ROWS[2:3], ROWS[3:4]),
    "no image is left for validation": (ROWS[:2], ROWS[:0], ROWS[4:]),
    "not rows of these 6 images": (ROWS[:2], ROWS[2:4], ROWS[4:] + 1),
}


@pytest.mark.parametrize("message", OVERLAPS)
def test_a_fold_with_overlapping_parts_is_refused(message):
    data = faces([0, 1] * 3, subjects=["A", "A", "B", "B", "C", "C"])
    if "sequences" in message:
        data = faces([0, 1] * 3, sequences=["A1", "A2", "B2", "B2", "C1", "C2"])
    fold = Fold("mine", *OVERLAPS[message])
    with pytest.raises(DataError, match=f"mine: .*{message}"):
        fold.apply(data)


def test_apply_returns_the_images_with_parts_as_splits():
    data = people(4)
    fold = create_protocol("loso", data).folds[1]
    applied = fold.apply(data)
    for part in PARTS:
        expected = data.take(getattr(fold, part))
        for column in ("names", "labels", "subjects"):
            assert getattr(applied.split(part), column).tolist() == getattr(expected, column).tolist()


@given(st.integers(0, 2**32 - 1), st.sampled_from(sorted(set(SETS) - {"paper"})))
def test_json_restores_the_same_images_in_any_order(order, name):
    data = SETS[name]()
    protocol = create_protocol(name, data, seed=4)
    shuffled = data.take(np.random.default_rng(order).permutation(len(data)))
    back = Protocol.from_json(protocol.to_json(data), shuffled)
    assert (back.name, back.seed, back.options) == (name, 4, {})
    for one, other in zip(protocol.folds, back.folds, strict=True):
        assert (one.name, one.shared) == (other.name, other.shared)
        for part in PARTS:
            names = data.names[getattr(one, part)].tolist()
            assert shuffled.names[getattr(other, part)].tolist() == names


def test_a_protocol_is_saved_and_loaded(tmp_path):
    data = people(9)
    protocol = make("paper", data, seed=6)
    path = protocol.save(tmp_path / "paper.json", data)
    record = json.loads(path.read_text())
    assert (record["images"], record["label_names"]) == (54, ["sad", "happy", "fear"])
    assert rows_of(Protocol.load(path, data)) == rows_of(protocol)
    with pytest.raises(DataError, match=r"protocol file .*none\.json does not exist"):
        Protocol.load(tmp_path / "none.json", data)


def test_a_protocol_of_another_set_or_a_damaged_one_is_refused():
    data = people(4)
    text = create_protocol("loso", data).to_json(data)
    with pytest.raises(DataError, match="names .* images that this set lacks, such as image"):
        Protocol.from_json(text, data.take(range(5, len(data))))
    smaller = data.take(data.subjects != "S03")
    with pytest.raises(DataError, match="made for 18 images, this set has 24"):
        Protocol.from_json(create_protocol("loso", smaller).to_json(smaller), data)
    for other in ("", "[]", "{}", '{"folds": 3}', text.replace('"seed"', '"sead"')):
        with pytest.raises(DataError, match="not a file of"):
            Protocol.from_json(other, data)
