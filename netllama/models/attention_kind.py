"""What a decoder's tokens attend to, as its configuration has it."""

from typing import Any


def sees_all_before(config: Any) -> bool:
    """Whether each token attends to all tokens before it, at distances that its position ids alone give.

    Rotary embeddings take positions from the position ids. Other models are recurrent, have a sliding window, or biases
    by distance.
    """
    config = config.get_text_config(decoder=True)
    rotary = getattr(config, "rope_parameters", None) is not None
    windowed = getattr(config, "sliding_window", None) is not None or any(
        kind != "full_attention" for kind in getattr(config, "layer_types", None) or ()
    )
    return rotary and not windowed
