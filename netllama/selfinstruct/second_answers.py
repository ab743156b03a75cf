"""The filter `agrees`: a task is kept if a second answer, written without sight of the first, agrees with it.

The teacher, or `generate.judge_model` on its server, answers the instruction again. Then it compares the two answers,
once in each order, and says of each whether it holds against the notes that are found for it. What both orders say
counts: where they disagree, or one of them can't be read, nobody has confirmed the task, and it is rejected. That
answers which agree are more often right is the idea of self-consistency (Wang et al., arXiv 2203.11171).

Requests are made of texts alone, so that the same task is asked about once, in whatever run or round it comes.
"""

from collections import Counter
from collections.abc import Generator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from netllama.core.generate_section import FilterName, GenerateParams
from netllama.core.records import Finding, SecondAnswer
from netllama.core.teacher_section import TeacherParams
from netllama.judging.json_exchange import build_json_request, read_json_answer, read_truth
from netllama.selfinstruct.checked_notes import CheckedNotes
from netllama.selfinstruct.output_contract import Candidate, read_whole_text
from netllama.selfinstruct.text_request import build_text_request
from netllama.teacher.store import Request, Response

AGREES: FilterName = "agrees"
PROMPT = Path(__file__).with_name("comparison_prompt.txt")
ASKED_TO_ANSWER = (
    "Answer as an expert on computer networks: correctly, completely and no longer than it takes. "
    "Write the answer alone, with nothing before or after it."
)
VERDICT_TOKENS = 256
"""Of one comparison, thinking not included."""
REQUESTS_A_TASK = 3
"""The second answer, and the comparison in both orders."""
ORDERS = ("first", "second")
"""Which answer is answer_a."""
UNREAD = "can't be read: "

Asking = Generator[list[Request], Sequence[Response], list[SecondAnswer]]
"""Yields requests, is sent their answers, and returns the findings."""
_IS_CONTRADICTED = {"yes": False, "true": False, "silent": False, "no": True, "false": True}
"""What `holds_a` and `holds_b` may say."""


class Comparison(NamedTuple):
    """What one comparison says."""

    agree: bool
    contradicted: bool
    """Whether a note contradicts the first answer; what notes say of the second one decides nothing."""


class SecondAnswers:
    """Asks about the tasks of one family. `answers` and `findings` are of all tasks so far."""

    def __init__(self, family: str, generate: GenerateParams, teacher: TeacherParams, notes: CheckedNotes) -> None:
        self.notes = notes
        self.prompt = PROMPT.read_text(encoding="utf-8").strip()
        self.answers: dict[str, Response] = {}
        """By the keys of their requests."""
        self.findings: list[SecondAnswer] = []
        self.in_hand = 0
        """Tasks that are being asked about."""
        self.waiting = 0
        """Requests on the tasks in hand that have no answer yet, at most."""
        self._draw = f"{family}/{AGREES}"
        self._model = generate.judge_model or teacher.model_name
        self._teacher = teacher

    @property
    def verdict_tokens(self) -> int:
        return VERDICT_TOKENS + self._teacher.max_reasoning_tokens

    def check(self, tasks: Sequence[Candidate]) -> Asking:
        """One finding for each task, in their order."""
        if not tasks:
            return []
        self.in_hand = len(tasks)
        self.waiting = REQUESTS_A_TASK * self.in_hand
        texts = [read_whole_text(response) for response in (yield from self._ask(list(map(self._build_answer, tasks))))]
        found = [
            self.notes.find("\n".join((task.instruction, task.input, task.output, text)))
            for task, text in zip(tasks, texts, strict=True)
        ]
        shown = list(zip(tasks, texts, found, strict=True))
        requests = [self._compare(*one, order) for one in shown if one[1] for order in ORDERS]
        compared = iter((yield from self._ask(requests)) if requests else ())
        findings = []
        for _, text, notes in shown:
            pair = [next(compared) for _ in ORDERS] if text else []
            findings.append(judge_comparisons(text, list(notes), pair))
        self.findings += findings
        self.in_hand = self.waiting = 0
        return findings

    def _ask(self, requests: list[Request]) -> Generator[list[Request], Sequence[Response], Sequence[Response]]:
        responses = yield requests
        self.answers |= {response.key: response for response in responses}
        self.waiting -= len(responses)
        return responses

    def _build_answer(self, task: Candidate) -> Request:
        asked = f"{task.instruction}\n\n{task.input}" if task.input else task.instruction
        prompt = f"{ASKED_TO_ANSWER}\n\nInstruction: {asked}\n\nAnswer:\n"
        draw = f"{self._draw}/answer"
        return build_text_request(self._teacher, ASKED_TO_ANSWER, asked, prompt, model=self._model, draw=draw)

    def _compare(self, task: Candidate, second: str, notes: dict[str, str], order: str) -> Request:
        shown = (task.output, second) if order == "first" else (second, task.output)
        material = {
            "instruction": task.instruction,
            "input": task.input,
            "answer_a": shown[0],
            "answer_b": shown[1],
            "notes": list(notes.values()),
        }
        return build_json_request(
            self._teacher,
            self.prompt,
            material,
            model=self._model,
            temperature=None if self._teacher.temperature is None else 0.0,
            max_tokens=self.verdict_tokens,
            draw=f"{self._draw}/{order}",
        )


def judge_comparisons(second: str, notes: list[str], responses: Sequence[Response]) -> SecondAnswer:
    """`responses`: the comparisons, in the order of `ORDERS`; none where there is no second answer."""
    read: list[Comparison] = []
    said: list[str] = []
    for order, response in zip(ORDERS, responses, strict=bool(responses)):
        try:
            one = read_json_answer(response, partial(_read_comparison, order), f"{VERDICT_TOKENS} tokens")
        except ValueError as error:
            said.append(f"{UNREAD}{error}")
        else:
            read.append(one)
            said.append(("agree" if one.agree else "differ") + (", against the notes" if one.contradicted else ""))
    return SecondAnswer(output=second, finding=_find(read), said=said, notes=notes)


def count_findings(findings: Sequence[SecondAnswer]) -> dict[str, Any]:
    """How many tasks each finding has, and how many comparisons could not be read."""
    counts = Counter(one.finding for one in findings)
    failures = sum(said.startswith(UNREAD) for one in findings for said in one.said)
    return {"tasks": len(findings), "found": dict(counts), "parse_failures": failures}


def _find(read: Sequence[Comparison]) -> Finding:
    if len(read) < len(ORDERS):
        return "unread"
    if all(one.contradicted for one in read):
        return "contradicted"
    if not any(one.agree for one in read):
        return "differs"
    agree = all(one.agree for one in read) and not any(one.contradicted for one in read)
    return "agrees" if agree else "orders_disagree"


def _read_comparison(order: str, row: dict[str, Any]) -> Comparison:
    agree = read_truth(row.get("agree"))
    if agree is None:
        raise ValueError("agree is neither true nor false")
    name = "holds_a" if order == "first" else "holds_b"
    contradicted = _IS_CONTRADICTED.get(str(row.get(name)).strip().lower())
    if contradicted is None:
        raise ValueError(f"{name} is none of yes, no and silent")
    return Comparison(agree, contradicted)
