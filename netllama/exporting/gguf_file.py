"""A merged Llama as one GGUF file: llama.cpp's names and layout, weight by weight.

The format: ggml's docs/gguf.md. llama.cpp rotates pairs of neighbouring rows of q and k where transformers rotates the
two halves of a head, so their rows are put in its order. Norms stay in fp32. In q4_1 embeddings and head are q8_0:
numpy has no quantizer for the q6_K that llama.cpp gives them.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import gguf
import numpy as np
from gguf import GGMLQuantizationType as Kind
from gguf import LlamaFileType

from netllama.core.errors import StageError
from netllama.exporting.gguf_vocabulary import GgufVocabulary
from netllama.exporting.streamed_model import build_empty_model, list_stored_weights
from netllama.models.published_weights import PublishedWeights

if TYPE_CHECKING:
    import torch
    from transformers import PretrainedConfig, PreTrainedTokenizerBase

GgufType = Literal["bf16", "f16", "q8_0", "q4_1"]
_KINDS = {"bf16": Kind.BF16, "f16": Kind.F16, "q8_0": Kind.Q8_0, "q4_1": Kind.Q4_1}
_FILE_TYPES = {
    "bf16": LlamaFileType.MOSTLY_BF16,
    "f16": LlamaFileType.MOSTLY_F16,
    "q8_0": LlamaFileType.MOSTLY_Q8_0,
    "q4_1": LlamaFileType.MOSTLY_Q4_1,
}
ROPE_FREQUENCIES = "rope_freqs.weight"


@dataclass(frozen=True)
class _Stored:
    """A tensor of the file."""

    name: str
    source: str
    """Name in the merged folder; empty: rotary frequencies, which are computed."""
    shape: tuple[int, ...]
    kind: Kind


def require_llama(config: "PretrainedConfig") -> None:
    """StageError for an architecture that the file can't describe."""
    values: dict[str, Any] = config.to_dict()
    if config.model_type != "llama" or config.architectures != ["LlamaForCausalLM"]:
        raise StageError(f"config.json: {config.model_type}, {config.architectures}; GGUF is written for Llama alone")
    for key in ("attention_bias", "mlp_bias"):
        if values.get(key):
            raise StageError(f"config.json: {key}; GGUF is written for Llama without biases")
    if values.get("hidden_act") != "silu":
        raise StageError(f"config.json: hidden_act {values.get('hidden_act')}; llama.cpp's Llama has silu")
    if (kind := _rope(config)["rope_type"]) not in ("default", "linear", "llama3"):
        raise StageError(f"config.json: rope_type {kind}; GGUF is written for default, linear and llama3")


