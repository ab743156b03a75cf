"""A tiny model whose answers differ: a random one finds nearly all tokens equally likely."""

from pathlib import Path
from typing import Any

import torch


def load_decisive_model(folder: Path) -> Any:
    """The tiny model in fp32, with a head so large that its predictions differ from token to token."""
    from transformers import AutoModelForCausalLM

    loaded = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    with torch.no_grad():
        loaded.lm_head.weight.mul_(20)
    return loaded
