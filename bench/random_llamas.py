"""Llamas of published shapes with random weights, packed in NF4 on a device, never in a file; and rows for them."""

import random
from typing import Any

import torch

from netllama.core.tokenized_rows import TokenizedRow

SHAPES: dict[str, dict[str, int]] = {
    "tiny": {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4,
             "num_key_value_heads": 2, "vocab_size": 512},
    "1.1B": {"hidden_size": 2048, "intermediate_size": 5632, "num_hidden_layers": 22, "num_attention_heads": 32,
             "num_key_value_heads": 4, "vocab_size": 32000},
    "8B": {"hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32, "num_attention_heads": 32,
           "num_key_value_heads": 8, "vocab_size": 128256},
    "13B": {"hidden_size": 5120, "intermediate_size": 13824, "num_hidden_layers": 40, "num_attention_heads": 40,
            "num_key_value_heads": 40, "vocab_size": 32000},
}  # fmt: skip
"""TinyLlama-1.1B, Llama-3.1-8B and Llama-2-13B, as their configurations have them."""
SPREAD = 0.02


def make_base(shape: str, dtype: torch.dtype, device: torch.device, seed: int) -> Any:
    """As `load_base` leaves a packed model: frozen, in eval mode, with a quantizer that can dequantize it."""
    import bitsandbytes as bnb
    from transformers import BitsAndBytesConfig, LlamaConfig, LlamaForCausalLM
    from transformers.quantizers import AutoHfQuantizer

    from netllama.models.loading import close_bitsandbytes_trap

    generator = torch.Generator(device).manual_seed(seed)
    config = LlamaConfig(**SHAPES[shape], max_position_embeddings=2048, tie_word_embeddings=False)
    with torch.device("meta"):
        model = LlamaForCausalLM(config)
    rotary = type(model.model.rotary_emb)(config).to(device)
    for name, module in list(model.named_modules()):
        if not isinstance(module, torch.nn.Linear) or name == "lm_head":
            continue
        weight = torch.empty(module.weight.shape, dtype=dtype, device=device)
        weight.normal_(std=SPREAD, generator=generator)
        with torch.device("meta"):
            packed = bnb.nn.Linear4bit(module.in_features, module.out_features, bias=False, compute_dtype=dtype)
        packed.weight = bnb.nn.Params4bit(weight, quant_type="nf4", compress_statistics=True, module=packed).to(device)
        if packed.weight.quant_state is None:
            raise RuntimeError(f"{name}: was not quantized")
        packed.quant_state = packed.weight.quant_state
        model.set_submodule(name, packed)
    for name, weight in list(model.named_parameters()):
        if weight.is_meta:
            filled = torch.ones(weight.shape, dtype=dtype, device=device)
            if weight.ndim > 1:
                filled.normal_(std=SPREAD, generator=generator)
            owner, _, attribute = name.rpartition(".")
            setattr(model.get_submodule(owner), attribute, torch.nn.Parameter(filled))
    model.model.rotary_emb = rotary
    nf4 = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True,
                             bnb_4bit_compute_dtype=dtype)  # fmt: skip
    model.hf_quantizer = AutoHfQuantizer.from_config(nf4, pre_quantized=False)
    model.config.quantization_config = nf4
    model.config.dtype = dtype
    model.is_loaded_in_4bit = model.is_quantized = True
    model.quantization_method = nf4.quant_method
    close_bitsandbytes_trap(model)
    return model.requires_grad_(False).eval()


def make_rows(number: int, longest: int, vocabulary: int, seed: int) -> list[TokenizedRow]:
    """Rows of mixed lengths, from an eighth of `longest` up to it; the second half of each is trained.

    An answer repeats its prompt, shifted by one in the vocabulary: something that can be learnt, so losses fall.
    """
    draw, rows = random.Random(seed), []
    for place in range(number):
        half = draw.randint(longest // 16, longest // 2)
        prompt = [draw.randrange(3, 3 + vocabulary // 4) for _ in range(half)]
        rows.append(
            TokenizedRow(f"row-{place}", "random", "seed", prompt + [1 + token for token in prompt], half, half)
        )
    return rows
