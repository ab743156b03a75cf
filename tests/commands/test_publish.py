"""The command publish against a Hub on loopback, through the real client; what was pushed is downloaded and loaded."""

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub.utils import close_session

from commands import publish
from netllama.core.files import hash_file, read_json, write_json
from netllama.core.metrics import write_metrics
from netllama.core.params import read_params
from netllama.exporting.merged_folder import FILE, MergeRecord
from netllama.models.model_reference import ModelReference
from netllama.rendering.renderer import load_renderer
from tests.support.clones import ROOT
from tests.support.finished_runs import (
    ADAPTER,
    COMPARISONS,
    SPLIT,
    TOKENIZER,
    write_adapter,
    write_lock,
    write_numbers,
)
from tests.support.hub_server import BROKEN, READ, WRITE, HubRefusal, HubServer, Received
from tests.support.stage_runs import Ended, run_here
from tests.support.trained_adapters import record_files

pytestmark = pytest.mark.usefixtures("one_thread")
REPO = "you/net-llama"
LOCAL_BASE = ("--base-model", "org/tiny", "--licence", "apache-2.0")
PLANTED = {
    ".env": "sk-plantedInDotEnv0123456789",
    "environment": "planted-in-the-environment",
    "response": "sk-plantedInAResponse0123456789",
}


def run_publish(*arguments: str, repo: str = REPO) -> Ended:
    return run_here(publish.main, "--repo-id", repo, *LOCAL_BASE, *arguments)


def refused(*arguments: str, repo: str = REPO) -> str:
    """The one line of the error."""
    ended = run_publish(*arguments, repo=repo)
    assert ended.returncode == 1, ended.stdout
    lines = [line for line in ended.stderr.splitlines() if line.startswith("error: ")]
    assert ended.stderr.splitlines()[-1:] == lines, ended.stderr
    assert WRITE not in ended.stderr + ended.stdout
    return lines[0]


def test_adapter_tokenizer_card_and_metrics_arrive_in_one_commit(hub: HubServer) -> None:
    ended = run_publish()
    assert ended.returncode == 0, ended.stderr
    repository = hub.repositories[REPO]
    assert repository.private
    assert set(repository.files) == {
        "README.md",
        "adapter_config.json",
        "adapter_model.safetensors",
        "chat_template.jinja",
        "generation_config.json",
        "metrics/baseline.json",
        "metrics/evaluate.json",
        "metrics/generate.json",
        "metrics/retrieve.json",
        "metrics/split.json",
        "metrics/tokenize.json",
        "metrics/train.json",
        "provenance.json",
        "results/comparison.json",
        "results/refusals.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "training.json",
    }
    assert repository.large == {"adapter_model.safetensors"}
    assert repository.files["adapter_model.safetensors"] == (ADAPTER / "adapter_model.safetensors").read_bytes()
    assert len(hub.asked("POST", "/commit/")) == 1
    assert f"{REPO}: created, private" in ended.stdout
    assert repository.commits[-1] in ended.stdout
    provenance = json.loads(repository.files["provenance.json"])
    assert provenance["data"] == {"data/seeds": "1" * 32 + ".dir"}
    assert provenance["adapter"]["adapter_config.json"] == hash_file(ADAPTER / "adapter_config.json")


def test_the_base_is_named_by_its_hub_id_and_no_path_of_this_machine_goes_out(hub: HubServer, run_dir: Path) -> None:
    run_publish()
    files = hub.repositories[REPO].files
    config = json.loads(files["adapter_config.json"])
    assert (config["base_model_name_or_path"], config["revision"]) == ("org/tiny", None)
    assert json.loads(files["training.json"])["base"]["id"] == "org/tiny"
    sent = b"".join(asked.body for asked in hub.received)
    assert str(run_dir).encode() not in sent
    assert str(Path.home()).encode() + b"/" not in sent


