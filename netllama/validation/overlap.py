"""Hand-written texts that are too much alike: seed tasks, questions, and the two with each other."""

from collections.abc import Iterable, Iterator, Sequence

from netllama.contamination.evaluation_questions import Evaluation
from netllama.core.records import Question, SeedTask
from netllama.novelty.novelty_index import find_similar_pairs


def find_alike_seeds(seeds: Sequence[SeedTask], threshold: float) -> Iterator[str]:
    """A line for each two instructions with a ROUGE-L F1 of at least `threshold`, of whatever families."""
    for one, other in find_similar_pairs([seed.instruction for seed in seeds], threshold):
        yield f"{seeds[one].id} and {seeds[other].id}: instructions are alike; reword or remove one"


def find_alike_questions(questions: Sequence[Question], threshold: float) -> Iterator[str]:
    """A line for each two questions (with their options) at or above `threshold` that do not share a cluster."""
    texts = [" ".join((question.question, *question.options)) for question in questions]
    for one, other in find_similar_pairs(texts, threshold):
        first, second = questions[one], questions[other]
        if not first.cluster or first.cluster != second.cluster:
            yield f"{first.id} and {second.id}: questions are alike; put them into one cluster, or remove one"


def find_given_away_questions(seeds: Iterable[SeedTask], evaluation: Evaluation) -> Iterator[str]:
    """A line for each seed and question that it gives away: what is trained on may not hold what is asked later."""
    for seed in seeds:
        yield from (f"{seed.id}: {found}; reword or remove one of them" for found in evaluation.list_given_away(seed))
