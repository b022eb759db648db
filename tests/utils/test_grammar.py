"""The grammar: probabilities, samples and entropy agree with its enumeration."""

import math
from collections import Counter

import numpy as np
import pytest

from utils import grammar, stattests

TWO_WAYS = grammar.Grammar(
    {"S": [(0.5, "A B"), (0.5, "B A")], "A": [(1, "x")], "B": [(0.25, "x"), (0.75, "y")]}
)


def test_a_sentence_with_two_derivations_adds_them():
    assert np.allclose(np.exp(TWO_WAYS.log_prob([("x", "x"), ("x", "y"), ("y", "x")])), [0.25, 0.375, 0.375])
    assert TWO_WAYS.log_prob([("y", "y"), (), ("x",), ("z",)]).tolist() == [-math.inf] * 4


def test_derivations_and_their_entropy():
    p = np.array([p for _, p in TWO_WAYS.derivations()])
    assert np.isclose(p.sum(), 1) and np.isclose(TWO_WAYS.entropy(), -np.sum(p * np.log(p)))


def test_samples_have_the_exact_probabilities():
    n = 4000
    counts = Counter(TWO_WAYS.sample(n, np.random.default_rng(0)))
    sentences = [("x", "x"), ("x", "y"), ("y", "x")]
    assert set(counts) == set(sentences)
    tolerance = stattests.hoeffding_tolerance(n, 0, 1, comparisons=3)
    exact = np.exp(TWO_WAYS.log_prob(sentences))
    assert np.abs(np.array([counts[s] for s in sentences]) / n - exact).max() <= tolerance


@pytest.fixture(scope="module")
def derivations():
    return list(grammar.english().derivations())


def test_english_has_one_derivation_a_sentence_and_the_stated_entropy(derivations):
    english, language = grammar.english(), dict(derivations)
    assert len(language) == len(derivations) == 199_680
    p = np.fromiter(language.values(), float)
    assert np.isclose(p.sum(), 1)
    assert np.isclose(english.entropy(), -np.sum(p * np.log(p)))
    assert max(map(len, language)) == 9


def test_english_log_probabilities_are_those_of_the_enumeration(derivations):
    english, language = grammar.english(), dict(derivations)
    some = english.sample(50, np.random.default_rng(1))
    assert np.allclose(english.log_prob(some), np.log([language[s] for s in some]))
    wrong = [
        "a cows sleep",
        "the cow sleep",
        "the cow that sleeps sleep",
        "the cow follows a ship",
        "the cow",
    ]
    assert np.isneginf(english.log_prob([tuple(w.split()) for w in wrong])).all()


def test_tokens_there_and_back():
    english = grammar.english()
    some = english.sample(20, np.random.default_rng(2))
    tokens = english.encode(some, 12)
    assert tokens.shape == (20, 12) and tokens.max() <= len(english.words)
    assert (tokens[:, -1] == grammar.END).all()
    assert english.decode(tokens) == some
    assert english.encode(some).shape[1] == max(map(len, some)) + 1
    assert english.encode([]).shape == (0, 1)
    with pytest.raises(ValueError, match="no word 'dragon'"):
        english.encode([("the", "dragon", "sleeps")])
    with pytest.raises(ValueError, match="at least 4"):
        english.encode([("the", "cow", "sleeps")], 3)


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ({"S": [(0.5, "a")]}, "sum to 1"),
        ({"S": [(1.0, "a"), (0.0, "b")]}, "above 0"),
        ({"T": [(1, "a")]}, "no rule for its start"),
        ({"S": [(0.5, "a S"), (0.5, "a")]}, "S → S"),
    ],
)
def test_a_wrong_grammar_says_so(rules, message):
    with pytest.raises(ValueError, match=message):
        grammar.Grammar(rules)
