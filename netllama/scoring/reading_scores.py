"""Questions with documents: answers in writing on network reports, and four-choice questions beside found chunks.

Each question is asked in several arms (netllama/reading/reading_records.py), so that what a model knows, what it reads,
and what it makes up can be told apart. In the arms where no document holds the answer, the right answer is to say so.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING

from netllama.core.errors import StageError
from netllama.core.files import has_findings, read_jsonl
from netllama.core.records import Question, parse_as
from netllama.reading.answer_judgement import find_inventions, find_quotes, is_exact, is_quoted_from, says, split_answer
from netllama.reading.reading_records import ARMS, Arm, ReadingQuestion
from netllama.reading.shown_documents import find_texts, load_documents
from netllama.rendering.document_texts import REFUSAL, phrase_with_documents
from netllama.rendering.question_texts import list_options, phrase_question
from netllama.rendering.renderer import Renderer
from netllama.scoring.choice import judge_choice
from netllama.scoring.comparison import ARM_NAMES
from netllama.scoring.kept_answers import LimitedPrompt
from netllama.scoring.likelihood import score_continuations
from netllama.scoring.reading_summary import HOLDING
from netllama.scoring.refusal_balance import RefusalBalance
from netllama.scoring.rendered_answers import render_answers
from netllama.scoring.score import GENERAL, Score
from netllama.scoring.shared_prefixes import Continued

if TYPE_CHECKING:
    from netllama.models.loading import LanguageModel

ANSWER_TOKENS = 32
"""Tokens of an answer on reports; the longest right one has 20."""


@dataclass(frozen=True)
class ReadingMaterial:
    """Questions with documents, and the documents."""

    reports: Sequence[ReadingQuestion]
    closed: Sequence[tuple[ReadingQuestion, Question]]
    documents: Mapping[str, str]
    """Texts by the ids of chunks."""


@dataclass(frozen=True)
class AskedReport:
    """A question on reports in one of its arms."""

    arm: Arm
    row: ReadingQuestion
    shown: list[str]
    """Texts of its documents."""
    prompt: list[int]


@dataclass(frozen=True)
class AskedChoice:
    """A four-choice question in one of its arms."""

    arm: Arm
    question: Question
    text: Continued
    """The prompt with its documents, and each option as what may follow it."""


def load_reading(
    asked: Path, chunks: Path, questions: Sequence[Question], num_reports: int, num_closed: int
) -> ReadingMaterial:
    """A sample by the hash of the ids: `num_reports` questions on reports that have an answer, half as many that have
    none, and `num_closed` four-choice questions on networks."""
    rows = read_jsonl(asked, lambda row: parse_as(ReadingQuestion, row)) if has_findings(asked) else []
    by_id = {question.id: question for question in questions}
    on_reports = [row for row in rows if row.kind == "report" and row.arms]
    answered = _sample([row for row in on_reports if row.golden], num_reports)
    unanswered = _sample([row for row in on_reports if not row.golden], num_reports // 2)
    closed = [row for row in rows if row.kind == "choice"]
    if unknown := [row.id for row in closed if row.id not in by_id]:
        raise StageError(f"{asked}: {unknown[0]} is no question of data/questions/; run `dvc repro retrieve`")
    choices = _sample([row for row in closed if row.family != GENERAL], num_closed)
    pairs = [(row, by_id[row.id]) for row in choices]
    needed = bool(answered or unanswered or pairs)
    return ReadingMaterial([*answered, *unanswered], pairs, load_documents(chunks) if needed else {})


def _sample(rows: Sequence[ReadingQuestion], number: int) -> list[ReadingQuestion]:
    ranked = sorted(rows, key=lambda row: hashlib.sha256(row.id.encode()).digest())
    return sorted(ranked[:number], key=lambda row: row.id)


def ask_reports(
    material: ReadingMaterial, renderer: Renderer, refusals: RefusalBalance | None = None
) -> list[LimitedPrompt]:
    """What a model is asked by the questions on reports, arm by arm.

    `refusals`: how readily it refuses where documents are shown.
    """
    asked = []
    for each in render_reports(material, renderer):
        bias = refusals.weigh(each.row.question, each.shown) if refusals and each.shown else None
        asked.append(LimitedPrompt(each.prompt, ANSWER_TOKENS, bias))
    return asked


def score_reading(
    model: "LanguageModel", material: ReadingMaterial, renderer: Renderer, answers: Sequence[list[int]]
) -> list[Score]:
    """A score for each question in each of its arms: those on reports first, arm by arm.

    `answers`: of the model to `ask_reports`.
    """
    scores = [
        judge_reading(each.row, each.arm, renderer.decode_answer(ids), each.shown)
        for each, ids in zip(render_reports(material, renderer), answers, strict=True)
    ]
    return [*scores, *_score_closed(model, material, renderer)]


def require_room(material: ReadingMaterial, renderer: Renderer, context: int | None) -> None:
    """StageError for a question that takes more than the `context` of a model, with its documents and its answer.

    No document is left out for it: the report lists what each question was asked with. `context`: the positions that
    the model was made for, None where it does not say. Beyond them a model with rotary embeddings raises no error: it
    reads worse, and nobody knows.
    """
    if context is None:
        return
    sizes = [(len(each.prompt) + ANSWER_TOKENS, each.row.id, each.arm) for each in render_reports(material, renderer)]
    sizes += [
        (len(each.text.context) + max(map(len, each.text.continuations)), each.question.id, each.arm)
        for each in render_closed(material, renderer)
    ]
    too_long = sorted((size for size in sizes if size[0] > context), reverse=True)
    if too_long:
        tokens, name, arm = too_long[0]
        raise StageError(
            f"question {name} {ARM_NAMES[arm]} takes {tokens} tokens, its answer included; the model reads {context} "
            f"(model.id); {len(too_long)} of {len(sizes)} questions are too long: lower retrieve.top_k or "
            "retrieve.chunk_tokens, or set evaluate.num_reports and evaluate.num_with_documents to 0"
        )


def judge_reading(row: ReadingQuestion, arm: Arm, answer: str, shown: Sequence[str]) -> Score:
    """What an answer on reports is worth that was written with the documents `shown`."""
    read = split_answer(answer)
    golden = {row.arms[arm].index(name) + 1 for name in row.golden if name in row.arms[arm]}
    is_there = bool(golden) or arm == "closed"
    right = says(read.text, row.answer, row.question, row.choices) if is_there and not read.refuses else False
    cited = set(read.cited)
    measures = {"refused": float(read.refuses), "exact": float(is_there and is_exact(read.text, row.answer))}
    if arm != "closed":
        measures["invented"] = float(bool(find_inventions(read.text, [*shown, row.question])))
        if quotes := find_quotes(read.text):
            measures["quotes_found"] = round(mean(is_quoted_from(quote, shown) for quote in quotes), 4)
    if golden:
        measures |= {
            "cites": float(bool(cited)),
            "cites_golden": float(bool(cited & golden)),
            **({"citation_precision": round(len(cited & golden) / len(cited), 4)} if cited else {}),
            "slot": float(min(golden)),
        }
    return Score(
        item=row.id,
        suite="reports",
        family=row.family,
        kind="report",
        arm=arm,
        cluster="",
        value=float(right if is_there else read.refuses),
        measures=measures,
        answer=answer,
        expected=row.answer if is_there else REFUSAL,
        explanation=_explain(right, is_there, bool(golden), read.refuses, measures),
    )


def _explain(right: bool, is_there: bool, golden: bool, refused: bool, measures: Mapping[str, float]) -> str:
    if refused:
        return "says that no document says it" + (", though one does" if golden else "")
    said = ("the value" if right else "another answer") if is_there else "an answer, though no document holds it"
    cited = ""
    if golden and measures["cites"]:
        cited = ", from the right document" if measures["cites_golden"] else ", from a wrong document"
    invented = "; names what stands nowhere" if measures.get("invented") else ""
    return said + cited + invented


def render_reports(material: ReadingMaterial, renderer: Renderer, arms: Sequence[Arm] = ARMS) -> list[AskedReport]:
    """Questions on reports, arm by arm."""
    asked = [(arm, row) for arm in arms for row in material.reports if arm in row.arms]
    rendered = []
    for arm, row in asked:
        shown = _find_texts(row, arm, material.documents)
        prompt = renderer.encode_prompt(phrase_with_documents(row.question, shown))
        rendered.append(AskedReport(arm, row, shown, prompt))
    return rendered


def render_closed(material: ReadingMaterial, renderer: Renderer) -> list[AskedChoice]:
    """Four-choice questions, in each arm that has documents."""
    asked = [(arm, row, question) for arm in HOLDING for row, question in material.closed if arm in row.arms]
    rendered = []
    for arm, row, question in asked:
        prompt = phrase_with_documents(phrase_question(question), _find_texts(row, arm, material.documents))
        text = render_answers(question.id, prompt, list_options(question)[0], renderer)
        rendered.append(AskedChoice(arm, question, text))
    return rendered


def _score_closed(model: "LanguageModel", material: ReadingMaterial, renderer: Renderer) -> list[Score]:
    asked = render_closed(material, renderer)
    found = score_continuations(model, [each.text for each in asked], desc="choice with documents")
    scores = []
    for each, likelihoods in zip(asked, found, strict=True):
        score = judge_choice(each.question, likelihoods, [0.0] * len(likelihoods))
        measures = {name: value for name, value in score.measures.items() if name != "accuracy_pmi"}
        scores.append(score.model_copy(update={"arm": each.arm, "measures": measures}))
    return scores


def _find_texts(row: ReadingQuestion, arm: Arm, documents: Mapping[str, str]) -> list[str]:
    return find_texts(row.arms[arm], documents, f"question {row.id}")
