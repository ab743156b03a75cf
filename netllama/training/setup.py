"""Base model and params to what is trained: adapter, fast layers, loss as a module, and the accelerator for it."""

from pathlib import Path
from typing import TYPE_CHECKING

import torch

from netllama.core.errors import StageError
from netllama.core.sections import LoadingParams, LoraParams, TrainParams
from netllama.cpu_layers.fast_lora_layers import use_fast_layers
from netllama.cpu_layers.limits import limit_cpu_use
from netllama.models.loading import under_fsdp
from netllama.models.model_reference import LocalModel, locate_model
from netllama.models.precision import choose_precision
from netllama.training.adapter import add_adapter
from netllama.training.answer_loss import AnswerLoss
from netllama.training.initialisation import Start

if TYPE_CHECKING:
    from accelerate import Accelerator
    from transformers import PreTrainedModel


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
    model, start = add_adapter(base, lora, train.seed, folder)
    pools = [] if torch.cuda.is_available() else use_fast_layers(model)
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
