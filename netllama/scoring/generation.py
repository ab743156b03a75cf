"""Answers in full: greedy generation in batches, and ROUGE-L F1 against the reference answer."""

import hashlib
from collections.abc import Sequence
from statistics import mean
from typing import TYPE_CHECKING

from tqdm import tqdm

from netllama.core.length_batches import batch_by_length
from netllama.core.tokenized_rows import TokenizedRow
from netllama.novelty.rouge import compute_rouge_l
from netllama.rendering.renderer import Renderer
from netllama.scoring.score import Numbers, Score

if TYPE_CHECKING:
    from netllama.models.loading import LanguageModel


def sample_rows(rows: Sequence[TokenizedRow], number: int) -> list[TokenizedRow]:
    """`number` rows by the hash of their ids: a fixed choice that does not follow the file's order."""
    ranked = sorted(rows, key=lambda row: hashlib.sha256(row.id.encode()).digest())
    return sorted(ranked[:number], key=lambda row: row.id)


def score_answers(
    model: "LanguageModel", rows: Sequence[TokenizedRow], renderer: Renderer, batch_size: int, max_new_tokens: int
) -> list[Score]:
    """A score for each row, in their order: the model answers the row's prompt, the row's answer is the reference."""
    eos = int(renderer.tokenizer.eos_token_id)
    prompts = [row.input_ids[: row.answer_start] for row in rows]
    answers = generate_answers(model, prompts, eos, batch_size, max_new_tokens)
    return [judge_answer(row, ids, renderer) for row, ids in zip(rows, answers, strict=True)]


def generate_answers(
    model: "LanguageModel", prompts: Sequence[list[int]], eos: int, batch_size: int, max_new_tokens: int
) -> list[list[int]]:
    """The ids that the model writes after each prompt, greedily.

    An answer that ends before `max_new_tokens` has `eos` at its end, several times if others of its batch go on.
    """
    import torch

    answers: list[list[int]] = [[] for _ in prompts]
    with torch.inference_mode(), tqdm(total=len(prompts), desc="answers", unit="row") as bar:
        for batch in batch_by_length([len(prompt) for prompt in prompts], batch_size):
            width = max(len(prompts[position]) for position in batch)
            padding = [width - len(prompts[position]) for position in batch]
            input_ids = torch.tensor([[eos] * pad + prompts[p] for pad, p in zip(padding, batch, strict=True)])
            mask = torch.tensor([[0] * pad + [1] * (width - pad) for pad in padding])
            generated: torch.Tensor = model.generate(  # type: ignore[operator]
                input_ids=input_ids.to(model.device),
                attention_mask=mask.to(model.device),
                max_new_tokens=max_new_tokens,
                # Greedy whatever the model's own generation_config.json prefers.
                do_sample=False,
                num_beams=1,
                repetition_penalty=1.0,
                no_repeat_ngram_size=0,
                temperature=None,
                top_p=None,
                top_k=None,
                max_length=None,
                eos_token_id=eos,
                pad_token_id=eos,
            )
            for position, ids in zip(batch, generated[:, width:].tolist(), strict=True):
                answers[position] = ids
            bar.update(len(batch))
    return answers


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
        value=round(compute_rouge_l(answer, expected), 4),
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
