"""The training loop: accumulation, validation, the watchdog, going on after a kill, and two processes like one."""

import math
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from netllama.core.errors import StageError
from netllama.core.files import hash_file
from netllama.core.tokenized_rows import TokenizedRow
from netllama.training import checkpoints
from netllama.training.checkpoints import Checkpoint, Checkpoints, TrainingState, compute_run_key
from netllama.training.packed_attention import use_packed_attention
from netllama.training.watchdog import MOST_SKIPS, Watchdog, flag_gradients
from tests.support.adapters import full_logits_loss
from tests.support.clones import ROOT
from tests.support.source_tree import import_closure
from tests.support.training_runs import killed_after, make_run, randomize

pytestmark = pytest.mark.usefixtures("one_thread")
Rows = list[TokenizedRow]


def gradients(run: Any) -> dict[str, torch.Tensor]:
    return {name: weight.grad.clone() for name, weight in run.weights}


def first_step(run: Any, monkeypatch: pytest.MonkeyPatch) -> dict[str, torch.Tensor]:
    """The gradients of the first step, before they are clipped."""
    seen: dict[str, torch.Tensor] = {}

    def look(weights: Any, limit: float) -> torch.Tensor:
        seen.update(gradients(run))
        return torch.tensor(1.0)

    monkeypatch.setattr(run.accelerator, "clip_grad_norm_", look)
    run.fit()
    return seen


# --- accumulation


@pytest.mark.parametrize(("batch", "accumulation"), [(8, 1), (4, 2), (2, 4), (1, 8)])
def test_accumulated_batches_have_loss_and_gradients_of_one_batch(
    tiny_model_folder: Path,
    tokenized_rows: Callable[..., Rows],
    monkeypatch: pytest.MonkeyPatch,
    batch: int,
    accumulation: int,
) -> None:
    """Token-weighted: the mean of the batches' means is another number where their answers differ in length."""
    rows = tokenized_rows(8)
    assert len({row.trained_tokens for row in rows}) > 4
    run = make_run(
        tiny_model_folder,
        rows,
        max_steps=1,
        per_device_train_batch_size=batch,
        gradient_accumulation_steps=accumulation,
    )
    randomize(run)
    expected = full_logits_loss(run.inner.model, rows)
    expected.backward()
    reference = gradients(run)
    run.optimizer.zero_grad()
    found = first_step(run, monkeypatch)
    assert run.state.loss[0]["loss"] == pytest.approx(expected.item(), abs=2e-6)
    assert len(found) == 2 * 7 * 2
    for name, gradient in reference.items():
        assert gradient.norm() > 0, name
        torch.testing.assert_close(found[name], gradient, rtol=1e-4, atol=1e-6, msg=name)


def test_the_adapter_is_the_same_however_a_step_is_cut_into_batches(
    tiny_model_folder: Path, tokenized_rows: Callable[..., Rows]
) -> None:
    ends = []
    for batch, accumulation in ((4, 1), (2, 2), (1, 4)):
        run = make_run(
            tiny_model_folder,
            tokenized_rows(10),
            per_device_train_batch_size=batch,
            gradient_accumulation_steps=accumulation,
        )
        run.fit()
        ends.append(run.copy_adapter())
    for other in ends[1:]:
        for name, weight in ends[0].items():
            torch.testing.assert_close(other[name], weight, rtol=1e-3, atol=2e-5, msg=name)


# --- validation


@pytest.mark.parametrize(("batch_size", "on_prompt"), [(1, False), (3, False), (16, False), (3, True)])
def test_validation_is_weighted_by_tokens_and_equals_an_unbatched_loop(
    tiny_model_folder: Path, tokenized_rows: Callable[..., Rows], batch_size: int, on_prompt: bool
) -> None:
    rows = [replace(row, loss_start=0) if on_prompt else row for row in tokenized_rows(7, seed=1)]
    run = make_run(tiny_model_folder, tokenized_rows(2), rows, max_steps=1, per_device_eval_batch_size=batch_size)
    randomize(run)
    total, tokens = 0.0, 0
    with torch.inference_mode():
        for row in rows:
            ids = torch.tensor(row.input_ids)
            log_probabilities = run.inner.model(input_ids=ids[None]).logits[0].log_softmax(-1)
            for position in range(max(1, row.loss_start), len(ids)):
                total -= log_probabilities[position - 1, ids[position]].item()
                tokens += 1
    run.fit()
    assert run.state.val_loss[0] == {"step": 0, "loss": pytest.approx(total / tokens, abs=2e-6)}


