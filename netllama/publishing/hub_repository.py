"""A model repository on the Hub: created or found, and brought to a list of files in one commit.

What the Hub has already is not sent again: it compares hashes before anything is uploaded, and large files stay in its
storage even if the commit that needs them is never made. So an interrupted upload is repeated without harm.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from netllama.core.credentials import find_secret
from netllama.core.errors import StageError
from netllama.core.files import read_json
from netllama.models.hub_waits import SECONDS
from netllama.publishing.published_files import PROVENANCE, PublishedFile
from netllama.publishing.upload_errors import TOKENS, clear_upload_errors

if TYPE_CHECKING:
    from huggingface_hub import HfApi

MESSAGE = "Publish model, card and metrics"


@dataclass(frozen=True)
class HubRepository:
    id: str
    private: bool
    commit: str
    """The newest one."""
    names: frozenset[str]
    """Of the files that it holds."""
    is_new: bool

    def describe(self, public: bool) -> str:
        """In words; `public`: that it should be, which only a new repository obeys."""
        visibility = "private" if self.private else "public"
        stays = "; --public does not change that, its settings on the Hub do" if public and self.private else ""
        return f"{self.id}: {'created' if self.is_new else 'exists'}, {visibility}{stays}"


def require_token() -> str:
    """HF_TOKEN, hf_token, or what `hf auth login` stored."""
    from huggingface_hub import get_token

    found = find_secret("HF_TOKEN", "hf_token") or get_token()
    if not found:
        raise StageError(f"no token: set HF_TOKEN (or hf_token), in .env if you like; one with write access: {TOKENS}")
    return found


@contextmanager
def choose_transfer(xet: bool) -> Iterator[None]:
    """Upload through Xet, or through Git LFS: against a server without Xet the client waits for ever."""
    from huggingface_hub import constants

    before = constants.HF_HUB_DISABLE_XET
    constants.HF_HUB_DISABLE_XET = not xet
    try:
        yield
    finally:
        constants.HF_HUB_DISABLE_XET = before


def open_repository(repo_id: str, public: bool, token: str) -> HubRepository:
    """Create the repository where there is none. StageError for a token or a name that won't do."""
    from huggingface_hub import HfApi

    api = HfApi(token=token)
    with clear_upload_errors(repo_id, token):
        _require_write_access(api)
        found = _find_repository(api, repo_id, is_new=False)
        if found is None:
            api.create_repo(repo_id, private=not public, exist_ok=True)
            found = _find_repository(api, repo_id, is_new=True)
    if found is None:
        raise StageError(f"{repo_id}: the name is taken by a repository that this token can't read; take another one")
    if not found.private and not public:
        raise StageError(f"{repo_id}: this repository is public; say --public to publish into it")
    return found


def _require_write_access(api: "HfApi") -> None:
    """Of a fine-grained token the Hub does not say what it may do: it is tried."""
    me = api.whoami()
    role = me.get("auth", {}).get("accessToken", {}).get("role")
    if role == "read":
        raise StageError(f"the token of {me.get('name')} may only read; make one with write access at {TOKENS}")


def _find_repository(api: "HfApi", repo_id: str, is_new: bool) -> HubRepository | None:
    from huggingface_hub.errors import RepositoryNotFoundError

    try:
        info = api.model_info(repo_id, timeout=SECONDS)
    except RepositoryNotFoundError:
        return None
    names = frozenset(file.rfilename for file in info.siblings or [])
    return HubRepository(repo_id, bool(info.private), str(info.sha), names, is_new)


def require_same_kind(repository: HubRepository, files: Sequence[PublishedFile]) -> None:
    """StageError where the repository holds a model that was not published from here, or one of another kind."""
    names = {file.name for file in files}
    models = sorted(name for name in repository.names if name.endswith((".safetensors", ".bin", ".gguf", ".pt")))
    if models and PROVENANCE not in repository.names:
        raise StageError(
            f"{repository.id}: the name is taken: it holds {models[0]}, which was not published from here; take "
            "another --repo-id"
        )
    markers = {"adapter_config.json": "an adapter", "config.json": "a whole model"}
    other = next((what for marker, what in markers.items() if marker in repository.names - names), "")
    # A GGUF file beside one of these was put there by its owner, or comes and goes with the merged model.
    if not markers.keys() & repository.names and _has_gguf(repository.names) and not _has_gguf(names):
        other = "a GGUF model"
    if other:
        raise StageError(f"{repository.id}: holds {other}, which loads in another way; take another --repo-id")


def _has_gguf(names: Iterable[str]) -> bool:
    return any(name.endswith(".gguf") for name in names)


def upload_files(repository: HubRepository, files: Sequence[PublishedFile], token: str) -> str:
    """Bring the repository to `files` in one commit, and return it; the commit that was there if nothing changed.

    Files of an earlier publication that are not among them any more are taken away; what others put there stays.
    """
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi

    operations: list[CommitOperationAdd | CommitOperationDelete] = [
        CommitOperationAdd(path_in_repo=file.name, path_or_fileobj=file.content) for file in files
    ]
    with clear_upload_errors(repository.id, token):
        stale = (_list_published(repository, token) & repository.names) - {file.name for file in files}
        operations += [CommitOperationDelete(path_in_repo=name) for name in sorted(stale)]
        # Its parent has to be what was looked at: another upload may have put a model of another kind there since.
        commit = HfApi(token=token).create_commit(
            repository.id, operations, commit_message=MESSAGE, parent_commit=repository.commit
        )
    return str(commit.oid)


def _list_published(repository: HubRepository, token: str) -> set[str]:
    """The names that the last publication says it uploaded."""
    from huggingface_hub import hf_hub_download

    if PROVENANCE not in repository.names:
        return set()
    record = read_json(hf_hub_download(repository.id, PROVENANCE, revision=repository.commit, token=token))
    names = record.get("files") if isinstance(record, dict) else None
    return {name for name in names if isinstance(name, str)} if isinstance(names, list) else set()
