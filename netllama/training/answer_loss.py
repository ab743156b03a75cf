"""Cross-entropy of the trained tokens without the logits of all others, and without ever holding all logits.

The head of the bundled model is a fifth of its weights; of a 400-token prompt with a 60-token answer 87% of its work is
for positions that nothing is trained on. What is left goes through the frozen head a chunk at a time, and the gradient
of each chunk is made at once from its probabilities (as Liger-Kernel does, arXiv 2410.10989): the memory is that of
one chunk, whatever the vocabulary and the batch.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch

from netllama.core.length_batches import IGNORED
from netllama.cpu_layers.dropout_pool import DropoutPool
from netllama.models.output_head import has_plain_head
from netllama.training.packed_rows import Packing

if TYPE_CHECKING:
    from peft import PeftModel

# 128 x 49,152 logits in fp32 are 25 MB. From 32 MB on each tensor is new memory, which the system clears first
# (cpu_layers/limits.py): the softmax of 256 took 47 ms on one core, of 128 it takes 9.
CHUNK = 128
# On a GPU small products leave most of it idle: as many rows as have this many logits, 512 MB of them.
CHUNK_LOGITS = 2**27


class HeadLoss(torch.autograd.Function):
    """weight * sum_i -log softmax(h_i W^T + bias)[target_i], a scalar in fp32, for h [N, H] and a frozen W [V, H]."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden: torch.Tensor,
        head: torch.Tensor,
        bias: torch.Tensor | None,
        targets: torch.Tensor,
        weight: float,
    ) -> torch.Tensor:
        loss = torch.zeros((), dtype=torch.float32, device=hidden.device)
        gradient = torch.empty_like(hidden) if ctx.needs_input_grad[0] else None
        size = CHUNK if hidden.device.type == "cpu" else max(CHUNK, CHUNK_LOGITS // len(head))
        for start in range(0, len(hidden), size):
            part = slice(start, start + size)
            logits = torch.nn.functional.linear(hidden[part], head, bias).float()
            scores, target = logits.log_softmax(-1), targets[part, None]
            del logits
            loss -= scores.gather(1, target).sum()
            if gradient is not None:
                # Probabilities, less 1 at the target: the slope of the loss over the logits.
                slope = scores.exp_().scatter_add_(1, target, scores.new_full((), -1).expand(target.shape))
                gradient[part] = slope.to(head.dtype) @ head
        ctx.save_for_backward(gradient)
        ctx.weight = weight
        return loss * weight

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None, None, None, None]:
        (gradient,) = ctx.saved_tensors
        # Weighted here: 1 / tokens would push a gradient in fp16 below its smallest number before the scaler's factor.
        return gradient * (gradients[0] * ctx.weight), None, None, None, None


class AnswerLoss(torch.nn.Module):
    """A causal language model with LoRA as a module whose output is the loss: what DDP and FSDP wrap."""

    def __init__(
        self,
        model: "PeftModel",
        neftune_noise_alpha: float = 0.0,
        pools: Sequence[DropoutPool] = (),
        packed_tokens: int = 0,
    ) -> None:
        super().__init__()
        self.model = model
        self.packed_tokens = packed_tokens
        """How many tokens of rows laid end to end may go through together; 0: rows are padded."""
        self.pools = pools
        """Of the dropout masks, to be refreshed each step."""
        self.neftune_noise_alpha = neftune_noise_alpha
        self.all_logits = not has_plain_head(model)
        """Score with the model's own head over every position: for heads that scale or cap their logits."""
        self._row_lengths: torch.Tensor | None = None
        if neftune_noise_alpha:
            model.get_input_embeddings().register_forward_hook(self._with_noise)

    def forward(
        self, input_ids: torch.Tensor, labels: torch.Tensor, weight: float, packing: Packing | None = None
    ) -> torch.Tensor:
        """`weight` times the summed loss (nats) of the labels that are not IGNORED.

        Padded rows: input_ids, labels [B, T]. With `packing`: input_ids [1, N], and the S trained tokens as labels.
        """
        if packing is None:
            return self._compute_padded(input_ids, labels, weight)
        return self._compute_packed(input_ids, labels, weight, packing)

    def _compute_packed(
        self, input_ids: torch.Tensor, targets: torch.Tensor, weight: float, packing: Packing
    ) -> torch.Tensor:
        """No number is read back here: what is chosen is a list of places, of a length that is known."""
        causal: Any = self.model.get_base_model()
        self._row_lengths = packing.bounds.diff() if self.neftune_noise_alpha else None
        inputs: dict[str, Any] = {"input_ids": input_ids, "position_ids": packing.position_ids, "use_cache": False}
        inputs["packing"] = packing
        if self.all_logits:
            logits = self.model(**inputs).logits[0].index_select(0, packing.places).float()
            return torch.nn.functional.cross_entropy(logits, targets, reduction="sum") * weight
        hidden = causal.base_model(**inputs).last_hidden_state[0]
        head = causal.get_output_embeddings()
        chosen = hidden.index_select(0, packing.places).to(head.weight.dtype)
        # Of no rows it is 0, and the gradients of all weights are 0.
        total: torch.Tensor = HeadLoss.apply(chosen, head.weight, head.bias, targets, weight)
        return total

    def _compute_padded(self, input_ids: torch.Tensor, labels: torch.Tensor, weight: float) -> torch.Tensor:
        """`weight` times the summed loss (nats) of the labels that are not IGNORED; input_ids, labels [B, T].

        Rows are padded on the right: under the causal mask no real token sees padding, so none is masked. Where no
        label is trained the loss is 0, and still has a gradient (0) for every adapter weight.
        """
        following = labels[:, 1:]
        kept = following != IGNORED
        causal: Any = self.model.get_base_model()
        if self.all_logits:
            logits = self.model(input_ids=input_ids, use_cache=False).logits[:, :-1].float()
            loss = torch.nn.functional.cross_entropy(
                logits.flatten(0, 1), following.flatten(), reduction="sum", ignore_index=IGNORED
            )
            return loss * weight
        hidden = causal.base_model(input_ids=input_ids, use_cache=False).last_hidden_state[:, :-1]
        if not bool(kept.any()):
            zero: torch.Tensor = hidden.sum().float() * 0
            return zero
        head = causal.get_output_embeddings()
        chosen = hidden[kept].to(head.weight.dtype)
        total: torch.Tensor = HeadLoss.apply(chosen, head.weight, head.bias, following[kept], weight)
        return total

    def _with_noise(self, module: torch.nn.Module, inputs: object, embedded: torch.Tensor) -> torch.Tensor:
        """NEFTune (arXiv 2310.05914): uniform noise of alpha / sqrt(T H) on the embeddings [B, T, H], in training.

        T is the length of padded rows together, or each packed row's own.
        """
        if not self.training:
            return embedded
        if self._row_lengths is not None:
            rows = self._row_lengths
            lengths = rows.repeat_interleave(rows, output_size=embedded.shape[1])
            magnitudes = (self.neftune_noise_alpha / (lengths * embedded.shape[2]) ** 0.5).to(embedded.dtype)
            return embedded + torch.empty_like(embedded).uniform_(-1, 1) * magnitudes[None, :, None]
        magnitude = self.neftune_noise_alpha / (embedded.shape[1] * embedded.shape[2]) ** 0.5
        return embedded + torch.empty_like(embedded).uniform_(-magnitude, magnitude)
