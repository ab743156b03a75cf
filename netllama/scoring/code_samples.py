"""Several answers to a code question, with tokens that are drawn: what pass@k is computed from."""

import hashlib
from collections.abc import Sequence

from netllama.core.records import Question
from netllama.scoring.code_questions import read_rung
from netllama.scoring.kept_answers import LimitedPrompt
from netllama.scoring.score import Score
from netllama.scoring.token_draws import TokenDraw


def draw_samples(
    questions: Sequence[Question], prompts: Sequence[LimitedPrompt], number: int, temperature: float
) -> list[LimitedPrompt]:
    """Each of the `prompts` of these questions `number` times, question by question, with tokens to be drawn."""
    return [
        prompt._replace(steering=TokenDraw(_hash_to_seed(f"{question.id}/{sample}"), temperature))
        for question, prompt in zip(questions, prompts, strict=True)
        for sample in range(number)
    ]


def _hash_to_seed(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:7])


def gather_samples(scores: Sequence[Score]) -> list[Score]:
    """One score for each question of which `scores` are samples: the share that is right, and the best answer."""
    samples: dict[str, list[Score]] = {}
    for score in scores:
        samples.setdefault(score.item, []).append(score)
    gathered = []
    for own in samples.values():
        best = max(own, key=read_rung)
        right = int(sum(score.value for score in own))
        said = f"{right} of {len(own)} samples are right; the best: {best.explanation}"
        update = {"kind": "code_samples", "value": right / len(own), "explanation": said}
        gathered.append(best.model_copy(update=update))
    return gathered