def test_validation_goes_through_a_cpu_in_pieces(tiny_model_folder: Path, tokenized_rows: Callable[..., Rows]) -> None:
    rows, validation = tokenized_rows(4), tokenized_rows(6, seed=1)
    whole = make_run(tiny_model_folder, rows, validation, per_device_eval_batch_size=6)
    expected = whole._loss_of(validation)
    budget = max(row.length for row in validation)
    whole.batches.piece = budget
    sizes: list[int] = []
    whole.inner.register_forward_pre_hook(lambda module, inputs: sizes.append(inputs[0].numel()))
    assert whole._loss_of(validation) == pytest.approx(expected, rel=1e-4)
    assert len(sizes) > 2
    assert max(sizes) <= budget


def test_validation_sees_no_dropout_and_gives_the_model_back_in_training_mode(
    tiny_model_folder: Path, tokenized_rows: Callable[..., Rows]
) -> None:
    run = make_run(tiny_model_folder, tokenized_rows(4), tokenized_rows(3), lora={"lora_dropout": 0.5})
    randomize(run)
    run.model.train()
    assert run._loss_of(run.validation) == run._loss_of(run.validation)
    assert run.model.training
    layer = "base_model.model.model.layers.0.self_attn.q_proj.lora_dropout.default"
    assert run.inner.model.get_submodule(layer).training


def test_early_stopping_ends_the_run_and_keeps_the_best_adapter(
    tiny_model_folder: Path, tokenized_rows: Callable[..., Rows]
) -> None:
    """Four rows are soon learnt by heart."""
    validation = tokenized_rows(3, seed=1)
    run = make_run(
        tiny_model_folder,
        tokenized_rows(4),
        validation,
        max_steps=40,
        learning_rate=0.03,
        eval_steps=2,
        early_stopping_patience=3,
    )
    run.fit()
    losses = [entry["loss"] for entry in run.state.val_loss]
    best = losses.index(min(losses))
    assert run.state.step < 40
    assert len(losses) - 1 - best == 3, "validations without a new best"
    assert losses[-1] > losses[best]
    assert run._loss_of(validation) == pytest.approx(losses[best], abs=1e-6)


