"""Base model and params to what is trained: adapter, fast layers, loss as a module, and the accelerator for it."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from netllama.core.errors import StageError
from netllama.core.sections import LoadingParams, LoraParams, TrainParams
from netllama.cpu_layers.dropout_pool import DropoutPool
from netllama.cpu_layers.fast_lora_layers import use_fast_layers
from netllama.cpu_layers.limits import limit_cpu_use
from netllama.models.device_memory import (
    ModelShape,
    Workload,
    count_fitting_tokens,
    measure_free_memory,
    read_shape,
)
from netllama.models.loading import is_packed, under_fsdp
from netllama.models.model_reference import LocalModel, locate_model
from netllama.models.precision import choose_precision
from netllama.training.adapter import add_adapter
from netllama.training.answer_loss import AnswerLoss
from netllama.training.fused_blocks import use_fused_blocks
from netllama.training.fused_lora import use_fused_layers
from netllama.training.initialisation import Start
from netllama.training.packed_attention import describe_attention, explain_padding, use_packed_attention

if TYPE_CHECKING:
    from accelerate import Accelerator
    from peft import PeftModel
    from transformers import PreTrainedModel

MOST_TOKENS = 8192
"""Of rows laid end to end that go through a GPU together; more would keep it no busier."""


def make_accelerator(precision: str) -> "Accelerator":
    """Device, processes and mixed precision: as `accelerate launch` set them, or one process on its first device."""
    from accelerate import Accelerator

    limit_cpu_use()
    dtype = choose_precision(precision)
    mixed = {torch.bfloat16: "bf16", torch.float16: "fp16", torch.float32: "no"}[dtype]
    return Accelerator(cpu=not torch.cuda.is_available(), mixed_precision=mixed)


def locate_base(base_json: Path, accelerator: "Accelerator") -> LocalModel:
    """The base model for each process; the first process of each machine hashes all weights, the others wait for it.

    Where a file is not the recorded one, the first process ends with an error, and the launcher ends the others.
    """
    with accelerator.local_main_process_first():
        return locate_model(base_json, verify=accelerator.is_local_main_process)


def build_model(
    base: "PreTrainedModel", lora: LoraParams, train: TrainParams, folder: Path
) -> tuple[AnswerLoss, Start]:
    """`base` (from `folder`) with an adapter, ready for a `TrainingRun`; and what the adapter started from."""
    # Before the adapter is a part of it.
    shape = read_shape(base) if torch.cuda.is_available() and _needs_no_padding(base) else None
    model, start = add_adapter(base, lora, train.seed, folder)
    packed_tokens = 0
    if torch.cuda.is_available():
        pools = use_gpu_layers(model, torch.device("cuda", torch.cuda.current_device()))
        if shape:
            packed_tokens = count_packed_tokens(base, shape, lora, train)
            use_packed_attention(base)
    else:
        pools = use_fast_layers(model)
    if train.gradient_checkpointing:
        base.gradient_checkpointing_enable({"use_reentrant": False})
    return AnswerLoss(model, train.neftune_noise_alpha, pools, packed_tokens), start


def _needs_no_padding(base: "PreTrainedModel") -> bool:
    """Whether this process's CUDA device takes rows end to end; how it attends is said once a machine."""
    hindrance = explain_padding(base, torch.cuda.get_device_capability()[0])
    if os.environ.get("LOCAL_RANK", "0") == "0":
        print(describe_attention(hindrance), file=sys.stderr, flush=True)
    return not hindrance


def use_gpu_layers(model: "PeftModel", device: torch.device) -> list[DropoutPool]:
    """Fused layers, but under FSDP, which gathers the weights of a layer only for the layer's own forward pass."""
    if under_fsdp():
        return []
    pools = use_fused_layers(model, device)
    use_fused_blocks(model)
    return pools


def plan_workload(lora: LoraParams, train: TrainParams, lengths: Sequence[int]) -> Workload:
    """What training on rows of these lengths takes of a device: the longest rows may stand in one batch."""
    longest = sorted(lengths, reverse=True)[: train.per_device_train_batch_size]
    state = 2 if train.optim.endswith("8bit") else 8
    return Workload(sum(longest), lora.r, state, train.gradient_checkpointing)


def count_packed_tokens(base: "PreTrainedModel", shape: ModelShape, lora: LoraParams, train: TrainParams) -> int:
    """How many tokens fit on the CUDA device beside `base`, which is there, and its training."""
    work, width = plan_workload(lora, train, [0]), base.dtype.itemsize
    free = measure_free_memory() + torch.cuda.memory_allocated()
    return count_fitting_tokens(shape, work, not is_packed(base), free, width, MOST_TOKENS)


def require_shardable(loading: LoadingParams, lora: LoraParams, train: TrainParams) -> None:
    """StageError with everything that FSDP can't do, where this process runs under it."""
    if not under_fsdp():
        return
    problems = {
        "loading.quantization int8": loading.quantization == "int8",
        "loading.quantized_weights cached": loading.quantized_weights == "cached" and loading.quantization != "none",
        "train.optim paged_*": train.optim.startswith("paged"),
        "train.early_stopping_patience": train.early_stopping_patience > 0,
        "lora.use_dora": lora.use_dora,
        "lora.init_lora_weights pissa, loftq": lora.init_lora_weights.startswith(("pissa", "loftq")),
    }
    if found := [name for name, is_there in problems.items() if is_there]:
        raise StageError(
            f"not supported under FSDP: {'; '.join(found)}. Change them, or launch with profiles/launch/ddp.yaml"
        )


def set_sharding_policy(accelerator: "Accelerator", model: AnswerLoss) -> None:
    """FSDP wraps each trainable layer apart from the frozen ones, whose bytes can't be of one type with theirs."""
    if under_fsdp():
        from peft.utils.other import fsdp_auto_wrap_policy

        accelerator.state.fsdp_plugin.auto_wrap_policy = fsdp_auto_wrap_policy(model.model)
