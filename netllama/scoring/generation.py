"""Answers in full: greedy generation in batches."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from tqdm import tqdm

from netllama.core.length_batches import batch_by_length
from netllama.cpu_layers.decoding import can_decode
from netllama.scoring.greedy_decoding import decode_greedily
from netllama.scoring.likelihood import can_share
from netllama.scoring.prompt_reading import PromptReader

if TYPE_CHECKING:
    from transformers import DynamicCache

    from netllama.models.loading import LanguageModel


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
    for batch, layers in PromptReader(model, prompts).read(range(len(prompts))):
        for number, layer in enumerate(layers):
            if number == len(merged):
                shapes = [(len(prompts), part.shape[1], width, part.shape[3]) for part in layer]
                merged.append((layer[0].new_zeros(shapes[0]), layer[1].new_zeros(shapes[1])))
            for whole, part in zip(merged[number], layer, strict=True):
                whole[batch, :, : part.shape[2]] = part[:, :, :width]
    return DynamicCache(merged)
