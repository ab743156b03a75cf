"""A small Trainer: the head on trained positions only, token-weighted validation, an own progress bar."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from tqdm import tqdm
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments

from stages.core.errors import StageError
from stages.scoring.likelihood import log_likelihoods

IGNORED = -100


def collate(rows: Sequence[dict[str, Any]]) -> dict[str, torch.Tensor]:
    """Tokenized rows to right-padded input_ids, attention_mask and labels, each [B, T].

    Padding is masked by position, never by token id: the padding token may be the end-of-sequence
    token, and that one must be trained.
    """
    width = max(row["length"] for row in rows)
    input_ids = torch.zeros((len(rows), width), dtype=torch.long)
    labels = torch.full((len(rows), width), IGNORED)
    mask = torch.zeros((len(rows), width), dtype=torch.long)
    for line, row in enumerate(rows):
        ids, length, start = torch.tensor(row["input_ids"]), row["length"], row["loss_start"]
        input_ids[line, :length] = ids
        labels[line, start:length] = ids[start:]
        mask[line, :length] = 1
    return {"input_ids": input_ids, "labels": labels, "attention_mask": mask}


class AnswerTrainer(Trainer):
    """Loss on the answer's tokens; `validation` are tokenized rows, scored as evaluate scores the test split."""

    def __init__(self, *args: Any, validation: Sequence[dict[str, Any]], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.validation = validation
        self.remove_callback(PrinterCallback)
        # The loss below divides by the number of trained tokens of all accumulated batches; without this
        # the Trainer would divide once more by the number of accumulation steps.
        self.model_accepts_loss_kwargs = True

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: dict[str, torch.Tensor],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> Any:
        """Cross-entropy of the trained tokens, summed, over `num_items_in_batch` (their number in the step).

        The head runs only where the next token is trained: of a 400-token prompt with a 60-token answer
        it skips 87%. Loss and gradients equal those of the full logits (tested).
        """
        following = inputs["labels"][:, 1:]
        keep = torch.zeros_like(inputs["labels"], dtype=torch.bool)
        keep[:, :-1] = following != IGNORED
        outputs = model(
            input_ids=inputs["input_ids"],
            attention_mask=inputs["attention_mask"],
            logits_to_keep=keep,
            use_cache=False,
        )
        targets = following[following != IGNORED]
        logits = outputs.logits.reshape(-1, outputs.logits.shape[-1]).float()
        loss = torch.nn.functional.cross_entropy(logits, targets, reduction="sum")
        loss = loss / (targets.numel() if num_items_in_batch is None else num_items_in_batch)
        return (loss, outputs) if return_outputs else loss

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        """Token-weighted loss of the validation rows, logged as `eval_loss`."""
        if not self.validation:
            return {}
        model: Any = self.model
        was_training = model.training
        model.eval()
        rows = [(row["input_ids"], max(1, row["loss_start"])) for row in self.validation]
        scores = log_likelihoods(model, rows, self.args.per_device_eval_batch_size, desc="validation", leave=False)
        model.train(was_training)
        metrics = {"eval_loss": -sum(scores) / sum(len(ids) - start for ids, start in rows)}
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics


class Progress(TrainerCallback):
    """One bar for the run: steps, rate, time left, the last losses. Stops a run whose loss is not finite."""

    def __init__(self) -> None:
        self.bar: tqdm[Any] | None = None
        self.shown: dict[str, str] = {}

    def on_train_begin(self, args: TrainingArguments, state: Any, control: Any, **kwargs: Any) -> None:
        self.bar = tqdm(total=state.max_steps, desc="train", unit="step")

    def on_step_end(self, args: TrainingArguments, state: Any, control: Any, **kwargs: Any) -> None:
        if self.bar:
            self.bar.update()
        # The last steps are logged too where max_steps is no multiple of logging_steps.
        control.should_log = control.should_log or state.global_step >= state.max_steps

    def on_log(self, args: TrainingArguments, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        for key, name in (("loss", "loss"), ("eval_loss", "val_loss")):
            if key in (logs or {}):
                if not math.isfinite(logs[key]):
                    if self.bar:
                        self.bar.close()
                    raise StageError(
                        f"train: {name} is {logs[key]} at step {state.global_step}; lower train.learning_rate, "
                        "or set model.precision to fp32"
                    )
                self.shown[name] = f"{logs[key]:.3f}"
        if self.bar:
            self.bar.set_postfix(self.shown)

    def on_train_end(self, args: TrainingArguments, state: Any, control: Any, **kwargs: Any) -> None:
        if self.bar:
            self.bar.close()
