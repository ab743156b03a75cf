"""The split stage as a whole: what it writes, drops, refuses and prints; foreign data with planted faults."""

import json
import os
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from netllama.contamination.evaluation_questions import Evaluation
from netllama.contamination.normalisation import blot_numbers
from netllama.core.errors import StageError
from netllama.core.files import write_json, write_jsonl
from netllama.core.metrics import read_details
from netllama.core.params import read_params
from netllama.core.records import Instruction, Question, load_questions
from netllama.novelty.novelty_index import NoveltyIndex
from netllama.selfinstruct.output_contract import Candidate
from netllama.selfinstruct.rounds import Family
from netllama.splitting.extra import load_extra
from stages import split
from tests.support.clones import ROOT
from tests.support.foreign_rows import FAULTS, KEPT, LINE_FAULTS, write_foreign
from tests.support.generated_sets import SHAPES
from tests.support.records import generated

WORDS = [
    f"{a}{b}" for a in ("bgp", "hold", "peer", "route", "path", "origin", "next", "flap") for b in "abcdefghijklmnop"
]
WRITTEN = [*split.SPLITS.values(), split.DROPPED, split.LEAKAGE, split.METRICS]


def row(text: str, number: int, family: str = "bgp_knowledge") -> Instruction:
    return generated(f"{family}-{number:05d}", family, text)


def distinct_rows(number: int, family: str = "bgp_knowledge", seed: int = 0) -> list[Instruction]:
    """Texts of 12 words drawn from 128: no two are near-duplicates."""
    draw = random.Random(f"{seed}/{family}")
    return [row(" ".join(draw.sample(WORDS, 12)), index, family) for index in range(number)]


# --- the whole stage


@pytest.fixture
def few_questions(workdir: Path) -> None:
    """One of eight questions that are shipped: half of a run goes into comparing rows with all of them."""
    for path in Path("data/questions").glob("*.jsonl"):
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        path.write_text("".join(lines[::8]), encoding="utf-8")


def write_pool() -> list[Instruction]:
    """60 generated rows of two families beside the seeds of the repository."""
    rows = [*distinct_rows(40), *distinct_rows(20, "packet_analysis")]
    write_jsonl(split.GENERATED, (row.model_dump() for row in rows))
    return rows


@pytest.fixture
def pool(few_questions: None) -> list[Instruction]:
    return write_pool()


def outs() -> dict[str, list[dict[str, Any]]]:
    return {name: listed(path) for name, path in split.SPLITS.items()}


