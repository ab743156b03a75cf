"""Measures how well rules guess closed questions from their form alone, without any knowledge.

A benchmark on which "always C" or "the longest option" wins measures test-taking, not knowledge. Each rule here answers
every question of a suite (one family, one kind), and its accuracy is compared with chance. Gururangan et al.,
"Annotation Artifacts in Natural Language Inference Data", NAACL 2018, is the classic case.
"""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from netllama.core.records import LETTERS, Question
from netllama.novelty.rouge import split_rouge_tokens

_NEGATIONS = re.compile(r"\b(?:not|no|none|never|cannot|without|nor|neither)\b", re.IGNORECASE)
_ABSOLUTES = re.compile(r"\b(?:always|never|only|every|all|any|alone|must|none)\b", re.IGNORECASE)

Scores = Callable[[Question], Sequence[float]]
"""The score that a rule gives each option. It draws one of the options with the highest score."""


def _count_shared_words(one: str, other: str) -> int:
    return len(set(split_rouge_tokens(one)) & set(split_rouge_tokens(other)))


def _score_common_words(question: Question) -> list[float]:
    return [
        sum(_count_shared_words(option, other) for other in question.options if other is not option)
        for option in question.options
    ]


CHOICE: dict[str, Scores] = {
    "first": lambda question: [-position for position in range(len(question.options))],
    "longest": lambda question: [len(option) for option in question.options],
    "shortest": lambda question: [-len(option) for option in question.options],
    "most overlap": lambda question: [_count_shared_words(option, question.question) for option in question.options],
    "least overlap": lambda question: [-_count_shared_words(option, question.question) for option in question.options],
    "most digits": lambda question: [sum(c.isdigit() for c in option) for option in question.options],
    "most common words": _score_common_words,
}
"""`most overlap`: shares most words with the question; `most digits`: looks most specific; `most common words`: shares
most words with the other options, as a right answer does if the wrong ones were made from it by changing one thing."""

TRUE_FALSE: dict[str, Callable[[Question], bool]] = {
    "negation is false": lambda question: not _NEGATIONS.search(question.question),
    "absolute is false": lambda question: not _ABSOLUTES.search(question.question),
}
"""Whether the rule says `true`. Each rule is also reversed, since a bias helps in either direction."""


@dataclass(frozen=True)
class Suite:
    """The closed questions of one family and kind, and how many of them each rule gets right."""

    family: str
    kind: str
    questions: int
    chance: float
    rules: dict[str, float]
    """Accuracy in 0..1 by rule."""
    p_even: float
    """p-value of the chi-square test that answers are spread evenly over positions (choice) or truth values."""

    def find_best_rule(self) -> tuple[str, float]:
        """The rule that beats chance by most, and by how much (at most 1; negative if no rule beats it)."""
        name = max(self.rules, key=lambda rule: self.rules[rule])
        return name, self.rules[name] - self.chance


def measure_suites(questions: Sequence[Question]) -> list[Suite]:
    """A suite for each family and closed kind, in the order of the questions."""
    groups: dict[tuple[str, str], list[Question]] = {}
    for question in questions:
        if question.kind in _MEASURES:
            groups.setdefault((question.family, question.kind), []).append(question)
    return [_MEASURES[kind](family, own) for (family, kind), own in groups.items()]


def _measure_choices(family: str, questions: Sequence[Question]) -> Suite:
    counts = Counter(question.answer for question in questions)
    rules = {"majority": max(counts.values()) / len(questions)}
    rules |= {
        name: sum(_compute_hit_rate(q, scores(q)) for q in questions) / len(questions)
        for name, scores in CHOICE.items()
    }
    chance = sum(1 / len(question.options) for question in questions) / len(questions)
    places = range(max(len(question.options) for question in questions))
    expected = [sum(1 / len(q.options) for q in questions if place < len(q.options)) for place in places]
    return Suite(
        family,
        "choice",
        len(questions),
        chance,
        rules,
        _test_evenness([counts[LETTERS[place]] for place in places], expected),
    )


def _compute_hit_rate(question: Question, scores: Sequence[float]) -> float:
    """The probability that the rule is right; it draws one of the options with the highest score."""
    best = [position for position, score in enumerate(scores) if score == max(scores)]
    return (LETTERS.index(question.answer) in best) / len(best)


