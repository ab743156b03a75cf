"""What a model does with its last hidden state."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from netllama.models.loading import LanguageModel

# What a head may do besides a matrix product, by the names that transformers' configurations have for it.
_SCALED = ("final_logit_softcapping", "logit_scale", "logits_scaling", "lm_head_multiplier")


def has_plain_head(model: "LanguageModel") -> bool:
    """Whether the model's logits are a matrix product of the last hidden state with a frozen head, and no more."""
    import torch

    head = model.get_output_embeddings()
    scaled = any(getattr(model.config, name, None) not in (None, 1, 1.0) for name in _SCALED)
    return type(head) is torch.nn.Linear and not head.weight.requires_grad and not scaled
