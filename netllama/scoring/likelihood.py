"""Log-likelihood of the last tokens of each row: what held-out loss and multiple choice are made of."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tqdm import tqdm

from netllama.core.length_batches import IGNORED, batch_by_length, collate_rows

if TYPE_CHECKING:
    from netllama.models.loading import LanguageModel


def compute_log_likelihoods(
    model: "LanguageModel", rows: Sequence[tuple[Sequence[int], int]], batch_size: int, desc: str
) -> list[float]:
    """For each (input_ids [T], start): the sum of log p(token t | tokens before it) over t >= start, in nats.

    `start` is at least 1: the first token has nothing before it. The head runs on the scored positions
    only, in fp32.
    """
    import torch

    scores = [0.0] * len(rows)
    with torch.inference_mode(), tqdm(total=len(rows), desc=desc, unit="row") as bar:
        for batch in batch_by_length([len(ids) for ids, _ in rows], batch_size):
            input_ids, labels = collate_rows([rows[position] for position in batch])
            # What follows each position; the last one is followed by nothing.
            following = torch.nn.functional.pad(labels[:, 1:], (0, 1), value=IGNORED).to(model.device)
            scored = following != IGNORED
            logits = model(input_ids=input_ids.to(model.device), logits_to_keep=scored, use_cache=False).logits
            token_scores = -torch.nn.functional.cross_entropy(
                logits.reshape(-1, logits.shape[-1]).float(), following[scored], reduction="none"
            )
            owners = scored.nonzero()[:, 0]
            sums = torch.zeros(len(batch), dtype=torch.float64, device=token_scores.device)
            sums.index_add_(0, owners, token_scores.double())
            for position, score in zip(batch, sums.tolist(), strict=True):
                scores[position] = score
            bar.update(len(batch))
    return scores
