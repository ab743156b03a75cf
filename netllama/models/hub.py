"""Models of the Hugging Face Hub: a revision pinned to its commit, files in the Hub's own cache."""

import hashlib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from netllama.core.credentials import find_secret
from netllama.core.errors import StageError
from netllama.core.files import hash_file, read_json
from netllama.models.hub_waits import SECONDS, is_broken, limit_waits

FILES = ["*.safetensors", "*.safetensors.index.json", "*.json", "*.jinja", "tokenizer.model"]
_SHA1, _SHA256 = re.compile("[0-9a-f]{40}"), re.compile("[0-9a-f]{64}")
COMPANIONS = ["generation_config.json", "LICENSE*", "USE_POLICY*"]
"""What goes on with a model that was made from another one."""


def token() -> str | None:
    """HF_TOKEN, or the seed document's hf_token; None leaves it to what `hf auth login` stored."""
    return find_secret("HF_TOKEN", "hf_token")


def pin(model_id: str, revision: str) -> str:
    """The 40-hex commit that `revision` (branch, tag, commit; empty: the default branch) stands for."""
    from huggingface_hub import HfApi

    with clear_hub_errors(_name_model(model_id, revision)):
        return str(HfApi(token=token()).model_info(model_id, revision=revision or None, timeout=SECONDS).sha)


def download(model_id: str, commit: str) -> Path:
    """The folder with the files of that commit, of which the Hub is asked: what the cache lacks is downloaded."""
    from huggingface_hub import snapshot_download

    with clear_hub_errors(_name_model(model_id, commit)):
        return Path(snapshot_download(model_id, revision=commit, allow_patterns=FILES, token=token()))


def find_cached(model_id: str, commit: str, files: Iterable[str]) -> Path:
    """The folder of that commit in the cache, without a network call if it has all of `files`; else `download`'s."""
    from huggingface_hub import snapshot_download

    try:
        cached = Path(snapshot_download(model_id, revision=commit, allow_patterns=FILES, local_files_only=True))
    except FileNotFoundError:
        return download(model_id, commit)
    return cached if all((cached / name).is_file() for name in files) else download(model_id, commit)


def find_damaged(folder: Path, hashes: Mapping[str, str]) -> str:
    """A file of a snapshot whose bytes are not those of its name; empty: there is none, or the folder is no snapshot.

    A snapshot holds links to files that are named by their content: SHA-256 of large ones, git's hash of others.
    `hashes`: the SHA-256 of files, by name, as far as they are known already.
    """
    for path in sorted(folder.iterdir()):
        named = path.resolve().name if path.is_symlink() else ""
        if _SHA256.fullmatch(named) and named != (hashes.get(path.name) or hash_file(path)):
            return path.name
        if _SHA1.fullmatch(named) and named != _hash_blob(path):
            return path.name
    return ""


def _hash_blob(path: Path) -> str:
    """Git's name of a file."""
    digest = hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def download_companions(model_id: str, commit: str) -> Path:
    """The folder with `COMPANIONS` of that commit, and with whatever else of it is in the cache; not the weights."""
    from huggingface_hub import snapshot_download

    with clear_hub_errors(_name_model(model_id, commit)):
        return Path(snapshot_download(model_id, revision=commit, allow_patterns=COMPANIONS, token=token()))


def missing_weights(folder: Path) -> list[str]:
    """The weight files that the model folder lacks: model.safetensors, or those that its index lists."""
    index = folder / "model.safetensors.index.json"
    if (folder / "model.safetensors").is_file():
        return []
    if not index.is_file():
        return ["model.safetensors"]
    try:
        names = sorted(set(read_json(index)["weight_map"].values()))
    except (KeyError, TypeError, AttributeError):
        raise StageError(f"{index}: it has no weight_map; delete it and download the model again") from None
    return [name for name in names if not (folder / name).is_file()]


def _name_model(model_id: str, revision: str) -> str:
    return f"model.id {model_id}" + (f" at revision {revision}" if revision else "")


class clear_hub_errors:
    """What the Hub answers to a download, as one line that says what to do. Never the request: it carries the token."""

    def __init__(self, where: str) -> None:
        self.where = where
        """What is downloaded: the line begins with it."""

    def __enter__(self) -> None:
        limit_waits()

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        from huggingface_hub import errors, get_token

        if error is None or isinstance(error, (StageError, KeyboardInterrupt)):
            return
        if isinstance(error, errors.LocalEntryNotFoundError):  # "not in the cache", said for all that a server answers
            error = error.__cause__ or error
        sent = token() or get_token()
        access = "the token that was sent gives no access" if sent else "no token was sent: set HF_TOKEN (or hf_token)"
        if isinstance(error, errors.GatedRepoError):
            reason = f"gated on the Hub; accept its licence on its page ({access})"
        elif isinstance(error, errors.RevisionNotFoundError):
            reason = "the Hub has no such revision"
        elif isinstance(error, errors.RepositoryNotFoundError):
            reason = f"not on the Hub, or private ({access})"
        elif isinstance(error, errors.HfHubHTTPError):
            status = error.response.status_code if error.response is not None else "no answer"
            hint = access if status in (401, 403) else "too many requests: try again later" if status == 429 else ""
            reason = f"the Hub answered {status}" + (f" ({hint})" if hint else "")
        elif isinstance(error, errors.HFValidationError):
            reason = "not a Hub id (org/name: letters, digits, - _ .)"
        elif isinstance(error, errors.HTTPError) and is_broken(error):
            reason = f"the connection to the Hub broke ({type(error).__name__}); run it again, it goes on"
        elif isinstance(error, (OSError, errors.HTTPError)):  # httpx's errors of the connection are no OSError
            reason = "the Hub can't be reached and the model is not in the local cache"
        else:
            return
        raise StageError(f"{self.where}: {reason}") from None
