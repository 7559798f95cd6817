import pytest
from hypothesis import given
from hypothesis import strategies as st

from fer_attention.emotions import CKPLUS, FER2013, FERPLUS, JAFFE, LABEL_SETS, SYNONYMS, canonical, label_map


def test_the_label_sets_have_their_published_orders():
    # FER2013's `emotion` column; FER+'s vote columns; CK+'s codes 1 to 7; JAFFE's seven, alphabetically
    assert FER2013 == ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
    assert FERPLUS == ("neutral", "happy", "surprise", "sad", "angry", "disgust", "fear", "contempt")
    assert CKPLUS == ("angry", "contempt", "disgust", "fear", "happy", "sad", "surprise")
    assert tuple(sorted(FER2013)) == JAFFE


@pytest.mark.parametrize("name", LABEL_SETS)
def test_label_sets_have_unique_labels_in_canonical_spelling(name):
    labels = LABEL_SETS[name]
    assert len(set(labels)) == len(labels)
    assert tuple(map(canonical, labels)) == labels


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        ("Happiness", "happy"),
        ("joy", "happy"),
        ("HA", "happy"),
        (" anger\n", "angry"),
        ("Fearful", "fear"),
        ("NE", "neutral"),
        ("bored", "bored"),
        ("Bored", "bored"),
    ],
)
def test_other_spellings_become_canonical_and_unknown_labels_stay(label, expected):
    assert canonical(label) == expected


def test_every_synonym_leads_to_a_known_emotion():
    assert set(SYNONYMS.values()) <= set(FERPLUS)


@given(st.text(max_size=20))
def test_canonical_is_idempotent(label):
    assert canonical(canonical(label)) == canonical(label)


@pytest.mark.parametrize("source", LABEL_SETS)
@pytest.mark.parametrize("target", LABEL_SETS)
def test_a_label_map_leads_to_the_same_emotion_or_none(source, target):
    source, target = LABEL_SETS[source], LABEL_SETS[target]
    mapped = label_map(source, target)
    assert list(mapped) == list(range(len(source)))
    for i, j in mapped.items():
        if j is None:
            assert source[i] not in target
        else:
            assert source[i] == target[j]


def test_a_label_map_knows_other_spellings():
    mapped = label_map(["Anger", "Contempt", "JOY", "Neutral"], FER2013)
    assert mapped == {
        0: FER2013.index("angry"),
        1: None,
        2: FER2013.index("happy"),
        3: FER2013.index("neutral"),
    }
