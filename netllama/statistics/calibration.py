"""Whether a model's probabilities of options mean what they say, and what answering without knowledge scores."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from netllama.statistics.paired_scores import FloatArray, IntArray

BINS = 10


@dataclass(frozen=True)
class OptionProbabilities:
    """What a model gave the options of each question, and which of them is right."""

    probabilities: FloatArray
    """(questions, most options): each row sums to 1; 0 where a question has fewer options."""
    right: IntArray
    """(questions,): the place of the right option, from 0."""


@dataclass(frozen=True)
class ConfidenceBin:
    """The questions whose likeliest option got a probability from `low` to `high`."""

    low: float
    high: float
    questions: int
    confidence: float
    """The mean probability of the likeliest option; 0 for an empty bin."""
    accuracy: float
    """The share of questions whose likeliest option is right; 0 for an empty bin."""


@dataclass(frozen=True)
class GuessingBaselines:
    """Accuracies of a model that knows nothing."""

    majority: float
    """It always gives the answer that is right most often."""
    uniform: float
    """It draws an option."""


def normalise_likelihoods(log_likelihoods: Sequence[Sequence[float]], right: Sequence[int]) -> OptionProbabilities:
    """Probabilities among the options of each question from their log-likelihoods (nats), by softmax."""
    table = np.full((len(log_likelihoods), max(map(len, log_likelihoods), default=0)), -np.inf)
    for row, own in zip(table, log_likelihoods, strict=True):
        row[: len(own)] = own
    shares = np.exp(table - table.max(axis=1, keepdims=True, initial=-np.inf))
    return OptionProbabilities(shares / shares.sum(axis=1, keepdims=True), np.asarray(right, dtype=np.int64))


def compute_brier_scores(options: OptionProbabilities) -> FloatArray:
    """(questions,): the sum over options of (probability - truth) squared, from 0 to 2 (Brier 1950, Monthly Weather
    Review): 0 is certain and right, 2 certain and wrong, 0.75 a uniform guess among four."""
    truth = np.zeros(options.probabilities.shape)
    truth[np.arange(len(options.right)), options.right] = 1
    result: FloatArray = ((options.probabilities - truth) ** 2).sum(axis=1)
    return result


def bin_confidences(confidences: ArrayLike, hits: ArrayLike, bins: int = BINS) -> list[ConfidenceBin]:
    """Equally wide bins from 0 to 1, for a reliability diagram. A probability on an edge belongs to the bin below.

    `confidences` (questions,): the probability of the option that the model takes; `hits` (questions,): 1 if it is
    right, else 0.
    """
    confidence, right = np.asarray(confidences, dtype=np.float64), np.asarray(hits, dtype=np.float64)
    places = np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)
    found = []
    for place in range(bins):
        own = places == place
        number = int(own.sum())
        means = [float(values[own].mean()) if number else 0.0 for values in (confidence, right)]
        found.append(ConfidenceBin(place / bins, (place + 1) / bins, number, *means))
    return found


def compute_calibration_error(confidences: ArrayLike, hits: ArrayLike, bins: int = BINS) -> float:
    """Expected calibration error (Guo et al., ICML 2017): |accuracy - confidence| of the bins, by questions."""
    found = bin_confidences(confidences, hits, bins)
    return sum(each.questions * abs(each.accuracy - each.confidence) for each in found) / np.size(confidences)


def measure_guessing(answers: Sequence[str], chances: Sequence[float]) -> GuessingBaselines:
    """For questions of one kind: the right `answers`, equal where they are the same, and the share of the options that
    is right."""
    return GuessingBaselines(
        majority=max(Counter(answers).values()) / len(answers),
        uniform=sum(chances) / len(chances),
    )
