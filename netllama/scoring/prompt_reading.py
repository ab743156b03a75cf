"""Prompts read into keys and values, in batches of their own: few of their tokens are padding."""

import copy
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from netllama.scoring.likelihood import TOKENS, find_decoder, read_beginning
from netllama.scoring.shared_prefixes import Continued, batch_by_tokens, cut_shared_beginning

if TYPE_CHECKING:
    from torch import Tensor

    from netllama.models.loading import LanguageModel


def read_prompts(
    model: "LanguageModel", prompts: Sequence[list[int]]
) -> "Iterator[tuple[list[int], list[tuple[Tensor, Tensor]]]]":
    """Positions, longest prompts first, and by layer keys and values [N, H, T, D] of all but each prompt's last token.

    T is at least the length of the longest. What all prompts begin with is read once.
    """
    import torch
    from transformers import DynamicCache

    beginning, texts = cut_shared_beginning([Continued(prompt, []) for prompt in prompts])
    shared = read_beginning(model, beginning) if beginning else DynamicCache(config=model.config)
    read = [text.context[:-1] for text in texts]
    for batch in batch_by_tokens([len(ids) for ids in read], TOKENS[model.device.type]):
        # Never empty: a layer's keys have a shape only after a token has been read.
        width = max(1, *(len(read[position]) for position in batch))
        ids = torch.tensor([[*read[position], *[0] * (width - len(read[position]))] for position in batch])
        cache = copy.deepcopy(shared)
        if beginning:
            cache.batch_repeat_interleave(len(batch))
        find_decoder(model)(input_ids=ids.to(model.device), past_key_values=cache, use_cache=True)
        layers: list[Any] = cache.layers
        yield batch, [(layer.keys, layer.values) for layer in layers]
