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
    from transformers import set_seed

    set_seed(seed)
    config = LoraConfig(**lora.model_dump())
    try:
        return get_peft_model(base, config, autocast_adapter_dtype=True)
    except ValueError as error:
        linear = sorted({name.rsplit(".")[-1] for name, _ in base.named_modules() if name.endswith("_proj")})
        raise StageError(f"lora.target_modules: {str(error).splitlines()[0]} (this model has {linear})") from None


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
