"""The Self-Instruct loop: a round freezes the pool, its slots draw examples from it, and answers are judged in order.

A slot draws its examples by (seed, family, round, slot), so its request depends on no other request of the round. All
requests of a round are sent together, and their answers are judged in slot order. So concurrency, interruptions and
resuming do not change the result. Wang et al., "Self-Instruct", arXiv 2212.10560.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from netllama.contamination.evaluation_questions import Evaluation
from netllama.core.files import hash_json
from netllama.core.records import GeneratedInstruction, RejectedCandidate, SeedTask
from netllama.core.sections import FilterParams, GenerateParams
from netllama.core.teacher_section import TeacherParams
from netllama.selfinstruct.block_contract import BlockContract
from netllama.selfinstruct.exemplars import draw_exemplars
from netllama.selfinstruct.json_schema_contract import JsonSchemaContract
from netllama.selfinstruct.output_contract import Candidate, OutputContract, read_candidates
from netllama.selfinstruct.task_pool import TaskPool
from netllama.teacher.budget import BudgetReached
from netllama.teacher.store import EMBEDDED, Request, Response

TRIAL_ROUNDS, TRIAL_ANSWERS = 2, 8
"""A family of which none of so many rounds and answers gives a task is asked no more."""


class AnswerSource(Protocol):
    """Where answers come from: the live teacher or the Batch API; in tests, a script."""

    async def ask_all(self, requests: list[Request]) -> list[Response]: ...


@dataclass
class Family:
    """A family's seeds and what has been generated from them."""

    name: str
    directive: str
    seeds: Sequence[SeedTask]
    evaluation: Evaluation
    params: GenerateParams
    teacher: TeacherParams
    filters: FilterParams
    kept: list[GeneratedInstruction] = field(default_factory=list)
    rejected: list[RejectedCandidate] = field(default_factory=list)
    responses: list[Response] = field(default_factory=list)
    rounds: int = 0

    def __post_init__(self) -> None:
        params = self.params
        categories = sorted({seed.category for seed in self.seeds})
        self.contract: OutputContract = (
            JsonSchemaContract(categories, params.tasks_per_request)
            if params.output_contract == "json_schema"
            else BlockContract(self.teacher.api, params.tasks_per_request)
        )
        self.opening = build_opening(self.directive, self.seeds if self.teacher.prompt_cache else ())
        self._cache_key = f"netllama-{self.name}-{hash_json(self.opening)[:12]}" if self.teacher.prompt_cache else ""
        prompt = f"{self.directive}\n{self.contract.wording}"
        self.pool = TaskPool(self.name, self.seeds, prompt, self.evaluation, self.filters)
        self._drawn: list[list[str]] = []

    @property
    def is_done(self) -> bool:
        target, asked = self.params.num_instructions_to_generate, len(self.responses)
        return len(self.kept) >= target or asked >= self.params.max_requests or self.is_barren

    @property
    def is_barren(self) -> bool:
        """Nothing kept of at least two rounds and eight answers: more would be the same.

        A family that keeps one task is never barren, however little comes after it.
        """
        wanted = self.params.num_instructions_to_generate
        tried = self.rounds >= TRIAL_ROUNDS and len(self.responses) >= TRIAL_ANSWERS
        return bool(wanted) and not self.kept and tried

    def build_round(self) -> list[Request]:
        """The requests of the next round, drawn from the pool as it is now."""
        width = min(self.params.requests_per_round, self.params.max_requests - len(self.responses))
        self._drawn = []
        return [self._build_request(slot) for slot in range(width)]

    def judge_round(self, responses: Sequence[Response]) -> None:
        """Keep or reject every task in a round's answers, in slot order, until enough are kept."""
        for slot, response in enumerate(responses):
            self.responses.append(response)
            for number, candidate in enumerate(read_candidates(self.contract, response)):
                if len(self.kept) < self.params.num_instructions_to_generate:
                    self._judge_candidate(candidate, slot, number, response)
        self.rounds += 1

    def _build_request(self, slot: int) -> Request:
        params, teacher, draw = self.params, self.teacher, f"{self.name}/{self.rounds}/{slot}"
        exemplars = draw_exemplars(
            self.seeds,
            self.kept,
            params.num_seed_exemplars,
            params.num_machine_exemplars,
            params.max_exemplar_tokens,
            f"{params.seed}/{draw}",
        )
        self._drawn.append([task.id for task in exemplars])
        return Request(
            teacher=teacher.base_url or EMBEDDED,
            model=teacher.model_name,
            api=teacher.api,
            temperature=teacher.temperature,
            top_p=teacher.top_p,
            frequency_penalty=teacher.frequency_penalty,
            presence_penalty=teacher.presence_penalty,
            stop=list(teacher.stop),
            reasoning_effort=teacher.reasoning_effort,
            max_tokens=teacher.max_answer_tokens,
            service_tier=teacher.service_tier,
            cache_key=self._cache_key,
            draw=draw,
            **self.contract.build_prompt(self.opening, exemplars),
        )

    def _judge_candidate(self, candidate: Candidate, slot: int, number: int, response: Response) -> None:
        verdict = self.pool.judge_candidate(candidate)
        nearest, score = verdict.nearest
        row: dict[str, Any] = {
            "id": f"{self.name}-r{self.rounds:03d}-s{slot:02d}-t{number:02d}",
            "family": self.name,
            "category": candidate.category,
            "instruction": candidate.instruction,
            "input": candidate.input,
            "output": candidate.output,
            "round": self.rounds,
            "slot": slot,
            "exemplars": self._drawn[slot],
            "request": response.key,
            "model": response.model,
            "nearest": nearest,
            "nearest_score": round(score, 4),
        }
        if verdict.reason:
            self.rejected.append(RejectedCandidate(reason=verdict.reason, **row))
        else:
            self.kept.append(GeneratedInstruction(**row))
            self.pool.add(self.kept[-1])


def build_opening(directive: str, seeds: Sequence[SeedTask]) -> str:
    """What all prompts of a family begin with: its directive, and what the tasks in hand already ask.

    The list keeps the teacher from writing them again, and makes the opening long enough for a provider's prompt cache.
    """
    if not seeds:
        return directive
    listed = "\n".join(f"- {' '.join(seed.instruction.split())}" for seed in seeds)
    return f"{directive.strip()}\n\nThese tasks exist. Write none of them again, in no other words either:\n{listed}"


async def grow_families(families: Sequence[Family], teacher: AnswerSource, report: Callable[[], None]) -> bool:
    """Run rounds until every family is done or barren; calls `report` after each judged round.

    Returns False if the budget ended it first. The answers to an unfinished round are stored, but not judged.
    """
    while unfinished := [family for family in families if not family.is_done]:
        rounds = [family.build_round() for family in unfinished]
        try:
            answers = await teacher.ask_all([request for requests in rounds for request in requests])
        except BudgetReached:
            return False
        for family, requests in zip(unfinished, rounds, strict=True):
            family.judge_round(answers[: len(requests)])
            answers = answers[len(requests) :]
        report()
    return True