def write_gguf(
    folder: Path,
    out: Path,
    config: "PretrainedConfig",
    tokenizer: "PreTrainedTokenizerBase",
    vocabulary: GgufVocabulary,
    type: GgufType,
    name: str,
) -> Iterator[int]:
    """Write the model in `folder`; yields, for each tensor, how many of its numbers the type rounds.

    StageError where a weight lies beyond the type's range.
    """
    writer = gguf.GGUFWriter(out, "llama")
    _add_model_keys(writer, config, type, name)
    _add_tokenizer_keys(writer, tokenizer, vocabulary)
    stored = _plan_tensors(config, type)
    for tensor in stored:
        shape = gguf.quant_shape_to_byte_shape(tensor.shape, tensor.kind)
        writer.add_tensor_info(tensor.name, shape, np.dtype(np.uint8), math.prod(shape), tensor.kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    published = PublishedWeights(folder)
    for tensor in stored:
        weight = _read_numbers(published, tensor, config)
        packed = _pack(weight, tensor)
        writer.write_tensor_data(packed)
        yield int((gguf.quants.dequantize(packed, tensor.kind).reshape(weight.shape) != weight).sum())
    writer.close()


def _rope(config: "PretrainedConfig") -> dict[str, Any]:
    return dict(config.rope_parameters)


def _head_size(config: "PretrainedConfig") -> int:
    return int(getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads)


def _add_model_keys(writer: gguf.GGUFWriter, config: "PretrainedConfig", type: GgufType, name: str) -> None:
    rope, size = _rope(config), _head_size(config)
    writer.add_name(name)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_key_length(size)
    writer.add_value_length(size)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_dimension_count(size)
    writer.add_rope_freq_base(rope["rope_theta"])
    if rope["rope_type"] == "linear":
        writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(rope["factor"])
    writer.add_vocab_size(config.vocab_size)
    writer.add_file_type(_FILE_TYPES[type])
    if type.startswith("q"):
        writer.add_quantization_version(gguf.GGML_QUANT_VERSION)


def _add_tokenizer_keys(
    writer: gguf.GGUFWriter, tokenizer: "PreTrainedTokenizerBase", vocabulary: GgufVocabulary
) -> None:
    writer.add_tokenizer_model(vocabulary.model)
    writer.add_tokenizer_pre(vocabulary.pre)
    writer.add_token_list(vocabulary.tokens)
    writer.add_token_types(vocabulary.types)
    if vocabulary.scores:
        writer.add_token_scores(vocabulary.scores)
    if vocabulary.merges:
        writer.add_token_merges(vocabulary.merges)
    for id, add in (
        (tokenizer.bos_token_id, writer.add_bos_token_id),
        (tokenizer.eos_token_id, writer.add_eos_token_id),
        (tokenizer.unk_token_id, writer.add_unk_token_id),
        (tokenizer.pad_token_id, writer.add_pad_token_id),
    ):
        if id is not None:
            add(id)
    writer.add_add_bos_token(vocabulary.add_bos)
    writer.add_add_eos_token(False)
    writer.add_add_space_prefix(vocabulary.add_space_prefix)
    writer.add_chat_template(str(tokenizer.chat_template))


def _plan_tensors(config: "PretrainedConfig", type: GgufType) -> list[_Stored]:
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, config.num_hidden_layers)
    stored = []
    if _rope(config)["rope_type"] == "llama3":
        stored.append(_Stored(ROPE_FREQUENCIES, "", (_head_size(config) // 2,), Kind.F32))
    for source, shape in list_stored_weights(build_empty_model(config)).items():
        name = names.get_name(source, try_suffixes=(".weight",))
        if name is None:
            raise StageError(f"{source}: llama.cpp's Llama has no such tensor")
        kind = Kind.F32 if len(shape) == 1 else _KINDS[type]
        if kind == Kind.Q4_1 and name in ("token_embd.weight", "output.weight"):
            kind = Kind.Q8_0
        if shape[-1] % gguf.GGML_QUANT_SIZES[kind][0]:
            raise StageError(f"{source}: rows of {shape[-1]} can't be packed as {type}; export f16 or bf16")
        stored.append(_Stored(name, source, tuple(shape), kind))
    return stored


def _read_numbers(published: PublishedWeights, tensor: _Stored, config: "PretrainedConfig") -> "np.ndarray[Any, Any]":
    """The tensor in fp32, rows of q and k in llama.cpp's order."""
    if not tensor.source:
        return _compute_rope_factors(config).numpy()
    weight = published[tensor.source].float().numpy()
    heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}
    for part, number in heads.items():
        if tensor.source.endswith(f"self_attn.{part}.weight"):
            halves = weight.reshape(number, 2, weight.shape[0] // number // 2, weight.shape[1])
            return np.ascontiguousarray(halves.swapaxes(1, 2).reshape(weight.shape))
    return weight


def _compute_rope_factors(config: "PretrainedConfig") -> "torch.Tensor":
    """What llama.cpp divides each frequency of the plain rotary embedding by, as Llama 3.1's scaling has it."""
    import torch

    buffers = dict(build_empty_model(config).named_buffers())
    scaled = next(buffer for name, buffer in buffers.items() if name.endswith("rotary_emb.inv_freq"))
    size = _head_size(config)
    plain = 1.0 / _rope(config)["rope_theta"] ** (torch.arange(0, size, 2, dtype=torch.float32) / size)
    factors: torch.Tensor = plain / scaled
    return factors


def _pack(weight: "np.ndarray[Any, Any]", tensor: _Stored) -> "np.ndarray[Any, Any]":
    if tensor.kind == Kind.F16 and np.abs(weight).max() > np.finfo(np.float16).max:
        raise StageError(f"{tensor.source}: has weights beyond the range of f16; export bf16")
    return gguf.quants.quantize(weight, tensor.kind)
