"""The answers of both models side by side, with the words that differ, as the JSON that the page's script reads."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Literal, TypeAlias

from markupsafe import Markup
from rapidfuzz.distance import Indel

from netllama.core.records import LETTERS, Instruction, Question
from netllama.scoring.comparison import ARM_NAMES
from netllama.scoring.score import Score

_WORDS = re.compile(r"\s+|\w+|[^\w\s]")
"""Runs of spaces, words and single signs: put together again, they are the text."""


@dataclass(frozen=True)
class AnswerSide:
    """What one model answered."""

    value: float
    parts: list[str]
    """The answer in pieces: the first, third, ... are in the other model's answer, too; the others are not."""
    explanation: str


@dataclass(frozen=True)
class ShownDocument:
    """A document that a question was asked with; its place in the list is its number."""

    id: str
    title: str
    """Empty where it is not at hand."""
    right: bool
    """Whether it holds the answer."""


Shown: TypeAlias = Mapping[tuple[str, str], list[ShownDocument]]
"""Documents by arm and question."""


@dataclass(frozen=True)
class AnswerPair:
    """A row of the browser."""

    item: str
    kind: str
    family: str
    arm: str
    """Which documents it was asked with, as the suites are named; empty: the question has none."""
    documents: list[ShownDocument]
    question: str
    """Empty where the text is not at hand."""
    expected: str
    change: Literal["better", "worse", "equal"]
    """Of the score."""
    differs: bool
    """Whether the answers do."""
    base: AnswerSide
    tuned: AnswerSide


def list_answers(
    pairs: Sequence[tuple[Score, Score]], texts: Mapping[str, str], shown: Shown = MappingProxyType({})
) -> list[AnswerPair]:
    """A row for each answer; held-out losses have none. `texts`: questions by id; `shown`: documents by arm and id."""
    return [make_pair(base, tuned, texts, shown) for base, tuned in pairs if base.kind != "heldout"]


def make_pair(base: Score, tuned: Score, texts: Mapping[str, str], shown: Shown = MappingProxyType({})) -> AnswerPair:
    base_parts, tuned_parts = mark_differences(base.answer, tuned.answer)
    return AnswerPair(
        item=tuned.item,
        kind=tuned.kind,
        family=tuned.family,
        arm=ARM_NAMES[tuned.arm] if tuned.arm else "",
        documents=shown.get((tuned.arm, tuned.item), []),
        question=texts.get(tuned.item, ""),
        expected=tuned.expected,
        change="equal" if tuned.value == base.value else "better" if tuned.value > base.value else "worse",
        differs=base.answer != tuned.answer,
        base=AnswerSide(base.value, base_parts, base.explanation),
        tuned=AnswerSide(tuned.value, tuned_parts, tuned.explanation),
    )


def mark_differences(base: str, tuned: str) -> tuple[list[str], list[str]]:
    """The pieces of both texts, in turn common and different; the common ones are a longest common subsequence of
    words. The pieces of a text put together are the text."""
    before, after = _WORDS.findall(base), _WORDS.findall(tuned)
    sides: tuple[list[str], list[str]] = ([], [])
    for step in Indel.opcodes(before, after):
        pieces = "".join(before[step.src_start : step.src_end]), "".join(after[step.dest_start : step.dest_end])
        for side, piece in zip(sides, pieces, strict=True):
            _append_piece(side, piece, different=step.tag != "equal")
    return sides


def _append_piece(side: list[str], piece: str, different: bool) -> None:
    """Odd places are different. A piece joins the last one of its sort; a different first one follows an empty one."""
    if not piece:
        return
    if side and (len(side) % 2 == 0) == different:
        side[-1] += piece
    else:
        if not side and different:
            side.append("")
        side.append(piece)


def phrase_question(question: Question) -> str:
    """The question with its options, each with its letter."""
    letters = LETTERS if question.kind == "choice" else ""
    return "\n".join([question.question, *(f"{a}) {b}" for a, b in zip(letters, question.options, strict=False))])


def phrase_task(task: Instruction) -> str:
    return f"{task.instruction}\n{task.input}" if task.input else task.instruction


def embed_json(rows: Sequence[AnswerPair]) -> Markup:
    """JSON for a script element: no `<`, `>` or `&` stands in it, so that no text can end the element or open a
    comment in it (HTML, 4.12.1.3, restrictions for contents of script elements)."""
    text = json.dumps([asdict(row) for row in rows], sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    for sign in "<>&\u2028\u2029":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return Markup(text)
