"""Prompts read into keys and values, in batches of their own: few of their tokens are padding."""

import copy
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from netllama.scoring.likelihood import find_decoder, read_beginning
from netllama.scoring.memory_batches import MemoryBatches, choose_tokens
from netllama.scoring.shared_prefixes import Continued, batch_by_tokens, cut_shared_beginning

if TYPE_CHECKING:
    from torch import Tensor

    from netllama.models.loading import LanguageModel


class PromptReader:
    """Reads all but the last token of prompts; what all of them begin with is read once."""

    def __init__(self, model: "LanguageModel", prompts: Sequence[list[int]]) -> None:
        from transformers import DynamicCache

        beginning, texts = cut_shared_beginning([Continued(prompt, []) for prompt in prompts])
        self._model, self._has_beginning = model, bool(beginning)
        self._shared = read_beginning(model, beginning) if beginning else DynamicCache(config=model.config)
        self._rest = [text.context[:-1] for text in texts]

    def read(self, positions: Sequence[int]) -> "Iterator[tuple[list[int], list[tuple[Tensor, Tensor]]]]":
        """Some of these positions, longest prompts first, and by layer their keys and values [N, H, T, D].

        T is at least the number of tokens read of the longest; what stands behind a row's own tokens is padding.
        """
        widths = [len(self._rest[position]) for position in positions]
        batches = batch_by_tokens(widths, choose_tokens(self._model))
        for batch, layers in MemoryBatches(widths, "prompts").run(batches, lambda batch: self._read(positions, batch)):
            yield [positions[each] for each in batch], layers

    def _read(self, positions: Sequence[int], batch: list[int]) -> "list[tuple[Tensor, Tensor]]":
        import torch

        own = [positions[each] for each in batch]
        # Never empty: a layer's keys have a shape only after a token has been read.
        width = max(1, *(len(self._rest[position]) for position in own))
        ids = [[*self._rest[position], *[0] * (width - len(self._rest[position]))] for position in own]
        cache = copy.deepcopy(self._shared)
        if self._has_beginning:
            cache.batch_repeat_interleave(len(own))
        inputs = torch.tensor(ids, device=self._model.device)
        find_decoder(self._model)(input_ids=inputs, past_key_values=cache, use_cache=True)
        layers: list[Any] = cache.layers
        return [(layer.keys, layer.values) for layer in layers]
