"""The base model in memory: precision by hardware, quantization, and the bitsandbytes trap closed.

NF4 with double quantization as in QLoRA (Dettmers et al., arXiv 2305.14314), or int8. Where there is room for it, NF4
weights are quantized and dequantized again, once: the same numbers as packed weights, without unpacking them in every
forward and backward pass. On CUDA memory decides (device_memory.py), on a CPU the number of parameters.
"""

import logging
import os
import sys
import warnings
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from netllama.core.errors import StageError
from netllama.core.sections import LoadingParams
from netllama.cpu_layers.limits import limit_cpu_use
from netllama.models.bundled import quiet
from netllama.models.device_memory import Workload, measure_free_memory, plan_weights, read_shape
from netllama.models.precision import choose_precision
from netllama.models.published_weights import read_shapes

if TYPE_CHECKING:
    import torch
    from peft import PeftModel
    from transformers import BitsAndBytesConfig, PreTrainedModel

    LanguageModel = PreTrainedModel | PeftModel

# What no user can act on: on an AVX512-BF16 CPU bitsandbytes misses, at import, a kernel for packed weights (here
# they never stay packed on a CPU), and PEFT calls transformers by a name that has a new one.
logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)
warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing", category=FutureWarning)


ADAPTER_WEIGHTS = "adapter_model.safetensors"
MAKE_ADAPTER = "run `dvc repro train`"
# Parameters up to which `auto` dequantizes on a CPU: 6 GB in bf16.
LARGEST_CACHED = 3 * 10**9
READING = Workload()


def load_base(folder: Path, loading: LoadingParams, work: Workload = READING) -> "PreTrainedModel":
    """The model of `folder` in eval mode, frozen, on this process's CUDA device or the CPU, with fast layers there.

    `work` is what the device must have room for besides. Raises StageError when the folder holds no causal language
    model, or not exactly the weights of the one that its config.json describes: what is missing would be filled with
    random numbers.
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
        with quiet("transformers"):  # its table of what does not fit: an error says it in one line
            with_findings: Any = AutoModelForCausalLM.from_pretrained(
                folder, output_loading_info=True, ignore_mismatched_sizes=True, **arguments
            )
            model: PreTrainedModel = with_findings[0]
            found: dict[str, Any] = with_findings[1]
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise StageError(f"{folder}: can't be loaded as a causal language model ({_shorten_error(error)})") from None
    mismatched = {name for name, *_ in found["mismatched_keys"]} | _find_misshapen(model, folder)
    if faults := describe_faults(found["missing_keys"], found["unexpected_keys"], mismatched):
        raise StageError(
            f"{folder}: not the weights of the {type(model).__name__} in its config.json: {faults}; get the model again"
        )
    if loading.quantization != "none":
        close_bitsandbytes_trap(model)
        if keeps_cached(model, loading, work, dtype):
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


def keeps_cached(model: "PreTrainedModel", loading: LoadingParams, work: Workload, dtype: "torch.dtype") -> bool:
    """Whether the quantized weights of `model` are dequantized once, for `work`."""
    import torch

    if loading.quantized_weights != "auto":
        return loading.quantized_weights == "cached"
    if not torch.cuda.is_available():
        return model.num_parameters() <= LARGEST_CACHED
    # FSDP shards packed weights; int8 computes with rounded activations, which plain layers don't.
    if under_fsdp() or loading.quantization != "nf4":
        return False
    free = measure_free_memory() + model.get_memory_footprint()
    plan = plan_weights(read_shape(model), work, free, dtype.itemsize)
    if os.environ.get("LOCAL_RANK", "0") == "0":
        print(plan.text, file=sys.stderr, flush=True)
    return plan.cached


def is_packed(model: "PreTrainedModel") -> bool:
    """Whether a linear layer of `model` holds packed 4-bit weights."""
    import bitsandbytes as bnb

    return any(isinstance(module, bnb.nn.Linear4bit) for module in model.modules())


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


def _find_misshapen(model: "PreTrainedModel", folder: Path) -> set[str]:
    """The weights of linear layers whose shape in the files is another: of layers that it quantizes, transformers does
    not look at it."""
    from torch.nn import Linear
    from transformers.pytorch_utils import Conv1D

    shapes = read_shapes(folder)
    linear = {f"{name}.weight": module for name, module in model.named_modules() if isinstance(module, Linear)}
    found = set()
    for name, module in linear.items():
        shape = (module.out_features, module.in_features)
        # The weight of GPT-2's Conv1D, which transformers quantizes into a linear layer, is transposed in the file.
        is_transposed = getattr(module, "source_cls", Linear) is Conv1D
        if name in shapes and shapes[name] != (shape[::-1] if is_transposed else shape):
            found.add(name)
    return found


def describe_faults(missing: Collection[str], unexpected: Collection[str], mismatched: Collection[str]) -> str:
    """What is wrong with the names of a model's weights, in one line; empty: nothing."""
    kinds = {"missing": missing, "not known": unexpected, "of another shape": mismatched}
    return ", ".join(f"{len(names)} {kind} ({min(names)} first)" for kind, names in kinds.items() if names)


def load_adapter(base: "PreTrainedModel", folder: Path) -> "PeftModel":
    """`base` with the LoRA adapter of `folder` on top, in eval mode, nothing merged; with fast layers on a CPU.

    Raises StageError when the folder holds no adapter, or not exactly the weights that its configuration describes.
    """
    from peft import PeftModel, get_peft_model_state_dict
    from safetensors import SafetensorError, safe_open

    from netllama.cpu_layers.fast_lora_layers import use_fast_layers

    # PEFT would look for a missing file on the Hub, in a repository called `models/adapter`.
    _require_files(folder)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Found missing adapter keys")  # that is an error, below
            model: PeftModel = PeftModel.from_pretrained(base, str(folder), local_files_only=True).eval()
        expected = set(get_peft_model_state_dict(model, save_embedding_layers=False))
        with safe_open(folder / ADAPTER_WEIGHTS, "pt") as opened:
            stored = set(opened.keys())
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise StageError(f"{folder}: can't be loaded as a LoRA adapter ({_shorten_error(error)})") from None
    if faults := describe_faults(expected - stored, stored - expected, ()):
        raise StageError(f"{folder / ADAPTER_WEIGHTS}: not the weights of its configuration: {faults}; {MAKE_ADAPTER}")
    use_fast_layers(model)
    return model


def _require_files(folder: Path) -> None:
    for name in ("adapter_config.json", ADAPTER_WEIGHTS):
        if not (folder / name).is_file():
            raise StageError(f"{folder / name}: no such file; {MAKE_ADAPTER}")


def _shorten_error(error: Exception) -> str:
    """The error in one line; where its first line only announces a list, the first entry too."""
    if isinstance(error, KeyError):
        return f"{error} is missing"
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    return " ".join(lines[:2]) if lines[0].endswith(":") else lines[0]
