"""A small probabilistic grammar of English, whose sentences have exact probabilities.

Language models learn it in a minute, and how far they are from the best possible model can be computed, not
guessed: the entropy of the source is known.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache

import numpy as np

Sentence = tuple[str, ...]
END = 0  # the token that ends a sentence, and fills the rest of its row


@dataclass(frozen=True, eq=False)
class Grammar:
    """A probabilistic context-free grammar without recursion: finitely many sentences.

    ``rules``: for each symbol the ways to rewrite it, as pairs of a probability and a string of symbols and
    words, with spaces between them. What is no key of ``rules`` is a word. ``start``: the symbol that every
    sentence begins as.
    """

    rules: Mapping[str, Sequence[tuple[float, str]]]
    start: str = "S"
    words: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        if self.start not in self.rules:
            raise ValueError(f"the grammar has no rule for its start {self.start!r}")
        for symbol, ways in self.rules.items():
            if not ways or min(p for p, _ in ways) <= 0 or not math.isclose(sum(p for p, _ in ways), 1):
                raise ValueError(f"the probabilities of {symbol!r} must be above 0 and sum to 1: {ways}")
        self._refuse_recursion(self.start, ())
        found = {part for ways in self.rules.values() for _, way in ways for part in way.split()}
        object.__setattr__(self, "words", tuple(sorted(found - set(self.rules))))

    def _refuse_recursion(self, symbol: str, above: tuple[str, ...]) -> None:
        if symbol in above:
            raise ValueError(
                f"{symbol!r} is part of itself ({' → '.join((*above, symbol))}): use rules that end"
            )
        for _, way in self.rules.get(symbol, ()):
            for part in way.split():
                self._refuse_recursion(part, (*above, symbol))

    def sample(self, n: int, rng: np.random.Generator) -> list[Sentence]:
        """n independent sentences."""
        return [tuple(self._expand(self.start, rng)) for _ in range(n)]

    def _expand(self, symbol: str, rng: np.random.Generator) -> Iterator[str]:
        if symbol not in self.rules:
            yield symbol
            return
        ways = self.rules[symbol]
        below = itertools.accumulate(p for p, _ in ways)
        u = rng.random()
        _, way = next((way for way, edge in zip(ways, below, strict=True) if u < edge), ways[-1])
        for part in way.split():
            yield from self._expand(part, rng)

    def log_prob(self, sentences: Iterable[Sentence]) -> np.ndarray:
        """Exact log-probabilities, float64 (B,) nats, over all derivations; −inf outside of the language."""
        return np.array([self._inside(sentence) for sentence in sentences])

    def _inside(self, sentence: Sentence) -> float:
        @cache
        def symbol_spans(symbol: str, i: int, j: int) -> float:
            """The probability that `symbol` becomes the words i to j."""
            if symbol not in self.rules:
                return float(j == i + 1 and sentence[i] == symbol)
            return sum(p * parts_span(tuple(way.split()), i, j) for p, way in self.rules[symbol])

        @cache
        def parts_span(parts: tuple[str, ...], i: int, j: int) -> float:
            if len(parts) <= 1:
                return symbol_spans(parts[0], i, j) if parts else float(i == j)
            return sum(symbol_spans(parts[0], i, k) * parts_span(parts[1:], k, j) for k in range(i, j + 1))

        p = symbol_spans(self.start, 0, len(sentence))
        return math.log(p) if p > 0 else -math.inf

    def entropy(self) -> float:
        """Mean of −log p(derivation), nats: the entropy of a sentence if each has one derivation only.

        By the chain rule: the entropy of a choice, and the expected entropies of the parts that it brings.
        """

        @cache
        def of(symbol: str) -> float:
            ways = self.rules.get(symbol, ())
            return sum(p * (sum(of(part) for part in way.split()) - math.log(p)) for p, way in ways)

        return of(self.start)

    def derivations(self) -> Iterator[tuple[Sentence, float]]:
        """All derivations: their sentence and probability. The probabilities sum to 1."""

        def of(symbol: str) -> Iterator[tuple[Sentence, float]]:
            if symbol not in self.rules:
                yield (symbol,), 1.0
                return
            for p, way in self.rules[symbol]:
                for parts in itertools.product(*(tuple(of(part)) for part in way.split())):
                    yield (
                        tuple(itertools.chain.from_iterable(words for words, _ in parts)),
                        p * math.prod(q for _, q in parts),
                    )

        return of(self.start)

    def encode(self, sentences: Sequence[Sentence], length: int | None = None) -> np.ndarray:
        """Sentences → tokens, int32 (B, T): a word's place in ``words``, from 1 on, then END to the end.

        ``length``: T, by default one more than the longest sentence has words. ValueError for a word that the
        grammar does not know, or a sentence without room for its END.
        """
        token = {word: k for k, word in enumerate(self.words, 1)}
        longest = max((len(sentence) for sentence in sentences), default=0)
        length = longest + 1 if length is None else length
        if longest >= length:
            raise ValueError(f"a sentence has {longest} words: length must be at least {longest + 1}")
        tokens = np.full((len(sentences), length), END, np.int32)
        for row, sentence in zip(tokens, sentences, strict=True):
            unknown = [word for word in sentence if word not in token]
            if unknown:
                raise ValueError(f"the grammar has no word {unknown[0]!r}")
            row[: len(sentence)] = [token[word] for word in sentence]
        return tokens

    def decode(self, tokens: np.ndarray) -> list[Sentence]:
        """Tokens (B, T) → sentences, each up to its first END (or the whole row, if it has none)."""
        rows = ([int(token) for token in row] for row in np.asarray(tokens))
        return [
            tuple(self.words[t - 1] for t in itertools.takewhile(lambda t: t != END, row)) for row in rows
        ]


# One topic a sentence: its nouns, adjectives, verbs without an object, verbs with one.
TOPICS = {
    "farm": ("cow horse farmer goat", "brown old hungry", "sleep graze wait", "follow hear feed"),
    "sea": ("sailor ship whale captain", "grey tired brave", "dive drift sing", "see chase find"),
    "city": ("baker painter teacher thief", "young clever busy", "run laugh talk", "meet greet fool"),
    "sky": ("star cloud planet comet", "bright distant cold", "shine glow turn", "pass hide light"),
}
_PLURALS = {"thief": "thieves"}
_THIRD = {"pass": "passes"}


@cache
def english() -> Grammar:
    """Sentences such as "the old sailor that sings sees a whale": 4 topics, two numbers, up to 9 words.

    What a model has to find out: words of one topic keep together; the verb agrees with its subject, also
    across a relative clause; the object is free to be singular or plural. Each sentence has one derivation.
    """
    rules: dict[str, list[tuple[float, str]]] = {"S": []}
    for topic, parts in TOPICS.items():
        nouns, adjectives, alone, with_object = (part.split() for part in parts)
        for number in ("one", "many"):
            of = f"{topic}_{number}"
            inflected = {
                "N": [noun if number == "one" else _PLURALS.get(noun, noun + "s") for noun in nouns],
                "V": [_THIRD.get(verb, verb + "s") if number == "one" else verb for verb in alone],
                "VO": [_THIRD.get(verb, verb + "s") if number == "one" else verb for verb in with_object],
            }
            for kind, words in inflected.items():
                shares = [0.4, 0.3, 0.2, 0.1] if len(words) == 4 else [0.5, 0.3, 0.2]
                rules[f"{kind}_{of}"] = list(zip(shares, words, strict=True))
            rules["S"].append((0.125, f"SUBJECT_{of} PREDICATE_{of}"))
            rules[f"SUBJECT_{of}"] = [(0.7, f"NP_{of}"), (0.3, f"NP_{of} that V_{of}")]
            rules[f"NP_{of}"] = [(0.6, f"DET_{number} N_{of}"), (0.4, f"DET_{number} A_{topic} N_{of}")]
            rules[f"PREDICATE_{of}"] = [(0.4, f"V_{of}"), (0.6, f"VO_{of} OBJECT_{topic}")]
        rules[f"A_{topic}"] = list(zip([0.5, 0.3, 0.2], adjectives, strict=True))
        rules[f"OBJECT_{topic}"] = [(0.6, f"NP_{topic}_one"), (0.4, f"NP_{topic}_many")]
    rules["DET_one"] = [(0.6, "the"), (0.4, "a")]
    rules["DET_many"] = [(0.7, "the"), (0.3, "some")]
    return Grammar(rules)
