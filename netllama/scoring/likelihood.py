"""Log-likelihoods of texts given what they follow: what held-out loss and closed questions are made of.

What many texts begin with is read once: the beginning of all contexts for the whole run, a context for all of its
continuations (netllama/scoring/shared_prefixes.py). The head runs only where a token is scored, in fp32: a logit in
bf16 is off by up to 0.06, which is more than what lies between many options.
"""

import copy
from collections.abc import Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from netllama.cpu_layers.attention import NAME as CPU_ATTENTION
from netllama.cpu_layers.exact_products import multiply_in_bf16
from netllama.models.attention_kind import sees_all_before
from netllama.models.output_head import has_plain_head
from netllama.scoring import memory_batches
from netllama.scoring.memory_batches import MemoryBatches
from netllama.scoring.shared_prefixes import (
    Continued,
    PackedBatch,
    batch_by_tokens,
    cut_shared_beginning,
    pack_batch,
)

if TYPE_CHECKING:
    import torch
    from transformers import DynamicCache

    from netllama.models.loading import LanguageModel

VOCABULARY = 8192
"""Entries of the vocabulary whose logits exist at a time."""


def score_continuations(
    model: "LanguageModel", texts: Sequence[Continued], desc: str, tokens: int = 0
) -> list[list[float]]:
    """log p(continuation | context), in nats, for each continuation of each text.

    The scores depend on no other text, up to rounding, nor on `tokens`, the size of a batch (0: by the device).
    """
    if can_share(model):
        beginning, texts = cut_shared_beginning(texts)
        return _score_texts(model, texts, beginning, desc, tokens)
    alone = [Continued(text.context, [each]) for text in texts for each in text.continuations]
    found = iter(_score_texts(model, alone, [], desc, tokens))
    return [[score for [score] in islice(found, len(text.continuations))] for text in texts]


def can_share(model: "LanguageModel") -> bool:
    """Whether texts that share tokens get from this model what each of them gets alone.

    Rotary embeddings take positions from the position ids, and attention what it sees from the mask. Other models
    (recurrent, with a sliding window, with biases by distance) read each text in a row of its own.
    """
    config: Any = model.config.get_text_config(decoder=True)
    return sees_all_before(config) and config._attn_implementation in ("sdpa", CPU_ATTENTION)


def _score_texts(
    model: "LanguageModel", texts: Sequence[Continued], beginning: Sequence[int], desc: str, tokens: int
) -> list[list[float]]:
    import torch

    scores: list[list[float]] = [[] for _ in texts]
    with torch.inference_mode(), tqdm(total=len(texts), desc=desc, unit="row", disable=not texts) as bar:
        read = read_beginning(model, beginning) if beginning else None
        widths = [text.width for text in texts]

        def score(batch: list[int]) -> list[float]:
            packed = pack_batch([texts[position] for position in batch], len(beginning))
            values: list[float] = _score_batch(model, packed, read).tolist()
            return values

        batches = batch_by_tokens(widths, tokens or memory_batches.choose_tokens(model))
        for batch, found in MemoryBatches(widths, desc).run(batches, score):
            values = iter(found)
            for position in batch:
                scores[position] = [sum(islice(values, len(each))) for each in texts[position].continuations]
            bar.update(len(batch))
    return scores


def read_beginning(model: "LanguageModel", beginning: Sequence[int]) -> "DynamicCache":
    """The keys and values of what all texts begin with."""
    import torch
    from transformers import DynamicCache

    cache = DynamicCache(config=model.config)
    find_decoder(model)(input_ids=torch.tensor([beginning], device=model.device), past_key_values=cache)
    return cache


