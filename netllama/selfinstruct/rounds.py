"""The Self-Instruct loop: a round freezes the pool, its slots draw examples from it, and answers are judged in order.

A slot draws its examples by (seed, family, round, slot), so its request depends on no other request of the round. All
requests of a round are sent together, and their answers are judged in slot order. So concurrency, interruptions and
resuming do not change the result. Where the filters `runs` and `agrees` are on, a round goes on with what these ask,
about as many tasks at once as are missing. Wang et al., "Self-Instruct", arXiv 2212.10560.
"""

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from netllama.code_checks.code_runner import CodeRunner
from netllama.contamination.evaluation_questions import Evaluation
from netllama.core.files import hash_json
from netllama.core.generate_section import FilterParams, GenerateParams
from netllama.core.records import GeneratedInstruction, RejectedCandidate, SecondAnswer, SeedTask
from netllama.core.teacher_section import TeacherParams
from netllama.selfinstruct.block_contract import BlockContract
from netllama.selfinstruct.checked_notes import CheckedNotes
from netllama.selfinstruct.exemplars import draw_exemplars
from netllama.selfinstruct.json_schema_contract import JsonSchemaContract
from netllama.selfinstruct.output_contract import Candidate, OutputContract, read_candidates
from netllama.selfinstruct.run_checks import RUNS, Checked, RunChecks
from netllama.selfinstruct.second_answers import AGREES, SecondAnswers
from netllama.selfinstruct.task_pool import TaskPool
from netllama.teacher.budget import BudgetReached
from netllama.teacher.store import EMBEDDED, Request, Response

TRIAL_ROUNDS, TRIAL_ANSWERS = 2, 8
"""A family of which none of so many rounds and answers gives a task is asked no more, where an answer may cost."""


class AnswerSource(Protocol):
    """Where answers come from: the live teacher or the Batch API; in tests, a script."""

    async def ask_all(self, requests: list[Request]) -> list[Response]: ...


