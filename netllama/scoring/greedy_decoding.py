"""Decoding on a CPU: rows that have ended make room for others (continuous batching), and drafts are checked.

It writes what transformers' `generate` writes, greedily or with the same noise on its logits. On a GPU, where a step
costs the same for few rows as for many, netllama/scoring/graph_decoding.py does.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from netllama.cpu_layers.decoding import StepDecoder, count_columns
from netllama.scoring.first_bias import place_biases
from netllama.scoring.prompt_lookup import MOST_DRAFTS, DraftedText, confirm_draft
from netllama.scoring.prompt_reading import PromptReader
from netllama.scoring.token_draws import Steering, TokenDraw, make_noise

if TYPE_CHECKING:
    from netllama.models.loading import LanguageModel

DRAFTED = 0.25
"""Drafts a row for which products get more columns; the columns that they have anyway are filled, too."""


def order_prompts(prompts: Sequence[Sequence[int]], limits: Sequence[int]) -> list[int]:
    """Positions: the longest answers first, so that short ones fill the slots beside them and none is written alone at
    the end; among equals the longest prompts, which are read with prompts of their length."""
    return sorted(range(len(prompts)), key=lambda position: (-limits[position], -len(prompts[position]), position))


def share_columns(drafts: Sequence[list[int]], left: Sequence[int]) -> list[list[int]]:
    """The drafts, cut so that few more columns go through the model than have to.

    `left`: tokens that each row may still write. Those with most of them come first, since the others wait for them;
    the first token of a draft, which is right most often, comes before any second one.
    """
    free = count_columns(max(2, round(len(drafts) * (1 + DRAFTED)))) - len(drafts)
    order = sorted(range(len(drafts)), key=lambda slot: (-left[slot], slot))
    offered = [slot for depth in range(MOST_DRAFTS) for slot in order if len(drafts[slot]) > depth]
    numbers = Counter(offered[:free])
    return [draft[: numbers[slot]] for slot, draft in enumerate(drafts)]


def decode_greedily(
    model: "LanguageModel",
    prompts: Sequence[list[int]],
    eos: int,
    batch_size: int,
    limits: Sequence[int],
    report: Callable[[int], object],
    steerings: Sequence[Steering | None],
) -> list[list[int]]:
    """What a model that `can_decode` writes after each prompt, up to `eos` or the answer's limit.

    In the order of `order_prompts`; others follow as soon as a quarter of the `batch_size` slots is free. Fewer at a
    time would be read no faster: it takes the weights once, too. Drafts change no text, only how many tokens a step
    gives. `report`: how many rows ended. `steerings`: of each answer.
    """
    if not prompts:
        return []
    decoder, reader = StepDecoder(model), PromptReader(model, prompts)
    cache = decoder.make_cache(min(batch_size, len(prompts)))
    waiting = order_prompts(prompts, limits)
    texts = [DraftedText(prompt) for prompt in prompts]
    ends = [len(prompt) + limit for prompt, limit in zip(prompts, limits, strict=True)]
    rows: list[int] = []  # by slot, whose answer it is
    while rows or waiting:
        if waiting and 4 * cache.count <= 3 * cache.slots:
            number = cache.slots - cache.count
            own, waiting = waiting[:number], waiting[number:]
            for read, layers in reader.read(own):
                cache.append(layers, [len(prompts[position]) - 1 for position in read])
                rows += read
        drafts = [texts[row].draft(min(MOST_DRAFTS, ends[row] - len(texts[row].ids) - 1)) for row in rows]
        drafts = share_columns(drafts, [ends[row] - len(texts[row].ids) for row in rows])
        tokens = [[texts[row].ids[-1], *draft] for row, draft in zip(rows, drafts, strict=True)]
        places = [len(texts[row].ids) - len(prompts[row]) for row in rows]
        first = [None if place else steerings[row] for row, place in zip(rows, places, strict=True)]
        noises = [
            (slot, offset, make_noise(draw, place + offset, len(decoder.head)))
            for slot, (row, place) in enumerate(zip(rows, places, strict=True))
            if isinstance(draw := steerings[row], TokenDraw)
            for offset in range(len(tokens[slot]))
        ]
        chosen = decoder.step(tokens, cache, list(zip(*place_biases(first), strict=True)), noises)
        written = [confirm_draft(draft, own) for draft, own in zip(drafts, chosen, strict=True)]
        written = [own[: own.index(eos) + 1] if eos in own else own for own in written]
        cache.advance([len(own) for own in written])
        for row, own in zip(rows, written, strict=True):
            texts[row].extend(own)
        ended = [
            slot
            for slot, (row, own) in enumerate(zip(rows, written, strict=True))
            if own[-1] == eos or len(texts[row].ids) == ends[row]
        ]
        for slot in reversed(ended):
            cache.remove(slot)
            rows[slot] = rows[-1]
            rows.pop()
        report(len(ended))
    return [text.ids[len(prompt) :] for text, prompt in zip(texts, prompts, strict=True)]
