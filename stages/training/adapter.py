"""The LoRA adapter: put on a base model, and saved as the same bytes for the same weights."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.core.errors import StageError
from stages.core.files import atomic_path, write_json

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel


def add_adapter(base: "PreTrainedModel", lora: Any, seed: int) -> "PeftModel":
    """`base` with fresh LoRA layers, in fp32 (what a gradient scaler needs); seeded before they are drawn."""
    from peft import LoraConfig, get_peft_model
    from torch.nn import Linear
    from transformers import set_seed

    # PEFT only refuses a list of which nothing matches: one mistyped name would silently go untrained.
    if isinstance(lora.target_modules, list):
        names = [name for name, _ in base.named_modules()]
        unknown = [
            target for target in lora.target_modules if not any(f".{name}".endswith(f".{target}") for name in names)
        ]
        if unknown:
            linear = {name.split(".")[-1] for name, module in base.named_modules() if isinstance(module, Linear)}
            raise StageError(
                f"lora.target_modules: no module is called {', '.join(unknown)}; this model has "
                f"{', '.join(sorted(linear))} (or all-linear)"
            )
    set_seed(seed)
    return get_peft_model(base, LoraConfig(**lora.model_dump()), autocast_adapter_dtype=True)


def save_adapter(model: "PeftModel", folder: Path, base: dict[str, Any]) -> None:
    """adapter_model.safetensors and a canonical adapter_config.json: sorted, with the base's id and revision.

    PEFT writes sets in hash order and the local path of the base; neither belongs into a hashed file.
    """
    with atomic_path(folder) as temporary:
        model.save_pretrained(str(temporary), save_embedding_layers=False)
        for name in ("README.md", "adapter_config.json"):
            (temporary / name).rename(temporary / f".{name}")
        config = json.loads((temporary / ".adapter_config.json").read_text(encoding="utf-8"))
        config |= {"base_model_name_or_path": base["id"], "revision": base["revision"] or None}
        for key, value in config.items():
            if isinstance(value, list) and all(isinstance(item, str) for item in value):
                config[key] = sorted(value)
        write_json(temporary / "adapter_config.json", config)
        for name in ("README.md", "adapter_config.json"):
            (temporary / f".{name}").unlink()
