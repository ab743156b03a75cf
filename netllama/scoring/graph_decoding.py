"""Greedy decoding on CUDA: a step of a batch is recorded once and then started as a whole (a CUDA graph).

A step of transformers' `generate` starts its kernels one by one, which takes the processor longer than the device needs
for a few rows. Here keys and values stay where they are (transformers' `StaticCache`), as do a step's other tensors, so
that a recorded step may run again and again. `generate` offers torch.compile over the same cache; that must compile for
longer than an evaluation writes, while to record takes one step more.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from netllama.scoring.first_bias import place_biases
from netllama.scoring.prompt_reading import PromptReader
from netllama.scoring.token_draws import Steering

if TYPE_CHECKING:
    from transformers import StaticCache

    from netllama.models.loading import LanguageModel

Run = Callable[[], object]
PLAIN_STEPS = 3
"""Steps before the one that is recorded: in the first ones libraries choose their kernels and take their memory."""
CHECK_EVERY = 16
"""Steps from one look at whether all rows have ended to the next, for which the processor waits for the device."""


class StaticStep:
    """Writes the next token of each row; reads and changes tensors only, none of which ever moves."""

    def __init__(
        self, model: "LanguageModel", prompts: Sequence[list[int]], limit: int, biases: Sequence[Steering | None] = ()
    ) -> None:
        """Reads the prompts. Every row's new tokens begin at the same place, behind the longest prompt."""
        import torch

        device, lengths = model.device, torch.tensor([len(prompt) for prompt in prompts], device=model.device)
        width = max(map(len, prompts))
        self._model = model
        # One place more, for what comes after the last token: it is made visible, and never looked at.
        self._cache = fill_static_cache(model, prompts, width - 1, width + limit)
        self._tokens = torch.tensor([prompt[-1:] for prompt in prompts], device=device)
        self._positions = lengths[:, None] - 1
        places = torch.arange(width + limit, device=device)
        visible = (places < lengths[:, None] - 1) | (places == width - 1)
        self._visible = visible[:, None, None]
        self._place = torch.tensor([width], device=device)
        self._step = torch.tensor([0], device=device)
        rows, tokens, values = place_biases(biases)
        self._biased = (torch.tensor(rows, device=device), torch.tensor(tokens, device=device)) if rows else None
        self._biases = torch.tensor(values, device=device)
        self.written = torch.zeros((len(prompts), limit), dtype=torch.long, device=device)
        """[B, limit]: after n steps the first n tokens of each row."""

    def run(self) -> None:
        logits = self._model(
            input_ids=self._tokens,
            position_ids=self._positions,
            # Of four dimensions: the model takes it as it is.
            attention_mask=self._visible,
            past_key_values=self._cache,
            use_cache=True,
        ).logits[:, -1]
        if self._biased is not None:
            logits.index_put_(self._biased, self._biases.to(logits.dtype), accumulate=True)
            self._biases.zero_()  # the first step alone has them
        self._tokens.copy_(logits.argmax(-1, keepdim=True))
        self.written.index_copy_(1, self._step, self._tokens)
        self._positions.add_(1)
        self._visible.index_fill_(3, self._place, True)
        self._place.add_(1)
        self._step.add_(1)


def fill_static_cache(model: "LanguageModel", prompts: Sequence[list[int]], width: int, places: int) -> "StaticCache":
    """Keys and values of all but the last token of each prompt, in the prompts' order, in the first of `places` places;
    the next tokens come at the place `width`."""
    from transformers import StaticCache

    cache = StaticCache(config=model.config, max_cache_len=places)
    layers: list[Any] = cache.layers
    for batch, read in PromptReader(model, prompts).read(range(len(prompts))):
        for layer, (keys, values) in zip(layers, read, strict=True):
            if not layer.is_initialized:
                shaped = [part.new_empty(len(prompts), part.shape[1], 0, part.shape[3]) for part in (keys, values)]
                layer.lazy_initialization(*shaped)
                layer.cumulative_length.fill_(width)
            length = min(width, keys.shape[2])
            layer.keys[batch, :, :length] = keys[:, :, :length]
            layer.values[batch, :, :length] = values[:, :, :length]
    return cache


def record_graph(run: Run) -> Run:
    """What starts all kernels of `run` at once; on CUDA. `run` itself is not run."""
    import torch

    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        run()
    return graph.replay


def decode_by_graph(
    model: "LanguageModel",
    prompts: Sequence[list[int]],
    eos: int,
    limit: int,
    record: Callable[[Run], Run] = record_graph,
    biases: Sequence[Steering | None] = (),
) -> list[list[int]]:
    """What a model that `can_share` writes after each prompt, up to `eos` or `limit`.

    `record`: how a step becomes one that may be run again. RuntimeError where a step can't be recorded, because it
    waits for the device. `biases`: of each answer, or none; no token is drawn.
    """
    step = StaticStep(model, prompts, limit, biases)
    run: Run = step.run
    count = 0
    while count < limit:
        if count == PLAIN_STEPS:
            run = record(step.run)
        run()
        count += 1
        if count % CHECK_EVERY == 0 and bool((step.written[:, :count] == eos).any(1).all()):
            break
    written: list[list[int]] = step.written[:, :count].tolist()
    return [ids[: ids.index(eos) + 1] if eos in ids else ids for ids in written]
