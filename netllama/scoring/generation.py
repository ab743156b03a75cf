"""Answers in full: greedy generation in batches, and ROUGE-L F1 against the reference answer."""

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from netllama.core.batching import by_length
from netllama.core.records import Instruction
from netllama.novelty.rouge import rouge_l
from netllama.rendering.renderer import Renderer

if TYPE_CHECKING:
    from netllama.models.loading import Model


def sample(rows: Sequence[Instruction], number: int) -> list[Instruction]:
    """`number` rows by the hash of their ids: a fixed choice that does not follow the file's order."""
    ranked = sorted(rows, key=lambda row: hashlib.sha256(row.id.encode()).digest())
    return sorted(ranked[:number], key=lambda row: row.id)


def generate_answers(
    model: "Model", rows: Sequence[Instruction], renderer: Renderer, batch_size: int, max_new_tokens: int
) -> list[dict[str, Any]]:
    """One row an instruction: the answer, whether the token limit cut it, and its ROUGE-L F1."""
    import torch

    prompts = [renderer.prompt_ids(row.instruction, row.input) for row in rows]
    eos = renderer.tokenizer.eos_token_id
    answers: list[list[int]] = [[] for _ in rows]
    with torch.inference_mode(), tqdm(total=len(rows), desc="answers", unit="row") as bar:
        for batch in by_length([len(prompt) for prompt in prompts], batch_size):
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
    return [_result(row, ids, renderer, max_new_tokens) for row, ids in zip(rows, answers, strict=True)]


def _result(row: Instruction, ids: list[int], renderer: Renderer, max_new_tokens: int) -> dict[str, Any]:
    eos = renderer.tokenizer.eos_token_id
    answer = ids[: ids.index(eos)] if eos in ids else ids
    text = str(renderer.tokenizer.decode(answer, skip_special_tokens=True)).strip()
    return {
        "id": row.id,
        "family": row.family,
        "instruction": row.instruction,
        "input": row.input,
        "reference": row.output,
        "answer": text,
        "truncated": eos not in ids and len(ids) >= max_new_tokens,
        "rougeL": round(rouge_l(text, row.output), 4),
    }


def generation_metrics(results: Sequence[dict[str, Any]]) -> dict[str, Any]:
    if not results:
        return {}
    return {
        "rougeL": round(sum(row["rougeL"] for row in results) / len(results), 4),
        "truncated": round(sum(row["truncated"] for row in results) / len(results), 4),
        "rows": len(results),
    }
