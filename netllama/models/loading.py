"""The base model in memory: precision by hardware, quantization, and the bitsandbytes trap closed.

NF4 with double quantization as in QLoRA (Dettmers et al., arXiv 2305.14314), or int8. On CUDA the weights stay packed.
Small models on the CPU are quantized and dequantized again, once: the same numbers as packed weights,
without unpacking them in every forward and backward pass.
"""

import logging
import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from netllama.core.errors import StageError
from netllama.core.sections import LoadingParams
from netllama.cpu_layers.limits import limit_cpu_use
from netllama.models.precision import choose_precision

if TYPE_CHECKING:
    import torch
    from peft import PeftModel
    from transformers import BitsAndBytesConfig, PreTrainedModel

    LanguageModel = PreTrainedModel | PeftModel

# What no user can act on: on an AVX512-BF16 CPU bitsandbytes misses, at import, a kernel for packed weights (here
# they never stay packed on a CPU), and PEFT calls transformers by a name that has a new one.
logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)
warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing", category=FutureWarning)


# Parameters up to which `auto` dequantizes on a CPU: 6 GB in bf16.
LARGEST_CACHED = 3 * 10**9


def load_base(folder: Path, loading: LoadingParams) -> "PreTrainedModel":
    """The model of `folder` in eval mode, frozen, on this process's CUDA device or the CPU, with fast layers there.

    Raises StageError when the folder holds no causal language model.
    """
    import torch
    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM
    from transformers.utils.logging import disable_progress_bar

    from netllama.cpu_layers.attention import use_cpu_attention
    from netllama.cpu_layers.fast_blocks import use_fast_blocks

    limit_cpu_use()
    dtype = choose_precision(loading.precision)
    arguments: dict[str, Any] = {"dtype": dtype, "local_files_only": True}
    if torch.cuda.is_available():
        # Under FSDP each process quantizes the whole base in the host's memory, and its GPU gets a shard.
        arguments["device_map"] = {"": "cpu" if under_fsdp() else torch.cuda.current_device()}
    if loading.quantization != "none":
        arguments["quantization_config"] = _configure_quantization(loading, dtype)
    disable_progress_bar()
    try:
        model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(folder, **arguments)
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise StageError(f"{folder}: can't be loaded as a causal language model ({_shorten_error(error)})") from None
    if loading.quantization != "none":
        close_bitsandbytes_trap(model)
        if _keeps_cached(loading.quantized_weights, model.num_parameters()):
            model = dequantize_model(model, dtype)
    model.requires_grad_(False)
    if not torch.cuda.is_available():
        use_fast_blocks(model)
        use_cpu_attention(model)
    loaded: PreTrainedModel = model.eval()
    return loaded


def under_fsdp() -> bool:
    """Whether `accelerate launch` started this process with FSDP."""
    return os.environ.get("ACCELERATE_USE_FSDP", "").lower() in ("1", "true")


def _configure_quantization(loading: LoadingParams, dtype: "torch.dtype") -> "BitsAndBytesConfig":
    from transformers import BitsAndBytesConfig

    if loading.quantization == "int8":
        return BitsAndBytesConfig(load_in_8bit=True)
    # FSDP shards the packed bytes as numbers of the type that all other weights have.
    storage = {"bnb_4bit_quant_storage": dtype} if under_fsdp() else {}
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=loading.double_quantization,
        bnb_4bit_compute_dtype=dtype,
        **storage,
    )


def _keeps_cached(quantized_weights: str, parameters: int) -> bool:
    import torch

    if quantized_weights == "auto":
        return not torch.cuda.is_available() and parameters <= LARGEST_CACHED
    return quantized_weights == "cached"


def close_bitsandbytes_trap(model: "PreTrainedModel") -> None:
    """Keep every `Linear4bit` from repacking itself in its first `eval()` forward on an AVX512-BF16 CPU.

    A repacked layer runs an operator without a backward pass: training after it passes no gradient
    through frozen layers, silently, while the loss goes on falling (bitsandbytes 0.50.2).
    """
    import bitsandbytes as bnb

    for module in model.modules():
        if isinstance(module, bnb.nn.Linear4bit):
            module.support_avx512bf16_for_cpu = False


def dequantize_model(model: "PreTrainedModel", dtype: "torch.dtype") -> "PreTrainedModel":
    """Quantized weights as plain frozen `nn.Linear` weights of the same values."""
    # transformers warns that it dequantizes: that is what was asked for.
    logging.getLogger("transformers.integrations.bitsandbytes").setLevel(logging.ERROR)
    plain: PreTrainedModel = model.dequantize(dtype=dtype)
    plain.requires_grad_(False)
    for weight in plain.parameters():
        # What was not quantized is still the mapped file, which would stay in memory as a whole.
        weight.data = weight.data.clone()
    return plain


def load_adapter(base: "PreTrainedModel", folder: Path) -> "PeftModel":
    """`base` with the LoRA adapter of `folder` on top, in eval mode, nothing merged; with fast layers on a CPU."""
    from peft import PeftModel
    from safetensors import SafetensorError

    from netllama.cpu_layers.fast_lora_layers import use_fast_layers

    # PEFT would look for a missing file on the Hub, in a repository called `models/adapter`.
    _require_files(folder)
    try:
        model: PeftModel = PeftModel.from_pretrained(base, str(folder), local_files_only=True).eval()
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise StageError(f"{folder}: can't be loaded as a LoRA adapter ({_shorten_error(error)})") from None
    use_fast_layers(model)
    return model


def _require_files(folder: Path) -> None:
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        if not (folder / name).is_file():
            raise StageError(f"{folder / name}: no such file; run `dvc repro train`")


def _shorten_error(error: Exception) -> str:
    """The error in one line; where its first line only announces a list, the first entry too."""
    if isinstance(error, KeyError):
        return f"{error} is missing"
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    return " ".join(lines[:2]) if lines[0].endswith(":") else lines[0]
