"""Texts that are too much alike: seed tasks among themselves, questions among themselves, and the two with each other.

What is trained on must not hold what is asked afterwards. Two measures: ROUGE-L F1 of whole texts, and runs of words in
common, which also find a sentence inside a long text.
"""

import string
from collections.abc import Iterator, Mapping, Sequence

from netllama.core.records import Question, SeedTask
from netllama.novelty.index import NoveltyIndex, similar_pairs

RUN = 8
"""Words in a row that count as taken over."""
_PUNCTUATION = string.punctuation + "–—’“”"


def near_seeds(seeds: Mapping[str, Sequence[SeedTask]], threshold: float) -> Iterator[str]:
    """Two instructions at or above `threshold`, of whatever families."""
    rows = [seed for family in seeds.values() for seed in family]
    for one, other in similar_pairs([seed.instruction for seed in rows], threshold):
        yield f"{rows[one].id} and {rows[other].id}: instructions are alike"


def near_questions(questions: Sequence[Question], threshold: float) -> Iterator[str]:
    """Two questions, with their options, at or above `threshold` that are not in one cluster."""
    texts = [" ".join((question.question, *question.options)) for question in questions]
    for one, other in similar_pairs(texts, threshold):
        first, second = questions[one], questions[other]
        if not first.cluster or first.cluster != second.cluster:
            yield f"{first.id} and {second.id}: questions are alike; put them into one cluster, or drop one"


def seeds_near_questions(
    seeds: Mapping[str, Sequence[SeedTask]], questions: Sequence[Question], threshold: float
) -> Iterator[str]:
    """An instruction or input at or above `threshold` to a question."""
    index = NoveltyIndex()
    for question in questions:
        index.add(question.id, question.question)
    for seed in (seed for family in seeds.values() for seed in family):
        for text in (seed.instruction, seed.input):
            near, score = index.nearest(text, threshold)
            if near:
                yield f"{seed.id} and {near}: the task is like the question (ROUGE-L {score:.2f})"


def shared_runs(seeds: Mapping[str, Sequence[SeedTask]], questions: Sequence[Question]) -> Iterator[str]:
    """RUN words in a row of a question (a blank filled in), its options, key facts or written answer, and of a seed.

    One line a question and seed, with the first words in common.
    """
    taught: dict[tuple[str, ...], str] = {}
    for seed in (seed for family in seeds.values() for seed in family):
        for text in (seed.instruction, seed.input, seed.output):
            taught |= dict.fromkeys(runs(text), seed.id)
    for question in questions:
        whole = question.question.replace("____", question.answer) if question.kind == "blank" else question.question
        answer = question.answer if question.kind == "open" else ""
        shared: dict[str, str] = {}
        for run in (run for text in (whole, *question.options, *question.key_facts, answer) for run in runs(text)):
            if run in taught:
                shared.setdefault(taught[run], " ".join(run))
        yield from (f"{question.id} and {seed}: both say {words!r}" for seed, words in shared.items())


def runs(text: str) -> list[tuple[str, ...]]:
    """All runs of RUN words, in lower case and without punctuation around them."""
    # A path, an address or a dotted name is one word: two texts may name the same file.
    words = [word for piece in text.lower().split() if (word := piece.strip(_PUNCTUATION))]
    return [tuple(words[start : start + RUN]) for start in range(len(words) - RUN + 1)]
