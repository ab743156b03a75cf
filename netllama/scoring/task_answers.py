"""Rows of the test split, answered in full: ROUGE-L F1 against their own answers."""

import hashlib
from collections.abc import Sequence
from statistics import mean

from netllama.core.tokenized_rows import TokenizedRow
from netllama.novelty.rouge import compute_rouge_l
from netllama.rendering.renderer import Renderer
from netllama.scoring.answer_words import spell_words
from netllama.scoring.kept_answers import LimitedPrompt
from netllama.scoring.score import Numbers, Score


def sample_rows(rows: Sequence[TokenizedRow], number: int) -> list[TokenizedRow]:
    """`number` rows by the hash of their ids: a fixed choice that does not follow the file's order."""
    ranked = sorted(rows, key=lambda row: hashlib.sha256(row.id.encode()).digest())
    return sorted(ranked[:number], key=lambda row: row.id)


def ask_rows(rows: Sequence[TokenizedRow], max_new_tokens: int) -> list[LimitedPrompt]:
    """What a model is asked: the rows' own prompts."""
    return [LimitedPrompt(row.input_ids[: row.answer_start], max_new_tokens) for row in rows]


def score_answers(rows: Sequence[TokenizedRow], renderer: Renderer, answers: Sequence[list[int]]) -> list[Score]:
    """A score for each row, in their order: the row's answer is the reference; `answers`: of a model to `ask_rows`."""
    return [judge_answer(row, ids, renderer) for row, ids in zip(rows, answers, strict=True)]


def judge_answer(row: TokenizedRow, ids: list[int], renderer: Renderer) -> Score:
    """What the answer `ids` to the row's prompt is worth; one without an end-of-sequence token was cut."""
    answer, expected = renderer.decode_answer(ids), renderer.decode_answer(row.input_ids[row.answer_start :])
    truncated = renderer.tokenizer.eos_token_id not in ids
    return Score(
        item=row.id,
        suite="test",
        family=row.family,
        kind="generation",
        cluster="",
        value=round(compute_rouge_l(spell_words(answer), spell_words(expected)), 4),
        measures={"truncated": float(truncated)},
        answer=answer,
        expected=expected,
        explanation=f"cut after {len(ids)} tokens" if truncated else "",
    )


def summarize_answers(scores: Sequence[Score]) -> Numbers:
    """Means over the answers; empty where there are none."""
    if not scores:
        return {}
    return {
        "rougeL": round(mean(score.value for score in scores), 4),
        "truncated": round(mean(score.measures["truncated"] for score in scores), 4),
        "rows": len(scores),
    }
