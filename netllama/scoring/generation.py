"""Answers in full: greedy generation in batches, and ROUGE-L F1 against the reference answer."""

import hashlib
from collections.abc import Callable, Sequence
from statistics import mean
from typing import TYPE_CHECKING

from tqdm import tqdm

from netllama.core.length_batches import batch_by_length
from netllama.core.tokenized_rows import TokenizedRow
from netllama.cpu_layers.decoding import can_decode
from netllama.novelty.rouge import compute_rouge_l
from netllama.rendering.renderer import Renderer
from netllama.scoring.greedy_decoding import decode_greedily
from netllama.scoring.likelihood import can_share
from netllama.scoring.prompt_reading import read_prompts
from netllama.scoring.score import Numbers, Score

if TYPE_CHECKING:
    from transformers import DynamicCache

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
    """The ids that the model writes after each prompt, greedily, `batch_size` rows at a time.

    An answer that ends before `max_new_tokens` has `eos` at its end.
    """
    import torch

    with torch.inference_mode(), tqdm(total=len(prompts), desc="answers", unit="row", disable=not prompts) as bar:
        write = decode_greedily if can_share(model) and can_decode(model) else _generate_by_library
        return write(model, prompts, eos, batch_size, max_new_tokens, bar.update)


def _generate_by_library(
    model: "LanguageModel",
    prompts: Sequence[list[int]],
    eos: int,
    batch_size: int,
    max_new_tokens: int,
    report: Callable[[int], object],
) -> list[list[int]]:
    """As transformers does it: on CUDA, and for models that are no Llama of plain layers. `report`: rows that ended."""
    import torch

    reads_apart = can_share(model)
    answers: list[list[int]] = [[] for _ in prompts]
    for batch in batch_by_length([len(prompt) for prompt in prompts], batch_size):
        own = [prompts[position] for position in batch]
        width = max(map(len, own))
        gaps = [width - len(prompt) for prompt in own]
        # Padding stands before the last token where all others have been read: then each row begins at place 0.
        heads = [len(prompt) - 1 if reads_apart else 0 for prompt in own]
        rows = list(zip(own, heads, gaps, strict=True))
        input_ids = torch.tensor([ids[:head] + [eos] * gap + ids[head:] for ids, head, gap in rows])
        mask = torch.tensor([[1] * head + [0] * gap + [1] * (len(ids) - head) for ids, head, gap in rows])
        generated: torch.Tensor = model.generate(  # type: ignore[operator]
            input_ids=input_ids.to(model.device),
            attention_mask=mask.to(model.device),
            past_key_values=merge_prompts(model, own, width - 1) if reads_apart and width > 1 else None,
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
            # The library goes on with `eos` until all rows of the batch have ended.
            answers[position] = ids[: ids.index(eos) + 1] if eos in ids else ids
        report(len(batch))
    return answers


def merge_prompts(model: "LanguageModel", prompts: Sequence[list[int]], width: int) -> "DynamicCache":
    """Keys and values of all but the last token of each prompt, in the prompts' order, in `width` places."""
    import torch
    from transformers import DynamicCache

    merged: list[tuple[torch.Tensor, torch.Tensor]] = []
    for batch, layers in read_prompts(model, prompts):
        for number, layer in enumerate(layers):
            if number == len(merged):
                shapes = [(len(prompts), part.shape[1], width, part.shape[3]) for part in layer]
                merged.append((layer[0].new_zeros(shapes[0]), layer[1].new_zeros(shapes[1])))
            for whole, part in zip(merged[number], layer, strict=True):
                whole[batch, :, : part.shape[2]] = part[:, :, :width]
    return DynamicCache(merged)


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