def _score_batch(model: "LanguageModel", batch: PackedBatch, read: "DynamicCache | None") -> "torch.Tensor":
    """[S]: the log-probability of each token to score, in fp64."""
    if read is not None:
        read = copy.deepcopy(read)
        read.batch_repeat_interleave(len(batch.input_ids))
    device = model.device
    inputs: dict[str, Any] = {"input_ids": batch.input_ids.to(device), "use_cache": read is not None}
    if batch.visible is not None:
        positions, visible = batch.position_ids.to(device), batch.visible.to(device)
        inputs |= {"position_ids": positions, "attention_mask": visible, "past_key_values": read}
    predicts, sources, targets = (part.to(device) for part in (batch.predicts, batch.sources, batch.targets))
    if not has_plain_head(model):
        logits = model(**inputs, logits_to_keep=predicts).logits
        scores: torch.Tensor = logits.reshape(-1, logits.shape[-1]).float().log_softmax(-1)[sources, targets]
        return scores.double()
    hidden = find_decoder(model)(**inputs).last_hidden_state[predicts]
    return _compute_log_probabilities(hidden, model.get_output_embeddings(), sources, targets)


def _compute_log_probabilities(
    hidden: "torch.Tensor", head: Any, sources: "torch.Tensor", targets: "torch.Tensor"
) -> "torch.Tensor":
    """[S], in fp64: of `targets` after hidden[sources], log softmax(hidden W^T + bias), hidden [N, H] and W [V, H].

    In fp32, a part of the vocabulary at a time: no [N, V] logits exist, nor the whole W in fp32.
    """
    import torch

    wanted = torch.empty(len(targets), dtype=torch.float64, device=hidden.device)
    sums = []
    with multiply_in_bf16(hidden, head.weight):
        hidden = hidden.float()
        for start in range(0, len(head.weight), VOCABULARY):
            part = slice(start, start + VOCABULARY)
            bias = None if head.bias is None else head.bias[part].float()
            logits = torch.nn.functional.linear(hidden, head.weight[part].float(), bias)
            sums.append(logits.logsumexp(-1))
            here = ((targets >= start) & (targets < start + VOCABULARY)).nonzero()[:, 0]
            wanted[here] = logits[sources[here], targets[here] - start].double()
    return wanted - torch.stack(sums).logsumexp(0).double()[sources]


def weigh_first_tokens(model: "LanguageModel", prompts: Sequence[Sequence[int]], token: int, desc: str) -> list[float]:
    """By how much the logit of `token` exceeds that of any other token as the first of an answer, prompt by prompt.

    Above 0 a greedy answer begins with it.
    """
    import torch

    widths = [len(prompt) for prompt in prompts]
    found = [0.0] * len(prompts)

    def weigh(batch: list[int]) -> list[float]:
        own = [prompts[position] for position in batch]
        width = max(map(len, own))
        # Padding stands behind a row's own tokens, which see none of it.
        ids = torch.tensor([[*prompt, *[0] * (width - len(prompt))] for prompt in own], device=model.device)
        rows = torch.arange(len(own), device=model.device)
        last = torch.tensor([len(prompt) - 1 for prompt in own], device=model.device)
        if has_plain_head(model):
            head: Any = model.get_output_embeddings()
            hidden = find_decoder(model)(input_ids=ids, use_cache=False).last_hidden_state[rows, last]
            with multiply_in_bf16(hidden, head.weight):
                bias = None if head.bias is None else head.bias.float()
                logits = torch.nn.functional.linear(hidden.float(), head.weight.float(), bias)
        else:
            logits = model(input_ids=ids, use_cache=False).logits[rows, last].float()
        own_logits = logits[:, token].clone()
        logits[:, token] = -torch.inf
        weighed: list[float] = (own_logits - logits.max(1).values).tolist()
        return weighed

    with torch.inference_mode(), tqdm(total=len(prompts), desc=desc, unit="row", disable=not prompts) as bar:
        batches = batch_by_tokens(widths, memory_batches.choose_tokens(model))
        for batch, weights in MemoryBatches(widths, desc).run(batches, weigh):
            for position, weight in zip(batch, weights, strict=True):
                found[position] = weight
            bar.update(len(batch))
    return found


def find_decoder(model: "LanguageModel") -> Any:
    """The model below its head; LoRA layers are part of it."""
    outer: Any = model
    causal = outer.get_base_model() if hasattr(outer, "get_base_model") else outer
    return causal.base_model
