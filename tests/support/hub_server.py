"""The Hugging Face Hub on a loopback port: repositories that the real client creates, commits to and downloads from.

`with HubServer() as hub`: `hub.repositories` holds what was committed, `hub.received` every request with all its bytes.
`hub.fault` may answer a request in the server's place: a `HubRefusal`, or `BROKEN` (the connection ends half-way).
It serves Git LFS and no Xet, as HTTP interface of huggingface_hub 2.4.
"""

import base64
import hashlib
import http.server
import json
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

import pytest
import yaml

WRITE, READ = "hf_writeTokenOfTheTests", "hf_readTokenOfTheTests"
BROKEN = "broken"
"""The connection is closed after half of the request's body, without an answer."""


@dataclass(frozen=True)
class Received:
    """One request."""

    method: str
    path: str
    """With its query."""
    headers: dict[str, str]
    """Names in lower case."""
    body: bytes
    """All of it; half of it where the connection was broken."""

    @property
    def token(self) -> str:
        return self.headers.get("authorization", "").removeprefix("Bearer ")

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class HubRefusal:
    status: int
    message: str = "refused by the test"
    code: str = ""
    """X-Error-Code."""


@dataclass
class StoredRepository:
    private: bool
    files: dict[str, bytes] = field(default_factory=dict)
    large: set[str] = field(default_factory=set)
    """Names of those that are in Git LFS."""
    commits: list[str] = field(default_factory=lambda: ["0" * 40])

    def commit(self, files: dict[str, bytes], deleted: list[str], large: set[str]) -> str:
        self.files |= files
        for name in deleted:
            del self.files[name]
        self.large = (self.large | large) & self.files.keys()
        state = json.dumps([self.commits[-1], {name: name_blob(content) for name, content in self.files.items()}])
        self.commits.append(hashlib.sha1(state.encode()).hexdigest())
        return self.commits[-1]


