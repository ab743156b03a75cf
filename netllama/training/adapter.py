"""The LoRA adapter: put on a base model, and saved as the same bytes for the same weights."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from netllama.core.errors import StageError
from netllama.core.files import atomic_path, hash_file, write_json
from netllama.core.sections import LoraParams
from netllama.models.training_record import FILE, HASHED, TrainingRecord
from netllama.training.initialisation import Start, Weights, require_start, set_to_quantization_error

if TYPE_CHECKING:
    from peft import PeftModel
    from torch.nn import Linear
    from transformers import PreTrainedModel
    from transformers.pytorch_utils import Conv1D


def add_adapter(base: "PreTrainedModel", lora: LoraParams, seed: int, weights: Path) -> tuple["PeftModel", Start]:
    """`base` with fresh LoRA layers, in fp32 (what a gradient scaler needs); seeded before they are drawn.

    `weights` is the base's folder, whose unquantized weights LoftQ reads. The second is what PiSSA started from: it
    is taken off again when the adapter is saved.
    """
    from peft import LoraConfig, get_peft_model
    from transformers import set_seed
    from transformers.pytorch_utils import Conv1D

    known = list_linear_layers(base)
    if lora.target_modules == "all-linear":
        _refuse_fused_layers(base, known)
    # PEFT only refuses a list of which nothing matches: one mistyped name would silently go untrained.
    targets = lora.target_modules if lora.target_modules == "all-linear" else list(lora.target_modules)
    if isinstance(targets, list):
        unknown = [target for target in targets if not any(_ends_in(name, target) for name in known)]
        if unknown:
            raise StageError(
                f"lora.target_modules: no module is called {', '.join(unknown)}; this model has "
                f"{_list_names(known)} (or all-linear)"
            )
    wanted = [layer for name, layer in known.items() if _is_target(name, targets)]
    require_start(wanted, lora)
    start: Any = True if lora.init_lora_weights in ("default", "loftq") else lora.init_lora_weights
    set_seed(seed)
    config = LoraConfig(
        r=lora.r,
        lora_alpha=lora.lora_alpha,
        lora_dropout=lora.lora_dropout,
        bias="none",
        task_type="CAUSAL_LM",
        target_modules=targets,
        use_rslora=lora.use_rslora,
        use_dora=lora.use_dora,
        init_lora_weights=start,
        fan_in_fan_out=all(isinstance(layer, Conv1D) for layer in wanted),
    )
    try:
        model = get_peft_model(base, config, autocast_adapter_dtype=True)
    except ValueError as error:
        raise StageError(f"lora.target_modules: PEFT can't put LoRA on them ({str(error).splitlines()[0]})") from None
    _require_all_targets(model, targets, known)
    if lora.init_lora_weights == "loftq":
        set_to_quantization_error(model, weights)
    return model, Start.record(model) if lora.init_lora_weights.startswith("pissa") else Start()


def list_linear_layers(base: "PreTrainedModel") -> "dict[str, Linear | Conv1D]":
    """All linear layers but the output head, by name: what `all-linear` means (QLoRA, section 4).

    GPT-2's are called Conv1D: linear layers with a transposed weight.
    """
    from torch.nn import Linear
    from transformers.pytorch_utils import Conv1D

    head, kinds = base.get_output_embeddings(), (Linear, Conv1D)
    return {name: module for name, module in base.named_modules() if isinstance(module, kinds) and module is not head}


def _refuse_fused_layers(base: "PreTrainedModel", known: Iterable[str]) -> None:
    """StageError where the weights of several layers are one parameter, as those of a mixture's experts are: most of
    such a model would go untrained, silently."""
    for name, module in base.named_modules():
        stacked = [weight for weight in module.parameters(recurse=False) if weight.dim() == 3 and weight.shape[0] > 1]
        kind = type(module).__name__
        if stacked and "Conv" not in kind:
            raise StageError(
                f"lora.target_modules: all-linear is not possible: {name} ({kind}) holds several layers in one weight; "
                f"name the modules to train, of {_list_names(known)}"
            )


def _list_names(known: Iterable[str]) -> str:
    return ", ".join(sorted({name.split(".")[-1] for name in known}))


def _require_all_targets(model: "PeftModel", targets: str | list[str], known: Iterable[str]) -> None:
    """Each wanted layer has its adapter, in fp32, and nothing else is trained: PEFT reads some names in its own way."""
    import torch

    wanted = {name for name in known if _is_target(name, targets)}
    trained = {
        name.split(".lora_")[0].removeprefix("base_model.model.")
        for name, weight in model.named_parameters()
        if weight.requires_grad and ".lora_" in name
    }
    if trained != wanted:
        odd = sorted(wanted ^ trained)
        kinds = {type(module).__name__ for name, module in model.named_modules() if name.endswith(tuple(odd))}
        raise StageError(
            f"lora.target_modules: PEFT puts LoRA on {len(trained)} layers, {len(wanted)} are meant; they differ in "
            f"{', '.join(odd[:3])} ({', '.join(sorted(kinds))}); name other modules, of {_list_names(known)}"
        )
    half = [name for name, weight in model.named_parameters() if ".lora_" in name and weight.dtype != torch.float32]
    if half:
        raise AssertionError(f"adapter weights in half precision: {half[:5]}")


def _is_target(name: str, targets: str | list[str]) -> bool:
    return isinstance(targets, str) or any(_ends_in(name, target) for target in targets)


def _ends_in(name: str, target: str) -> bool:
    return f".{name}".endswith(f".{target}")


def save_adapter(
    model: "PeftModel", folder: Path, made_by: TrainingRecord, start: Start, weights: Weights | None = None
) -> None:
    """adapter_model.safetensors, a canonical adapter_config.json, and `made_by` as training.json beside them.

    PEFT writes sets in hash order and the local path of the base; neither belongs into a hashed file. `weights` are
    the adapter's, in PEFT's names, where they are sharded over processes.
    """
    from peft import get_peft_model_state_dict
    from safetensors.torch import save_file

    tensors = get_peft_model_state_dict(model, save_embedding_layers=False) if weights is None else weights
    config = model.peft_config["default"].to_dict()
    tensors, config = start.convert_to_plain(tensors, config)
    base = made_by.base
    config |= {"base_model_name_or_path": base.id, "revision": base.revision or None, "inference_mode": True}
    for key, value in config.items():
        if isinstance(value, list | set | tuple) and all(isinstance(item, str) for item in value):
            config[key] = sorted(value)
    with atomic_path(folder) as temporary:
        temporary.mkdir()
        save_file(_make_contiguous(tensors), temporary / "adapter_model.safetensors", metadata={"format": "pt"})
        write_json(temporary / "adapter_config.json", json.loads(json.dumps(config, default=str)))
        files = {name: hash_file(temporary / name) for name in HASHED}
        write_json(temporary / FILE, made_by.model_dump() | {"files": files})


def _make_contiguous(tensors: Weights) -> Weights:
    return {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
