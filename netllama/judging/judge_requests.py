"""What the judge is asked: two answers to one question, once in each order."""

from pathlib import Path
from typing import Any, Literal, TypeAlias

from netllama.core.judge_section import JudgeParams
from netllama.core.records import Question
from netllama.judging.json_exchange import build_json_request
from netllama.teacher.store import Request

PROMPT = Path(__file__).with_name("judge_prompt.txt")
Side: TypeAlias = Literal["base", "tuned"]
ORDERS: tuple[Side, Side] = ("base", "tuned")
"""Whose answer is answer_a, in the first and in the second request of a question."""


def build_requests(question: Question, base: str, tuned: str, params: JudgeParams) -> list[Request]:
    """The two requests on a question, in the order of `ORDERS`; `base` and `tuned` are the answers."""
    prompt = PROMPT.read_text(encoding="utf-8").strip()
    return [
        build_json_request(
            params,
            prompt,
            _make_material(question, *((base, tuned) if first == "base" else (tuned, base))),
            model=params.model_name,
            temperature=0.0,
            max_tokens=params.max_answer_tokens,
            draw=f"judge/{question.id}/{first}",
        )
        for first in ORDERS
    ]


def _make_material(question: Question, answer_a: str, answer_b: str) -> dict[str, Any]:
    return {
        "question": question.question,
        "reference_answer": question.answer,
        "key_facts": question.key_facts,
        "answer_a": answer_a,
        "answer_b": answer_b,
    }
