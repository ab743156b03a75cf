"""The stage generate: outs, resume after a kill, replay, errors."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import stages.generate
from netllama.code_checks import code_runner
from netllama.code_checks.output_code import find_python
from netllama.core.files import read_json, read_jsonl
from netllama.core.metrics import read_details
from netllama.selfinstruct.estimate import judge_stored_rounds
from netllama.teacher.store import ResponseStore
from stages import split
from tests.support.clones import ROOT
from tests.support.openai_server import Answer, Asked, OpenAIServer, Refusal, Reply, new_tasks, strict_answer
from tests.support.stage_runs import Ended, run_here

COMMAND = [sys.executable, "-m", "stages.generate"]
OUTS = [f"data/generated/{name}.jsonl" for name in ("instructions", "rejected", "responses")] + [
    "metrics/generate.json",
    "metrics/generate_funnel.csv",
]
STORE = Path(".scratch/responses/responses.jsonl")
KEY = "sk-this-key-must-never-be-seen"


def generate(*options: str, **environment: str) -> Ended:
    return run_here(stages.generate.main, *options, **environment)


def generate_apart() -> "subprocess.CompletedProcess[str]":
    """The stage as a user runs it."""
    return subprocess.run(COMMAND, capture_output=True, text=True, env=env(), timeout=120)


def start() -> "subprocess.Popen[str]":
    # Where these tests run in the background of a shell, it lets its children ignore SIGINT.
    heed = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    return subprocess.Popen(
        COMMAND, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env(), preexec_fn=heed
    )


def env() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(ROOT)}


def outs() -> dict[str, bytes]:
    return {path: Path(path).read_bytes() for path in OUTS}


class Gate:
    """Answers with new tasks; from request `number` on, holds them back until it is opened."""

    def __init__(self) -> None:
        self.number = 1_000_000
        self.reached = threading.Event()
        self.opened = threading.Event()

    def __call__(self, asked: Asked) -> Reply:
        if asked.number >= self.number:
            self.reached.set()
            self.opened.wait(60)
        return Answer(new_tasks(asked))

    def close_after(self, number: int) -> None:
        self.number = number
        self.reached.clear()
        self.opened.clear()

    def open(self) -> None:
        self.number = 1_000_000
        self.opened.set()


def await_gate(gate: Gate, process: "subprocess.Popen[str]") -> None:
    deadline = time.monotonic() + 60
    while not gate.reached.wait(0.05):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "the run hangs"


@pytest.fixture
def gate() -> Gate:
    return Gate()


@pytest.fixture
def server(gate: Gate, set_params: Callable[..., None]) -> Iterator[OpenAIServer]:
    """A teacher for the params.yaml of the workdir: two families, 8 tasks each, rounds of 3 requests."""
    with OpenAIServer(gate) as server:
        configure(set_params, server.url)
        yield server
        gate.open()


def configure(set_params: Callable[..., None], url: str) -> None:
    for recorded in Path("data/recorded").glob("*.jsonl"):
        recorded.unlink()  # of the embedded teacher
    set_params(
        **{
            "families": ["bgp_knowledge", "packet_analysis"],
            "teacher.base_url": url,
            "teacher.api": "chat",
            "teacher.model_name": "test",
            "generate.num_instructions_to_generate": 8,
            "generate.requests_per_round": 3,
            "teacher.max_concurrency": 3,
        }
    )


def test_a_run_writes_its_outs_and_the_next_one_asks_nothing_and_writes_the_same(server: OpenAIServer) -> None:
    first = generate_apart()
    assert first.returncode == 0, first.stderr
    before, asked = outs(), len(server.requests)
    rows = read_jsonl(OUTS[0])
    assert [sum(row["family"] == name for row in rows) for name in ("bgp_knowledge", "packet_analysis")] == [8, 8]
    assert read_details("metrics/generate.json")["kept"] == 16
    assert all(request.path == "/v1/chat/completions" for request in server.requests)
    assert f"{asked} answers from the teacher, 0 replayed; kept 16" in first.stdout

    second = generate()
    assert (second.returncode, len(server.requests)) == (0, asked)
    assert outs() == before
    assert f"0 answers from the teacher, {asked} replayed" in second.stdout


def test_a_killed_run_goes_on_where_it_was_and_ends_like_an_undisturbed_one(
    server: OpenAIServer, gate: Gate, workdir: Path
) -> None:
    assert generate().returncode == 0
    undisturbed, needed = outs(), len(server.requests)
    shutil.rmtree(".scratch")
    for folder in ("data/generated", "metrics"):
        shutil.rmtree(folder)

    server.requests.clear()
    gate.close_after(5)
    with start() as process:
        await_gate(gate, process)
        process.send_signal(signal.SIGKILL)
    gate.open()
    stored = read_jsonl(STORE)
    assert 0 < len(stored) < needed
    assert not Path("data/generated").exists()
    with open(STORE, "ab") as file:
        file.write(b'{"completion_tokens": 7, "draw": "bgp_kno')  # a write that the kill cut short

    server.requests.clear()
    assert generate_apart().returncode == 0
    assert len(server.requests) == needed - len(stored)
    assert outs() == undisturbed
    keys = [row["key"] for row in read_jsonl(STORE)]
    assert len(keys) == len(set(keys)) == needed


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_says_that_it_can_go_on_and_writes_nothing(
    number: signal.Signals, server: OpenAIServer, gate: Gate
) -> None:
    gate.close_after(4)
    process = start()
    await_gate(gate, process)
    process.send_signal(number)
    stderr = process.communicate(timeout=60)[1]
    assert process.returncode == 130
    assert stderr.splitlines()[-1].startswith("interrupted: ")
    assert "Traceback" not in stderr
    assert not Path("data/generated").exists()
    assert len(read_jsonl(STORE)) >= 1


def test_promoted_answers_are_replayed_without_scratch_or_server(server: OpenAIServer) -> None:
    assert generate().returncode == 0
    before, asked = outs(), len(server.requests)
    promoted = generate("--promote")
    assert promoted.returncode == 0
    assert "data/recorded/responses.jsonl" in promoted.stdout
    assert Path("data/recorded/responses.jsonl").read_bytes() == before["data/generated/responses.jsonl"]

    shutil.rmtree(".scratch")
    shutil.rmtree("data/generated")
    replayed = generate()
    assert replayed.returncode == 0, replayed.stderr
    assert len(server.requests) == asked
    after = outs()
    figures, figures_before = (json.loads(each.pop(OUTS[3]))["details"][0] for each in (after, before))
    assert after == before
    assert figures_before["answers"] == {"replayed": 0, "asked": asked}
    assert figures["answers"] == {"replayed": asked, "asked": 0}
    for one in (figures, figures_before, *figures["family"].values(), *figures_before["family"].values()):
        del one["answers"]
    assert figures == figures_before
    assert read_jsonl(OUTS[2]), "there was something to replay"
    Path("data/recorded/responses.jsonl").rename("data/recorded/mine.jsonl")
    assert generate().returncode == 0
    assert {path: text for path, text in outs().items() if path != OUTS[3]} == after, "under any name"


def test_promote_without_a_run_is_one_line(workdir: Path) -> None:
    recorded = {path: path.read_bytes() for path in Path("data/recorded").rglob("*.*")}
    assert_one_line(generate("--promote"), "data/generated/responses.jsonl")
    assert {path: path.read_bytes() for path in Path("data/recorded").rglob("*.*")} == recorded


def test_a_run_without_a_teacher_says_so_in_its_outs_and_can_be_promoted_and_split(
    server: OpenAIServer, set_params: Callable[..., None]
) -> None:
    """DVC warns of an empty out."""
    set_params(**{"generate.num_instructions_to_generate": 0})
    for _ in range(2):  # the second with what was promoted
        assert generate().returncode == 0
        for path in (*OUTS[:3], "data/generated/runs.jsonl"):
            assert [list(row) for row in read_jsonl(path)] == [["none"]], path
        assert generate("--promote").returncode == 0
        assert read_jsonl("data/recorded/responses.jsonl") == read_jsonl("data/recorded/code/runs.jsonl") == []
    assert server.requests == []
    split.main()
    assert {row["source"] for row in read_jsonl(split.SPLITS["train"])} == {"seed"}


def test_too_few_tasks_are_said_and_are_no_error(server: OpenAIServer, set_params: Callable[..., None]) -> None:
    set_params(**{"generate.max_requests": 2})
    run = generate()
    assert run.returncode == 0
    assert "bgp_knowledge: 4 instructions missing after generate.max_requests=2" in run.stdout


def test_the_default_is_replayed_with_the_runs_of_its_scripts_and_no_script_that_is_kept_fails(
    workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(**_: object) -> None:
        raise AssertionError("a script's run is not recorded; run the stage, and once more with --promote")

    monkeypatch.setattr(code_runner, "find_sandbox", refuse)
    store = ResponseStore(Path("no such file"), [ROOT / "data" / "recorded" / "responses.jsonl"])
    families = stages.generate.load_families(stages.generate.Needs.load())
    for family in families:
        assert judge_stored_rounds(family, store) == [], f"{family.name}: an answer is not recorded"
        for row in family.kept:
            if family.run_checks and find_python(row.output):
                assert family.runner
                assert family.runner.used[row.code_run].holds
    assert len(families) == 5


@pytest.mark.parametrize(
    ("text", "reason"),
    [("Nothing on BGP today.", "malformed"), ("###\n4. Instruction: a\n4. Output:\nb", "word_count")],
)
def test_a_run_that_keeps_nothing_ends_early_with_the_reason_and_an_answer_and_is_not_paid_twice(
    set_params: Callable[..., None], text: str, reason: str
) -> None:
    with OpenAIServer(lambda asked: Answer(text)) as server:
        configure(set_params, server.url)
        first, asked = generate(), len(server.prompts)
        second = generate()
        assert len(server.prompts) == asked == 18, "three rounds of three requests, two families; then none"
    for run in (first, second):
        assert run.returncode == 1
        assert "Traceback" not in run.stderr
        error = run.stderr.splitlines()[-1]
        assert error.startswith("error: bgp_knowledge, packet_analysis: nothing kept of 18 answers; ")
        assert reason in error
        assert json.dumps(text) in error
        assert "data/generated/rejected.jsonl" in error
    assert {row["reason"] for row in read_jsonl(Path("data/generated/rejected.jsonl"))} == {reason}


@pytest.mark.parametrize("slots", [1, 64])
def test_a_refused_key_is_one_request_and_one_line_without_the_key_and_nothing_is_written(
    slots: int, set_params: Callable[..., None]
) -> None:
    with OpenAIServer(lambda asked: Refusal(401, message=f"Incorrect API key provided: {KEY}")) as server:
        configure(set_params, server.url)
        set_params(**{"teacher.max_concurrency": slots, "generate.requests_per_round": 64, "generate.max_requests": 64})
        run = generate(OPENAI_API_KEY=KEY)
    assert run.returncode == 1
    said = "Incorrect API key provided: [key]"
    assert run.stderr.splitlines()[-1] == f"error: {server.url}: rejects the key in OPENAI_API_KEY (401: {said})"
    assert KEY not in run.stdout + run.stderr
    assert "Traceback" not in run.stderr
    assert len(server.requests) == 1
    assert_nothing_written()


def break_json(seeds: Path) -> None:
    lines = seeds.read_text().splitlines()
    lines[1] = lines[1][:-5]
    seeds.write_text("\n".join(lines))


def break_key(seeds: Path) -> None:
    lines = seeds.read_text().splitlines()
    lines[2] = lines[2].replace('"output"', '"outptu"')
    seeds.write_text("\n".join(lines))


@pytest.mark.parametrize(
    ("break_seeds", "says"),
    [
        (break_json, "data/seeds/packet_analysis.jsonl:2: not valid JSON"),
        (break_key, "data/seeds/packet_analysis.jsonl:3: output: field required"),
        (
            lambda seeds: seeds.write_text(""),
            "data/seeds/packet_analysis.jsonl: family packet_analysis has no seed task",
        ),
        (Path.unlink, "data/seeds/packet_analysis.jsonl: no such file"),
    ],
)
def test_a_bad_seed_file_is_one_line_before_anything_is_asked(
    break_seeds: Callable[[Path], Any], says: str, server: OpenAIServer
) -> None:
    break_seeds(Path("data/seeds/packet_analysis.jsonl"))
    assert_one_line(generate(), says)
    assert server.requests == []
    assert_nothing_written()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"families": ["bgp_knowledge", "bgp"]}, "data/prompts/bgp.txt: no such file"),
        ({"generate.temprature": 1.0}, "generate.temprature: unknown key, nearest known is teacher.temperature"),
        ({"teacher.model_name": "gpt", "teacher.base_url": ""}, "model_name is 'gpt' but base_url is empty"),
        ({"teacher.base_url": "https://api.example.com/v1"}, "OPENAI_API_KEY"),
        (
            {"filters.enabled": ["echo", "word_cuont"]},
            "params.yaml: filters.enabled: 'word_cuont' is unknown, nearest is word_count",
        ),
        ({"filters.required_imports": ["typo=scapy"]}, "names a family without data/prompts/typo.txt"),
        ({"teacher.max_usd": 5}, "max_usd needs both prices"),
        ({"teacher.usd_per_million_prompt_tokens": 0.15}, "one of usd_per_million_prompt_tokens and"),
        ({"filters.required_imports": ["scapy"]}, "required_imports: 'scapy' is not `family=module`"),
    ],
)
def test_a_bad_param_is_one_line_before_anything_is_asked(
    change: dict[str, Any], says: str, server: OpenAIServer, set_params: Callable[..., None]
) -> None:
    set_params(**change)
    run = generate()
    assert run.returncode == 1
    assert says in run.stderr.splitlines()[-1]
    assert "Traceback" not in run.stderr
    assert server.requests == []
    assert_nothing_written()


def test_answers_that_were_judged_before_a_run_broke_are_in_the_outs(
    server: OpenAIServer, gate: Gate, set_params: Callable[..., None]
) -> None:
    server.reply = lambda asked: Refusal(400, message="too much") if asked.number >= 6 else gate(asked)
    run = generate()
    assert run.returncode == 1
    [*_, line] = run.stderr.splitlines()
    assert line.startswith(f"error: {server.url}: answered 400 (too much)")
    assert line.endswith("(kept so far: 12 -> data/generated/instructions.jsonl)")
    assert len(read_jsonl(OUTS[0])) == read_json(OUTS[3])["kept"] == 12

    server.reply = gate
    server.requests.clear()
    assert generate().returncode == 0
    assert len(server.requests) == 6
    assert len(read_jsonl(OUTS[0])) == 16


PRICES = {"teacher.usd_per_million_prompt_tokens": 0.15, "teacher.usd_per_million_completion_tokens": 0.6}


def as_dear_as_real(asked: Asked) -> Reply:
    """A token is four characters of the prompt; late, so that others are under way."""
    return Answer(new_tasks(asked), "stop", len(asked.prompt) // 4, 150 + len(asked.prompt) % 100, delay=0.01)


def bill(server: OpenAIServer) -> Decimal:
    return (
        sum((Decimal("0.15") * prompt + Decimal("0.6") * answer for prompt, answer in server.billed), Decimal(0))
        / 10**6
    )


def test_a_run_ends_at_its_cap_and_a_higher_cap_goes_on_from_there(
    server: OpenAIServer, set_params: Callable[..., None]
) -> None:
    server.reply = as_dear_as_real
    rounds = {"num_instructions_to_generate": 60, "max_requests": 40, "requests_per_round": 12}
    set_params(**PRICES, **{f"generate.{name}": value for name, value in rounds.items()})
    assert generate().returncode == 0
    uncapped, prompts, price = outs(), server.prompts.copy(), bill(server)
    assert read_details(Path(OUTS[3]))["usd"] == float(round(price, 6))
    cap = float(round(price * Decimal("0.75"), 6))

    bought = []
    for slots in (1, 64):
        shutil.rmtree(".scratch")
        server.requests.clear()
        server.billed.clear()
        set_params(**{"teacher.max_concurrency": slots, "teacher.max_usd": cap})
        run = generate()
        assert run.returncode == 0, run.stderr
        assert f"the next request could pass teacher.max_usd={cap}: raise it to continue" in run.stdout
        assert f"{bill(server):.4f} US$ in total" in run.stdout
        assert 0 < bill(server) <= Decimal(str(cap))
        bought.append(sorted(server.prompts))
        capped = outs()
        assert 0 < len(read_jsonl(OUTS[0])) < 120
        assert uncapped[OUTS[0]].startswith(capped[OUTS[0]].splitlines()[0]), "the rounds that were paid are there"
    assert bought[0] == bought[1]
    assert len(prompts) / 2 < len(bought[0]) < len(prompts)

    again = generate()
    assert again.returncode == 0
    assert (sorted(server.prompts), outs()) == (bought[1], capped), "the same cap buys nothing more"

    set_params(**{"teacher.max_usd": 5})
    assert generate().returncode == 0
    assert sorted(server.prompts) == sorted(prompts), "nothing is asked twice"
    assert outs() == uncapped
    assert bill(server) == price


def test_a_cap_below_the_price_of_one_request_asks_nothing(
    server: OpenAIServer, set_params: Callable[..., None]
) -> None:
    set_params(**PRICES, **{"teacher.max_usd": 0})
    run = generate()
    assert run.returncode == 0, run.stderr
    assert "teacher.max_usd=0" in run.stdout
    assert server.requests == []
    assert read_json(OUTS[3])["kept"] == 0


def test_an_estimate_sends_and_writes_nothing_and_bounds_the_run(
    server: OpenAIServer, set_params: Callable[..., None]
) -> None:
    server.reply = as_dear_as_real
    set_params(**PRICES, **{"teacher.max_usd": 5})
    before = generate("--estimate")
    assert (before.returncode, before.stderr, server.requests) == (0, "", [])
    assert_nothing_written()
    head, *families, total, _, live, flex, batch, _, cap = before.stdout.splitlines()
    assert head.split()[0] == "family"
    assert [line.split()[:3] for line in families] == [["bgp_knowledge", "0", "0"], ["packet_analysis", "0", "0"]]
    assert [line.split()[0] for line in (live, flex, batch)] == ["live", "flex", "batch"]
    assert cap == "teacher.max_usd 5: spent so far 0.0000"

    assert generate().returncode == 0
    asked = len(server.requests)
    assert asked <= int(total.split()[4])
    assert bill(server) <= Decimal(total.split()[-1])
    written = outs()
    after = generate("--estimate")
    assert (after.returncode, len(server.requests)) == (0, asked)
    *_, total, _, _, _, _, _, cap = after.stdout.splitlines()
    assert total.split()[:5] == ["all", "16", str(asked), "0", "0"]
    assert cap == f"teacher.max_usd 5: spent so far {bill(server):.4f}"
    assert outs() == written


def test_an_estimate_counts_what_a_run_that_was_stopped_has_paid(
    server: OpenAIServer, set_params: Callable[..., None]
) -> None:
    def cut_at_first(asked: Asked) -> Reply:
        limit = asked.body["max_tokens"]
        return Answer(new_tasks(asked), "length" if limit == 320 else "stop", 1000, limit)

    server.reply = cut_at_first
    set_params(**PRICES, **{"teacher.max_usd": 5, "generate.max_requests": 5})
    assert generate().returncode == 0
    set_params(**{"teacher.max_tokens": 640})
    assert generate().returncode == 0
    spent = generate("--estimate").stdout.splitlines()[-1].rpartition(" ")[2]
    assert spent == f"{bill(server):.4f}", "answers that a higher max_tokens replaced were paid too"


def test_an_estimate_needs_no_key(server: OpenAIServer, set_params: Callable[..., None]) -> None:
    set_params(**{"teacher.base_url": "https://api.example.com/v1"})
    run = generate("--estimate")
    assert run.returncode == 0
    assert "for prices, set teacher.usd_per_million_prompt_tokens" in run.stdout.splitlines()[-1]


def test_the_strict_schema_goes_to_the_server_and_its_categories_into_the_rows(
    server: OpenAIServer, set_params: Callable[..., None]
) -> None:
    server.reply = lambda asked: Answer(strict_answer(asked))
    set_params(**{"generate.output_contract": "json_schema"})
    run = generate()
    assert run.returncode == 0, run.stderr
    sent = [request.body["response_format"]["json_schema"] for request in server.requests]
    assert all(schema["strict"] for schema in sent)
    rows = read_jsonl(OUTS[0])
    assert len(rows) == 16
    for row in rows:
        seeds = read_jsonl(f"data/seeds/{row['family']}.jsonl")
        assert row["category"] in {seed["category"] for seed in seeds}


def test_an_empty_prompt_file_is_one_line(server: OpenAIServer) -> None:
    Path("data/prompts/bgp_knowledge.txt").write_text(" \n")
    assert_one_line(generate_apart(), "data/prompts/bgp_knowledge.txt: is empty")
    assert_nothing_written()


def assert_one_line(run: "Ended | subprocess.CompletedProcess[str]", says: str) -> None:
    assert run.returncode == 1
    [line] = run.stderr.splitlines()
    assert line.startswith("error: ")
    assert says in line


def assert_nothing_written() -> None:
    assert not Path("data/generated").exists()
    assert not Path("metrics").exists()
    assert not STORE.exists()