def _measure_statements(family: str, questions: Sequence[Question]) -> Suite:
    truths = [question.answer == "true" for question in questions]
    rules = {"majority": max(sum(truths), len(truths) - sum(truths)) / len(truths)}
    for name, says in TRUE_FALSE.items():
        right = sum(says(question) == truth for question, truth in zip(questions, truths, strict=True)) / len(truths)
        rules |= {name: right, f"{name}, reversed": 1 - right}
    even = _test_evenness([sum(truths), len(truths) - sum(truths)], [len(truths) / 2] * 2)
    return Suite(family, "true_false", len(truths), 0.5, rules, even)


def _measure_blanks(family: str, questions: Sequence[Question]) -> Suite:
    """The only rule always gives the text that fits most blanks. Chance is one blank."""
    fits = Counter(text for q in questions for text in {" ".join(t.casefold().split()) for t in (q.answer, *q.aliases)})
    majority = max(fits.values()) / len(questions)
    return Suite(family, "blank", len(questions), 1 / len(questions), {"majority": majority}, 1.0)


def _test_evenness(counts: Sequence[int], expected: Sequence[float]) -> float:
    from scipy.stats import chisquare

    return float(chisquare(counts, expected).pvalue)


_MEASURES: dict[str, Callable[[str, Sequence[Question]], Suite]] = {
    "choice": _measure_choices,
    "true_false": _measure_statements,
    "blank": _measure_blanks,
}


def measure_learned_guesses(questions: Sequence[Question], folds: int = 10, repeats: int = 10) -> dict[str, float]:
    """Accuracy by kind of a bag-of-words classifier that sees options without their question, or only statements.

    It is a logistic regression on TF-IDF of words and pairs of words, cross-validated (all options of a question and
    all questions of a cluster are in one fold) and averaged over shuffles. Wording that gives answers away shows here,
    whatever rule it follows. Kinds with fewer questions than folds are left out.
    """
    from sklearn.model_selection import GroupKFold

    accuracies = {}
    for kind in ("choice", "true_false"):
        own = [question for question in questions if question.kind == kind]
        groups = [question.cluster or question.id for question in own]
        if len(set(groups)) < folds:
            continue
        counted = _CountedTexts(own)
        hits = 0
        for seed in range(repeats):
            for train, test in GroupKFold(folds, shuffle=True, random_state=seed).split(own, groups=groups):
                guesses = counted.guess_answers(train, test)
                hits += sum(
                    guess == _find_right_position(own[place]) for guess, place in zip(guesses, test, strict=True)
                )
        accuracies[kind] = hits / (len(own) * repeats)
    return accuracies


def _find_right_position(question: Question) -> int:
    return LETTERS.index(question.answer) if question.kind == "choice" else int(question.answer == "true")


class _CountedTexts:
    """Questions of one kind, and the words of each option or statement, counted once for all folds."""

    def __init__(self, questions: Sequence[Question]) -> None:
        from sklearn.feature_extraction.text import CountVectorizer

        self.questions = questions
        texts: list[str] = []
        labels: list[bool] = []
        self.rows: list[range] = []
        """Of each question, where its texts stand."""
        for question in questions:
            right = _find_right_position(question)
            own = question.options if question.kind == "choice" else [question.question]
            self.rows.append(range(len(texts), len(texts) + len(own)))
            texts += own
            labels += [place == right for place in range(len(own))] if question.kind == "choice" else [bool(right)]
        self.labels = np.array(labels)
        self.counts = CountVectorizer(ngram_range=(1, 2), token_pattern=r"\S+").fit_transform(texts)

    def guess_answers(self, learned_from: Sequence[int], asked: Sequence[int]) -> list[int]:
        """Learn from some of the questions and guess others: the position of an option, or 1 for true.

        A word that only others have counts for nothing: nothing is learned of it.
        """
        from sklearn.feature_extraction.text import TfidfTransformer
        from sklearn.linear_model import LogisticRegression

        train = [row for place in learned_from for row in self.rows[place]]
        if len(set(self.labels[train])) < 2:
            return [int(self.labels[train[0]])] * len(asked)
        known = self.counts[:, np.flatnonzero(self.counts[train].sum(axis=0))]
        weighing = TfidfTransformer().fit(known[train])
        # The default solver hands small vectors to every core at each step: 10 s of two cores' time, this one 2.
        model = LogisticRegression(solver="newton-cg").fit(weighing.transform(known[train]), self.labels[train])
        test = [row for place in asked for row in self.rows[place]]
        likings = model.predict_proba(weighing.transform(known[test]))[:, 1]
        if self.questions[asked[0]].kind == "true_false":
            return [int(liking > 0.5) for liking in likings]
        cut = np.cumsum([len(self.rows[place]) for place in asked])[:-1]
        return [int(own.argmax()) for own in np.split(likings, cut)]
