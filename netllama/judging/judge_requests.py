"""What the judge is asked: two answers to one question, once in each order.

The material is a JSON object, so that no answer can end its own text and go on as the question or as an instruction.
"""

import json
from pathlib import Path
from typing import Literal, TypeAlias

from netllama.core.judge_section import JudgeParams
from netllama.core.records import Question
from netllama.teacher.store import EMBEDDED, Request

PROMPT = Path(__file__).with_name("judge_prompt.txt")
Side: TypeAlias = Literal["base", "tuned"]
ORDERS: tuple[Side, Side] = ("base", "tuned")
"""Whose answer is answer_a, in the first and in the second request of a question."""


def build_requests(question: Question, base: str, tuned: str, params: JudgeParams) -> list[Request]:
    """The two requests on a question, in the order of `ORDERS`; `base` and `tuned` are the answers."""
    prompt = PROMPT.read_text(encoding="utf-8").strip()
    requests = []
    for first in ORDERS:
        shown = (base, tuned) if first == "base" else (tuned, base)
        material = _write_material(question, *shown)
        alone = f"{prompt}\n\n{material}\n\nThe JSON object:\n"
        messages = [{"role": "system", "content": prompt}, {"role": "user", "content": material}]
        requests.append(
            Request(
                teacher=params.base_url or EMBEDDED,
                model=params.model_name,
                api=params.api,
                prompt=alone if params.api == "completions" else None,
                messages=None if params.api == "completions" else messages,
                temperature=0.0,
                top_p=None,
                reasoning_effort=params.reasoning_effort,
                max_tokens=params.max_answer_tokens,
                service_tier=params.service_tier,
                draw=f"judge/{question.id}/{first}",
            )
        )
    return requests


def _write_material(question: Question, answer_a: str, answer_b: str) -> str:
    material = {
        "question": question.question,
        "reference_answer": question.answer,
        "key_facts": question.key_facts,
        "answer_a": answer_a,
        "answer_b": answer_b,
    }
    return json.dumps(material, ensure_ascii=False, indent=1)
