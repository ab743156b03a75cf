"""An adapter that changes no logit is an error: all that is said of it would be said of its base model.

It happens where it was trained for no step (LoRA's B begins as zeros), and where its names are not those of the model:
PEFT then warns, and goes on with fresh layers.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from netllama.core.errors import StageError

if TYPE_CHECKING:
    import torch
    from peft import PeftModel


def require_effect(model: "PeftModel", prompts: Sequence[Sequence[int]], adapter: Path) -> None:
    """StageError where the adapter of the folder `adapter`, loaded into `model`, changes no logit after any token of
    `prompts` (token ids; one short prompt is enough)."""
    if not any(changes_logits(model, prompt) for prompt in prompts):
        raise StageError(
            f"{adapter}: changes no logit of the base model: it was trained for 0 steps, or the names of its layers "
            "are not those of this model; run `dvc repro train`"
        )


def changes_logits(model: "PeftModel", prompt: Sequence[int]) -> bool:
    """Whether any logit of the prompt, a list of token ids, is another one than with the adapter scaled to nothing.

    Scaled, not switched off: both passes then run the same operations in the same order, and an adapter of zeros gives
    the same bits, whatever the precision.
    """
    import torch
    from peft.helpers import rescale_adapter_scale

    with torch.inference_mode():
        tuned = _compute_logits(model, prompt)
        with rescale_adapter_scale(model, 0):
            return not torch.equal(tuned, _compute_logits(model, prompt))


def _compute_logits(model: "PeftModel", prompt: Sequence[int]) -> "torch.Tensor":
    import torch

    logits: torch.Tensor = model(input_ids=torch.tensor([prompt], device=model.device), use_cache=False).logits
    return logits
