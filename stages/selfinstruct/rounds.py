"""The Self-Instruct loop: rounds that freeze the pool, slots that draw from it, judges in slot order.

Round r of a family freezes its accepted tasks. Slot i draws its exemplars with a generator seeded by
(seed, family, round, slot), so its request depends on nothing that runs beside it; all requests of a
round go out together, and their answers are judged in slot order. Concurrency, interruption and resume
can't change the result.  Wang et al., "Self-Instruct", arXiv 2212.10560.
"""

import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from stages.core.records import Instruction, SeedTask
from stages.novelty.rouge import NoveltyIndex
from stages.selfinstruct.blocks import Candidate, parse_blocks
from stages.selfinstruct.filters import Context, objection
from stages.selfinstruct.prompting import chat_messages, completion_prompt, draw_exemplars
from stages.teacher.client import Teacher
from stages.teacher.store import Request, Response

NEAR_DUPLICATE = "near_duplicate"


@dataclass
class Family:
    """One family's seeds and what has grown from them."""

    name: str
    directive: str
    seeds: Sequence[SeedTask]
    params: Any
    """The `generate` section."""
    kept: list[Instruction] = field(default_factory=list)
    rejected: list[dict[str, Any]] = field(default_factory=list)
    responses: list[Response] = field(default_factory=list)
    rounds: int = 0

    def __post_init__(self) -> None:
        self._index = NoveltyIndex()
        for seed in self.seeds:
            self._index.add(seed.id, seed.instruction)
        self._context = Context(self.directive, self.params.min_words, self.params.max_words)

    @property
    def done(self) -> bool:
        target, asked = self.params.num_instructions_to_generate, len(self.responses)
        return len(self.kept) >= target or asked >= self.params.max_requests

    def next_round(self, teacher: str) -> list[Request]:
        """The requests of the next round, from the pool as it stands."""
        width = min(self.params.requests_per_round, self.params.max_requests - len(self.responses))
        return [self._request(teacher, slot) for slot in range(width)]

    def judge(self, responses: Sequence[Response]) -> None:
        """Accept or reject every task of a round's answers, in slot order, until the number is reached."""
        for slot, response in enumerate(responses):
            self.responses.append(response)
            for number, candidate in enumerate(parse_blocks(response.text, response.finish_reason == "length")):
                if len(self.kept) < self.params.num_instructions_to_generate:
                    self._judge(candidate, f"{self.name}-r{self.rounds:03d}-s{slot:02d}-t{number:02d}", response)
        self.rounds += 1

    def _request(self, teacher: str, slot: int) -> Request:
        params, draw = self.params, f"{self.name}/{self.rounds}/{slot}"
        exemplars = draw_exemplars(
            self.seeds,
            self.kept,
            params.num_seed_exemplars,
            params.num_machine_exemplars,
            params.max_exemplar_tokens,
            random.Random(f"{params.seed}/{draw}"),
        )
        return Request(
            teacher=teacher,
            model=params.model_name,
            api=params.api,
            prompt=completion_prompt(self.directive, exemplars) if params.api == "completions" else None,
            messages=chat_messages(self.directive, exemplars) if params.api == "chat" else None,
            temperature=params.temperature,
            top_p=params.top_p,
            max_tokens=params.max_tokens,
            draw=draw,
        )

    def _judge(self, candidate: Candidate, row_id: str, response: Response) -> None:
        nearest, score = None, 0.0
        reason = objection(candidate, self._context)
        if not reason:
            nearest, score = self._index.nearest(candidate.instruction)
            reason = NEAR_DUPLICATE if score > self.params.rouge_threshold else None
        row = {
            "id": row_id,
            "family": self.name,
            "instruction": candidate.instruction,
            "input": candidate.input,
            "output": candidate.output,
            "request": response.key,
            "model": self.params.model_name,
            "nearest": nearest,
            "nearest_score": round(score, 4),
        }
        if reason:
            self.rejected.append(row | {"reason": reason})
        else:
            self._index.add(row_id, candidate.instruction)
            self.kept.append(Instruction(source="generated", **row))

    def summary(self) -> dict[str, Any]:
        """The yield of the family, for metrics/generate.json."""
        return {
            "kept": len(self.kept),
            "rejected": dict(Counter(row["reason"] for row in self.rejected)),
            "requests": len(self.responses),
            "prompt_tokens": sum(response.prompt_tokens for response in self.responses),
            "completion_tokens": sum(response.completion_tokens for response in self.responses),
        }


async def grow(families: Sequence[Family], teacher: Teacher, report: Callable[[], None]) -> None:
    """Rounds until every family is done; `report` is called after each judged family."""
    while unfinished := [family for family in families if not family.done]:
        rounds = [family.next_round(teacher.name) for family in unfinished]
        answers = await teacher.ask_all([request for requests in rounds for request in requests])
        for family, requests in zip(unfinished, rounds, strict=True):
            family.judge(answers[: len(requests)])
            answers = answers[len(requests) :]
            report()
