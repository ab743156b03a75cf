"""Greedy decoding on a CPU: rows that have ended make room for others (continuous batching).

It writes what transformers' `generate` writes; a GPU, whose steps cost the same for few rows, has that one.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from netllama.cpu_layers.decoding import StepDecoder
from netllama.scoring.prompt_reading import PromptReader

if TYPE_CHECKING:
    from netllama.models.loading import LanguageModel


def decode_greedily(
    model: "LanguageModel",
    prompts: Sequence[list[int]],
    eos: int,
    batch_size: int,
    max_new_tokens: int,
    report: Callable[[int], object],
) -> list[list[int]]:
    """What a model that `can_decode` writes after each prompt, up to `eos` or `max_new_tokens`.

    Longest prompts first; others follow as soon as half of the `batch_size` slots are free. Fewer at a time would be
    read no faster: it takes the weights once, too. `report`: how many rows ended.
    """
    if not prompts:
        return []
    decoder, reader = StepDecoder(model), PromptReader(model, prompts)
    cache = decoder.make_cache(min(batch_size, len(prompts)))
    waiting = sorted(range(len(prompts)), key=lambda position: (-len(prompts[position]), position))
    answers: list[list[int]] = [[] for _ in prompts]
    rows: list[int] = []  # by slot, whose answer it is
    while rows or waiting:
        if waiting and cache.count <= cache.slots // 2:
            number = cache.slots - cache.count
            own, waiting = waiting[:number], waiting[number:]
            for read, layers in reader.read(own):
                cache.append(layers, [len(prompts[position]) - 1 for position in read])
                rows += read
        tokens = [(answers[position] or prompts[position])[-1] for position in rows]
        for position, token in zip(rows, decoder.step(tokens, cache), strict=True):
            answers[position].append(token)
        ended = [
            slot for slot, row in enumerate(rows) if answers[row][-1] == eos or len(answers[row]) == max_new_tokens
        ]
        for slot in reversed(ended):
            cache.remove(slot)
            rows[slot] = rows[-1]
            rows.pop()
        report(len(ended))
    return answers
