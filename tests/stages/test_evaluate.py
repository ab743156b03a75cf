"""The baseline and evaluate stages on a tiny model: the same measurements of both, and what the training changed."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from netllama.code_tasks.code_ladder import FailureClass, Rung
from netllama.core.errors import StageError
from netllama.core.files import read_json, read_jsonl, write_findings, write_json, write_jsonl
from netllama.core.metrics import read_details
from netllama.core.params import read_params
from netllama.core.tokenized_rows import TokenizedRow, read_template_hash
from netllama.documents.chunk_file import write_chunks
from netllama.models.loading import load_base
from netllama.rendering.renderer import load_renderer
from netllama.scoring.clean_items import NOT_LOOKED_FOR
from netllama.scoring.refusal_balance import RefusalBalance
from netllama.scoring.score import SHOWN_NUMBERS
from netllama.training.adapter import add_adapter, save_adapter
from stages import baseline, evaluate
from tests.support.kept_adapters import write_kept_adapter
from tests.support.kept_runs import run_kept
from tests.support.reading_sets import make_asked, make_report_chunks
from tests.support.tokenized_tables import write_tokenized_rows
from tests.support.training_runs import loading_params, lora_params, training_record

ROOT = Path(__file__).parent.parent.parent
pytestmark = pytest.mark.usefixtures("one_thread")
GUESSES = {"chance", "majority", "longest_option", "ranked_first_chance"}
COUNTS = {"rows", "tokens", "questions", "ties", "low", "high"} | GUESSES
LOSS = ("loss", "low", "high")
CODE = ("code", "code_samples")
OF_KIND = {"choice": ("longest_option", "majority"), "true_false": ("majority", "says_true", "accuracy_balanced")}
READ = ("closed", "oracle", "retrieved", "distractors", "absent")
OF_CHOICE = ("accuracy", "accuracy_norm", "questions")
CLOSED = ("accuracy", "accuracy_norm", "accuracy_pmi", "brier", "calibration_error", "ties", "chance", "questions")


def question(number: int, kind: str) -> dict[str, Any]:
    answers = {"choice": "ABC"[number % 3], "true_false": ("true", "false")[number % 2], "blank": str(number)}
    return {
        "id": f"q-{kind}-{number}",
        "family": ("bgp_knowledge", "packet_analysis")[number % 2],
        "kind": kind,
        "question": f"Peer {number} uses port ____." if kind == "blank" else f"Which port does peer {number} use?",
        "options": ["TCP 179", "UDP 53", f"TCP {number}"] if kind == "choice" else [],
        "answer": answers.get(kind, "TCP 179"),
        "aliases": [],
        "key_facts": ["It uses port 179"] if kind == "open" else [],
        "reference": "RFC 4271",
        "cluster": "",
    }


def texts(number: int) -> tuple[str, str]:
    """Request and answer of a row of the test split."""
    request = f"Name the session of peer {number}" + " and of its neighbour" * number
    return request, "It is a TCP session" + " on port 179" * (number % 3 + 1)


def write_test_split() -> None:
    """Seven rows as the stage tokenize makes them of the params as they are."""
    renderer = load_renderer(evaluate.TOKENIZER, read_params().prompt)
    rows = []
    for number in range(7):
        rendered = renderer.render(*texts(number))
        family, source = ("bgp_knowledge", "packet_analysis")[number % 2], ("seed", "generated")[number % 2]
        start = rendered.answer_start
        rows.append(TokenizedRow(f"row-{number}", family, source, rendered.input_ids, start, start))
    write_tokenized_rows(evaluate.TOKENIZED, rows, renderer.fingerprint)


def write_train_split(*instructions: str) -> None:
    """What the adapter was trained on: these, each with an answer."""
    fields = {"family": "bgp_knowledge", "category": "", "source": "extra", "input": "", "output": "A route collector."}
    rows = [{"id": f"t-{number}", "instruction": text, **fields} for number, text in enumerate(instructions)]
    write_jsonl(evaluate.TRAIN, rows)


def write_reading() -> None:
    """Two questions on reports that have an answer, one that has none, and a closed one with documents.

    They are those of validation, too, so that what is said of these can be seen in the answers.
    """
    asked = [make_asked(0, ["r1", "r0"]), make_asked(1, ["r1"]), make_asked(2, ["r3", "r4"], answered=False)]
    closed = {"id": "q-choice-0", "kind": "choice", "family": "bgp_knowledge", "question": "Which?", "answer": ""}
    closed |= {"choices": [], "golden": ["r0"], "arms": {"oracle": ["r0"], "retrieved": ["r1"]}}
    write_jsonl(evaluate.ASKED, [*(row.model_dump() for row in asked), closed])
    write_jsonl(evaluate.VAL, [row.model_dump() for row in asked])
    write_chunks(evaluate.CHUNKS, make_report_chunks())


@pytest.fixture
def ready(tiny_base: Path, set_params: Callable[..., None]) -> Path:
    """The workdir as `train` leaves it: questions, a test split, and an adapter that changes the model a lot."""
    shutil.rmtree("data/questions")
    write_jsonl("data/questions/a.jsonl", [question(number, "choice") for number in range(5)])
    others = [question(number, "true_false") for number in range(3)] + [question(0, "open"), question(1, "code")]
    others += [question(number, "blank") for number in range(6)]
    write_jsonl("data/questions/b.jsonl", others)
    general = [question(number, "choice") for number in (20, 21)]
    write_jsonl("data/questions/general.jsonl", [row | {"family": "general"} for row in general])
    write_test_split()
    write_train_split("Name the collectors of RIS.")
    write_reading()
    set_params(
        **{
            "loading.quantization": "none",
            "evaluate.batch_size": 4,
            "evaluate.max_new_tokens": 6,
            "evaluate.num_generated": 4,
            "evaluate.num_programs": 0,
            "evaluate.num_reports": 48,
            "evaluate.num_val_reports": 8,
            "evaluate.num_with_documents": 64,
            "evaluate.code_samples": 2,
        }
    )
    make_adapter(scale=0.5)
    return tiny_base


def make_adapter(scale: float) -> None:
    """An adapter whose lora_B is random, `scale` large; 0: it changes nothing, like a fresh one."""
    template = read_template_hash(evaluate.TOKENIZED)
    write_kept_adapter(evaluate.ADAPTER, lambda: draw_adapter(scale), scale, template)


def draw_adapter(scale: float) -> None:
    torch.manual_seed(0)
    model, start = add_adapter(
        load_base(Path("tiny"), loading_params("fp32", "none", True)), lora_params(), 1, Path("tiny")
    )
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                weight.normal_().mul_(scale)
    made_by = training_record(template_hash=read_template_hash(evaluate.TOKENIZED))
    save_adapter(model, evaluate.ADAPTER, made_by, start)


def run_both() -> tuple[dict[str, Any], dict[str, Any]]:
    run_kept(baseline.main)
    run_kept(evaluate.main)
    return read_details(baseline.METRICS), read_details(evaluate.METRICS)


def leaves(metrics: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in metrics.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def test_both_files_hold_the_same_quantities_under_the_same_keys(ready: Path) -> None:
    base, tuned = run_both()
    tuned.pop("delta")
    assert tuned.pop("verdicts").keys() == {row["suite"] for row in read_json(evaluate.COMPARISON)}
    names = [name for name, _ in leaves(base)]
    assert [name for name, _ in leaves(tuned)] == names
    assert set(names) == {
        *(f"heldout.{name}" for name in ("loss", "perplexity", "rows", "tokens")),
        *(f"heldout.family.{name}.{key}" for name in ("bgp_knowledge", "packet_analysis") for key in LOSS),
        *(f"heldout.source.{name}.{key}" for name in ("seed", "generated") for key in LOSS),
        *(f"{kind}.{name}" for kind, own in OF_KIND.items() for name in (*CLOSED, *own)),
        *(f"blank.{name}" for name in ("accuracy", "ranked_first", "ranked_first_chance", "questions")),
        *(f"open.{name}" for name in ("key_facts", "rouge_l", "token_f1", "length", "truncated", "questions")),
        *(f"general.{name}" for name in ("accuracy", "chance", "longest_option", "majority", "questions")),
        *(f"generation.{name}" for name in ("rougeL", "truncated", "rows")),
        *(f"{kind}.{name}" for kind in CODE for name in ("pass_at_1", "climbed", "questions")),
        "code_samples.pass_at_2",
        *(f"{kind}.reached.{rung.name.lower()}" for kind in CODE for rung in Rung if rung > Rung.NOTHING),
        *(f"reading.{arm}.{name}" for arm in READ for name in ("accuracy", "exact", "refused", "questions")),
        *(f"reading.{arm}.invented" for arm in READ if arm != "closed"),
        *(f"reading.{arm}.{name}" for arm in ("oracle", "retrieved") for name in ("cites", "cites_golden")),
        *(f"reading.{name}" for name in ("right_refusals", "false_refusals", "by_slot.1", "by_slot.2")),
        *(f"reading.choice_{arm}.{name}" for arm in ("oracle", "retrieved") for name in OF_CHOICE),
        *(
            f"{kind}.failures.{failure.name.lower()}"
            for kind in CODE
            for failure in FailureClass
            if failure is not FailureClass.NONE
        ),
    }
    assert (base["choice"]["questions"], base["true_false"]["questions"]) == (5, 3)
    assert (base["heldout"]["rows"], base["generation"]["rows"]) == (7, 4)
    assert all(isinstance(value, int | float) for _, value in leaves(base))


def test_delta_is_tuned_minus_base_for_everything_but_counts(ready: Path) -> None:
    base, tuned = run_both()
    delta = dict(leaves(tuned.pop("delta")))
    tuned.pop("verdicts")
    expected = {
        name: value - dict(leaves(base))[name] for name, value in leaves(tuned) if name.rsplit(".", 1)[-1] not in COUNTS
    }
    assert delta == pytest.approx(expected, abs=1e-4)
    assert delta["heldout.loss"] != 0


def test_an_adapter_that_changes_next_to_nothing_has_answers_and_scores_of_the_base(ready: Path) -> None:
    make_adapter(scale=1e-7)
    _, tuned = run_both()
    assert {value for _, value in leaves(tuned["delta"])} == {0}
    for after, before in zip(read_jsonl(evaluate.ANSWERS), read_jsonl(baseline.ANSWERS), strict=True):
        assert (after["item"], after["answer"]) == (before["item"], before["answer"])
        assert after["value"] == pytest.approx(before["value"], abs=2e-6)


def test_refusals_are_balanced_on_questions_of_validation(
    ready: Path, set_params: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    """Two questions are shown with their document alone, and as a search finds it: of these four none may be refused,
    or two, and so it is in the answers."""
    opened = {}
    for most_false in (0.0, 0.5):
        set_params(**{"evaluate.max_false_refusals": most_false})
        run_both()
        balance = RefusalBalance.model_validate(read_json(evaluate.REFUSALS))
        assert (balance.answered, balance.unanswered) == (4, 3)
        assert balance.false_refusals == most_false
        assert balance.describe() in capsys.readouterr().out.splitlines()
        opening = load_renderer(evaluate.TOKENIZER, read_params().prompt).decode_answer([balance.token])
        answers = [(row["arm"], row["answer"]) for row in read_jsonl(evaluate.ANSWERS) if row["kind"] == "report"]
        opened[most_false] = [arm for arm, answer in answers if answer.startswith(opening)]
        assert sum(arm in ("oracle", "retrieved") for arm in opened[most_false]) == 4 * most_false
    assert "closed" not in opened[0.0]
    set_params(**{"evaluate.num_val_reports": 0})
    run_both()
    assert read_json(evaluate.REFUSALS) == {"none": evaluate.NO_BALANCE}
    assert "refusals: " not in capsys.readouterr().out


def test_an_adapter_that_changes_no_logit_is_one_line_before_anything_is_measured(
    ready: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_adapter(scale=0.0)
    baseline.main()
    monkeypatch.setattr(evaluate, "measure_model", lambda *args: pytest.fail("measured"))
    with pytest.raises(StageError, match=r"^models/adapter: changes no logit .* 0 steps.*; run `dvc repro train`$"):
        evaluate.main()
    assert not any(path.exists() for path in (evaluate.METRICS, evaluate.ANSWERS, evaluate.CONTAMINATION))


def test_where_no_question_is_found_in_train_the_line_and_every_suite_say_so(
    ready: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_both()
    said = "contamination: none of 18 questions shares 8 words in a row with the training data, or has a ROUGE-L F1 of"
    assert f"{said} 0.7 to a row of it" in capsys.readouterr().out.splitlines()
    assert read_jsonl(evaluate.CONTAMINATION) == [{"none": "no question is found in train"}]
    found = {row["suite"]: row["clean"] for row in read_json(evaluate.COMPARISON)}
    assert found["four-choice questions"] == "no hit"
    assert found["loss on held-out answers"].startswith("rows of the split")
    assert found["network reports without documents"] == "questions on networks of the test side alone"
    assert found["four-choice questions with found documents"] == "no hit"


def test_questions_planted_in_train_are_listed_and_the_comparison_is_made_without_them_too(
    ready: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = Path("data/questions/a.jsonl")
    rows = read_jsonl(path)
    rows[2] |= {"question": "Which port does the second peer of all use?"}
    write_jsonl(path, rows)
    write_train_split(
        f"Say this: {rows[2]['question']} I do not know it, and do not ask me once more.", "Another task."
    )
    run_both()
    [listed] = read_jsonl(evaluate.CONTAMINATION)[:1]
    assert listed["question"] == "q-choice-2"
    assert (listed["measure"], listed["row"], listed["rows"]) == ("8-gram", "t-0", 1)
    assert listed["shared"] == "which port does the second peer of all use"
    found = {row["suite"]: row for row in read_json(evaluate.COMPARISON)}
    all_rows, clean = found["four-choice questions"], found["four-choice questions"]["clean"]
    assert (all_rows["items"], clean["items"]) == (5, 4)
    answers = [
        row
        for row in read_jsonl(baseline.ANSWERS)
        if row["item"] in [f"q-choice-{at}" for at in (0, 1, 3, 4)] and not row["arm"]
    ]
    assert clean["base"]["value"] == pytest.approx(sum(row["value"] for row in answers) / 4)
    assert found["general questions"]["clean"] == "no hit"
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("contamination: ")]
    hits = {row["question"] for row in read_jsonl(evaluate.CONTAMINATION)}
    assert len(lines) == 1
    assert f"{len(hits)} of 18 questions" in lines[0]
    assert "-> results/contamination.jsonl; without them, tuned - base: four-choice questions" in lines[0]


def test_closed_scores_stand_beside_what_no_knowledge_gets(ready: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, tuned = run_both()
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines() if "." in line[:12]}
    (longest, place), majority = (tuned["choice"][name] for name in ("longest_option", "majority")), 2 / 3
    said = f"   guessing 0.3333, always the same {place:.4f}, longest option {longest:.4f}"
    assert lines["choice.accuracy"].endswith(said)
    assert lines["blank.ranked_first"].endswith(f"   guessing {tuned['blank']['ranked_first_chance']:.4f}")
    assert len(lines["blank.accuracy"].split()) == 3
    assert lines["true_false.accuracy"].endswith(f"   guessing 0.5000, always the same {majority:.4f}")
    assert tuned["true_false"]["majority"] == pytest.approx(majority, abs=1e-4)
    found = {row["suite"]: row.get("guessing") for row in read_json(evaluate.COMPARISON)}
    assert found["four-choice questions"] == {"chance": 0.3333, "longest_option": longest, "majority": place}
    assert found["true/false questions"] == {"chance": 0.5, "majority": round(majority, 4)}
    assert found["blanks"] is None


def test_options_are_listed_where_that_is_asked_for(ready: Path, set_params: Callable[..., None]) -> None:
    base, _ = run_both()
    set_params(**{"evaluate.listed_permutations": 3})
    listed, _ = run_both()
    new = {"accuracy_listed", "follows_position"}
    assert listed["choice"].keys() - base["choice"].keys() == new
    old = {name: value for name, value in listed["choice"].items() if name not in new}
    assert listed | {"choice": old} == base


def test_every_question_and_every_row_is_answered_once_by_both(ready: Path) -> None:
    run_both()
    base, tuned = read_jsonl(baseline.ANSWERS), read_jsonl(evaluate.ANSWERS)
    assert [(row["kind"], row["item"]) for row in base] == [(row["kind"], row["item"]) for row in tuned]
    asked = [row["item"] for row in base if row["suite"] == "questions"]
    closed = [f"q-choice-{number}" for number in range(5)] + [f"q-true_false-{number}" for number in range(3)]
    blanks = [f"q-blank-{number}" for number in range(6)]
    others = ["q-open-0", "q-code-1", "q-code-1", "q-choice-0", "q-choice-0"]
    assert asked == [*closed, "q-choice-20", "q-choice-21", *blanks, *others]
    assert [row["kind"] for row in base if row["item"] == "q-code-1"] == ["code", "code_samples"]
    on_reports = [(row["arm"], row["item"]) for row in base if row["suite"] == "reports"]
    assert on_reports == [*((arm, f"rq{number}") for arm in READ[:4] for number in (0, 1)), ("absent", "rq2x")]
    assert [row["item"] for row in base if row["kind"] == "heldout"] == [f"row-{number}" for number in range(7)]
    written = [row for row in base if row["kind"] == "generation"]
    assert len(written) == len({row["item"] for row in written}) == 4
    expected = {f"row-{number}": texts(number)[1] for number in range(7)}
    assert all(row["expected"] == expected[row["item"]] for row in written)
    assert base != tuned, "the adapter does change the answers"


def test_metrics_are_those_of_the_answers_in_the_results(ready: Path) -> None:
    _, tuned = run_both()
    rows = read_jsonl(evaluate.ANSWERS)
    for kind in ("choice", "true_false"):
        own = [row for row in rows if row["kind"] == kind and row["family"] != "general" and not row["arm"]]
        right = sum(row["answer"] == row["expected"] for row in own)
        assert tuned[kind]["accuracy"] == pytest.approx(right / len(own), abs=1e-4)
    scores = [row["value"] for row in rows if row["kind"] == "generation"]
    assert tuned["generation"]["rougeL"] == pytest.approx(sum(scores) / len(scores), abs=1e-4)


def test_a_second_run_writes_the_same_bytes(ready: Path) -> None:
    outs = [baseline.METRICS, baseline.ANSWERS, evaluate.METRICS, evaluate.ANSWERS, evaluate.COMPARISON]
    outs.append(evaluate.CONTAMINATION)
    run_both()
    first = [path.read_bytes() for path in outs]
    run_both()
    assert [path.read_bytes() for path in outs] == first
    assert all(str(ready).encode() not in content for content in first)


def test_the_batch_size_changes_speed_and_no_result(ready: Path, set_params: Callable[..., None]) -> None:
    _, tuned = run_both()
    answers = read_jsonl(evaluate.ANSWERS)
    set_params(**{"evaluate.batch_size": 1})
    assert dict(leaves(run_both()[1])) == pytest.approx(dict(leaves(tuned)), abs=2e-4)
    for row, before in zip(read_jsonl(evaluate.ANSWERS), answers, strict=True):
        assert row["answer"] == before["answer"]


def test_no_row_to_generate_leaves_the_group_out(ready: Path, set_params: Callable[..., None]) -> None:
    set_params(**{"evaluate.num_generated": 0, "evaluate.num_open": 0})
    base, tuned = run_both()
    assert not {"generation", "open"} & (base.keys() | tuned.keys())
    assert not {"generation", "open"} & {row["kind"] for row in read_jsonl(evaluate.ANSWERS)}


def test_an_empty_test_split_leaves_the_questions(ready: Path) -> None:
    write_tokenized_rows(evaluate.TOKENIZED, [])
    base, tuned = run_both()
    assert base.keys() == {"choice", "true_false", "general", "blank", "open", *CODE, "reading"}
    assert tuned.keys() == {*base, "delta", "verdicts"}


def test_base_and_tuned_are_compared_suite_by_suite(ready: Path) -> None:
    run_both()
    found = read_json(evaluate.COMPARISON)
    names = [row["suite"] for row in found]
    assert names == [
        "loss on held-out answers",
        "four-choice questions",
        "true/false questions",
        "blanks",
        "key facts of open answers",
        "code questions",
        "code questions, sampled",
        "ROUGE-L of written answers",
        "four-choice questions with the right document",
        "four-choice questions with found documents",
        "network reports without documents",
        "network reports with the right document",
        "network reports with found documents",
        "network reports with wrong documents only",
        "network reports that hold no answer",
        "general questions",
        "how far code gets",
    ]
    base, tuned = read_details(baseline.METRICS), read_details(evaluate.METRICS)
    assert found[0]["base"]["value"] == pytest.approx(base["heldout"]["loss"], abs=1e-4)
    assert found[0]["tuned"]["value"] == pytest.approx(tuned["heldout"]["loss"], abs=1e-4)
    assert {row["suite"]: row["items"] for row in found}["general questions"] == 2


def test_dvc_shows_what_was_measured_and_how_many_suites_got_better_and_worse(ready: Path) -> None:
    _, tuned = run_both()
    shown = {name: value for name, value in read_json(evaluate.METRICS).items() if name != "details"}
    assert shown["test_loss"] == tuned["heldout"]["loss"]
    assert shown.keys() == {*SHOWN_NUMBERS, "better", "worse"} - {"programs"}
    verdicts = [row["verdict"] for row in read_json(evaluate.COMPARISON)]
    assert (shown["better"], shown["worse"]) == (verdicts.count("better"), verdicts.count("worse"))


def test_tasks_by_program_are_a_suite_of_their_own_with_a_verdict(ready: Path, set_params: Callable[..., None]) -> None:
    set_params(**{"evaluate.num_programs": 4, "evaluate.num_reports": 0, "evaluate.num_with_documents": 0})
    base, tuned = run_both()
    assert base["programs"].keys() == tuned["programs"].keys()
    assert base["programs"]["questions"] == 4
    assert set(tuned["programs"]["by_kind"]) == {"decode", "origin", "percentile", "retransmissions"}
    found = {row["suite"]: row for row in read_json(evaluate.COMPARISON)}["tasks by program"]
    assert (found["items"], found["clean"]) == (4, NOT_LOOKED_FOR["programs"])
    assert found["verdict"] in ("better", "worse", "inconclusive")
    for side, metrics in (("base", base), ("tuned", tuned)):
        assert found[side]["value"] == metrics["programs"]["accuracy"]


def test_answers_to_other_items_than_the_base_had_are_refused(ready: Path) -> None:
    baseline.main()
    rows = read_jsonl(baseline.ANSWERS)
    write_jsonl(baseline.ANSWERS, rows[1:])
    with pytest.raises(StageError, match=r"results/base\.jsonl: no answer to heldout row-0; run `dvc repro baseline`"):
        evaluate.main()
    write_jsonl(baseline.ANSWERS, [*rows, rows[0] | {"item": "row-99"}])
    with pytest.raises(StageError, match="row-99 was not asked this time"):
        evaluate.main()


def test_more_rows_than_there_are_answers_all_of_them(ready: Path, set_params: Callable[..., None]) -> None:
    set_params(**{"evaluate.num_generated": 100})
    baseline.main()
    assert read_details(baseline.METRICS)["generation"]["rows"] == 7


def test_base_and_tuned_stand_side_by_side_on_the_terminal(ready: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base, tuned = run_both()
    lines = capsys.readouterr().out.splitlines()
    line = next(line for line in lines if line.startswith("heldout.loss"))
    assert line.split() == ["heldout.loss", f"{base['heldout']['loss']:.4f}", f"{tuned['heldout']['loss']:.4f}"]
    assert [
        line.split()[0] for line in lines if line.startswith(("choice.", "true_false.", "generation.", "reading"))
    ] == [
        "choice.accuracy",
        "true_false.accuracy",
        "true_false.accuracy_balanced",
        "generation.rougeL",
        "reading.closed.accuracy",
        "reading.retrieved.accuracy",
        "reading.right_refusals",
        "reading.false_refusals",
        "reading.choice_retrieved.accuracy",
    ]


def test_a_missing_adapter_is_one_line_and_no_result_is_written(ready: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    baseline.main()
    shutil.rmtree(evaluate.ADAPTER)
    monkeypatch.setattr(evaluate, "measure_model", lambda *args: pytest.fail("measured without an adapter"))
    with pytest.raises(StageError, match=r"^models/adapter/training\.json: no such file; run `dvc repro train`$"):
        evaluate.main()
    assert not evaluate.METRICS.exists()
    assert not evaluate.ANSWERS.exists()


def test_a_missing_baseline_is_one_line_before_the_model_is_loaded(
    ready: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluate, "load_base", lambda *args: pytest.fail("loaded the model"))
    with pytest.raises(StageError, match=r"^metrics/baseline\.json: no such file"):
        evaluate.main()


@pytest.mark.parametrize("stage", [baseline, evaluate])
def test_a_bad_question_is_named_by_file_and_line_before_the_model_is_loaded(
    ready: Path, monkeypatch: pytest.MonkeyPatch, stage: Any
) -> None:
    for path, content in ((baseline.METRICS, '{"details": [{}]}'), (baseline.ANSWERS, "")):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    write_jsonl("data/questions/b.jsonl", [question(0, "choice"), question(1, "choice") | {"answer": "E"}])
    monkeypatch.setattr(stage, "load_base", lambda *args: pytest.fail("loaded the model"))
    with pytest.raises(StageError, match=r"^data/questions/b\.jsonl:2: answer 'E' is not the letter of an option$"):
        stage.main()


def test_as_a_process_it_says_its_progress_and_nothing_noisy(ready: Path, set_params: Callable[..., None]) -> None:
    """As shipped: precision by hardware and NF4, on the answers of a base measured before."""
    baseline.main()
    set_params(**{"loading.precision": "auto", "loading.quantization": "nf4"})
    run = subprocess.run(
        [sys.executable, "-m", "stages.evaluate"],
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    files = "results/tuned.jsonl, scores -> metrics/evaluate.json, tests -> results/comparison.json"
    assert run.stdout.splitlines()[-1] == f"tuned: 41 answers -> {files}"
    said = [line for line in run.stderr.replace("\r", "\n").splitlines() if line.strip()]
    noise = [
        line
        for line in said
        if not re.match(r"(held-out loss|choice( with documents)?|true or false|blanks|answers|refusals):", line)
    ]
    assert noise == [], "\n".join(noise)


@pytest.mark.parametrize(("key", "value"), [("template", "alpaca"), ("system_prompt", "You know BGP.")])
def test_an_adapter_trained_on_another_template_is_refused(
    ready: Path, set_params: Callable[..., None], key: str, value: str
) -> None:
    """Its prompts would be other ones than it has ever seen: the scores would be of something else."""
    baseline.main()
    set_params(**{f"prompt.{key}": value})
    write_test_split()
    with pytest.raises(StageError, match=rf"^models/adapter: made with another prompt\.{key} .*; run `dvc repro`"):
        evaluate.main()
    assert not evaluate.METRICS.exists()


def test_an_adapter_that_says_nothing_of_its_training_is_refused(ready: Path) -> None:
    baseline.main()
    (evaluate.ADAPTER / "training.json").unlink()
    with pytest.raises(StageError, match=r"^models/adapter/training\.json: no such file; run `dvc repro train`$"):
        evaluate.main()


def test_a_test_split_of_another_template_than_the_questions_is_refused(
    ready: Path, set_params: Callable[..., None]
) -> None:
    """Prompts of answers in full are those of the table, prompts of questions are rendered: both are one template."""
    set_params(**{"prompt.system_prompt": "You know BGP."})
    said = r"^data/tokenized/test\.parquet: made with another prompt\.system_prompt .*; run `dvc repro`"
    with pytest.raises(StageError, match=said):
        baseline.main()
    assert not baseline.METRICS.exists()


def test_a_training_record_of_another_version_is_refused(ready: Path) -> None:
    baseline.main()
    path = evaluate.ADAPTER / "training.json"
    write_json(path, read_json(path) | {"model": {}})
    with pytest.raises(
        StageError, match=r"^models/adapter/training\.json: model: extra inputs .*; run `dvc repro train`$"
    ):
        evaluate.main()


def test_answers_in_each_arm_are_paired_with_those_of_the_same_arm(ready: Path) -> None:
    run_both()
    base, tuned = (
        {(row["arm"], row["item"]): row for row in read_jsonl(path)} for path in (baseline.ANSWERS, evaluate.ANSWERS)
    )
    for comparison in read_json(evaluate.COMPARISON):
        if comparison["suite"] == "network reports with found documents":
            for side, rows in (("base", base), ("tuned", tuned)):
                values = [rows["retrieved", item]["value"] for item in ("rq0", "rq1")]
                assert comparison[side]["value"] == pytest.approx(sum(values) / 2)
    rows = [row for row in read_jsonl(baseline.ANSWERS) if (row["arm"], row["item"]) != ("oracle", "rq0")]
    write_jsonl(baseline.ANSWERS, rows)
    with pytest.raises(StageError, match=r"no answer to report rq0 \(arm oracle\); run `dvc repro baseline`"):
        evaluate.main()


@pytest.mark.parametrize("off", ["params", "retrieve"])
def test_without_documents_nothing_is_asked_of_them(ready: Path, set_params: Callable[..., None], off: str) -> None:
    if off == "params":
        set_params(**{f"evaluate.{name}": 0 for name in ("num_reports", "num_val_reports", "num_with_documents")})
    else:
        write_findings(evaluate.ASKED, [], none="no question has documents")
        write_findings(evaluate.VAL, [], none="no question is asked in validation")
    evaluate.CHUNKS.write_text("")
    base, tuned = run_both()
    assert "reading" not in base.keys() | tuned.keys()
    assert not [row for row in read_jsonl(evaluate.ANSWERS) if row["arm"]]
    shown = read_json(evaluate.METRICS).keys() - {"details"}
    assert shown == {*SHOWN_NUMBERS, "better", "worse"} - {"reading", "programs"}