def test_a_dry_run_prints_files_with_sizes_and_the_card_and_asks_nobody(
    hub: HubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HF_TOKEN")
    ended = run_publish("--dry-run")
    assert ended.returncode == 0, ended.stderr
    assert hub.received == []
    size = (ADAPTER / "adapter_model.safetensors").stat().st_size
    assert f"{size:>14,}  adapter_model.safetensors" in ended.stdout
    assert "\n---\n" in ended.stdout
    assert "base_model: org/tiny" in ended.stdout
    assert "## How to load it" in ended.stdout


def test_the_card_of_a_dry_run_is_the_one_that_is_published(hub: HubServer) -> None:
    printed = run_publish("--dry-run").stdout
    run_publish()
    assert hub.repositories[REPO].files["README.md"].decode() in printed


def test_the_card_counts_the_rows_that_were_trained_on_with_those_that_have_documents(hub: HubServer) -> None:
    card = run_publish("--dry-run").stdout
    assert "trained on\n1,101 rows: 241 tasks of network analysis and 860 tasks with documents. Families" in card


@pytest.mark.parametrize("metrics", [publish.RETRIEVE, publish.TOKENIZE])
def test_the_counts_of_another_run_are_not_published(hub: HubServer, metrics: Path) -> None:
    metrics.write_text(metrics.read_text().replace("860", "9").replace("1101", "250"))
    assert f"{metrics}: not of the run that dvc.lock records" in refused()


# --- again


def test_a_second_run_sends_no_file_and_makes_no_commit(hub: HubServer) -> None:
    run_publish()
    first, known = hub.repositories[REPO].commits[-1], len(hub.received)
    ended = run_publish()
    assert f"nothing has changed since commit {first}" in ended.stdout
    again = hub.received[known:]
    assert not [asked for asked in again if asked.method == "PUT" or "/commit/" in asked.path]
    assert f"{REPO}: exists, private" in ended.stdout


def test_what_changed_is_sent_alone(hub: HubServer) -> None:
    run_publish()
    known = len(hub.received)
    write_numbers(COMPARISONS[:2])
    write_lock()
    assert run_publish().returncode == 0
    commit = next(asked for asked in hub.received[known:] if "/commit/" in asked.path)
    lines = [json.loads(line) for line in commit.body.splitlines()]
    assert {line["value"]["path"] for line in lines if "path" in line["value"]} == {
        "README.md",
        "results/comparison.json",
    }
    assert not [asked for asked in hub.received[known:] if asked.method == "PUT"]


def test_a_file_of_an_earlier_publication_is_taken_away_and_a_file_of_others_stays(hub: HubServer) -> None:
    Path("LICENSE.old").write_text("old")
    run_publish("--licence-file", "LICENSE.old")
    theirs = {"picture.png": b"theirs", "LICENSE": b"theirs", "model.gguf": b"theirs", "README.de.md": b"theirs"}
    hub.repositories[REPO].commit(theirs, [], set())
    assert "LICENSE.old" in hub.repositories[REPO].files
    assert run_publish().returncode == 0
    assert "LICENSE.old" not in hub.repositories[REPO].files
    assert theirs.items() <= hub.repositories[REPO].files.items()


@pytest.mark.parametrize("method", ["PUT", "/commit/"])
def test_an_upload_that_broke_off_is_repeated_without_harm(hub: HubServer, method: str) -> None:
    hub.fault = lambda asked: BROKEN if method == asked.method or method in asked.path else None
    said = refused()
    assert "the connection broke" in said
    assert "run the same command again" in said
    assert hub.repositories[REPO].files == {}
    hub.fault = lambda asked: None
    known = len(hub.received)
    assert run_publish().returncode == 0
    assert "adapter_model.safetensors" in hub.repositories[REPO].files
    # What arrived as a whole before is not sent again.
    assert len([one for one in hub.received[known:] if one.method == "PUT"]) == (method == "PUT")


def test_a_connection_that_breaks_once_is_tried_again_by_itself(hub: HubServer) -> None:
    broken: list[str] = []

    def break_once(asked: Received) -> str | None:
        if asked.method == "PUT" and not broken:
            broken.append(asked.path)
            return BROKEN
        return None

    hub.fault = break_once
    assert run_publish().returncode == 0
    assert len(hub.asked("PUT", "/lfs/")) == 2


# --- visibility


def test_public_is_said_and_asked_for(hub: HubServer) -> None:
    assert f"{REPO}: created, public" in run_publish("--public").stdout
    assert not hub.repositories[REPO].private
    assert "say --public to publish into it" in refused()


def test_a_private_repository_stays_private(hub: HubServer) -> None:
    run_publish()
    assert "exists, private; --public does not change that" in run_publish("--public").stdout
    assert hub.repositories[REPO].private


# --- errors as a user meets them


def test_without_a_token_one_line_says_where_to_get_one(hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_TOKEN")
    assert refused().startswith("error: no token: set HF_TOKEN (or hf_token)")
    assert hub.received == []


def test_the_token_may_stand_in_dotenv(hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_TOKEN")
    Path(".env").write_text(f"hf_token={WRITE}\n")
    assert run_publish().returncode == 0
    assert {asked.token for asked in hub.asked("POST", "/api/")} == {WRITE}


@pytest.mark.parametrize(
    ("token", "said"),
    [(READ, "the token of you may only read"), ("hf_madeUp", "the token is not valid any more")],
)
def test_a_token_that_may_not_write_is_found_before_anything_is_made(
    hub: HubServer, monkeypatch: pytest.MonkeyPatch, token: str, said: str
) -> None:
    monkeypatch.setenv("HF_TOKEN", token)
    assert said in refused()
    assert [asked.path for asked in hub.received] == ["/api/whoami-v2"]


def test_a_fine_grained_token_without_the_scope_is_one_line(hub: HubServer) -> None:
    hub.fault = lambda asked: HubRefusal(403, "you need write access") if "preupload" in asked.path else None
    assert "the token may not write there (you need write access)" in refused()


def test_a_namespace_of_others_is_one_line(hub: HubServer) -> None:
    assert "the token may not write there" in refused(repo="somebody/net-llama")


def test_a_name_with_another_model_behind_it_is_refused_before_anything_is_sent(hub: HubServer) -> None:
    hub.add(REPO, {"model.safetensors": b"theirs", "config.json": b"{}"}, private=True)
    assert "the name is taken: it holds model.safetensors" in refused()
    assert not hub.asked("POST", "/preupload/")


def test_a_name_whose_repository_the_token_can_not_read_is_one_line(hub: HubServer) -> None:
    hub.add(REPO, {}, private=True)
    hub.fault = lambda asked: HubRefusal(404, code="RepoNotFound") if asked.path == f"/api/models/{REPO}" else None
    assert "the name is taken by a repository that this token can't read" in refused()


@pytest.mark.parametrize(
    ("status", "message", "said"),
    [
        (403, "Private repository storage limit reached, please upgrade your plan", "the Hub has no room for it"),
        (402, "Payment required", "the Hub has no room for it"),
        (413, "Repository storage quota exceeded", "the Hub has no room for it"),
        (409, "A commit has happened since", "another upload is under way"),
        (418, "I am a teapot", "the Hub answered 418 (I am a teapot)"),
        (500, "Internal error", "the Hub answered 500"),
    ],
)
def test_a_refused_commit_is_one_line_and_leaves_the_repository_as_it_was(
    hub: HubServer, status: int, message: str, said: str
) -> None:
    hub.fault = lambda asked: HubRefusal(status, message) if "/commit/" in asked.path else None
    assert said in refused()
    assert hub.repositories[REPO].files == {}


def test_of_two_at_once_one_commits_and_the_other_says_so(hub: HubServer) -> None:
    """What the other has put there since it was looked at may be a model of another kind."""
    theirs = {"config.json": b"{}", "model.safetensors": b"theirs"}

    def overtake(asked: Received) -> None:
        if "/commit/" in asked.path and not hub.repositories[REPO].files:
            hub.repositories[REPO].commit(theirs, [], set())

    hub.fault = overtake
    assert "another upload has changed it meanwhile; nothing was committed" in refused()
    assert hub.repositories[REPO].files == theirs


def test_a_full_storage_is_told_as_such_for_the_file_as_well(hub: HubServer) -> None:
    hub.fault = lambda asked: HubRefusal(403, "storage quota exceeded") if asked.method == "PUT" else None
    assert "the Hub has no room for it (storage quota exceeded)" in refused()


def test_no_network_is_one_line(hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    assert "the Hub can't be reached" in refused()


def test_a_hub_that_falls_silent_is_given_up(hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    answered = threading.Event()
    monkeypatch.setattr("netllama.models.hub_waits.SECONDS", 0.2)
    close_session()
    hub.fault = lambda asked: str(answered.wait(20)) if "whoami" in asked.path else None
    assert "the connection broke (ReadTimeout)" in refused()
    answered.set()
    close_session()


def test_the_offline_switch_is_named(hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    close_session()
    said = refused()
    close_session()
    assert "HF_HUB_OFFLINE is set" in said


def test_a_proxy_that_answers_with_a_page_is_one_line(hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "answer", lambda asked: (200, {"Content-Type": "text/html"}, b"<html>Log in</html>"))
    assert "what answered is not the Hub" in refused()


def test_a_server_that_repeats_the_token_does_not_get_it_printed(hub: HubServer) -> None:
    hub.fault = lambda asked: HubRefusal(403, f"token {asked.token} is bad") if "/commit/" in asked.path else None
    assert "token [secret] is bad" in refused()


@pytest.mark.parametrize(
    "name", ["net-llama", "you/net/llama", "you/", "/net", "you/../x", "https://huggingface.co/a/b"]
)
def test_a_name_that_can_be_none_is_refused(hub: HubServer, name: str) -> None:
    assert "not owner/name" in refused(repo=name)
    assert hub.received == []


# --- what may not go out


def test_a_planted_key_is_in_nothing_that_the_hub_received(hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of all bytes of all requests; the token alone is in the header that it belongs into."""
    Path(".env").write_text(f"OPENAI_API_KEY={PLANTED['.env']}\n")
    monkeypatch.setenv("SOME_API_KEY", PLANTED["environment"])
    for name in ("data/generated/responses.jsonl", "data/recorded/more.jsonl", "models/adapter.bak/responses.jsonl"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(json.dumps({"text": PLANTED["response"]}) + "\n")
    for name in (".env", "optimizer.pt", "secrets.json", ".cache"):
        (TOKENIZER / name).write_text(PLANTED["response"])
    write_lock()
    assert run_publish().returncode == 0
    assert len(hub.received) > 6
    for asked in hub.received:
        for key in PLANTED.values():
            assert key.encode() not in asked.body
            assert key not in asked.path + json.dumps(asked.headers)
        assert WRITE.encode() not in asked.body
    stored = b"".join([*hub.storage.values(), *hub.repositories[REPO].files.values()])
    assert not [key for key in (*PLANTED.values(), WRITE) if key.encode() in stored]


def plant_in_tokenizer(place: str, key: str) -> None:
    """Where the tokenizer still loads; the adapter was trained with it."""
    path = TOKENIZER / place
    if place == "tokenizer.json":
        value = read_json(path)
        value["model"]["vocab"][key] = len(value["model"]["vocab"])
        write_json(path, value)
    else:
        path.write_text(f"{{# {key} #}}{path.read_text()}")
    trained_with = {"template_hash": load_renderer(TOKENIZER, read_params().prompt).fingerprint}
    write_json(ADAPTER / "training.json", read_json(ADAPTER / "training.json") | trained_with)
    write_lock()


@pytest.mark.parametrize("place", ["chat_template.jinja", "tokenizer.json"])
@pytest.mark.parametrize("kind", [".env", "environment"])
def test_a_key_in_a_file_that_would_go_out_ends_it(
    hub: HubServer, monkeypatch: pytest.MonkeyPatch, kind: str, place: str
) -> None:
    Path(".env").write_text(f"OPENAI_API_KEY={PLANTED['.env']}\n")
    monkeypatch.setenv("SOME_API_KEY", PLANTED["environment"])
    plant_in_tokenizer(place, PLANTED[kind])
    said = refused()
    assert f"{place}: holds " in said
    assert PLANTED[kind] not in said
    assert hub.received == []


def test_a_path_of_this_machine_in_a_file_ends_it(hub: HubServer) -> None:
    path = ADAPTER / "adapter_config.json"
    write_json(path, read_json(path) | {"megatron_core": "/home/you/megatron/core"})
    record_files()
    write_lock()
    assert "adapter_config.json: holds a path of this machine (megatron_core = /home/you/megatron/core)" in refused()
    assert hub.received == []


# --- what belongs together


def test_numbers_of_another_run_are_not_published(hub: HubServer) -> None:
    write_adapter(scale=0.25)
    assert "models/adapter: not of the run that dvc.lock records" in refused()
    assert hub.received == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"prompt.system_prompt": "You know BGP."}, "models/adapter: made with another prompt.system_prompt than"),
        ({"prompt.template": "alpaca"}, "models/adapter: made with another prompt.template than"),
        ({"families": ["bgp_knowledge"]}, "params.yaml: families is ['bgp_knowledge'], and dvc.lock records that"),
        (
            {"teacher.model_name": "gpt-6-luna", "teacher.base_url": "http://127.0.0.1:9/v1"},
            "params.yaml: teacher.model_name is 'gpt-6-luna', and dvc.lock records that the stage generate ran with "
            "'smollm2-135m-instruct'; run `dvc repro`, or set it back",
        ),
    ],
)
def test_params_that_the_run_was_not_made_with_are_not_published(
    hub: HubServer, set_params: Callable[..., None], changes: dict[str, Any], said: str
) -> None:
    set_params(**changes)
    assert said in refused("--dry-run")


def test_a_param_that_the_card_does_not_tell_may_change(hub: HubServer, set_params: Callable[..., None]) -> None:
    set_params(**{"teacher.temperature": 0.1, "evaluate.num_open": 1})
    assert run_publish("--dry-run").returncode == 0


def test_the_teacher_of_a_run_without_generated_tasks_may_change(
    hub: HubServer, set_params: Callable[..., None]
) -> None:
    sources = {side: {"seed": rows} for side, rows in SPLIT["rows"].items()}
    write_metrics(publish.SPLIT, {}, SPLIT | {"source": sources})
    write_lock()
    set_params(**{"teacher.model_name": "gpt-6-luna", "teacher.base_url": "http://127.0.0.1:9/v1"})
    ended = run_publish("--dry-run")
    assert ended.returncode == 0, ended.stderr
    assert "gpt-6-luna" not in ended.stdout


def test_a_missing_result_is_named(hub: HubServer) -> None:
    publish.COMPARISON.unlink()
    assert "results/comparison.json: not there; run `dvc repro`" in refused()


def test_an_adapter_of_a_local_base_needs_its_hub_id(hub: HubServer) -> None:
    ended = run_here(publish.main, "--repo-id", REPO, "--dry-run")
    assert "say --base-model org/name" in ended.stderr


# --- merged models


def make_merged_folder(folder: Path) -> None:
    """As commands.merge leaves it, with things beside that don't belong to a model."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    base = AutoModelForCausalLM.from_pretrained("tiny")
    PeftModel.from_pretrained(base, str(ADAPTER)).merge_and_unload().save_pretrained(folder)
    shutil.copytree(TOKENIZER, folder, dirs_exist_ok=True)
    names = ("adapter_config.json", "adapter_model.safetensors")
    record = MergeRecord(
        base=ModelReference(id="/home/you/models/tiny", revision="", files={}),
        adapter={name: hash_file(ADAPTER / name) for name in names},
        weights="trained",
        precision="bf16",
        template_hash="0" * 16,
    )
    write_json(folder / FILE, record.model_dump())
    (folder / ".env").write_text("OPENAI_API_KEY=sk-besideTheModel0123456789")
    (folder / "training_args.bin").write_bytes(b"pickled")


def test_a_merged_folder_is_published_without_what_does_not_belong_to_a_model(hub: HubServer) -> None:
    make_merged_folder(Path("models/merged"))
    assert run_publish("--model-folder", "models/merged", repo="you/net-llama-merged").returncode == 0
    files = hub.repositories["you/net-llama-merged"].files
    assert {"config.json", "model.safetensors", "tokenizer.json", "merge.json", "README.md"} <= files.keys()
    assert not {".env", "training_args.bin", "adapter_config.json", "training.json"} & files.keys()
    assert json.loads(files["merge.json"])["base"]["id"] == "org/tiny"
    assert b"base_model_relation: finetune" in files["README.md"]


def make_gguf_folder(folder: Path) -> None:
    """As commands.export_gguf leaves it, of models/merged."""
    folder.mkdir()
    (folder / "model-f16.gguf").write_bytes(b"GGUF")
    (folder / "Modelfile").write_text("FROM ./model-f16.gguf\n")


def test_a_gguf_folder_is_published_and_says_which_adapter_is_in_it(hub: HubServer) -> None:
    make_merged_folder(Path("models/merged"))
    folder = Path("models/gguf-f16")
    make_gguf_folder(folder)
    assert "merge.json: no such file; run `python -m commands.merge`" in refused("--model-folder", str(folder))
    shutil.copyfile(Path("models/merged") / FILE, folder / FILE)
    assert run_publish("--model-folder", str(folder), repo="you/net-llama-gguf").returncode == 0
    files = hub.repositories["you/net-llama-gguf"].files
    assert {"model-f16.gguf", "Modelfile", "merge.json", "README.md"} <= files.keys()
    assert b"base_model_relation: finetune" in files["README.md"]


def test_a_folder_merged_from_another_adapter_is_refused(hub: HubServer) -> None:
    make_merged_folder(Path("models/merged"))
    write_adapter(scale=0.25)
    write_lock()
    assert "models/merged: merged from another adapter" in refused("--model-folder", "models/merged")


KINDS = {
    "an adapter": (),
    "a whole model": ("--model-folder", "models/merged"),
    "a GGUF model": ("--model-folder", "models/gguf-f16"),
}


@pytest.mark.parametrize("there", KINDS)
def test_a_model_goes_in_the_place_of_its_own_kind_alone(hub: HubServer, there: str) -> None:
    make_merged_folder(Path("models/merged"))
    make_gguf_folder(Path("models/gguf-f16"))
    shutil.copyfile(Path("models/merged") / FILE, Path("models/gguf-f16") / FILE)
    assert run_publish(*KINDS[there]).returncode == 0
    before = hub.repositories[REPO].files.copy()
    for kind, arguments in KINDS.items():
        if kind == there:
            assert run_publish(*arguments).returncode == 0
        else:
            assert f"{REPO}: holds {there}, which loads in another way; take another" in refused(*arguments)
    assert hub.repositories[REPO].files == before


def test_gguf_files_come_and_go_with_a_merged_model(hub: HubServer) -> None:
    merged = Path("models/merged")
    make_merged_folder(merged)
    (merged / "model-f16.gguf").write_bytes(b"GGUF")
    assert run_publish(*KINDS["a whole model"]).returncode == 0
    assert "model-f16.gguf" in hub.repositories[REPO].files
    (merged / "model-f16.gguf").unlink()
    assert run_publish(*KINDS["a whole model"]).returncode == 0
    assert "model-f16.gguf" not in hub.repositories[REPO].files


# --- a stranger


def stranger(hub: HubServer, folder: Path, code: str) -> "subprocess.CompletedProcess[str]":
    """A Python of their own, in their folder, with their cache, that asks the Hub."""
    folder.mkdir()
    environment = {name: value for name, value in os.environ.items() if name not in ("HF_TOKEN", "PYTHONPATH")}
    environment |= {"HF_ENDPOINT": hub.url, "HF_HOME": str(folder / "cache"), "HF_TOKEN": READ, "OMP_NUM_THREADS": "1"}
    return subprocess.run([sys.executable, "-c", code], cwd=folder, env=environment, capture_output=True, text=True)


def python_blocks(card: str) -> list[str]:
    return [block.partition("```")[0] for block in card.split("```python\n")[1:]]


def test_what_was_pushed_is_downloaded_and_gives_the_same_logits(hub: HubServer) -> None:
    import torch
    from huggingface_hub import snapshot_download
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    run_publish()
    folder = snapshot_download(REPO, token=READ)
    ids = AutoTokenizer.from_pretrained(folder)("Which AS announced 192.0.2.0/24?", return_tensors="pt")["input_ids"]
    assert torch.equal(
        ids,
        AutoTokenizer.from_pretrained(TOKENIZER)("Which AS announced 192.0.2.0/24?", return_tensors="pt")["input_ids"],
    )
    logits = [
        PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained("tiny", dtype=torch.float32), where)(ids).logits
        for where in (str(ADAPTER), folder)
    ]
    assert torch.equal(*logits)
    assert not torch.allclose(logits[0], AutoModelForCausalLM.from_pretrained("tiny", dtype=torch.float32)(ids).logits)


def test_the_code_of_the_card_runs_for_a_stranger(hub: HubServer, run_dir: Path) -> None:
    """Adapter and base are from the Hub: nothing of this folder is used."""
    hub.add("org/tiny", {path.name: path.read_bytes() for path in (run_dir / "tiny").iterdir()})
    run_publish()
    load = python_blocks(hub.repositories[REPO].files["README.md"].decode())[0]
    done = stranger(
        hub,
        run_dir / "theirs",
        load + 'print("\\nweights", sum("lora" in name for name, _ in model.named_parameters()))',
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "weights 28"


def test_as_a_process_it_publishes_through_the_environment(hub: HubServer, run_dir: Path) -> None:
    words = [sys.executable, "-m", "commands.publish", "--repo-id", REPO, *LOCAL_BASE]
    environment: dict[str, Any] = os.environ | {"PYTHONPATH": str(ROOT), "HF_ENDPOINT": hub.url, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "adapter_model.safetensors" in hub.repositories[REPO].files
    assert "Traceback" not in done.stderr


def test_xet_is_off_until_it_is_asked_for(hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    seen: list[bool] = []

    def note(asked: Received) -> HubRefusal | None:
        seen.append(constants.HF_HUB_DISABLE_XET)
        return HubRefusal(403)

    hub.fault = note
    run_publish()
    run_publish("--xet")
    assert seen == [True, False]


def test_publish_is_refused_for_a_licence_that_nobody_said(hub: HubServer) -> None:
    ended = run_here(publish.main, "--repo-id", REPO, "--base-model", "org/tiny")
    assert "the licence of org/tiny is not known here" in ended.stderr
    assert hub.received == []


def test_a_llama_needs_its_name_its_notice_and_its_licence(hub: HubServer, run_dir: Path) -> None:
    llama: tuple[str, ...] = ("--base-model", "meta-llama/Llama-3.1-8B-Instruct")

    def run(repo: str, *more: str) -> Ended:
        return run_here(publish.main, "--repo-id", repo, *llama, *more)

    assert "take you/Llama-net-llama" in run("you/net-llama").stderr
    assert "the Llama 3.1 Community License must go with the model" in run("you/Llama-net").stderr
    (run_dir / "LICENSE").write_text("its text")
    assert run("you/Llama-net", "--licence-file", "LICENSE").returncode == 0
    files = hub.repositories["you/Llama-net"].files
    assert files["LICENSE"] == b"its text"
    assert files["NOTICE"].startswith(b"Llama 3.1 is licensed under the Llama 3.1 Community License, Copyright")
    assert "**Built with Llama**" in files["README.md"].decode()
    assert "license: llama3.1" in files["README.md"].decode()


def test_the_licence_of_a_base_on_the_hub_comes_from_there_and_its_weights_do_not(hub: HubServer) -> None:
    texts = {"LICENSE.txt": b"its text", "USE_POLICY.md": b"its policy", "generation_config.json": b"{}"}
    hub.add("meta-llama/Llama-2-tiny", {**texts, "model.safetensors": b"weights", "README.md": b"---\n"})
    commit = hub.repositories["meta-llama/Llama-2-tiny"].commits[-1]
    record = read_json(ADAPTER / "training.json")
    base = {"id": "meta-llama/Llama-2-tiny", "revision": commit, "files": {}}
    write_json(ADAPTER / "training.json", record | {"base": base})
    write_lock()
    assert run_here(publish.main, "--repo-id", REPO).returncode == 0
    files = hub.repositories[REPO].files
    assert texts.items() <= files.items()
    assert files["NOTICE"].startswith(b"Llama 2 is licensed under the LLAMA 2 Community License")
    config = json.loads(files["adapter_config.json"])
    assert (config["base_model_name_or_path"], config["revision"]) == ("meta-llama/Llama-2-tiny", commit)
    assert not hub.asked("GET", "model.safetensors")
