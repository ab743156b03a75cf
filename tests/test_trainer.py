"""The Trainer's loss, gradients and validation, against Hugging Face's own full-logits loss and a plain loop."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import TrainerCallback, TrainingArguments

from stages.core.errors import StageError
from stages.training.trainer import IGNORED, AnswerTrainer, Progress, collate

pytestmark = pytest.mark.usefixtures("one_thread")
Rows = list[dict[str, Any]]


@pytest.fixture
def model(tiny_model_folder: Path) -> Any:
    """fp32, LoRA on all linear layers with a random lora_B, dropout that only training must see."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    base = AutoModelForCausalLM.from_pretrained(tiny_model_folder, dtype=torch.float32)
    torch.manual_seed(0)
    config = LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM", init_lora_weights=False)
    return get_peft_model(base, config)


@pytest.fixture
def make_trainer(tmp_path: Path) -> Callable[..., AnswerTrainer]:
    def make(
        model: Any,
        rows: Rows,
        validation: Sequence[dict[str, Any]] = (),
        callbacks: Sequence[TrainerCallback] = (),
        **arguments: Any,
    ) -> AnswerTrainer:
        from datasets import Dataset

        defaults: dict[str, Any] = {
            "output_dir": str(tmp_path / "out"),
            "use_cpu": True,
            "dataloader_pin_memory": False,
            "remove_unused_columns": False,
            "disable_tqdm": True,
            "report_to": "none",
            "save_strategy": "no",
            "max_grad_norm": 0.0,
            "logging_steps": 1,
            "logging_nan_inf_filter": False,
        }
        return AnswerTrainer(
            model=model,
            args=TrainingArguments(**defaults | arguments),
            train_dataset=Dataset.from_list(rows),
            eval_dataset=Dataset.from_list(rows[:1]),
            validation=validation,
            data_collator=collate,
            callbacks=list(callbacks),
        )

    return make


class GradientsOfEachStep(TrainerCallback):
    def __init__(self) -> None:
        self.steps: list[dict[str, torch.Tensor]] = []

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        self.steps.append(lora_gradients(model))


def lora_gradients(model: Any) -> dict[str, torch.Tensor]:
    return {name: weight.grad.clone() for name, weight in model.named_parameters() if weight.requires_grad}


def full_logits_loss(model: Any, rows: Rows) -> torch.Tensor:
    """Hugging Face's loss with the labels in place, on rows padded here, independently of `collate`."""
    width = max(len(row["input_ids"]) for row in rows)
    ids = torch.tensor([row["input_ids"] + [7] * (width - len(row["input_ids"])) for row in rows])
    mask = torch.tensor([[1] * len(row["input_ids"]) + [0] * (width - len(row["input_ids"])) for row in rows])
    labels = torch.tensor(
        [
            [-100] * row["loss_start"] + row["input_ids"][row["loss_start"] :] + [-100] * (width - row["length"])
            for row in rows
        ]
    )
    return model(input_ids=ids, attention_mask=mask, labels=labels).loss


def assert_same(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        assert gradient.norm() > 0, name
        torch.testing.assert_close(
            found[name], gradient, rtol=1e-4, atol=1e-6, msg=lambda text, name=name: f"{name}: {text}"
        )


def test_padding_is_masked_by_position_and_the_end_of_sequence_token_is_trained() -> None:
    """0 fills the padding, and is a token like any other inside a row: here the end-of-sequence token."""
    rows = [
        {"input_ids": [5, 6, 0, 8, 0], "length": 5, "loss_start": 2, "answer_start": 2},
        {"input_ids": [9, 4, 0], "length": 3, "loss_start": 1, "answer_start": 1},
    ]
    batch = collate(rows)
    assert batch["input_ids"].tolist() == [[5, 6, 0, 8, 0], [9, 4, 0, 0, 0]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]]
    assert batch["labels"].tolist() == [
        [IGNORED, IGNORED, 0, 8, 0],
        [IGNORED, 4, 0, IGNORED, IGNORED],
    ]


def test_a_row_trained_from_its_first_token_has_a_label_everywhere() -> None:
    batch = collate([{"input_ids": [5, 6, 7], "length": 3, "loss_start": 0}])
    assert batch["labels"].tolist() == [[5, 6, 7]]


@pytest.mark.parametrize("on_prompt", [False, True])
def test_loss_and_gradients_on_trained_positions_equal_those_of_the_full_logits(
    model: Any, make_trainer: Callable[..., AnswerTrainer], tokenized_rows: Callable[..., Rows], on_prompt: bool
) -> None:
    rows = [row | {"loss_start": 0} if on_prompt else row for row in tokenized_rows(5)]
    trainer = make_trainer(model, rows)
    model.zero_grad()
    loss = trainer.compute_loss(model, collate(rows))
    loss.backward()
    found = lora_gradients(model)
    model.zero_grad()
    expected = full_logits_loss(model, rows)
    expected.backward()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-6)
    assert_same(found, lora_gradients(model))


def test_the_head_runs_on_trained_positions_only(
    model: Any, make_trainer: Callable[..., AnswerTrainer], tokenized_rows: Callable[..., Rows]
) -> None:
    rows = tokenized_rows(5)
    _, outputs = make_trainer(model, rows).compute_loss(model, collate(rows), return_outputs=True)
    assert outputs.logits.shape[:-1].numel() == sum(row["length"] - row["loss_start"] for row in rows)


