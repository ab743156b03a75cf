"""The log-likelihood of one text by the plainest way there is, to compare faster ones with."""

from typing import Any

import torch


def score_alone(model: Any, ids: list[int], start: int) -> float:
    """log p(ids[start:] | ids[:start]) by a softmax over the full logits of one row."""
    with torch.inference_mode():
        logits = model(input_ids=torch.tensor([ids])).logits[0].double()
    return sum(float(logits[t - 1].softmax(-1)[ids[t]].log()) for t in range(start, len(ids)))