def listed(path: Path) -> list[dict[str, Any]]:
    """The rows of a file, but for the one that says that there are none."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [row for row in rows if list(row) != ["none"]]


def dropped() -> list[dict[str, Any]]:
    return listed(split.DROPPED)


def seed_ids() -> set[str]:
    paths = Path("data/seeds").glob("*.jsonl")
    return {json.loads(line)["id"] for path in paths for line in path.read_text(encoding="utf-8").splitlines()}


def test_every_row_lands_on_one_side_and_the_metrics_say_where(workdir: Path, set_params: Callable[..., None]) -> None:
    """All that is shipped: no seed is near a question."""
    pool = write_pool()
    set_params(**{"split.val_size": 11, "split.test_size": 30})
    split.main()
    sides = outs()
    ids = [r["id"] for rows in sides.values() for r in rows]
    assert sorted(ids) == sorted(seed_ids() | {r.id for r in pool})
    metrics = read_details(split.METRICS)
    total = len(ids)
    assert metrics["rows"] == {"train": total - 11 - 30, "val": 11, "test": 30}
    assert metrics["rows"] == {name: len(rows) for name, rows in sides.items()}
    for key in ("family", "source"):
        assert metrics[key] == {name: Counter(r[key] for r in rows) for name, rows in sides.items()}
    assert metrics["dropped"] == {}
    assert metrics["near_duplicates"] == 0
    assert metrics["seeds_near_questions"] == 0
    assert {name: numbers["leaked"] for name, numbers in metrics["leakage"].items()} == {
        "val": 0,
        "test": 0,
        "questions": 0,
    }
    assert all(rows == sorted(rows, key=lambda r: (r["family"], r["id"])) for rows in sides.values())


def test_shares_are_held_but_for_chance(pool: list[Instruction]) -> None:
    split.main()
    rows = read_details(split.METRICS)["rows"]
    total = sum(rows.values())  # 333: five standard deviations
    assert abs(rows["test"] - 0.15 * total) < 33
    assert abs(rows["val"] - 0.1 * total) < 28


def test_the_same_input_gives_the_same_bytes_whatever_the_hash_seed(
    few_questions: None, set_params: Callable[..., None]
) -> None:
    write_foreign(Path("data/extra/foreign.jsonl"), 300, 5)
    write_jsonl(split.GENERATED, (r.model_dump() for r in distinct_rows(40)))
    set_params(**{"split.extra": ["foreign.jsonl"]})
    split.main()
    first = [path.read_bytes() for path in WRITTEN]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": "1"}
    run = subprocess.run([sys.executable, "-m", "stages.split"], env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert [path.read_bytes() for path in WRITTEN] == first


def test_a_generated_copy_of_a_seed_is_dropped_and_counted(
    pool: list[Instruction], capsys: pytest.CaptureFixture[str]
) -> None:
    seed = json.loads(Path("data/seeds/bgp_knowledge.jsonl").read_text(encoding="utf-8").splitlines()[0])
    copy = generated("copy", "bgp_knowledge", seed["instruction"], seed["output"], input=seed["input"])
    write_jsonl(split.GENERATED, (row.model_dump() for row in [copy, *pool]))
    split.main()
    ids = {r["id"] for rows in outs().values() for r in rows}
    assert "copy" not in ids
    assert seed["id"] in ids
    assert read_details(split.METRICS)["dropped"] == {"exact_duplicate": 1}
    assert dropped() == [
        {"id": "copy", "reason": "exact_duplicate", "of": [seed["id"]], "detail": f"the same text as {seed['id']}"}
    ]
    assert "dropped 1 row: 1 exact_duplicate; all in data/splits/dropped.jsonl\n  copy: " in capsys.readouterr().out


def test_near_duplicates_are_counted_and_kept_on_one_side(pool: list[Instruction]) -> None:
    near = [row(f"{r.instruction} please", 5000 + i) for i, r in enumerate(pool[:10])]
    write_jsonl(split.GENERATED, (r.model_dump() for r in [*pool, *near]))
    split.main()
    side = {r["id"]: name for name, rows in outs().items() for r in rows}
    assert all(side[r.id] == side[twin.id] for r, twin in zip(pool[:10], near, strict=True))
    assert read_details(split.METRICS)["near_duplicates"] >= 10


def test_a_file_that_repeats_another_one_is_told_of_up_to_case_and_white_space(
    pool: list[Instruction], set_params: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    """White space does not make another text. Case does, in code: those rows are kept, together."""
    set_params(**{"split.extra": ["mine.jsonl", "again.jsonl", "loud.jsonl"]})
    write_jsonl(Path("data/extra/mine.jsonl"), EXTRA_ROWS)
    for name, change in {"again": lambda text: f" {text}\n\n".replace(" ", "  "), "loud": str.upper}.items():
        texts = ("instruction", "input", "output")
        changed = [each | {key: change(each[key]) for key in texts if key in each} for each in EXTRA_ROWS]
        write_jsonl(Path(f"data/extra/{name}.jsonl"), changed)
    split.main()
    first = {each.instruction: each.id for each, _ in load_extra(Path("data/extra/mine.jsonl")).rows}
    assert [(drop["file"], drop["line"], drop["reason"], drop["of"]) for drop in dropped()] == [
        ("data/extra/again.jsonl", number, "exact_duplicate", [id]) for number, id in enumerate(first.values(), start=1)
    ]
    kept = [(r["instruction"], name) for name, rows in outs().items() for r in rows if r["source"] == "extra"]
    assert sorted(text for text, _ in kept) == sorted([*first, *map(str.upper, first)])
    assert len({(text.upper(), name) for text, name in kept}) == len(first), "each pair is on one side"
    metrics = read_details(split.METRICS)
    assert (metrics["dropped"], metrics["near_duplicates"]) == ({"exact_duplicate": len(first)}, len(first))
    said = capsys.readouterr().out
    assert f"dropped {len(first)} rows: {len(first)} exact_duplicate; all in data/splits/dropped.jsonl" in said
    assert f"\n{len(first)} rows are near-duplicates of another one (case, accents and numbers do not count)" in said


def test_asking_for_more_rows_than_there_are_says_what_to_change(
    pool: list[Instruction], set_params: Callable[..., None]
) -> None:
    set_params(**{"split.val_size": 1300, "split.test_size": 0.5})
    rows = len(pool) + len(seed_ids())
    said = f"^split\\.val_size and split\\.test_size ask for 1300 \\+ {round(rows / 2)} of {rows} rows, which .*"
    with pytest.raises(StageError, match=said):
        split.main()
    assert not any(path.exists() for path in WRITTEN)


EXTRA_ROWS = [
    {"instruction": "Name the port of BGP.", "output": "TCP 179.", "text": "joined", "score": 1},
    {"instruction": "Name the port of NTP.", "input": "ntp", "output": "UDP 123.", "family": "packet_analysis"},
]


@pytest.mark.parametrize("name", ["mine.json", "mine.jsonl"])
def test_your_own_data_joins_without_its_stray_keys(
    pool: list[Instruction], set_params: Callable[..., None], name: str
) -> None:
    (write_json if name.endswith(".json") else write_jsonl)(Path("data/extra") / name, EXTRA_ROWS)
    set_params(**{"split.extra": [name]})
    split.main()
    rows = [r for side in outs().values() for r in side if r["source"] == "extra"]
    assert all(r["id"].startswith("mine-") for r in rows)
    assert sorted(({k: v for k, v in r.items() if k != "id"} for r in rows), key=lambda r: r["instruction"]) == [
        {
            "family": "extra",
            "category": "",
            "source": "extra",
            "instruction": "Name the port of BGP.",
            "input": "",
            "output": "TCP 179.",
        },
        {
            "family": "packet_analysis",
            "category": "",
            "source": "extra",
            "instruction": "Name the port of NTP.",
            "input": "ntp",
            "output": "UDP 123.",
        },
    ]


def test_your_own_data_stays_out_until_it_is_named(pool: list[Instruction]) -> None:
    write_jsonl(Path("data/extra/mine.jsonl"), EXTRA_ROWS)
    split.main()
    assert {r["source"] for side in outs().values() for r in side} == {"seed", "generated"}


def test_a_bad_row_of_your_own_data_is_left_out_and_listed(
    pool: list[Instruction], set_params: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    write_jsonl(Path("data/extra/mine.jsonl"), [*EXTRA_ROWS, {"instruction": "No output."}, EXTRA_ROWS[0]])
    set_params(**{"split.extra": ["mine.jsonl"]})
    split.main()
    (copied,) = (r["id"] for side in outs().values() for r in side if r["instruction"] == "Name the port of BGP.")
    place = {"file": "data/extra/mine.jsonl"}
    assert dropped() == [
        {**place, "line": 3, "reason": "no_output", "detail": "output: missing or empty"},
        {**place, "line": 4, "reason": "exact_duplicate", "id": copied, "of": [copied],
         "detail": f"the same text as {copied}"},
    ]  # fmt: skip
    assert read_details(split.METRICS)["dropped"] == {"no_output": 1, "exact_duplicate": 1}
    assert "  data/extra/mine.jsonl, line 3: no_output (output: missing or empty)\n" in capsys.readouterr().out


def test_the_wrong_file_ends_the_stage_and_nothing_is_written(
    pool: list[Instruction], set_params: Callable[..., None]
) -> None:
    write_jsonl(Path("data/extra/mine.jsonl"), [{"prompt": "a", "chosen": "b", "rejected": "c"}] * 9)
    set_params(**{"split.extra": ["mine.jsonl"]})
    with pytest.raises(StageError, match=r"mine\.jsonl: 9 of 9 rows are not valid instructions.*line 1: no format"):
        split.main()
    assert not any(path.exists() for path in WRITTEN)


def test_what_is_wrong_in_any_file_is_said_at_once(pool: list[Instruction], set_params: Callable[..., None]) -> None:
    set_params(**{"split.extra": ["typo.jsonl"]})
    for path in (Path("data/seeds/bgp_knowledge.jsonl"), split.GENERATED):
        path.write_text("{\n" + path.read_text(encoding="utf-8") + "{\n", encoding="utf-8")
    with pytest.raises(StageError) as raised:
        split.main()
    said = [line.split(": ")[0] for line in str(raised.value).splitlines()]
    assert said[0] == "data/seeds/bgp_knowledge.jsonl:1"
    assert said[2:] == [f"{split.GENERATED}:1", f"{split.GENERATED}:62", "data/extra/typo.jsonl"]


def test_a_missing_file_of_your_own_is_named(pool: list[Instruction], set_params: Callable[..., None]) -> None:
    set_params(**{"split.extra": ["typo.jsonl"]})
    with pytest.raises(StageError, match=r"^data/extra/typo\.jsonl: no such file$"):
        split.main()


@pytest.mark.parametrize("name", ["../seeds/bgp_knowledge.jsonl", "/etc/hostname", "deep/mine.jsonl", "..", "."])
def test_a_path_outside_the_hashed_folder_is_refused(
    pool: list[Instruction], set_params: Callable[..., None], name: str
) -> None:
    set_params(**{"split.extra": [name]})
    with pytest.raises(StageError, match=r"^split\.extra: .*: put the file into data/extra/, which is hashed"):
        split.main()


def test_two_files_of_one_name_would_share_ids_and_are_refused(
    pool: list[Instruction], set_params: Callable[..., None]
) -> None:
    set_params(**{"split.extra": ["mine.json", "mine.jsonl"]})
    with pytest.raises(StageError, match=r"^split\.extra: two files are called mine: "):
        split.main()


# --- questions, leakage


QUESTION = "What value does the Length field of a KEEPALIVE message hold?"


def test_what_gives_a_question_away_goes_but_for_a_seed_which_is_reported(
    pool: list[Instruction], set_params: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    write_jsonl(split.GENERATED, (r.model_dump() for r in [row(QUESTION, 700), *pool]))
    write_jsonl(Path("data/extra/mine.jsonl"), [*EXTRA_ROWS, {"instruction": QUESTION.upper(), "output": "19"}])
    set_params(**{"split.extra": ["mine.jsonl"]})
    path = Path("data/seeds/bgp_knowledge.jsonl")
    seeds = listed(path)
    write_jsonl(path, [*seeds, seeds[0] | {"id": "careless", "instruction": QUESTION}])
    split.main()
    assert [(drop["reason"], drop["of"]) for drop in dropped()] == [("near_question", ["q-bgp_knowledge-001"])] * 2
    assert dropped()[1]["line"] == 3
    assert "careless" in {r["id"] for side in outs().values() for r in side}
    assert read_details(split.METRICS)["seeds_near_questions"] == 1
    (reported,) = (leak for leak in listed(split.LEAKAGE) if leak["side"] == "seeds")
    assert (reported["id"], reported["of"], reported["measure"]) == ("careless", "q-bgp_knowledge-001", "near")
    assert (reported["file"], reported["line"]) == (path.as_posix(), len(seeds) + 1)
    assert (reported["of_file"], reported["of_line"]) == ("data/questions/bgp_knowledge.jsonl", 1)
    assert "seed tasks that are too near to an evaluation question: 1; all in" in capsys.readouterr().out


def passages(number: int) -> list[dict[str, Any]]:
    """Tasks on one long passage each, in pairs that are not near: a long answer, and a short one."""
    draw = random.Random(11)
    made = []
    for _ in range(number):
        passage = " ".join(draw.choice(WORDS) for _ in range(40))
        answer = " ".join(f"{draw.choice(WORDS)}{draw.choice('xyz')}" for _ in range(200))
        made += [{"instruction": "Explain it at length.", "input": passage, "output": answer}]
        made += [{"instruction": "Which word is first here?", "input": passage, "output": passage.split()[0]}]
    return made


def test_rows_on_one_long_passage_stay_together(pool: list[Instruction], set_params: Callable[..., None]) -> None:
    write_jsonl(Path("data/extra/mine.jsonl"), passages(60))
    set_params(**{"split.extra": ["mine.jsonl"]})
    split.main()
    side = {r["input"]: name for name, rows in outs().items() for r in rows if r["source"] == "extra"}
    kept = [(r["input"], name) for name, rows in outs().items() for r in rows if r["source"] == "extra"]
    assert len(kept) == 120
    assert all(side[passage] == name for passage, name in kept)
    assert set(side.values()) == {"train", "val", "test"}
    assert {numbers["leaked"] for numbers in read_details(split.METRICS)["leakage"].values()} == {0}


def scattered_question() -> list[dict[str, Any]]:
    """Rows that repeat a question with others' help: a third of it each, inside a long text of their own."""
    words = LONG_QUESTION.split()
    parts = (words[:24], words[18:42], words[36:])
    draw = random.Random(3)
    return [
        {"instruction": f"Explain {draw.choice(WORDS)}.", "output": " ".join([*draw.sample(WORDS, 60), *part])}
        for part in parts
    ]


