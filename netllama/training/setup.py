"""Base model and params to what is trained: adapter, fast layers, loss as a module, and the accelerator for it."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from netllama.core.cores import count_cores
from netllama.core.errors import StageError
from netllama.core.sections import LoadingParams, LoraParams, TrainParams
from netllama.models.loading import choose_precision, under_fsdp
from netllama.models.model_reference import LocalModel, locate_model
from netllama.training.adapter import add_adapter
from netllama.training.answer_loss import AnswerLoss
from netllama.training.blocked_attention import use_blocked_attention
from netllama.training.fast_lora_layers import DropoutPool, use_fast_blocks, use_fast_layers
from netllama.training.initialisation import Start

if TYPE_CHECKING:
    from accelerate import Accelerator
    from transformers import PreTrainedModel


def make_accelerator(precision: str) -> "Accelerator":
    """Device, processes and mixed precision: as `accelerate launch` set them, or one process on its first device."""
    from accelerate import Accelerator

    limit_kernel_cache()
    limit_threads()
    dtype = choose_precision(precision)
    mixed = {torch.bfloat16: "bf16", torch.float16: "fp16", torch.float32: "no"}[dtype]
    return Accelerator(cpu=not torch.cuda.is_available(), mixed_precision=mixed)


def limit_kernel_cache() -> None:
    """Let oneDNN keep the kernels of the last pieces only; before the process's first matrix product.

    It makes one for each shape, of up to 0.5 MB, and keeps 1,024: a step of other lengths than those before adds 36 MB,
    scattered over the heap, so that 32 steps of r=64 peaked at 3.4 GB instead of 2.3. Making them again takes no
    time to speak of.
    """
    for variable in ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY"):
        os.environ.setdefault(variable, "64")


def limit_threads() -> None:
    """No more threads than this process may use cores: torch does not see a container's quota, and threads that share
    a core wait for each other."""
    torch.set_num_threads(min(torch.get_num_threads(), count_cores()))


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
    model, start = add_adapter(base, lora, train.seed, folder)
    pools: list[DropoutPool] = []
    if not torch.cuda.is_available():
        pools = use_fast_layers(model)
        use_fast_blocks(model)
        use_blocked_attention(base)
    if train.gradient_checkpointing:
        base.gradient_checkpointing_enable({"use_reentrant": False})
    return AnswerLoss(model, train.neftune_noise_alpha, pools), start


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