@pytest.mark.parametrize(("batch", "accumulation"), [(4, 1), (2, 2), (1, 4)])
def test_accumulated_batches_give_loss_and_gradients_of_one_batch(
    model: Any,
    make_trainer: Callable[..., AnswerTrainer],
    tokenized_rows: Callable[..., Rows],
    batch: int,
    accumulation: int,
) -> None:
    """Token-weighted: the mean of the batches' means is another number where their answers differ in length."""
    rows = tokenized_rows(4)
    assert len({row["length"] - row["loss_start"] for row in rows}) == 4
    expected = full_logits_loss(model, rows)
    expected.backward()
    gradients = lora_gradients(model)
    seen = GradientsOfEachStep()
    trainer = make_trainer(
        model,
        rows,
        callbacks=[seen],
        per_device_train_batch_size=batch,
        gradient_accumulation_steps=accumulation,
        max_steps=1,
        learning_rate=1e-4,
    )
    trainer.train()
    logged = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert logged == [pytest.approx(expected.item(), rel=1e-5)]
    assert len(seen.steps) == 1
    assert_same(seen.steps[0], gradients)


@pytest.mark.parametrize(("batch_size", "on_prompt"), [(1, False), (3, False), (16, False), (3, True)])
def test_validation_is_weighted_by_tokens_and_equals_an_unbatched_loop(
    model: Any,
    make_trainer: Callable[..., AnswerTrainer],
    tokenized_rows: Callable[..., Rows],
    batch_size: int,
    on_prompt: bool,
) -> None:
    rows = [row | {"loss_start": 0} if on_prompt else row for row in tokenized_rows(7, seed=1)]
    total, tokens = 0.0, 0
    with torch.inference_mode():
        for row in rows:
            ids = torch.tensor(row["input_ids"])
            log_probabilities = model(input_ids=ids[None]).logits[0].log_softmax(-1)
            for position in range(max(1, row["loss_start"]), len(ids)):
                total -= log_probabilities[position - 1, ids[position]].item()
                tokens += 1
    trainer = make_trainer(model, tokenized_rows(2), validation=rows, per_device_eval_batch_size=batch_size)
    assert trainer.evaluate()["eval_loss"] == pytest.approx(total / tokens, rel=1e-6)
    assert trainer.state.log_history[-1]["eval_loss"] == pytest.approx(total / tokens, rel=1e-6)


def test_validation_sees_no_dropout_and_gives_the_model_back_in_training_mode(
    tiny_model_folder: Path, make_trainer: Callable[..., AnswerTrainer], tokenized_rows: Callable[..., Rows]
) -> None:
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    base = AutoModelForCausalLM.from_pretrained(tiny_model_folder, dtype=torch.float32)
    config = LoraConfig(
        r=4, lora_dropout=0.5, target_modules="all-linear", task_type="CAUSAL_LM", init_lora_weights=False
    )
    model = get_peft_model(base, config)
    trainer = make_trainer(model, tokenized_rows(2), validation=tokenized_rows(3))
    model.train()
    assert trainer.evaluate() == trainer.evaluate()
    assert model.training
    assert model.get_submodule("base_model.model.model.layers.0.self_attn.q_proj.lora_dropout.default").training


def test_without_validation_rows_evaluate_measures_and_logs_nothing(
    model: Any, make_trainer: Callable[..., AnswerTrainer], tokenized_rows: Callable[..., Rows]
) -> None:
    trainer = make_trainer(model, tokenized_rows(2))
    assert trainer.evaluate() == {}
    assert trainer.state.log_history == []


class Poison(TrainerCallback):
    """Makes the loss NaN from the step after `step` on."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_step_end(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        if state.global_step == self.step:
            with torch.no_grad():
                next(weight for weight in model.parameters() if weight.requires_grad).fill_(math.nan)


def test_a_loss_that_is_not_finite_stops_the_run_and_names_the_step(
    model: Any, make_trainer: Callable[..., AnswerTrainer], tokenized_rows: Callable[..., Rows]
) -> None:
    trainer = make_trainer(model, tokenized_rows(8), callbacks=[Progress(), Poison(2)], max_steps=8)
    with pytest.raises(StageError, match=r"^train: loss is nan at step 3; lower train\.learning_rate, or") as raised:
        trainer.train()
    assert "\n" not in str(raised.value)
    assert trainer.state.global_step == 3


def test_a_loss_that_is_not_finite_in_the_last_steps_is_noticed_between_two_logs(
    model: Any, make_trainer: Callable[..., AnswerTrainer], tokenized_rows: Callable[..., Rows]
) -> None:
    trainer = make_trainer(
        model, tokenized_rows(8), callbacks=[Progress(), Poison(5)], max_steps=7, logging_steps=5, save_strategy="no"
    )
    with pytest.raises(StageError, match="loss is nan at step 7"):
        trainer.train()


def test_a_validation_loss_that_is_not_finite_stops_the_run_too(
    model: Any, make_trainer: Callable[..., AnswerTrainer], tokenized_rows: Callable[..., Rows]
) -> None:
    trainer = make_trainer(
        model,
        tokenized_rows(8),
        validation=tokenized_rows(2, seed=1),
        callbacks=[Progress(), Poison(2)],
        max_steps=4,
        eval_strategy="steps",
        eval_steps=2,
    )
    with pytest.raises(StageError, match="val_loss is nan at step 2"):
        trainer.train()


def test_the_bar_ends_its_line_before_the_error(
    model: Any,
    make_trainer: Callable[..., AnswerTrainer],
    tokenized_rows: Callable[..., Rows],
    capfd: pytest.CaptureFixture[str],
) -> None:
    trainer = make_trainer(model, tokenized_rows(8), callbacks=[Progress(), Poison(1)], max_steps=4)
    with pytest.raises(StageError):
        trainer.train()
    assert capfd.readouterr().err.endswith("\n")
