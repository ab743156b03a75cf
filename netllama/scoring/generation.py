"""Answers in full, in batches: greedy, or with tokens that are drawn."""

import sys
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from tqdm import tqdm

from netllama.core.length_batches import batch_by_length
from netllama.cpu_layers.decoding import can_decode
from netllama.scoring.first_bias import place_biases
from netllama.scoring.graph_decoding import decode_by_graph
from netllama.scoring.greedy_decoding import decode_greedily
from netllama.scoring.likelihood import can_share
from netllama.scoring.memory_batches import MemoryBatches, choose_tokens
from netllama.scoring.prompt_reading import PromptReader
from netllama.scoring.shared_prefixes import batch_by_tokens
from netllama.scoring.token_draws import Steering, TokenDraw, make_noise

if TYPE_CHECKING:
    from transformers import DynamicCache

    from netllama.models.loading import LanguageModel


def generate_answers(
    model: "LanguageModel",
    prompts: Sequence[list[int]],
    eos: int,
    batch_size: int,
    max_new_tokens: int | Sequence[int],
    steerings: Sequence[Steering | None] = (),
) -> list[list[int]]:
    """The ids that the model writes after each prompt, `batch_size` rows at a time.

    `max_new_tokens`: the limit of all answers, or of each. One that ends before it has `eos` at its end. `steerings`:
    of each answer; empty, or None: it is greedy.
    """
    import torch

    limits = [max_new_tokens] * len(prompts) if isinstance(max_new_tokens, int) else max_new_tokens
    steerings = steerings or [None] * len(prompts)
    with torch.inference_mode(), tqdm(total=len(prompts), desc="answers", unit="row", disable=not prompts) as bar:
        write = decode_greedily if can_share(model) and can_decode(model) else _generate_in_batches
        return write(model, prompts, eos, batch_size, limits, bar.update, steerings)


def can_record(model: "LanguageModel") -> bool:
    """Whether a step of this model may become a CUDA graph."""
    return model.device.type == "cuda" and can_share(model)


def _generate_in_batches(
    model: "LanguageModel",
    prompts: Sequence[list[int]],
    eos: int,
    batch_size: int,
    limits: Sequence[int],
    report: Callable[[int], object],
    steerings: Sequence[Steering | None],
) -> list[list[int]]:
    """On CUDA by graphs; as transformers does it where that can't be, and for models that are no Llama of plain layers.

    A batch has one limit: with two, rows that have ended would wait. On CUDA `batch_size` is what the free memory
    allows. `report`: rows that ended.
    """
    import torch

    records = can_record(model)
    widths = [len(prompt) + limit for prompt, limit in zip(prompts, limits, strict=True)]

    def list_batches() -> Iterator[list[int]]:
        # Rows with draws by themselves: what is recorded has none, and greedy rows keep to it.
        kinds = [(limit, isinstance(each, TokenDraw)) for limit, each in zip(limits, steerings, strict=True)]
        for kind in sorted(set(kinds), reverse=True):
            own = [position for position, each in enumerate(kinds) if each == kind]
            sizes = [widths[position] for position in own]
            if model.device.type == "cuda":
                # A step takes as long for many rows as for few: as many as there is memory for, where the keys and
                # values of prompts exist twice while they are brought together.
                batches = batch_by_tokens(sizes, choose_tokens(model) // 2)
            else:
                batches = batch_by_length(sizes, batch_size)
            for batch in batches:
                yield [own[each] for each in batch]

    def write(batch: list[int]) -> list[list[int]]:
        nonlocal records
        own, limit = [prompts[position] for position in batch], limits[batch[0]]
        steered = [steerings[position] for position in batch]
        if records and not any(isinstance(each, TokenDraw) for each in steered):
            try:
                return decode_by_graph(model, own, eos, limit, biases=steered)
            except torch.OutOfMemoryError:
                raise
            except RuntimeError as error:
                records = False
                print(f"answers: without CUDA graphs ({str(error).splitlines()[0]})", file=sys.stderr, flush=True)
        return _write_batch(model, own, eos, limit, steered)

    answers: list[list[int]] = [[] for _ in prompts]
    for batch, written in MemoryBatches(widths, "answers").run(list_batches(), write):
        for position, ids in zip(batch, written, strict=True):
            answers[position] = ids
        report(len(batch))
    return answers


def _write_batch(
    model: "LanguageModel",
    own: list[list[int]],
    eos: int,
    max_new_tokens: int,
    steerings: Sequence[Steering | None] = (),
) -> list[list[int]]:
    import torch

    reads_apart = can_share(model)
    width = max(map(len, own))
    gaps = [width - len(prompt) for prompt in own]
    # Padding stands before the last token where all others have been read: then each row begins at place 0.
    heads = [len(prompt) - 1 if reads_apart else 0 for prompt in own]
    rows = list(zip(own, heads, gaps, strict=True))
    input_ids = torch.tensor([ids[:head] + [eos] * gap + ids[head:] for ids, head, gap in rows])
    mask = torch.tensor([[1] * head + [0] * gap + [1] * (len(ids) - head) for ids, head, gap in rows])
    biased, tokens, values = place_biases(steerings)
    drawn = [(row, draw) for row, draw in enumerate(steerings) if isinstance(draw, TokenDraw)]

    def steer(ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        place = ids.shape[1] - width
        if not drawn and (place or not biased):
            return scores
        scores = scores.float().clone()
        if biased and not place:
            scores[biased, tokens] += torch.tensor(values, device=scores.device)
        for row, draw in drawn:
            scores[row] = scores[row] + make_noise(draw, place, scores.shape[1]).to(scores.device)
        return scores

    generated: torch.Tensor = model.generate(  # type: ignore[operator]
        input_ids=input_ids.to(model.device),
        attention_mask=mask.to(model.device),
        past_key_values=merge_prompts(model, own, width - 1) if reads_apart and width > 1 else None,
        max_new_tokens=max_new_tokens,
        logits_processor=[steer],
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
    # The library goes on with `eos` until all rows of the batch have ended.
    written: list[list[int]] = generated[:, width:].tolist()
    return [ids[: ids.index(eos) + 1] if eos in ids else ids for ids in written]


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