def test_of_losses_that_are_equal_as_they_are_written_the_first_is_the_best(
    tiny_model_folder: Path, tokenized_rows: Callable[..., Rows], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The adapter that is kept is that of the step which the curve shows as the best."""
    run = make_run(
        tiny_model_folder, tokenized_rows(4), tokenized_rows(2, seed=1), eval_steps=1, early_stopping_patience=4
    )
    losses = iter([1.0, 0.5, 0.5 - 1e-8, 0.5 - 2e-8, 0.5 - 3e-8])
    monkeypatch.setattr(run, "_loss_of", lambda rows: next(losses))
    copies: list[int] = []
    copy = run.copy_adapter
    monkeypatch.setattr(run, "copy_adapter", lambda: copies.append(run.state.step) or copy())
    run.fit()
    assert [point["loss"] for point in run.state.val_loss] == [1.0, 0.5, 0.5, 0.5, 0.5]
    assert copies == [0, 1]


def test_patience_without_validation_rows_is_refused(
    tiny_model_folder: Path, tokenized_rows: Callable[..., Rows]
) -> None:
    with pytest.raises(StageError, match=r"^train\.early_stopping_patience: needs validation rows: raise split\.val"):
        make_run(tiny_model_folder, tokenized_rows(4), early_stopping_patience=1)


def test_a_run_that_goes_on_stops_where_an_undisturbed_one_stopped_and_logs_all_losses(
    tiny_model_folder: Path, tokenized_rows: Callable[..., Rows], tmp_path: Path
) -> None:
    def fresh(max_steps: int = 40) -> Any:
        rows, validation = tokenized_rows(4), tokenized_rows(3, seed=1)
        changes = {"max_steps": max_steps, "learning_rate": 0.03, "early_stopping_patience": 3, "logging_steps": 50}
        return make_run(tiny_model_folder, rows, validation, **changes)

    undisturbed = fresh()
    undisturbed.fit()
    checkpoints = Checkpoints(tmp_path / "run")
    fresh(undisturbed.state.step - 1).fit(checkpoints)
    again = fresh()
    again.restore(checkpoints.load())
    again.fit()
    assert 0 < checkpoints.load().state.step < again.state.step == undisturbed.state.step < 40
    assert (again.state.loss, again.state.val_loss) == (undisturbed.state.loss, undisturbed.state.val_loss)
    assert again.state.loss[-1]["step"] == again.state.step, "between two logs"
    assert all(torch.equal(again.copy_adapter()[name], weight) for name, weight in undisturbed.copy_adapter().items())


def test_without_patience_the_same_run_goes_to_its_end(
    tiny_model_folder: Path, tokenized_rows: Callable[..., Rows]
) -> None:
    run = make_run(tiny_model_folder, tokenized_rows(4), tokenized_rows(3, seed=1), max_steps=16, learning_rate=0.03)
    run.fit()
    assert run.state.step == 16


# --- the watchdog


def poison(run: Any, row: str) -> None:
    """The loss of the named row alone is NaN."""
    forward = run.inner.forward
    bad = next(each.input_ids for each in run.rows if each.id == row)

    def poisoned(input_ids: torch.Tensor, labels: torch.Tensor, weight: float) -> torch.Tensor:
        loss: torch.Tensor = forward(input_ids, labels, weight)
        return loss * math.nan if bad in [line[: len(bad)] for line in input_ids.tolist()] else loss

    run.inner.forward = poisoned


def test_a_row_whose_loss_is_not_a_number_is_named(
    tiny_model_folder: Path, tokenized_rows: Callable[..., Rows]
) -> None:
    run = make_run(tiny_model_folder, tokenized_rows(4), max_steps=3, per_device_train_batch_size=4)
    poison(run, "row-0-2")
    with pytest.raises(StageError, match=r"^train: loss is nan at step 1, because of row-0-2$"):
        run.fit()


def test_weights_that_diverged_are_told_from_a_bad_row(
    tiny_model_folder: Path, tokenized_rows: Callable[..., Rows]
) -> None:
    run = make_run(tiny_model_folder, tokenized_rows(4), max_steps=3)
    with torch.no_grad():
        run.weights[0][1].fill_(math.nan)
    said = r"^train: loss is nan at step 1, for each of its rows \(row-.*\): the adapter's weights diverged; lower "
    with pytest.raises(StageError, match=said) as raised:
        run.fit()
    assert "\n" not in str(raised.value)


def test_a_loss_of_zero_names_its_rows(
    tiny_model_folder: Path, tokenized_rows: Callable[..., Rows], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(tiny_model_folder, tokenized_rows(2), max_steps=1)
    forward = run.inner.forward
    monkeypatch.setattr(run.inner, "forward", lambda *given: forward(*given) * 0)
    with pytest.raises(StageError, match=r"^train: loss is 0 at step 1: nothing is trained in row-0-\d, row-0-\d; "):
        run.fit()


def test_a_layer_that_gets_no_gradient_stops_the_run(
    tiny_model_folder: Path, tokenized_rows: Callable[..., Rows], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the repacked layers of bitsandbytes did, silently: nothing flows through the last frozen layer."""
    run = make_run(tiny_model_folder, tokenized_rows(4), max_steps=3)
    layer = run.inner.model.get_base_model().model.layers[1]
    forward = layer.forward
    monkeypatch.setattr(layer, "forward", lambda hidden, *given, **named: forward(hidden.detach(), *given, **named))
    said = r"^train: no gradient reaches 7 of the adapter's layers, .*layers\.0\.self_attn\.q_proj first, at step 1"
    with pytest.raises(StageError, match=said):
        run.fit()


def test_layers_without_a_gradient_are_named() -> None:
    weights = [(f"{layer}.lora_B", torch.nn.Parameter(torch.ones(2))) for layer in range(9)]
    for _, weight in weights:
        weight.grad = torch.tensor([0.0, 1.0])
    assert flag_gradients(weights).tolist() == [1.0] * 9
    weights[3][1].grad, weights[7][1].grad = None, torch.zeros(2)
    assert flag_gradients(weights).tolist() == [1, 1, 1, 0, 1, 1, 1, 0, 1]
    assert flag_gradients([]).tolist() == []
    watchdog = Watchdog(["a"], lambda row: 1.0, lambda: True)
    watchdog.check_gradients(1, 1.0, [], [0], scaled=False)
    with pytest.raises(StageError, match=r"^train: no gradient reaches 2 of the adapter's layers, 3 first, at step 1"):
        watchdog.check_gradients(1, 1.0, ["3.lora_B", "7.lora_B"], [0], scaled=False)


def test_a_step_reads_its_numbers_from_the_device_once(
    tiny_model_folder: Path, tokenized_rows: Callable[..., Rows], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a GPU each look waits for it: here what looks at a tensor that was computed is counted, on packed rows."""
    run = make_run(tiny_model_folder, tokenized_rows(8), max_steps=4, gradient_accumulation_steps=2)
    run.batches.packed_tokens = run.inner.packed_tokens = 60
    use_packed_attention(run.inner.model.get_base_model())
    looks: list[str] = []
    for name in ("item", "tolist", "__bool__", "__float__", "__int__", "nonzero", "cpu"):
        truth = getattr(torch.Tensor, name)

        def look(self: torch.Tensor, *given: Any, name: str = name, truth: Any = truth) -> Any:
            if sys._getframe(1).f_code.co_filename.startswith(str(ROOT / "netllama" / "training")):
                looks.append(name)
            return truth(self, *given)

        monkeypatch.setattr(torch.Tensor, name, look)
    run.fit()
    assert looks == ["tolist"] * 4


def test_a_gradient_that_overflows_is_the_scalers_business_for_a_while_and_an_error_without_one() -> None:
    watchdog = Watchdog(["a"], lambda row: 1.0, lambda: True)
    for _ in range(MOST_SKIPS - 1):
        watchdog.check_gradients(1, math.inf, [], [0], scaled=True)
    with pytest.raises(StageError, match=r"^train: the gradient is inf at step 1 \(a\); lower train\.learning_rate"):
        watchdog.check_gradients(1, math.inf, [], [0], scaled=True)
    with pytest.raises(StageError, match="the gradient is nan at step 2"):
        Watchdog(["a"], lambda row: 1.0, lambda: True).check_gradients(2, math.nan, [], [0], scaled=False)


def test_a_validation_loss_that_is_not_finite_stops_the_run_too(
    tiny_model_folder: Path, tokenized_rows: Callable[..., Rows], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(tiny_model_folder, tokenized_rows(4), tokenized_rows(2, seed=1), max_steps=4)
    monkeypatch.setattr(run, "_loss_of", lambda rows: math.nan if run.state.step else 1.0)
    with pytest.raises(StageError, match=r"^train: val_loss is nan at step 2; lower train\.learning_rate"):
        run.fit()


def test_a_row_without_a_token_to_train_on_is_refused_by_name(
    tiny_model_folder: Path, tokenized_rows: Callable[..., Rows]
) -> None:
    rows = tokenized_rows(3)
    rows[1] = replace(rows[1], loss_start=rows[1].length)
    with pytest.raises(StageError, match=r"^train: rows row-0-1 have no answer tokens to train on; remove them$"):
        make_run(tiny_model_folder, rows)


def test_the_bar_ends_its_line_before_the_error(
    tiny_model_folder: Path, tokenized_rows: Callable[..., Rows], capfd: pytest.CaptureFixture[str]
) -> None:
    run = make_run(tiny_model_folder, tokenized_rows(4), max_steps=3)
    poison(run, run.rows[0].id)
    with pytest.raises(StageError):
        run.fit()
    assert capfd.readouterr().err.endswith("\n")


# --- going on


@pytest.mark.parametrize("optim", ["adamw_torch_fused", "paged_adamw_32bit"])
def test_a_run_that_goes_on_ends_with_the_bits_of_an_undisturbed_one(
    tiny_model_folder: Path, tokenized_rows: Callable[..., Rows], tmp_path: Path, optim: str
) -> None:
    """With dropout, noise, two batches a step and more than one epoch: nothing of it may depend on what came before."""

    def fresh() -> Any:
        return make_run(
            tiny_model_folder,
            tokenized_rows(7),
            tokenized_rows(3, seed=1),
            lora={"lora_dropout": 0.3},
            max_steps=6,
            neftune_noise_alpha=5.0,
            gradient_accumulation_steps=2,
            logging_steps=4,
            optim=optim,
            lr_scheduler_type="cosine",
            early_stopping_patience=3,
        )

    undisturbed = fresh()
    undisturbed.fit()
    for step in (1, 3, 5):
        killed_after(step, fresh(), tmp_path / f"run-{step}")
        again = fresh()
        again.restore(Checkpoints(tmp_path / f"run-{step}").load())
        assert again.state.step == step
        again.fit()
        for name, weight in undisturbed.copy_adapter().items():
            assert torch.equal(again.copy_adapter()[name], weight), name
        for curve in ("loss", "val_loss", "learning_rate", "grad_norm"):
            assert getattr(again.state, curve) == getattr(undisturbed.state, curve)


def test_an_interrupted_save_leaves_the_state_before_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoints = Checkpoints(tmp_path / "run")
    checkpoints.save(Checkpoint({}, {}, {}, TrainingState(step=1)))

    def half(state: Any, path: Path) -> None:
        path.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(torch, "save", half)
    with pytest.raises(KeyboardInterrupt):
        checkpoints.save(Checkpoint({}, {}, {}, TrainingState(step=2)))
    assert checkpoints.load() == Checkpoint({}, {}, {}, TrainingState(step=1))
    assert [path.name for path in checkpoints.folder.iterdir()] == ["step-00000001"]


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def make_empty(path: Path) -> None:
    path.write_bytes(b"")


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 4
    path.write_bytes(content)


@pytest.mark.parametrize("damage", [cut_short, make_empty, flip_a_bit, Path.unlink])
@pytest.mark.parametrize("name", ["state.pt", "state.sha256"])
def test_a_damaged_checkpoint_is_left_and_the_one_before_it_is_used(
    tmp_path: Path, damage: Callable[[Path], None], name: str
) -> None:
    checkpoints = Checkpoints(tmp_path / "run")
    states = [
        Checkpoint({"b": torch.full((64,), float(step))}, {}, {}, TrainingState(step=step)) for step in (8, 9, 10)
    ]
    for state in states:
        checkpoints.save(state)
    assert sorted(path.name for path in checkpoints.folder.iterdir()) == ["step-00000009", "step-00000010"]
    damage(checkpoints.folder / "step-00000010" / name)
    left = {path.name: path.read_bytes() for path in (checkpoints.folder / "step-00000010").iterdir()}
    found = checkpoints.load()
    assert found is not None
    assert (found.state.step, found.adapter["b"][0]) == (9, 9)
    assert checkpoints.damaged == [checkpoints.folder / "step-00000010"]
    assert {path.name: path.read_bytes() for path in (checkpoints.folder / "step-00000010").iterdir()} == left
    # A run that goes on from there is as safe as before: two whole ones, and then the damaged one is replaced.
    again = Checkpoints(tmp_path / "run")
    again.save(states[1])
    again.save(states[2])
    assert [path.name for path in again._list_saved()] == ["step-00000010", "step-00000009"]
    assert again.load() is not None
    assert again.damaged == []


def test_where_all_checkpoints_are_damaged_a_run_begins_at_its_start(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path / "run")
    for step in (1, 2):
        checkpoints.save(Checkpoint({}, {}, {}, TrainingState(step=step)))
        flip_a_bit(checkpoints.folder / f"step-{step:08}" / "state.pt")
    assert checkpoints.load() is None
    assert len(checkpoints.damaged) == 2


def test_a_checkpoint_that_can_not_be_written_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(state: Any, path: Path) -> None:
        raise RuntimeError("PytorchStreamWriter failed writing file data/0: file write failed\nraised from ...")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(StageError, match=r"step-00000001: can't be written \(Pytorch.*failed\); is the disk full\?$"):
        Checkpoints(tmp_path / "run").save(Checkpoint({}, {}, {}, TrainingState(step=1)))


def test_the_key_of_a_run_changes_with_inputs_values_and_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "rows"
    file.write_text("one")
    key = compute_run_key([file], rank=4)
    assert compute_run_key([file], rank=4) == key
    assert compute_run_key([file], rank=8) != key
    file.write_text("two")
    assert compute_run_key([file], rank=4) != key
    file.write_text("one")
    loop = next(path for path in checkpoints._list_code() if path.name == "loop.py")
    hashes = {loop: "other"}
    monkeypatch.setattr(checkpoints, "hash_file", lambda path: hashes.get(path) or hash_file(path))
    assert compute_run_key([file], rank=4) != key


def test_the_code_of_the_key_is_the_import_closure_of_the_stage() -> None:
    code = {path.relative_to(ROOT).as_posix() for path in checkpoints._list_code()}
    assert import_closure(ROOT / "stages" / "train.py") <= code


# --- several processes

TWO_PROCESSES = """
import json, sys
import torch
torch.set_num_threads(1)
sys.path[:0] = [{root!r}, {tests!r}]
from pathlib import Path
import netllama.training.loop as loop
from netllama.core.tokenized_rows import TokenizedRow
from tests.support.training_runs import make_run
rows, validation = ([TokenizedRow(**row) for row in side] for side in json.loads(Path("rows.json").read_text()))
ends = []
for tokens in (1024, 30):  # whole batches, and pieces that are not alike
    loop.choose_piece = lambda width: tokens
    run = make_run(Path({folder!r}), rows, validation, lora={{"lora_dropout": 0.0}}, max_steps=5,
                   per_device_train_batch_size=2, gradient_accumulation_steps=2)
    run.fit()
    ends.append([run.processes, run.state.loss, run.state.val_loss, run.state.grad_norm, run.copy_adapter()])
if run.accelerator.is_main_process:
    torch.save(ends, "ends.pt")
"""


@pytest.mark.slow
def test_two_processes_have_the_curves_and_the_adapter_of_one_with_twice_the_batch(
    tiny_model_folder: Path, tokenized_rows: Callable[..., Rows], tmp_path: Path
) -> None:
    """DDP over gloo. Nine rows: in the last step of an epoch one process has fewer batches than the other, or none."""
    import json

    rows, validation = tokenized_rows(9), tokenized_rows(3, seed=1)
    (tmp_path / "rows.json").write_text(json.dumps([[asdict(row) for row in side] for side in (rows, validation)]))
    values = {"root": str(ROOT), "tests": str(ROOT / "tests"), "folder": str(tiny_model_folder)}
    (tmp_path / "script.py").write_text(textwrap.dedent(TWO_PROCESSES.format(**values)))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", "script.py"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-3000:]
    one = make_run(
        tiny_model_folder,
        rows,
        validation,
        max_steps=5,
        per_device_train_batch_size=4,
        gradient_accumulation_steps=2,
    )
    one.fit()
    norms = [entry["grad_norm"] for entry in one.state.grad_norm]
    ends = torch.load(tmp_path / "ends.pt")
    assert len(ends) == 2
    for processes, loss, val_loss, grad_norm, adapter in ends:
        assert processes == 2
        for found, expected in ((loss, one.state.loss), (val_loss, one.state.val_loss)):
            assert [entry["step"] for entry in found] == [entry["step"] for entry in expected]
            assert [entry["loss"] for entry in found] == pytest.approx([entry["loss"] for entry in expected], abs=5e-5)
        assert [entry["grad_norm"] for entry in grad_norm] == pytest.approx(norms, rel=1e-3)
        for name, weight in one.copy_adapter().items():
            torch.testing.assert_close(adapter[f"module.{name}"], weight, rtol=1e-2, atol=2e-4, msg=name)
