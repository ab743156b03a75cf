"""The least number of floating-point operations that a Llama takes: what the speed of a matrix product allows.

A matrix of n weights costs 2n per token. Left out: padding, anything computed twice, and everything but matrix products
(norms, softmax, activations, the optimizer).
"""

from collections.abc import Sequence
from typing import Any

from netllama.core.tokenized_rows import TokenizedRow


def count_weights(config: Any, rank: int) -> tuple[int, int]:
    """Of all layers: those of the linear layers, and those of LoRA of this rank on them."""
    hidden, inner, heads = config.hidden_size, config.intermediate_size, config.num_attention_heads
    queries, keys = hidden, config.num_key_value_heads * (hidden // heads)
    shapes = [(hidden, queries), (hidden, keys), (hidden, keys), (queries, hidden)]
    shapes += [(hidden, inner), (hidden, inner), (inner, hidden)]
    layers = config.num_hidden_layers
    return layers * sum(ins * outs for ins, outs in shapes), layers * sum(rank * (ins + outs) for ins, outs in shapes)


def count_training_flops(rows: Sequence[TokenizedRow], config: Any, rank: int) -> float:
    """Of a QLoRA epoch over `rows`.

    A frozen matrix costs 2n per token forward and 2n backward to its input; only a LoRA matrix costs another 2n for its
    own gradient. The head is needed only before answer tokens. Causal attention of T tokens takes T^2 / 2 products of
    queries and keys and as many of weights and values, each with two more backward.
    """
    frozen, adapter = count_weights(config, rank)
    tokens, answers = sum(row.length for row in rows), sum(row.answer_tokens for row in rows)
    attention = config.num_hidden_layers * 6 * config.hidden_size * sum(row.length**2 for row in rows)
    return tokens * (4 * frozen + 6 * adapter) + answers * 4 * config.hidden_size * config.vocab_size + attention


def count_reading_flops(lengths: Sequence[int], scored: int, config: Any, rank: int) -> float:
    """Of reading texts of these lengths, with the scores of all tokens after `scored` positions; rank 0: no LoRA."""
    layers, head = sum(count_weights(config, rank)), config.hidden_size * config.vocab_size
    attention = config.num_hidden_layers * 2 * config.hidden_size * sum(length**2 for length in lengths)
    return 2 * (sum(lengths) * layers + scored * head) + attention
