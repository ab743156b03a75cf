"""The training loop: batches of the plan through the model, one update a step, validation, checkpoints.

Everything that is random in a step is drawn after seeding with (seed, step, process), so that a run that goes on at a
checkpoint does what an undisturbed one does.
"""

import hashlib
import itertools
import math
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import torch

from netllama.core.batching import by_length
from netllama.core.errors import StageError
from netllama.core.sections import TrainParams
from netllama.training.answer_loss import IGNORED, AnswerLoss
from netllama.training.batch_plan import Batch, Plan, pieces
from netllama.training.checkpoints import Checkpoints
from netllama.training.progress import Progress
from netllama.training.schedule import build_optimizer, keep_paged, learning_rate
from netllama.training.setup import shard_as_peft
from netllama.training.watchdog import Watchdog

Row = dict[str, Any]
Curve = list[dict[str, float]]
# What a checkpoint keeps of a run besides its weights.
KEPT = ("step", "best", "unlogged", "loss", "val_loss", "learning_rate", "grad_norm")


def collate(rows: Sequence[Row]) -> tuple[torch.Tensor, torch.Tensor]:
    """Right-padded input_ids and labels, both [B, T]; labels are IGNORED before a row's answer and in the padding.

    Padding is masked by position, never by token id: the padding token may be the end-of-sequence
    token, and that one must be trained. No rows: one position on which nothing is trained.
    """
    width = max((row["length"] for row in rows), default=2)
    input_ids = torch.zeros((max(1, len(rows)), width), dtype=torch.long)
    labels = torch.full_like(input_ids, IGNORED)
    for line, row in enumerate(rows):
        ids, start = torch.tensor(row["input_ids"]), row["loss_start"]
        input_ids[line, : len(ids)] = ids
        labels[line, start : len(ids)] = ids[start:]
    return input_ids, labels


def trained_tokens(row: Row) -> int:
    """The first token of a row has nothing before it that could predict it."""
    return int(row["length"]) - max(1, int(row["loss_start"]))


