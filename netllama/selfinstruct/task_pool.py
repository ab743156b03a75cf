"""A family's pool: what was accepted so far, and the judgement of what wants to join it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from netllama.core.records import Instruction, Question, SeedTask
from netllama.core.sections import FilterParams
from netllama.novelty.index import NoveltyIndex
from netllama.selfinstruct.candidate_filters import Context, Match, choose_filters
from netllama.selfinstruct.output_contract import Candidate


class Questions:
    """The evaluation questions, which no instruction may be near to; shared by all families."""

    def __init__(self, questions: Sequence[Question] = ()) -> None:
        self._index = NoveltyIndex()
        for question in questions:
            self._index.add(question.id, question.question)

    def nearest(self, candidate: Candidate) -> Match:
        matches = [self._index.nearest(text) for text in (candidate.instruction, candidate.input)]
        return max(matches, key=lambda match: match[1])


@dataclass(frozen=True)
class Verdict:
    """Why a candidate is rejected (None: it is not), and the row that it is most like."""

    reason: str | None
    nearest: Match


class Pool:
    """Seeds and kept rows of one family; `judge` a candidate, then `add` it."""

    def __init__(
        self,
        family: str,
        seeds: Sequence[SeedTask],
        directive: str,
        questions: Questions,
        params: FilterParams,
        question_threshold: float,
    ) -> None:
        self._questions = questions
        self._filters = choose_filters(params.enabled)
        required = [entry.partition("=")[::2] for entry in params.required_imports]
        self._context = Context(
            directive,
            params.min_words,
            params.max_words,
            params.blacklist,
            frozenset(module for name, module in required if name == family),
            params.rouge_threshold,
            question_threshold,
        )
        self._index = NoveltyIndex()
        self._outputs: dict[str, str] = {}
        for seed in seeds:
            self.add(seed)

    @property
    def filters(self) -> list[str]:
        return [check.__name__ for check in self._filters]

    def add(self, row: SeedTask | Instruction) -> None:
        self._index.add(row.id, row.instruction)
        self._outputs.setdefault(_squeezed(row.output), row.id)

    def judge(self, candidate: Candidate) -> Verdict:
        nearest = self._index.nearest(candidate.instruction)
        if candidate.problem:
            return Verdict(candidate.problem, nearest)
        context = replace(
            self._context,
            nearest=nearest,
            same_output=self._outputs.get(_squeezed(candidate.output)),
            nearest_question=self._questions.nearest(candidate),
        )
        reason = next((check.__name__ for check in self._filters if check(candidate, context)), None)
        if reason == "duplicate_output":
            return Verdict(reason, (context.same_output, 1.0))
        return Verdict(reason, context.nearest_question if reason == "near_question" else nearest)


def _squeezed(text: str) -> str:
    return " ".join(text.split())