LONG_QUESTION = " ".join(f"{word}q" for word in random.Random(4).sample(WORDS, 60))


def test_a_planted_leak_ends_the_stage_names_the_rows_and_writes_nothing(
    pool: list[Instruction], set_params: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    question = Path("data/questions/pybgpstream.jsonl")
    rows = listed(question)
    rows[5] |= {"question": f"{LONG_QUESTION} ____" if rows[5]["kind"] == "blank" else LONG_QUESTION}
    write_jsonl(question, rows)
    write_jsonl(Path("data/extra/mine.jsonl"), [EXTRA_ROWS[0], *scattered_question()])
    set_params(**{"split.extra": ["mine.jsonl"], "split.max_leakage": 0.0, "split.val_size": 0, "split.test_size": 0})
    with pytest.raises(StageError, match=r"^1 of \d+ questions are found in train, more than split\.max_lea") as raised:
        split.main()
    assert "\n" not in str(raised.value)
    assert not any(path.exists() for path in WRITTEN)
    assert ".scratch/split/leakage.jsonl" in str(raised.value)
    (leak,) = listed(Path(".scratch/split/leakage.jsonl"))
    place = {"file": "data/questions/pybgpstream.jsonl", "line": 6, "of_file": "data/extra/mine.jsonl"}
    assert leak.items() > {"id": rows[5]["id"], "measure": "ngram", **place}.items()
    assert leak["of_line"] in (2, 3, 4)
    (shown,) = capsys.readouterr().err.splitlines()
    assert shown.startswith(f"questions {leak['id']}: ngram ")
    assert shown.endswith(f"(data/questions/pybgpstream.jsonl, line 6 / data/extra/mine.jsonl, line {leak['of_line']})")

    set_params(**{"split.max_leakage": 0.5})  # then it is let through, and listed
    split.main()
    assert listed(split.LEAKAGE) == [leak]
    assert read_details(split.METRICS)["leakage"]["questions"]["leaked"] == 1


def test_a_seed_that_gives_a_question_away_is_a_leak_of_train(
    pool: list[Instruction], set_params: Callable[..., None]
) -> None:
    path = Path("data/seeds/bgp_knowledge.jsonl")
    seeds = listed(path)
    write_jsonl(path, [*seeds, seeds[0] | {"id": "careless", "instruction": QUESTION}])
    set_params(**{"split.max_leakage": 0.0, "split.val_size": 0, "split.test_size": 0})
    with pytest.raises(StageError, match=r"^1 of \d+ questions are found in train, more than split\.max_leakage \(0\)"):
        split.main()


def test_a_side_that_was_asked_for_and_is_empty_is_told(
    pool: list[Instruction], set_params: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    set_params(**{"split.val_size": 0.003, "split.test_size": 0})
    for seed in range(20):
        set_params(**{"split.seed": seed})
        split.main()
        told = "warning: val has 0 rows (1 requested); the largest near-duplicate group" in capsys.readouterr().out
        assert told == (not read_details(split.METRICS)["rows"]["val"])
        if told:
            break
    else:
        pytest.fail("val was never empty")


def candidates_about(questions: list[Question]) -> Iterator[Candidate]:
    """Each question as a task: word for word, reworded, as the input, in the output, and its answer in the output."""
    draw = random.Random(5)
    for question in questions:
        words = question.question.split()
        reworded = " ".join(f"{word} {draw.choice(WORDS)}" if draw.random() < 0.3 else word for word in words)
        fresh = " ".join(draw.sample(WORDS, 12))
        answer = " ".join([*question.options, *question.key_facts, question.answer])
        yield Candidate(question.question, "", fresh)
        yield Candidate(reworded, "", fresh)
        yield Candidate(fresh, question.question, fresh)
        yield Candidate(fresh, reworded, fresh)
        yield Candidate(fresh, "", f"{fresh} {question.question}")
        yield Candidate(fresh, "", f"{fresh} {reworded} {answer}")


def test_no_row_that_generate_keeps_is_dropped_for_giving_a_question_away(
    workdir: Path, set_params: Callable[..., None]
) -> None:
    needs, questions = read_params(), load_questions(Path("data/questions"))
    family = Family(
        "bgp_knowledge", "", [], Evaluation(questions, needs.contamination),
        needs.generate, needs.teacher, needs.filters,
    )  # fmt: skip
    reasons: Counter[str | None] = Counter()
    kept = []
    for candidate in candidates_about(questions[::7]):
        reasons[reason := family.pool.judge_candidate(candidate).reason] += 1
        if reason is None:
            texts = {"input": candidate.input, "output": candidate.output}
            kept.append(row(candidate.instruction, len(kept)).model_copy(update=texts))
    assert reasons["near_question"] > 200
    assert reasons[None] > 50
    write_jsonl(split.GENERATED, (r.model_dump() for r in kept))
    set_params(**{"split.max_leakage": 1.0})
    split.main()
    assert "near_question" not in read_details(split.METRICS)["dropped"]
    assert "generated" in read_details(split.METRICS)["source"]["train"]


# --- foreign data


@pytest.mark.parametrize("name", ["foreign.jsonl", "foreign.json"])
def test_of_foreign_data_all_that_was_planted_is_dropped_for_its_reason_and_the_rest_is_kept(
    workdir: Path, set_params: Callable[..., None], name: str
) -> None:
    write_pool()
    truth = write_foreign(Path("data/extra") / name, 1000 if name.endswith("l") else 600, 2)
    set_params(**{"split.extra": [name]})
    split.main()
    unit = "line" if name.endswith("l") else "item"
    drops = {drop[unit]: drop for drop in dropped()}
    assert {number: drop["reason"] for number, drop in drops.items()} == truth.reasons
    assert read_details(split.METRICS)["dropped"] == Counter(truth.reasons.values())
    assert len(drops) == len(dropped())

    side = {r["instruction"]: name for name, rows in outs().items() for r in rows if r["source"] == "extra"}
    kept = [r["instruction"] for rows in outs().values() for r in rows if r["source"] == "extra"]
    assert Counter(kept) == Counter(truth.instructions.values())
    for number, original in truth.originals.items():
        if truth.kinds[number] == "near_duplicate":
            assert side[truth.instructions[number]] == side[truth.instructions[original]]
    faults = {*FAULTS, *LINE_FAULTS, "truncated"} if unit == "line" else {*FAULTS}
    assert set(truth.kinds.values()) == {*KEPT, *faults}
    assert set(side.values()) == {"train", "val", "test"}


@pytest.mark.parametrize("shape", SHAPES)
def test_a_generated_set_full_of_common_text_splits_at_the_defaults(
    few_questions: None, set_params: Callable[..., None], shape: str
) -> None:
    number = 500
    write_jsonl(split.GENERATED, [])
    write_json(Path("data/extra/mine.json"), SHAPES[shape](number, 2))
    set_params(**{"split.extra": ["mine.json"]})
    split.main()
    metrics = read_details(split.METRICS)
    held = {side: metrics["family"][side].get("extra", 0) for side in ("train", "val", "test")}
    dropped = metrics["dropped"].get("two_sides", 0)
    assert set(metrics["dropped"]) <= {"two_sides"}
    assert dropped <= 0.12 * number
    assert sum(held.values()) + dropped == number
    assert all(numbers["leaked"] == 0 for numbers in metrics["leakage"].values())
    if shape not in ("variants", "templated_questions"):  # groups of 30 rows make uneven sides
        assert 0.05 * number < held["val"] < 0.15 * number
        assert 0.1 * number < held["test"] < 0.2 * number


def test_wordings_of_one_task_stay_together_as_whole_texts(
    few_questions: None, set_params: Callable[..., None]
) -> None:
    write_jsonl(split.GENERATED, [])
    write_json(Path("data/extra/mine.json"), SHAPES["variants"](400, 5))
    set_params(**{"split.extra": ["mine.json"]})
    split.main()
    texts = {
        side: [blot_numbers(f"{r['instruction']} {r['output']}") for r in rows if r["source"] == "extra"]
        for side, rows in outs().items()
    }
    index = NoveltyIndex()
    for number, text in enumerate(texts["train"]):
        index.add(str(number), text)
    assert not [text for side in ("val", "test") for text in texts[side] if index.find_nearest(text, 0.7)[0]]


def copies(number: int) -> list[dict[str, str]]:
    """Rows that differ in their numbers only, which their answers copy."""
    asked = "Configure AS {0} with 10.{1}.0.1 as its neighbour."
    said = "router bgp {0} and then neighbor 10.{1}.0.1 in it"
    return [
        {"instruction": asked.format(64512 + n, n % 250), "output": said.format(64512 + n, n % 250), "family": "config"}
        for n in range(number)
    ]


def test_a_file_and_a_family_that_a_side_lacks_are_told_with_the_way_out(
    pool: list[Instruction], set_params: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    write_jsonl(Path("data/extra/mine.jsonl"), [*copies(40), *EXTRA_ROWS])
    write_jsonl(Path("data/extra/other.jsonl"), copies(80)[40:])
    set_params(**{"split.extra": ["mine.jsonl", "other.jsonl"]})
    split.main()
    warnings = [line for line in capsys.readouterr().out.splitlines() if line.startswith("warning: ")]
    first = listed_ids("mine.jsonl", 1)
    (side,) = (name for name, rows in outs().items() if first in {r["id"] for r in rows})
    lacking = " and ".join(name for name in ("train", "val", "test") if name != side)
    way = (
        f"of them are near-duplicates of {first} and stay together: raise split.near_duplicate_threshold, or leave out "
        "all but a few of them"
    )
    assert f"warning: {lacking} have none of the 80 rows of family config: 80 {way}" in warnings
    assert f"warning: {lacking} have none of the 40 rows of data/extra/other.jsonl: 40 {way}" in warnings


def listed_ids(name: str, number: int) -> str:
    """The id of row `number` of a file in data/extra/."""
    rows = load_extra(Path("data/extra") / name).rows
    return next(row.id for row, origin in rows if origin and origin.number == number)


def test_nothing_is_told_of_sides_that_lack_nothing(
    pool: list[Instruction], set_params: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    write_json(Path("data/extra/mine.json"), SHAPES["counter_windows"](300, 1))
    set_params(**{"split.extra": ["mine.json"]})
    split.main()
    assert "warning" not in capsys.readouterr().out


def test_what_was_read_of_foreign_formats_is_told_and_counted(
    pool: list[Instruction], set_params: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    draw = random.Random(2)
    turns = [{"from": who, "value": " ".join(draw.sample(WORDS, 12))} for who in ("human", "gpt", "human", "gpt")]
    write_jsonl(Path("data/extra/mine.jsonl"), [{"conversations": turns, "system": "Be brief."}])
    set_params(**{"split.extra": ["mine.jsonl"]})
    split.main()
    (row,) = (r for rows in outs().values() for r in rows if r["source"] == "extra")
    assert row["instruction"] == f"Be brief.\n\n{turns[0]['value']}"
    assert read_details(split.METRICS)["extra"]["mine.jsonl"] == {
        "formats": {"ShareGPT": 1}, "cut_to_first_turn": 1, "messages_left_out": 2, "with_system": 1,
        "without_marks": 0,
    }  # fmt: skip
    said = "data/extra/mine.jsonl: rows: 1 ShareGPT; 1 cut to the first turn, 2 messages are left out; 1 with a system"
    assert said in capsys.readouterr().out


def test_bad_lines_of_seeds_and_of_questions_are_listed_together(pool: list[Instruction]) -> None:
    for path in (
        "data/seeds/packet_analysis.jsonl",
        "data/seeds/pybgpstream.jsonl",
        "data/questions/pybgpstream.jsonl",
    ):
        lines = Path(path).read_text(encoding="utf-8").splitlines()
        Path(path).write_text("\n".join([lines[0], lines[1][:-5], *lines[2:4], "{}", *lines[5:]]), encoding="utf-8")
    with pytest.raises(StageError) as raised:
        split.main()
    assert [line.split(": ")[0].rpartition("/")[2] for line in str(raised.value).splitlines()] == [
        f"{name}.jsonl:{line}" for name in ("pybgpstream", "packet_analysis", "pybgpstream") for line in (2, 5)
    ]