class Run:
    """One training run: `fit` takes it from where it is (step 0, or a checkpoint) to its last step."""

    def __init__(
        self, model: AnswerLoss, rows: Sequence[Row], validation: Sequence[Row], train: TrainParams, accelerator: Any
    ) -> None:
        self.rows, self.validation, self.train, self.accelerator = rows, validation, train, accelerator
        if empty := [row["id"] for row in (*rows, *validation) if trained_tokens(row) < 1]:
            raise StageError(f"train: no token of {', '.join(empty[:5])} is trained; drop what has no answer")
        if train.early_stopping_patience and not validation:
            raise StageError("train.early_stopping_patience: no validation rows; set split.val_size, or it to 0")
        self.processes = int(accelerator.num_processes)
        self.plan = Plan(
            lengths=[row["length"] for row in rows],
            seed=train.seed,
            rows=train.per_device_train_batch_size,
            accumulation=train.gradient_accumulation_steps,
            processes=self.processes,
            group_by_length=train.group_by_length,
        )
        self.inner = model
        shard_as_peft(accelerator, model)
        self.model = accelerator.prepare(model)
        self.weights = [(name, weight) for name, weight in self.model.named_parameters() if weight.requires_grad]
        self.optimizer = accelerator.prepare(build_optimizer(self.weights, train))
        self.ratios = [group["ratio"] for group in self.optimizer.param_groups]
        self.watchdog = Watchdog([row["id"] for row in rows], self._loss_of_row, self._is_finite)
        self.step = 0
        self.loss: Curve = []
        self.val_loss: Curve = []
        self.learning_rate: Curve = []
        self.grad_norm: Curve = []
        self.best: dict[str, torch.Tensor] = {}
        self.unlogged: list[float] = []
        self.progress: Progress | None = None

    # --- state

    def adapter(self) -> dict[str, torch.Tensor]:
        """The trained weights by name, on the CPU."""
        return {name: weight.detach().cpu().clone() for name, weight in self.weights}

    def load_adapter(self, state: dict[str, torch.Tensor]) -> None:
        with torch.no_grad():
            for name, weight in self.weights:
                weight.copy_(state[name])

    def state(self) -> dict[str, Any]:
        scaler = self.accelerator.scaler.state_dict() if self.accelerator.scaler else {}
        return {
            "adapter": self.adapter(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": scaler,
            **{name: getattr(self, name) for name in KEPT},
        }

    def restore(self, state: dict[str, Any]) -> None:
        self.load_adapter(state["adapter"])
        self.optimizer.load_state_dict(state["optimizer"])
        keep_paged(getattr(self.optimizer, "optimizer", self.optimizer))
        if self.accelerator.scaler:
            self.accelerator.scaler.load_state_dict(state["scaler"])
        for name in KEPT:
            setattr(self, name, state[name])

    @property
    def epochs(self) -> float:
        """How often the rows were seen up to now."""
        seen = sum(len(batch) for step in itertools.islice(self.plan.steps(), self.step) for batch in step)
        return seen / len(self.rows)

    def speed(self) -> dict[str, Any]:
        assert self.progress
        return self.progress.report()

    def gathered(self) -> dict[str, torch.Tensor] | None:
        """The adapter's weights of all processes, where they are sharded (every process must call this)."""
        if self.accelerator.distributed_type.value != "FSDP":
            return None
        state = self.accelerator.get_state_dict(self.model)
        # PEFT itself finds nothing there: it looks for the names that FSDP's wrapping gives the modules.
        return {
            name.removeprefix("model.").replace(".default.", "."): tensor
            for name, tensor in state.items()
            if ".lora_" in name
        }

    # --- the loop

    def fit(self, checkpoints: Checkpoints | None = None) -> None:
        """To the last step, or until early stopping; raises StageError where the watchdog barks."""
        train, accelerator = self.train, self.accelerator
        self.progress = Progress(train.max_steps, self.step, accelerator.is_main_process)
        try:
            if not self.val_loss:
                self._validate()
            steps = self.plan.steps()
            for _ in range(self.step):
                next(steps)
            self.model.train()
            while self.step < train.max_steps and not self._stopped_early():
                self.step += 1
                self._update(next(steps))
                last = self.step == train.max_steps
                if self.step % train.eval_steps == 0 or last:
                    self._validate()
                if checkpoints and accelerator.is_main_process and self.step % train.save_steps == 0 and not last:
                    checkpoints.save(self.state())
        finally:
            self.progress.close()
        if self.best:
            self.load_adapter(self.best)
            self._log_rest()

    def _update(self, batches: list[Batch]) -> None:
        """One step: the gradients of all batches, clipped, then the optimizer.

        The loss is a sum over all trained tokens of the step, on all processes, divided by their number: the mean of
        the batches' means would weigh a token of a short answer more (transformers#34191).
        """
        accelerator, progress = self.accelerator, self.progress
        assert progress
        progress.start_step()
        rows = [row for batch in batches for row in batch]
        tokens = sum(trained_tokens(self.rows[row]) for row in rows)
        rate = learning_rate(self.step, self.train)
        self._seed()
        # Every process runs as many batches; one that has none left runs an empty one, which changes nothing.
        own = [batches[at] if at < len(batches) else [] for at in self._turns(len(batches))]
        own, batches = self._cut(own, self.plan.lengths), self._cut(batches, self.plan.lengths)
        total = torch.zeros((), device=accelerator.device)
        for turn, batch in enumerate(own):
            input_ids, labels = self._on_device([self.rows[row] for row in batch])
            with accelerator.no_sync(self.model) if turn < len(own) - 1 else nullcontext():
                # DDP and FSDP take the mean of the processes' gradients: times their number it is the sum.
                loss = self.model(input_ids, labels, self.processes / tokens)
                accelerator.backward(loss)
            total += loss.detach() / self.processes
        value = float(accelerator.reduce(total, reduction="sum"))
        self.watchdog.check_loss(self.step, value, rows)
        # All parameters, the frozen ones too: accelerate asks FSDP for the norm over all shards only then.
        norm = float(accelerator.clip_grad_norm_(list(self.model.parameters()), self.train.max_grad_norm))
        self.watchdog.check_gradients(self.step, norm, self.weights, rows, scaled=accelerator.scaler is not None)
        for group, ratio in zip(self.optimizer.param_groups, self.ratios, strict=True):
            group["lr"] = rate * ratio
        self.optimizer.step()
        self.optimizer.zero_grad()
        self._log(value, rate, norm)
        progress.end_step(value, batches, self.rows)

    def _log_rest(self) -> None:
        """Where early stopping ended the run between two logs."""
        if self.unlogged:
            self.loss.append({"step": self.step, "loss": round(sum(self.unlogged) / len(self.unlogged), 6)})
            self.unlogged = []

    def _log(self, loss: float, rate: float, norm: float) -> None:
        """Every `logging_steps` steps, and at the first and the last one: the loss is the mean since the last time."""
        self.unlogged.append(loss)
        if self.step in (1, self.train.max_steps) or self.step % self.train.logging_steps == 0:
            self.loss.append({"step": self.step, "loss": round(sum(self.unlogged) / len(self.unlogged), 6)})
            self.learning_rate.append({"step": self.step, "learning_rate": float(f"{rate:.6g}")})
            # A step that the gradient scaler skips has none.
            if math.isfinite(norm):
                self.grad_norm.append({"step": self.step, "grad_norm": round(norm, 6)})
            self.unlogged = []

    def _validate(self) -> None:
        """Token-weighted loss of the validation rows' answers (or of what is trained of them), without dropout."""
        if not self.validation:
            return
        loss = self._loss_of(self.validation)
        if not math.isfinite(loss):
            raise StageError(
                f"train: val_loss is {loss} at step {self.step}; lower train.learning_rate, "
                "or set loading.precision to fp32"
            )
        if self.train.early_stopping_patience and loss < min(
            (entry["loss"] for entry in self.val_loss), default=float("inf")
        ):
            self.best = self.adapter()
        self.val_loss.append({"step": self.step, "loss": round(loss, 6)})
        if self.progress:
            self.progress.validated(loss)

    def _stopped_early(self) -> bool:
        patience, losses = self.train.early_stopping_patience, [entry["loss"] for entry in self.val_loss]
        return bool(patience and losses) and len(losses) - 1 - losses.index(min(losses)) >= patience

    @torch.no_grad()
    def _loss_of(self, rows: Sequence[Row]) -> float:
        was_training = self.model.training
        self.model.eval()
        lengths = [row["length"] for row in rows]
        batches = list(by_length(lengths, self.train.per_device_eval_batch_size))
        own = [batches[at] if at < len(batches) else [] for at in self._turns(len(batches))]
        total = torch.zeros((), dtype=torch.float64, device=self.accelerator.device)
        for batch in self._cut(own, lengths):
            total += self.model(*self._on_device([rows[position] for position in batch]), 1.0)
        self.model.train(was_training)
        return float(self.accelerator.reduce(total, reduction="sum")) / sum(map(trained_tokens, rows))

    def _loss_of_row(self, row: int) -> float:
        return self._loss_of([self.rows[row]])

    def _is_finite(self) -> bool:
        return all(bool(weight.isfinite().all()) for _, weight in self.weights)

    def _turns(self, batches: int) -> range:
        """Which of a step's batches are this process's: every `processes`-th, as many on each."""
        return range(self.accelerator.process_index, -(-batches // self.processes) * self.processes, self.processes)

    def _cut(self, batches: list[Batch], lengths: Sequence[int]) -> list[Batch]:
        """On a CPU, in pieces; an empty batch stays one."""
        if self.accelerator.device.type != "cpu":
            return batches
        return [piece for batch in batches for piece in (pieces(batch, lengths) or [[]])]

    def _on_device(self, rows: Sequence[Row]) -> tuple[torch.Tensor, torch.Tensor]:
        input_ids, labels = collate(rows)
        return input_ids.to(self.accelerator.device), labels.to(self.accelerator.device)

    def _seed(self) -> None:
        key = f"{self.train.seed}/{self.step}/{self.accelerator.process_index}"
        torch.manual_seed(int.from_bytes(hashlib.sha256(key.encode()).digest()[:8]))
        for pool in self.inner.pools:
            pool.refresh()
