"""Which files go to the Hub. Only names in these lists do: never a whole folder, so never an .env or a cache."""

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from netllama.core.errors import StageError
from netllama.core.files import JsonObject, read_json
from netllama.publishing.base_identity import HubBase

CARD = "README.md"
PROVENANCE = "provenance.json"
ADAPTER_FILES = ("adapter_model.safetensors", "adapter_config.json", "training.json")
TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "chat_template.jinja",
    "special_tokens_map.json",
    "added_tokens.json",
    "tokenizer.model",
    "vocab.json",
    "merges.txt",
)
GENERATION = "generation_config.json"
MODEL_FILES = (
    "config.json",
    GENERATION,
    "model.safetensors",
    "model-*-of-*.safetensors",
    "model.safetensors.index.json",
    "merge.json",
    "*.gguf",
    "Modelfile",
    *TOKENIZER_FILES,
)
_ORIGIN_KEYS = ("is_local", "local_files_only", "name_or_path", "_name_or_path")
"""Keys that say where a file was loaded from."""


@dataclass(frozen=True)
class PublishedFile:
    name: str
    """Its path in the repository."""
    content: bytes | Path
    """The bytes, or the file that holds them: weights are not read as a whole."""

    @property
    def size(self) -> int:
        return self.content.stat().st_size if isinstance(self.content, Path) else len(self.content)

    def read(self, limit: int = -1) -> bytes:
        """The first `limit` bytes; all of them without."""
        if isinstance(self.content, bytes):
            return self.content
        with open(self.content, "rb") as opened:
            return opened.read(limit)


def make_json_file(name: str, value: object) -> PublishedFile:
    return PublishedFile(name, (json.dumps(value, sort_keys=True, ensure_ascii=False, indent=2) + "\n").encode())


def list_adapter_files(adapter: Path, tokenizer: Path, base_folder: Path, base: HubBase) -> list[PublishedFile]:
    """The adapter, which names its base by the Hub's id, and what a stranger needs to ask it something."""
    _require(adapter, ADAPTER_FILES, "dvc repro train")
    _require(tokenizer, ("tokenizer.json", "tokenizer_config.json"), "dvc repro fetch")
    named = {"base_model_name_or_path": base.id, "revision": base.revision or None}
    config = _rewrite(adapter / "adapter_config.json", lambda value: value | named)
    files = [
        PublishedFile(ADAPTER_FILES[0], adapter / ADAPTER_FILES[0]),
        config,
        _rewrite(adapter / "training.json", lambda value: _record_files(_name_base(value, base), [config])),
        *list_tokenizer_files(tokenizer),
    ]
    if (base_folder / GENERATION).is_file():
        files.append(PublishedFile(GENERATION, base_folder / GENERATION))
    return files


def list_tokenizer_files(folder: Path) -> list[PublishedFile]:
    files = []
    for name in TOKENIZER_FILES:
        if name == "tokenizer_config.json" and (folder / name).is_file():
            files.append(_rewrite(folder / name, _drop_origin))
        elif (folder / name).is_file():
            files.append(PublishedFile(name, folder / name))
    return files


def list_model_files(folder: Path, base: HubBase) -> list[PublishedFile]:
    """A merged model: what of its folder belongs to one."""
    names = sorted(path.name for path in folder.iterdir() if path.is_file())
    names = [name for name in names if any(fnmatch(name, pattern) for pattern in MODEL_FILES)]
    rewritten: dict[str, Callable[[JsonObject], JsonObject]] = {
        "config.json": _drop_origin,
        "tokenizer_config.json": _drop_origin,
    }
    files = [
        _rewrite(folder / name, rewritten[name]) if name in rewritten else PublishedFile(name, folder / name)
        for name in names
        if name != "merge.json"
    ]
    changed = [file for file in files if file.name in rewritten]
    return [*files, _rewrite(folder / "merge.json", lambda value: _record_files(_name_base(value, base), changed))]


def list_licence_files(texts: Sequence[Path], notice: str) -> list[PublishedFile]:
    """The licence's texts, and a NOTICE with the sentence that it asks for."""
    files = [PublishedFile(path.name, path) for path in texts]
    return [*files, PublishedFile("NOTICE", f"{notice}\n".encode())] if notice else files


def list_metric_files(paths: Iterable[Path]) -> list[PublishedFile]:
    """Under the paths that they have here."""
    return [PublishedFile(path.as_posix(), path) for path in paths]


def _require(folder: Path, names: Iterable[str], remedy: str) -> None:
    for name in names:
        if not (folder / name).is_file():
            raise StageError(f"{folder / name}: no such file; run `{remedy}`")


def _rewrite(path: Path, change: Callable[[JsonObject], JsonObject]) -> PublishedFile:
    value = read_json(path)
    if not isinstance(value, dict):
        raise StageError(f"{path}: not a JSON object; run `dvc repro`")
    return make_json_file(path.name, change(value))


def _drop_origin(value: JsonObject) -> JsonObject:
    return {key: inner for key, inner in value.items() if key not in _ORIGIN_KEYS}


def _record_files(value: JsonObject, rewritten: Iterable[PublishedFile]) -> JsonObject:
    """The record of an adapter or a merge with the hashes of those of its files that were rewritten."""
    return value | {
        "files": value["files"] | {file.name: hashlib.sha256(file.read()).hexdigest() for file in rewritten}
    }


def _name_base(value: JsonObject, base: HubBase) -> JsonObject:
    """A record whose base is in a local folder: that folder is nobody else's business."""
    own = value.get("base")
    if not isinstance(own, dict) or own.get("revision"):
        return value
    return value | {"base": own | {"id": base.id}}