def name_blob(content: bytes) -> str:
    """Git's name of a file."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def hash_content(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


Answered = tuple[int, dict[str, str], bytes]


class HubServer:
    def __init__(self) -> None:
        self.repositories: dict[str, StoredRepository] = {}
        self.storage: dict[str, bytes] = {}
        """Git LFS: by SHA-256."""
        self.roles = {WRITE: "write", READ: "read"}
        self.namespaces = {"you", "your-org"}
        self.received: list[Received] = []
        self.fault: Callable[[Received], HubRefusal | str | None] = lambda asked: None
        self._http = _Http(("127.0.0.1", 0), _HubHandler)
        self._http.hub = self
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}"

    def __enter__(self) -> "HubServer":
        threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._http.shutdown()
        self._http.server_close()

    def reach_from_here(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Make huggingface_hub ask this server, in this process and in those that it starts."""
        template = self.url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setenv("HF_ENDPOINT", self.url)
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", self.url)
        monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", template)

    def add(self, repo_id: str, files: dict[str, bytes], private: bool = False) -> StoredRepository:
        repository = self.repositories[repo_id] = StoredRepository(private)
        repository.commit(files, [], set())
        return repository

    def asked(self, method: str, part: str) -> list[Received]:
        return [one for one in self.received if one.method == method and part in one.path]

    # --- answers

    def answer(self, asked: Received) -> Answered:
        path = unquote(asked.path.partition("?")[0])
        role = self.roles.get(asked.token)
        if asked.token and role is None and path.startswith("/api/"):
            return refuse(HubRefusal(401, "Invalid credentials in Authorization header"))
        if path.startswith("/lfs/"):
            return self._store(asked, path)
        match path.strip("/").split("/"):
            case ["api", "whoami-v2"]:
                if role is None:
                    return refuse(HubRefusal(401))
                return give({"name": "you", "orgs": [], "auth": {"accessToken": {"role": role}}})
            case ["api", "validate-yaml"]:
                return self._validate(asked)
            case ["api", "repos", "create"]:
                return self._create(asked, role)
            case ["api", "models", owner, name, *rest]:
                repository = self._find(f"{owner}/{name}", role)
                return self._ask(f"{owner}/{name}", repository, rest, asked, role) if repository else refuse(UNKNOWN)
            case [owner, name, "info", "lfs", "objects", "batch"] if name.endswith(".git"):
                return self._batch(asked)
            case [owner, name, "resolve", revision, *parts]:
                repository = self._find(f"{owner}/{name}", role)
                return self._serve(repository, revision, "/".join(parts)) if repository else refuse(UNKNOWN)
        return refuse(HubRefusal(404, "no such path"))

    def _find(self, repo_id: str, role: str | None) -> StoredRepository | None:
        found = self.repositories.get(repo_id)
        return found if found and (role or not found.private) else None

    def _validate(self, asked: Received) -> Answered:
        metadata = yaml.safe_load(asked.json()["content"].split("---\n")[1])
        errors = [{"message": f'"{key}" is required'} for key in ("license", "base_model") if key not in metadata]
        if str(metadata.get("base_model")).count("/") != 1:
            errors.append({"message": '"base_model" with value that is no id of the Hub'})
        return give({"errors": errors, "warnings": []}, 400 if errors else 200)

    def _create(self, asked: Received, role: str | None) -> Answered:
        body = asked.json()
        if role != "write" or body["organization"] not in self.namespaces:
            return refuse(HubRefusal(403, "You don't have the rights to create a model under this namespace"))
        repo_id = f"{body['organization']}/{body['name']}"
        exists = repo_id in self.repositories
        if not exists:
            self.repositories[repo_id] = StoredRepository(body.get("visibility") == "private")
        error = {"error": "You already created this model repo"} if exists else {}
        return give({"url": f"{self.url}/{repo_id}", **error}, 409 if exists else 200)

    def _ask(
        self, repo_id: str, repository: StoredRepository, rest: list[str], asked: Received, role: str | None
    ) -> Answered:
        match rest:
            case [] | ["revision", _]:
                if rest and rest[1] not in ("main", *repository.commits):
                    return refuse(HubRefusal(404, "Invalid rev id", "RevisionNotFound"))
                siblings = [{"rfilename": name} for name in repository.files]
                sha = repository.commits[-1]
                return give(
                    {"id": repo_id, "sha": sha, "private": repository.private, "siblings": siblings, "tags": []}
                )
            case ["tree", _]:
                return give(
                    [
                        {"type": "file", "path": name, "size": len(content), "oid": name_blob(content)}
                        for name, content in repository.files.items()
                    ]
                )
            case _ if role != "write":
                return refuse(HubRefusal(403, "Forbidden: you need write access"))
            case ["preupload", _]:
                return give({"files": [self._plan(repository, file) for file in asked.json()["files"]]})
            case ["commit", _]:
                return self._commit(repo_id, repository, asked)
        return refuse(HubRefusal(404, "no such path"))

    def _plan(self, repository: StoredRepository, file: dict[str, Any]) -> dict[str, Any]:
        is_large = file["path"].endswith((".safetensors", ".gguf")) or file["size"] > 10**7
        known = repository.files.get(file["path"])
        oid = None if known is None else hash_content(known) if is_large else name_blob(known)
        mode = "lfs" if is_large else "regular"
        return {"path": file["path"], "uploadMode": mode, "shouldIgnore": False, "oid": oid}

    def _batch(self, asked: Received) -> Answered:
        objects = []
        for one in asked.json()["objects"]:
            known = one["oid"] in self.storage
            actions = {
                "upload": {"href": f"{self.url}/lfs/{one['oid']}"},
                "verify": {"href": f"{self.url}/lfs/verify"},
            }
            objects.append(one | ({} if known else {"actions": actions}))
        return give({"objects": objects, "transfer": "basic"})

    def _store(self, asked: Received, path: str) -> Answered:
        if path == "/lfs/verify":
            body = asked.json()
            same = len(self.storage.get(body["oid"], b"")) == body["size"]
            return give({}, 200 if same else 422)
        oid = path.removeprefix("/lfs/")
        if hash_content(asked.body) != oid:
            return refuse(HubRefusal(400, "content does not match its hash"))
        self.storage[oid] = asked.body
        return give({})

    def _commit(self, repo_id: str, repository: StoredRepository, asked: Received) -> Answered:
        files, deleted, large = {}, [], set()
        for line in asked.body.splitlines():
            entry = json.loads(line)
            value = entry["value"]
            if entry["key"] == "header" and value.get("parentCommit", repository.commits[-1]) != repository.commits[-1]:
                return refuse(HubRefusal(412, "A commit has happened since. Please refresh and try again."))
            if entry["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif entry["key"] == "lfsFile":
                if value["oid"] not in self.storage:
                    return refuse(HubRefusal(400, "LFS pointer points to a file that does not exist"))
                files[value["path"]] = self.storage[value["oid"]]
                large.add(value["path"])
            elif entry["key"] == "deletedFile":
                deleted.append(value["path"])
        sha = repository.commit(files, deleted, large)
        return give({"commitUrl": f"{self.url}/{repo_id}/commit/{sha}", "commitOid": sha})

    def _serve(self, repository: StoredRepository, revision: str, name: str) -> Answered:
        if revision not in ("main", *repository.commits):
            return refuse(HubRefusal(404, "Invalid rev id", "RevisionNotFound"))
        if name not in repository.files:
            return refuse(HubRefusal(404, "Entry not found", "EntryNotFound"))
        content = repository.files[name]
        headers = {"ETag": f'"{name_blob(content)}"', "X-Repo-Commit": repository.commits[-1]}
        if name in repository.large:
            headers |= {"X-Linked-Etag": f'"{hash_content(content)}"', "X-Linked-Size": str(len(content))}
        return 200, headers, content


UNKNOWN = HubRefusal(404, "Repository not found", "RepoNotFound")


def give(value: object, status: int = 200) -> Answered:
    return status, {"Content-Type": "application/json"}, json.dumps(value).encode()


def refuse(refusal: HubRefusal) -> Answered:
    status, headers, body = give({"error": refusal.message}, refusal.status)
    return status, headers | {"X-Error-Code": refusal.code, "X-Error-Message": refusal.message}, body


class _Http(http.server.ThreadingHTTPServer):
    daemon_threads = True
    hub: HubServer

    def handle_error(self, *args: object) -> None:
        """Connections that break are part of the tests."""


class _HubHandler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else each answer waits 40 ms for the client to acknowledge its headers
    server: _Http

    def do_GET(self) -> None:
        hub, length = self.server.hub, int(self.headers.get("Content-Length") or 0)
        headers = {name.lower(): value for name, value in self.headers.items()}
        half = self.rfile.read(length // 2)
        asked = Received(self.command, self.path, headers, half)
        fault = hub.fault(asked)
        if fault == BROKEN:
            hub.received.append(asked)
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        asked = Received(self.command, self.path, headers, half + self.rfile.read(length - len(half)))
        hub.received.append(asked)
        status, answer, content = refuse(fault) if isinstance(fault, HubRefusal) else hub.answer(asked)
        self.send_response(status)
        for name, value in {**answer, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    do_HEAD = do_POST = do_PUT = do_GET

    def log_message(self, *args: object) -> None:
        """Silent."""
