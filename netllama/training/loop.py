"""The training loop: batches of the plan through the model, one update a step, validation, checkpoints.

Everything that is random in a step is drawn after seeding with (seed, step, process), so that a run that goes on at a
checkpoint does what an undisturbed one does.
"""

import hashlib
import itertools
import math
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING

import torch

from netllama.core.errors import StageError
from netllama.core.length_batches import batch_by_length
from netllama.core.sections import TrainParams
from netllama.core.tokenized_rows import READING, TokenizedRow
from netllama.training.answer_loss import AnswerLoss
from netllama.training.batch_plan import Batch, BatchPlan, choose_piece
from netllama.training.checkpoints import Checkpoint, Checkpoints, TrainingState
from netllama.training.progress import Progress
from netllama.training.schedule import build_optimizer, compute_learning_rate, keep_paged
from netllama.training.setup import set_sharding_policy
from netllama.training.step_batches import PreparedStep, StepBatches
from netllama.training.watchdog import Watchdog, flag_gradients

if TYPE_CHECKING:
    from accelerate import Accelerator


class TrainingRun:
    """`fit` takes the adapter from where it is (step 0, or a checkpoint) to its last step."""

    def __init__(
        self,
        model: AnswerLoss,
        rows: Sequence[TokenizedRow],
        validation: Sequence[TokenizedRow],
        train: TrainParams,
        accelerator: "Accelerator",
    ) -> None:
        self.rows, self.validation, self.train, self.accelerator = rows, validation, train, accelerator
        if empty := [row.id for row in (*rows, *validation) if row.trained_tokens < 1]:
            raise StageError(f"train: rows {', '.join(empty[:5])} have no answer tokens to train on; remove them")
        if train.early_stopping_patience and not validation:
            raise StageError(
                "train.early_stopping_patience: needs validation rows: raise split.val_size, or set it to 0"
            )
        self.processes = accelerator.num_processes
        self.plan = BatchPlan(
            lengths=[row.length for row in rows],
            seed=train.seed,
            rows=train.per_device_train_batch_size,
            accumulation=train.gradient_accumulation_steps,
            processes=self.processes,
            group_by_length=train.group_by_length,
            kinds=["documents" if row.source == READING else "" for row in rows],
        )
        self.batches = StepBatches(
            accelerator.device,
            accelerator.process_index,
            self.processes,
            model.packed_tokens,
            choose_piece(next(model.model.parameters()).dtype.itemsize),
        )
        self.inner = model
        set_sharding_policy(accelerator, model)
        self.model: torch.nn.Module = accelerator.prepare(model)
        self.weights = [(name, weight) for name, weight in self.model.named_parameters() if weight.requires_grad]
        self.optimizer: torch.optim.Optimizer = accelerator.prepare(build_optimizer(self.weights, train))
        self.watched = [(name, weight) for name, weight in self.weights if "lora_B" in name]
        self.ratios = [group["ratio"] for group in self.optimizer.param_groups]
        self.watchdog = Watchdog([row.id for row in rows], self._loss_of_row, self._is_finite)
        self.progress = Progress(train.max_steps, 0, visible=False)
        self.state = TrainingState()
        self._prepared: Iterator[PreparedStep] = iter(())
        self._next: PreparedStep | None = None

    # --- state

    def copy_adapter(self) -> dict[str, torch.Tensor]:
        """The trained weights by name, on the CPU."""
        return {name: weight.detach().cpu().clone() for name, weight in self.weights}

    def load_adapter(self, adapter: dict[str, torch.Tensor]) -> None:
        with torch.no_grad():
            for name, weight in self.weights:
                weight.copy_(adapter[name])

    def make_checkpoint(self) -> Checkpoint:
        scaler = self.accelerator.scaler.state_dict() if self.accelerator.scaler else {}
        return Checkpoint(self.copy_adapter(), self.optimizer.state_dict(), scaler, self.state)

    def restore(self, checkpoint: Checkpoint) -> None:
        self.load_adapter(checkpoint.adapter)
        self.optimizer.load_state_dict(checkpoint.optimizer)
        keep_paged(getattr(self.optimizer, "optimizer", self.optimizer))
        if self.accelerator.scaler:
            self.accelerator.scaler.load_state_dict(checkpoint.scaler)
        self.state = checkpoint.state

    def count_epochs(self) -> float:
        """How often the rows were seen up to now."""
        seen = sum(len(batch) for step in itertools.islice(self.plan.steps(), self.state.step) for batch in step)
        return seen / len(self.rows)

    def gather_adapter(self) -> dict[str, torch.Tensor] | None:
        """The adapter's weights of all processes, where they are sharded (every process must call this)."""
        if self.accelerator.distributed_type.value != "FSDP":
            return None
        sharded = self.accelerator.get_state_dict(self.model)
        # PEFT itself finds nothing there: it looks for the names that FSDP's wrapping gives the modules.
        return {
            name.removeprefix("model.").replace(".default.", "."): tensor
            for name, tensor in sharded.items()
            if ".lora_" in name
        }

    # --- the loop

    def fit(self, checkpoints: Checkpoints | None = None) -> None:
        """Train to the last step or until early stopping; raises StageError if the watchdog trips."""
        train, accelerator, state = self.train, self.accelerator, self.state
        self.progress = Progress(train.max_steps, state.step, accelerator.is_main_process)
        try:
            if not state.val_loss:
                self._validate()
            self._prepared = map(self._prepare, itertools.islice(self.plan.steps(), state.step, train.max_steps))
            self._next = next(self._prepared, None)
            self.model.train()
            while self._next and not self._stopped_early():
                state.step += 1
                self._update(self._next)
                last = state.step == train.max_steps
                if state.step % train.eval_steps == 0 or last:
                    self._validate()
                if checkpoints and accelerator.is_main_process and state.step % train.save_steps == 0 and not last:
                    checkpoints.save(self.make_checkpoint())
        finally:
            self.progress.close()
        if state.best:
            self.load_adapter(state.best)
            self._log_rest()

    def _prepare(self, batches: list[Batch]) -> PreparedStep:
        rows = [row for batch in batches for row in batch]
        tokens = sum(self.rows[row].trained_tokens for row in rows)
        own = self.batches.share(batches, self.plan.lengths)
        inputs = [self.batches.collate([self.rows[row] for row in batch]) for batch in own]
        return PreparedStep(batches, rows, tokens, inputs)

    def _update(self, given: PreparedStep) -> None:
        """One step: the gradients of all batches, clipped, then the optimizer.

        The loss is a sum over all trained tokens of the step, on all processes, divided by their number: the mean of
        the batches' means would weigh a token of a short answer more (transformers#34191).
        """
        accelerator, step = self.accelerator, self.state.step
        self.progress.start_step()
        rate = compute_learning_rate(step, self.train)
        self._seed()
        total = torch.zeros((), device=accelerator.device)
        for turn, (input_ids, labels, packing) in enumerate(given.inputs):
            with accelerator.no_sync(self.model) if turn < len(given.inputs) - 1 else nullcontext():
                # DDP and FSDP take the mean of the processes' gradients: times their number it is the sum.
                loss = self.model(input_ids, labels, self.processes / given.tokens, *([packing] if packing else []))
                accelerator.backward(loss)
            total += loss.detach() / self.processes
        # All parameters, the frozen ones too: accelerate asks FSDP for the norm over all shards only then.
        clipped = accelerator.clip_grad_norm_(list(self.model.parameters()), self.train.max_grad_norm)
        # The next step's tensors are made while a GPU still computes this one.
        self._next = next(self._prepared, None)
        value, norm, dead = self._read_numbers(total, clipped)
        self.watchdog.check_loss(step, value, given.rows)
        self.watchdog.check_gradients(step, norm, dead, given.rows, scaled=accelerator.scaler is not None)
        for group, ratio in zip(self.optimizer.param_groups, self.ratios, strict=True):
            group["lr"] = rate * ratio
        self.optimizer.step()
        self.optimizer.zero_grad()
        self._log(value, rate, norm)
        passes = self.batches.list_passes(given.batches, self.plan.lengths)
        self.progress.end_step(value, passes, self.plan.lengths, given.tokens)

    def _read_numbers(self, loss: torch.Tensor, norm: torch.Tensor) -> tuple[float, float, list[str]]:
        """Loss of all processes, norm of the gradient, and the names of B matrices that got none on any process.

        The only place of a step that waits for a GPU, but for the paged optimizers, which wait by design.
        """
        flags = flag_gradients(self.watched).to(loss.device)
        summed = self.accelerator.reduce(torch.cat([loss[None], flags]), reduction="sum")
        value, *alive, length = torch.cat([summed, norm.detach().to(summed)[None]]).tolist()
        return value, length, [name for (name, _), flag in zip(self.watched, alive, strict=True) if not flag]

    def _log(self, loss: float, rate: float, norm: float) -> None:
        """Every `logging_steps` steps, and at the first and the last one: the loss is the mean since the last time."""
        state = self.state
        state.unlogged.append(loss)
        if state.step in (1, self.train.max_steps) or state.step % self.train.logging_steps == 0:
            self._log_rest()
            state.learning_rate.append({"step": state.step, "learning_rate": float(f"{rate:.6g}")})
            # A step that the gradient scaler skips has none.
            if math.isfinite(norm):
                state.grad_norm.append({"step": state.step, "grad_norm": round(norm, 6)})

    def _log_rest(self) -> None:
        """The mean loss of the steps that are in no point of the curve yet: early stopping ends between two points."""
        if unlogged := self.state.unlogged:
            self.state.loss.append({"step": self.state.step, "loss": round(sum(unlogged) / len(unlogged), 6)})
            self.state.unlogged = []

    def _validate(self) -> None:
        """Token-weighted loss of the validation rows' answers (or of what is trained of them), without dropout."""
        if not self.validation:
            return
        state, loss = self.state, round(self._loss_of(self.validation), 6)
        if not math.isfinite(loss):
            raise StageError(
                f"train: val_loss is {loss} at step {state.step}; lower train.learning_rate, "
                "or set loading.precision to fp32"
            )
        # Of equal losses, in all the digits that are written, the first is the best: `_stopped_early` counts from it.
        is_best = loss < min((point["loss"] for point in state.val_loss), default=math.inf)
        if self.train.early_stopping_patience and is_best:
            state.best = self.copy_adapter()
        state.val_loss.append({"step": state.step, "loss": loss})
        self.progress.show_validation(loss)

    def _stopped_early(self) -> bool:
        patience, losses = self.train.early_stopping_patience, [point["loss"] for point in self.state.val_loss]
        return bool(patience and losses) and len(losses) - 1 - losses.index(min(losses)) >= patience

    @torch.no_grad()
    def _loss_of(self, rows: Sequence[TokenizedRow]) -> float:
        was_training = self.model.training
        self.model.eval()
        lengths = [row.length for row in rows]
        batches = list(batch_by_length(lengths, self.train.per_device_eval_batch_size))
        total = torch.zeros((), dtype=torch.float64, device=self.accelerator.device)
        for batch in self.batches.share(batches, lengths):
            input_ids, labels, packing = self.batches.collate([rows[position] for position in batch])
            total += self.model(input_ids, labels, 1.0, *([packing] if packing else []))
        self.model.train(was_training)
        return float(self.accelerator.reduce(total, reduction="sum")) / sum(row.trained_tokens for row in rows)

    def _loss_of_row(self, row: int) -> float:
        return self._loss_of([self.rows[row]])

    def _is_finite(self) -> bool:
        return all(bool(weight.isfinite().all()) for _, weight in self.weights)

    def _seed(self) -> None:
        key = f"{self.train.seed}/{self.state.step}/{self.accelerator.process_index}"
        torch.manual_seed(int.from_bytes(hashlib.sha256(key.encode()).digest()[:8]))
        for pool in self.inner.pools:
            pool.refresh()
