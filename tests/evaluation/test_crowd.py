"""Agreement of probabilities with the people who voted."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fer_attention.data.ferplus import agreed_emotions
from fer_attention.emotions import FER2013, FERPLUS
from fer_attention.evaluation import crowd_agreement


def counts(**votes):
    return [votes.get(name, 0) for name in (*FERPLUS, "unknown", "nf")]


def sure_of(names, labels=FERPLUS):
    """Probabilities that are certain of one class each."""
    return np.array([[float(label == name) for label in labels] for name in names])


def test_levels_count_images_by_agreeing_votes():
    votes = np.array(
        [
            counts(happy=10),
            counts(happy=8, surprise=2),
            counts(sad=6, neutral=4),
            counts(sad=4, neutral=3, fear=3),  # a plurality, no majority
            counts(sad=5, neutral=5),  # a tie: at no level
            counts(unknown=10),
            counts(),
        ]
    )
    found = crowd_agreement(sure_of(["happy", "surprise", "sad", "sad", "sad", "sad", "sad"]), votes, FERPLUS)
    assert {name: (level.correct, level.n) for name, level in found.levels.items()} == {
        "majority": (2, 3),
        "plurality": (3, 4),
        "6 votes or more": (2, 3),
        "8 votes or more": (1, 2),
        "10 votes or more": (1, 1),
    }
    assert found.n == 5
    assert {label: (one.correct, one.n) for label, one in found.recall.items()} == {
        "happy": (1, 2),
        "sad": (1, 1),
    }
    assert found.label_accuracy is None


def test_contempt_counts_only_for_models_that_know_it():
    votes = np.array([counts(contempt=10), counts(angry=10)])
    eight = crowd_agreement(sure_of(["contempt", "angry"]), votes, FERPLUS)
    assert eight.levels["majority"].n == 2
    seven = crowd_agreement(sure_of(["angry", "angry"], FER2013), votes, FER2013)
    assert (seven.levels["majority"].correct, seven.levels["majority"].n) == (1, 1)
    assert seven.n == 1


@given(st.integers(0, 2**32 - 1))
def test_numbers_equal_a_second_derivation(seed):
    generator = np.random.default_rng(seed)
    votes = generator.multinomial(10, generator.dirichlet(np.full(10, 0.4)), size=30)
    votes[0] = counts(happy=10)
    probabilities = generator.dirichlet(np.ones(7), size=30)
    labels = generator.integers(0, 7, 30)
    found = crowd_agreement(probabilities, votes, FER2013, labels=labels)
    right, total, own, cross, entropy = 0, 0, 0, [], []
    majority = [0, 0]
    for row, p, label in zip(votes, probabilities, labels, strict=True):
        by_name = dict(zip((*FERPLUS, "unknown", "nf"), row.tolist(), strict=True))
        best = [name for name, count in by_name.items() if count == max(by_name.values())]
        if len(best) == 1 and best[0] in FER2013:
            total += 1
            right += FER2013[p.argmax()] == best[0]
            own += FER2013[label] == best[0]
        kept, reason = agreed_emotions(row.tolist(), "majority")
        if not reason and FERPLUS[int(np.argmax(kept))] in FER2013:
            majority[0] += FER2013[p.argmax()] == FERPLUS[int(np.argmax(kept))]
            majority[1] += 1
        known = [by_name[name] for name in FER2013]
        if sum(known):
            shares = [count / sum(known) for count in known]
            cross.append(-sum(s * np.log(q) for s, q in zip(shares, p, strict=True)))
            entropy.append(-sum(s * np.log(s) for s in shares if s))
    assert (found.levels["plurality"].correct, found.levels["plurality"].n) == (right, total)
    assert (found.levels["majority"].correct, found.levels["majority"].n) == tuple(majority)
    assert found.label_accuracy.correct == own
    assert found.n == len(cross)
    assert found.cross_entropy == pytest.approx(np.mean(cross))
    assert found.entropy == pytest.approx(np.mean(entropy))
    assert found.cross_entropy >= found.entropy


def test_wrong_shapes_and_images_without_votes_are_refused():
    with pytest.raises(ValueError, match=r"votes \(N, 10\), got \(2, 8\) and \(2, 8\)"):
        crowd_agreement(np.ones((2, 8)) / 8, np.ones((2, 8), dtype=np.int64), FERPLUS)
    with pytest.raises(ValueError, match="Nobody voted for any of neutral, happy"):
        crowd_agreement(np.ones((2, 8)) / 8, np.zeros((2, 10), dtype=np.int64), FERPLUS)
