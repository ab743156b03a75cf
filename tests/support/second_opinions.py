"""A scripted teacher that writes tasks, answers them again and compares answers, each a function of the request."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from netllama.selfinstruct.second_answers import ASKED_TO_ANSWER, PROMPT
from tests.support.families import tasks_for
from tests.support.openai_server import Answer, Asked

WRONG = "Nothing of the kind."
HEAD = 8
"""Words that a task of `new_tasks` and its right answer begin with."""


def kind(asked: Asked) -> str:
    """`task`, `answer` or `comparison`."""
    if asked.prompt.startswith(ASKED_TO_ANSWER):
        return "answer"
    return "comparison" if asked.prompt.startswith(PROMPT.read_text(encoding="utf-8").strip()) else "task"


def read_material(asked: Asked) -> dict[str, Any]:
    """What a comparison is shown."""
    material = json.JSONDecoder().raw_decode(asked.prompt, asked.prompt.index('{\n "instruction"'))[0]
    assert set(material) == {"instruction", "input", "answer_a", "answer_b", "notes"}
    return dict(material)


def is_faulty(instruction: str, share: int = 3) -> bool:
    """One in `share` of all tasks, by the hash of its words."""
    return sha256(instruction.encode()).digest()[0] % share == 0


def answer_again(asked: Asked) -> Answer:
    """What `new_tasks` answers begins with the words of the instruction; of a faulty task the second answer differs."""
    instruction = asked.prompt.removeprefix(ASKED_TO_ANSWER).removesuffix("\n\nAnswer:\n").strip()
    instruction = instruction.removeprefix("Instruction: ")
    return Answer(WRONG if is_faulty(instruction) else instruction.rstrip("?"), "stop", 50, 20)


def compare_fairly(asked: Asked) -> Answer:
    """They agree if they begin with the same words."""
    shown = read_material(asked)
    first, second = (shown[name].split()[:HEAD] for name in ("answer_a", "answer_b"))
    said = {"agree": first == second, "holds_a": "silent", "holds_b": "silent"}
    return Answer(f"I compare.\n```json\n{json.dumps(said)}\n```", "stop", 200, 30)


@dataclass(frozen=True)
class Opinions:
    """`Opinions()(asked)` answers whatever is asked; each part can be replaced."""

    task: Callable[[Asked], Answer] = tasks_for
    answer: Callable[[Asked], Answer] = answer_again
    comparison: Callable[[Asked], Answer] = compare_fairly

    def __call__(self, asked: Asked) -> Answer:
        return {"task": self.task, "answer": self.answer, "comparison": self.comparison}[kind(asked)](asked)
