"""Log-likelihood of the last tokens of each row: what held-out loss and multiple choice are made of."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tqdm import tqdm

from netllama.core.batching import by_length

if TYPE_CHECKING:
    from netllama.models.loading import Model


def log_likelihoods(
    model: "Model", rows: Sequence[tuple[Sequence[int], int]], batch_size: int, desc: str, leave: bool = True
) -> list[float]:
    """For each (input_ids [T], start): the sum of log p(token t | tokens before it) over t >= start, in nats.

    `start` is at least 1: the first token has nothing before it. The head runs on the scored positions
    only, in fp32.
    """
    import torch

    scores = [0.0] * len(rows)
    lengths = [len(ids) for ids, _ in rows]
    with torch.inference_mode(), tqdm(total=len(rows), desc=desc, unit="row", leave=leave) as bar:
        for batch in by_length(lengths, batch_size):
            width = max(lengths[position] for position in batch)
            # Right padding: under the causal mask no real token sees it, so no attention mask is needed.
            input_ids = torch.zeros((len(batch), width), dtype=torch.long)
            scored = torch.zeros((len(batch), width), dtype=torch.bool)
            for line, position in enumerate(batch):
                ids, start = rows[position]
                input_ids[line, : len(ids)] = torch.tensor(ids)
                scored[line, start - 1 : len(ids) - 1] = True
            input_ids, scored = input_ids.to(model.device), scored.to(model.device)
            logits = model(input_ids=input_ids, logits_to_keep=scored, use_cache=False).logits
            targets = input_ids.roll(-1, dims=1)[scored]
            token_scores = -torch.nn.functional.cross_entropy(
                logits.reshape(-1, logits.shape[-1]).float(), targets, reduction="none"
            )
            owners = scored.nonzero()[:, 0]
            sums = torch.zeros(len(batch), dtype=torch.float64, device=token_scores.device)
            sums.index_add_(0, owners, token_scores.double())
            for line, position in enumerate(batch):
                scores[position] = float(sums[line])
            bar.update(len(batch))
    return scores
