"""A family's pool: the tasks that were accepted so far, and the verdict on a candidate that may join them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from netllama.contamination.evaluation_questions import Evaluation
from netllama.contamination.normalisation import squeeze_text
from netllama.core.generate_section import FilterParams
from netllama.core.records import Instruction, SeedTask
from netllama.novelty.novelty_index import NoveltyIndex
from netllama.selfinstruct.candidate_filters import Context, Match, choose_filters
from netllama.selfinstruct.output_contract import Candidate


@dataclass(frozen=True)
class Verdict:
    """The outcome for one candidate."""

    reason: str | None
    """Why it is rejected; None if it is kept."""
    nearest: Match
    """The seed or kept row that it is most similar to, or the row or question that it is rejected for."""


class TaskPool:
    """Seeds and kept rows of one family; `judge_candidate` compares a candidate with them, `add` lets it join."""

    def __init__(
        self,
        family: str,
        seeds: Sequence[SeedTask],
        directive: str,
        evaluation: Evaluation,
        params: FilterParams,
    ) -> None:
        self._evaluation = evaluation
        self._filters = choose_filters(params.enabled)
        required = [entry.partition("=")[::2] for entry in params.required_imports]
        self._context = Context(
            directive,
            params.min_words,
            params.max_words,
            params.blacklist,
            frozenset(module for name, module in required if name == family),
            params.rouge_threshold,
        )
        self._index = NoveltyIndex()
        self._outputs: dict[str, str] = {}
        for seed in seeds:
            self.add(seed)

    @property
    def filters(self) -> list[str]:
        """Names of the filters, in their order."""
        return [check.__name__ for check in self._filters]

    def add(self, row: SeedTask | Instruction) -> None:
        self._index.add(row.id, row.instruction)
        self._outputs.setdefault(squeeze_text(row.output), row.id)

    def judge_candidate(self, candidate: Candidate) -> Verdict:
        """Why the candidate is rejected, if it is, and what it is most similar to. Does not change the pool."""
        nearest = self._index.find_nearest(candidate.instruction)
        if candidate.problem:
            return Verdict(candidate.problem, nearest)
        context = replace(
            self._context,
            nearest=nearest,
            same_output=self._outputs.get(squeeze_text(candidate.output)),
            given_away=self._evaluation.find_given_away(candidate),
        )
        reason = next((check.__name__ for check in self._filters if check(candidate, context)), None)
        if reason == "duplicate_output":
            return Verdict(reason, (context.same_output, 1.0))
        if reason == "near_question" and (found := context.given_away):
            return Verdict(reason, (found.question, found.score))
        return Verdict(reason, nearest)