class Written(NamedTuple):
    """A task in an answer of a round."""

    candidate: Candidate
    slot: int
    number: int
    """Its place in the answer."""
    response: Response
    exemplars: list[str]
    checked: Checked | None = None
    """What `runs` found, where it looked."""


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
    notes: CheckedNotes = field(default_factory=CheckedNotes)
    """What `agrees` checks answers against."""
    runner: CodeRunner | None = None
    """Runs scripts for `runs`."""

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
        self.run_checks = self._make_run_checks()
        self.second_answers = self._make_second_answers()
        """None, both: the filter does not look at this family."""
        self._judging: Generator[list[Request], Sequence[Response]] | None = None
        self._wanted: list[Request] = []

    @property
    def is_done(self) -> bool:
        target, asked = self.params.num_instructions_to_generate, len(self.responses)
        if self.is_checking:
            return False
        return len(self.kept) >= target or asked >= self.params.max_requests or self.is_barren

    @property
    def is_barren(self) -> bool:
        """Nothing kept of at least two rounds and eight answers: more would be the same.

        A family that keeps one task is never barren, however little comes after it. Nor is one of the embedded teacher:
        its answers cost nothing, and few of them are of use.
        """
        wanted = self.params.num_instructions_to_generate
        tried = self.rounds >= TRIAL_ROUNDS and len(self.responses) >= TRIAL_ANSWERS
        return bool(wanted) and not self.kept and tried and bool(self.teacher.base_url)

    @property
    def all_responses(self) -> list[Response]:
        """Those that tasks are read from, and those to what `runs` and `agrees` asked."""
        checks = [check for check in (self.run_checks, self.second_answers) if check]
        return [*self.responses, *(answer for check in checks for answer in check.answers.values())]

    @property
    def is_checking(self) -> bool:
        """Whether `runs` or `agrees` asks about tasks of the latest round."""
        return self._judging is not None

    def build_round(self) -> list[Request]:
        """The requests of the next round, drawn from the pool as it is now; in a round, what its checks ask next."""
        return self._wanted if self.is_checking else self.draw_round()

    def draw_round(self) -> list[Request]:
        width = min(self.params.requests_per_round, self.params.max_requests - len(self.responses))
        self._drawn = []
        return [self._build_request(slot) for slot in range(width)]

    def judge_round(self, responses: Sequence[Response]) -> None:
        """Take the answers to `build_round`: judge the tasks in them, up to what their checks ask next."""
        try:
            if self._judging is None:
                self._judging = self._judge_tasks(responses)
                self._wanted = next(self._judging)
            else:
                self._wanted = self._judging.send(responses)
        except StopIteration:
            self._judging, self._wanted = None, []
            self.rounds += 1

    def _judge_tasks(self, responses: Sequence[Response]) -> Generator[list[Request], Sequence[Response]]:
        """Keep or reject every task in a round's answers, in slot order, until enough are kept."""
        self.responses += responses
        left = [
            Written(candidate, slot, number, response, self._drawn[slot])
            for slot, response in enumerate(responses)
            for number, candidate in enumerate(read_candidates(self.contract, response))
        ]
        while left and (missing := self.params.num_instructions_to_generate - len(self.kept)) > 0:
            asked = [at for at, one in enumerate(left) if self._is_asked_about(one.candidate)][:missing]
            end = asked[-1] + 1 if len(asked) == missing else len(left)
            if self.run_checks and asked:
                run = yield from self.run_checks.check([left[at].candidate for at in asked])
                for at, checked in zip(asked, run, strict=True):
                    left[at] = left[at]._replace(candidate=checked.candidate, checked=checked)
                asked = [at for at in asked if self._is_still_open(left[at])]
            found: dict[int, SecondAnswer] = {}
            if self.second_answers and asked:
                answers = yield from self.second_answers.check([left[at].candidate for at in asked])
                found = dict(zip(asked, answers, strict=True))
            for at, one in enumerate(left[:end]):
                if len(self.kept) < self.params.num_instructions_to_generate:
                    self._judge_candidate(one, found.get(at))
            left = left[end:]

    def _is_asked_about(self, candidate: Candidate) -> bool:
        looks = self.run_checks or self.second_answers
        return looks is not None and not self.pool.judge_candidate(candidate).reason

    def _is_still_open(self, written: Written) -> bool:
        """Whether nothing objects to a task after its script was run, and perhaps mended."""
        return bool(written.checked and written.checked.holds) and self._is_asked_about(written.candidate)

    def _make_run_checks(self) -> RunChecks | None:
        run = self.filters.runs_families or (self.name,)
        if self.runner is None or RUNS not in self.filters.enabled or self.name not in run:
            return None
        return RunChecks(self.name, self.params, self.teacher, self.runner)

    def _make_second_answers(self) -> SecondAnswers | None:
        asked = self.filters.agrees_families or (self.name,)
        if AGREES not in self.filters.enabled or self.name not in asked:
            return None
        return SecondAnswers(self.name, self.params, self.teacher, self.notes)

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

    def _judge_candidate(self, written: Written, second: SecondAnswer | None) -> None:
        """`second`: what `agrees` found, where it asked."""
        candidate, response, checked = written.candidate, written.response, written.checked
        verdict = self.pool.judge_candidate(candidate)
        nearest, score = verdict.nearest
        row: dict[str, Any] = {
            "id": f"{self.name}-r{self.rounds:03d}-s{written.slot:02d}-t{written.number:02d}",
            "family": self.name,
            "category": candidate.category,
            "instruction": candidate.instruction,
            "input": candidate.input,
            "output": candidate.output,
            "round": self.rounds,
            "slot": written.slot,
            "exemplars": written.exemplars,
            "request": response.key,
            "model": response.model,
            "nearest": nearest,
            "nearest_score": round(score, 4),
        }
        if checked and checked.run:
            row |= {"code_run": checked.run.key, "repairs": list(checked.repairs)}
        if verdict.reason:
            self.rejected.append(RejectedCandidate(reason=verdict.reason, **row))
        elif checked and checked.run and not checked.run.holds:
            fault = f"{checked.run.finding}: {checked.run.detail}"
            self.rejected.append(RejectedCandidate(reason=RUNS, fault=fault, **row))
        elif second and second.finding != AGREES:
            self.rejected.append(RejectedCandidate(reason=AGREES, second_answer=second, **row))
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
