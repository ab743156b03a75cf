"""The stranger's path: an adapter published on a Hub is fetched into another checkout and evaluated there."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from commands import fetch_adapter, publish
from netllama.core.files import hash_file, write_findings, write_json, write_jsonl
from netllama.core.params import read_params
from netllama.core.tokenized_rows import TokenizedRow
from netllama.models.model_reference import resolve_model
from netllama.rendering.renderer import load_renderer
from stages import baseline, evaluate
from tests.support.finished_runs import ADAPTER, BASE, TOKENIZER, write_adapter, write_lock
from tests.support.hub_server import BROKEN, READ, HubRefusal, HubServer
from tests.support.stage_runs import Ended, run_here
from tests.support.tokenized_tables import write_tokenized_rows

pytestmark = pytest.mark.usefixtures("one_thread")
REPO = "you/net-llama"
WEIGHTS = "adapter_model.safetensors"


@pytest.fixture
def published(hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> HubServer:
    """A Hub with the adapter of the finished run; from then on the token may only read."""
    arguments = ("--repo-id", REPO, "--base-model", "org/tiny", "--licence", "apache-2.0")
    ended = run_here(publish.main, *arguments)
    assert ended.returncode == 0, ended.stderr
    monkeypatch.setenv("HF_TOKEN", READ)
    return hub


def fetch(*arguments: str) -> Ended:
    return run_here(fetch_adapter.main, *(arguments or (REPO,)))


def write_test_side(set_params: Callable[..., None]) -> None:
    """What baseline and evaluate ask: three questions and three rows."""
    shutil.rmtree("data/questions")
    question = {"family": "bgp_knowledge", "kind": "choice", "question": "Which port?", "options": ["179", "53", "80"]}
    more = {"answer": "A", "aliases": [], "key_facts": [], "reference": "RFC 4271", "cluster": ""}
    write_jsonl("data/questions/a.jsonl", [{"id": f"q-{number}", **question, **more} for number in range(3)])
    renderer = load_renderer(TOKENIZER, read_params().prompt)
    rows = []
    for number in range(3):
        rendered = renderer.render(f"Name session {number}", "It is TCP port 179")
        start = rendered.answer_start
        rows.append(TokenizedRow(f"row-{number}", "bgp_knowledge", "seed", rendered.input_ids, start, start))
    write_tokenized_rows(evaluate.TOKENIZED, rows, renderer.fingerprint)
    task = {"instruction": "Name session 9", "input": "", "output": "TCP port 179", "category": ""}
    write_findings(evaluate.ASKED, [], none="no question has documents")
    write_findings(evaluate.VAL, [], none="no question is asked in validation")
    write_jsonl(evaluate.TRAIN, [{"id": "t-0", "family": "bgp_knowledge", "source": "extra", **task}])
    set_params(**{"loading.quantization": "none", "evaluate.max_new_tokens": 4, "evaluate.num_generated": 2})


def evaluate_here() -> tuple[bytes, bytes]:
    evaluate.main()
    return evaluate.ANSWERS.read_bytes(), evaluate.COMPARISON.read_bytes()


def test_a_fetched_adapter_gets_the_scores_that_it_had_where_it_was_trained(
    published: HubServer, set_params: Callable[..., None]
) -> None:
    write_test_side(set_params)
    baseline.main()
    original = evaluate_here()
    write_adapter(scale=0.9)
    assert evaluate_here() != original
    ended = fetch()
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.splitlines()[-1] == "next: dvc repro -s evaluate"
    assert evaluate_here() == original


def test_the_adapter_that_was_there_is_kept(published: HubServer) -> None:
    write_adapter(scale=0.9)
    own = (ADAPTER / WEIGHTS).read_bytes()
    said = fetch().stdout
    assert (ADAPTER / WEIGHTS).read_bytes() == published.repositories[REPO].files[WEIGHTS] != own
    kept = list(Path(".scratch/adapters").iterdir())
    assert [(path / WEIGHTS).read_bytes() for path in kept] == [own]
    assert str(kept[0]) in said


def test_other_training_data_are_a_warning_since_test_rows_may_be_among_them(published: HubServer) -> None:
    assert "warning" not in fetch().stdout
    fetch_adapter.TRAIN.parent.mkdir(parents=True, exist_ok=True)
    fetch_adapter.TRAIN.write_bytes(b"other rows")
    said = "warning: trained on another data/tokenized/train.parquet than lies here"
    assert said in fetch().stdout


def test_only_the_adapter_is_downloaded_and_nothing_that_could_run(published: HubServer) -> None:
    published.repositories[REPO].commit({"adapter_model.bin": b"pickled", "setup.py": b"evil"}, [], set())
    fetch()
    assert sorted(path.name for path in ADAPTER.iterdir()) == ["adapter_config.json", WEIGHTS, "training.json"]
    assert not published.asked("GET", "adapter_model.bin")


def test_an_earlier_revision_can_be_fetched(published: HubServer) -> None:
    commit = published.repositories[REPO].commits[-1]
    assert f"{REPO} at commit {commit}" in fetch(REPO, "--revision", commit).stdout
    assert "the Hub has no such revision" in fetch(REPO, "--revision", "v9").stderr


def test_an_adapter_of_another_base_is_refused_and_says_which_one_it_needs(published: HubServer) -> None:
    before = hash_file(ADAPTER / WEIGHTS)
    reference = resolve_model("tiny", "").reference
    write_json(BASE, reference.model_dump() | {"files": {"model.safetensors": "0" * 64}})
    said = fetch().stderr
    assert f"{REPO}: trained on org/tiny, and the base model here is tiny with other weights; set model.id" in said
    assert hash_file(ADAPTER / WEIGHTS) == before


def test_a_base_whose_configuration_alone_differs_is_the_same(published: HubServer) -> None:
    reference = resolve_model("tiny", "").reference
    write_json(BASE, reference.model_dump() | {"files": reference.files | {"config.json": "0" * 64}})
    assert fetch().returncode == 0


@pytest.mark.parametrize(("key", "value"), [("template", "alpaca"), ("system_prompt", "You know BGP.")])
def test_an_adapter_of_another_prompt_is_refused(
    published: HubServer, set_params: Callable[..., None], key: str, value: str
) -> None:
    set_params(**{f"prompt.{key}": value})
    assert f"{REPO}: trained with another prompt than" in fetch().stderr


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"adapter_config.json": b"{}", WEIGHTS: b""}, "has no training.json, so it is not known what it was trained"),
        ({"config.json": b"{}", "model.safetensors": b""}, f"has no {WEIGHTS}, so it is no adapter"),
    ],
)
def test_a_repository_of_something_else_is_refused(hub: HubServer, files: dict[str, bytes], said: str) -> None:
    hub.add("org/other", files)
    assert said in fetch("org/other").stderr


def test_a_broken_record_is_named(published: HubServer) -> None:
    published.repositories[REPO].commit({"training.json": b'{"base": 1}'}, [], set())
    assert f"{REPO}: its training.json is not of this version (base: " in fetch().stderr


def test_what_the_hub_refuses_is_one_line(published: HubServer) -> None:
    assert "org/none: not on the Hub, or private" in fetch("org/none").stderr
    assert "not owner/name" in fetch("none").stderr
    published.fault = lambda asked: HubRefusal(403, code="GatedRepo")
    assert fetch().stderr.count("\n") == 1


def test_a_hub_that_is_busy_or_hangs_up_is_not_one_that_can_not_be_reached(
    published: HubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda seconds: None)  # between its tries
    published.fault = lambda asked: HubRefusal(429) if "/resolve/" in asked.path else None
    assert f"{REPO}: the Hub answered 429 (too many requests: try again later)" in fetch(REPO).stderr
    published.fault = lambda asked: BROKEN if "/api/models/" in asked.path else None
    assert f"{REPO}: the connection to the Hub broke (RemoteProtocolError)" in fetch(REPO).stderr


def test_without_a_base_the_first_step_is_named(published: HubServer) -> None:
    BASE.unlink()
    assert "models/base.json: no such file; run `dvc repro baseline` first" in fetch().stderr


def test_a_fetched_adapter_is_not_published_as_ones_own(published: HubServer) -> None:
    """dvc.lock records what was trained here; the numbers of the run are those of that."""
    write_adapter(scale=0.9)
    write_lock()
    fetch()
    arguments = ("--repo-id", "you/mine", "--base-model", "org/tiny", "--licence", "mit", "--dry-run")
    assert "models/adapter: not of the run that dvc.lock records" in run_here(publish.main, *arguments).stderr
