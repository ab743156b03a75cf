"""models/base.json: which base model this run stands on, down to the hash of every file.

The weights themselves stay in a local cache (or in the user's own folder): `locate_model` finds them again,
fetches them again if the cache was emptied, and refuses a file whose hash is not the recorded one.
"""

import os
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from netllama.core.errors import StageError
from netllama.core.files import hash_file, read_json
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

    def has_weights_of(self, other: "ModelReference") -> bool:
        """Whether the weights are the same, under whatever names and with whatever configuration beside them."""
        return self._list_weights() == other._list_weights()

    def _list_weights(self) -> dict[str, str]:
        return {name: digest for name, digest in self.files.items() if name.endswith(".safetensors")}


@dataclass(frozen=True)
class LocalModel:
    """A base model on this machine."""

    reference: ModelReference
    folder: Path
    """Weights, configuration and tokenizer."""


def find_cache_folder() -> Path:
    """Where weights are kept: $NETLLAMA_CACHE, else netllama/ in the user's cache folder."""
    if named := os.environ.get("NETLLAMA_CACHE"):
        return Path(named)
    if named := os.environ.get("XDG_CACHE_HOME"):
        return Path(named) / "netllama"
    try:
        return Path.home() / ".cache" / "netllama"
    except RuntimeError:  # a container's user, who has neither HOME nor an entry in /etc/passwd
        raise StageError("no home folder: set NETLLAMA_CACHE to a folder where weights can be kept") from None


def resolve_model(model_id: str, revision: str) -> LocalModel:
    """The model of params' `model.id` and `model.revision`, downloaded where needed, pinned and hashed."""
    if model_id == BUNDLED_MODEL:
        folder, pinned = bundled.ensure(find_cache_folder()), bundled.VERSION
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
    reference = ModelReference(id=model_id, revision=pinned, files=_hash_files(folder))
    model = LocalModel(reference, folder)
    if not pinned:
        _require_whole_weights(folder)
    if damaged := hub.find_damaged(folder, reference.files):
        raise StageError(f"{folder / damaged}: damaged, not what its name says; {_name_remedy(model)}")
    return model


def _require_whole_weights(folder: Path) -> None:
    """StageError where a safetensors file is not as long as its own header says, or has none.

    More can't be told of weights that no hash was published for: other bits are another model.
    """
    from safetensors import SafetensorError, safe_open

    for path in sorted(folder.glob("*.safetensors")):
        try:
            safe_open(path, "np")
        except SafetensorError as error:
            raise StageError(f"{path}: cut short or damaged ({error}); copy the model again") from None


def locate_model(base_json: str | Path, verify: bool = True) -> LocalModel:
    """The model that `base_json` records; with `verify`, every file is there and has the recorded hash.

    Hashing reads all weights: of several processes on one machine one is enough.
    """
    try:
        reference = ModelReference.model_validate(read_json(base_json))
    except ValidationError:
        raise StageError(f"{base_json}: not a model reference; run `dvc repro --force fetch`") from None
    model = LocalModel(reference, _find_folder(reference))
    if verify:
        _verify_files(model, base_json)
    return model


def _find_folder(reference: ModelReference) -> Path:
    if reference.id == BUNDLED_MODEL:
        return bundled.ensure(find_cache_folder(), verify=False)
    if not reference.revision:
        return Path(reference.id)
    return hub.find_cached(reference.id, reference.revision, reference.files)


def _verify_files(model: LocalModel, base_json: str | Path) -> None:
    for name, recorded in model.reference.files.items():
        path = model.folder / name
        if not path.is_file():
            raise StageError(f"{path}: missing; {_name_remedy(model)}")
        if hash_file(path) != recorded:
            raise StageError(f"{path}: not the file that {base_json} records; {_name_remedy(model)}")


def _name_remedy(model: LocalModel) -> str:
    """What to do about a changed file: download it again, or record the user's own folder as it is."""
    again = "`dvc repro --force fetch`"
    if model.reference.id == BUNDLED_MODEL:
        return f"run {again}, which makes it again"
    if not model.reference.revision:
        return f"put it back, or run {again} to go on with the folder as it is"
    # A snapshot holds links: what the Hub's cache would take for downloaded is two folders up, in blobs/.
    return f"delete {model.folder.parent.parent} and run {again}"


def _hash_files(folder: Path) -> dict[str, str]:
    names = sorted({file.name for pattern in WEIGHTS for file in folder.glob(pattern)})
    if "config.json" not in names or not any(name.endswith(".safetensors") for name in names):
        raise StageError(f"{folder}: not a model folder (config.json and *.safetensors are needed)")
    if missing := hub.missing_weights(folder):
        raise StageError(f"{folder}: incomplete, without {', '.join(missing)}; download the model again")
    return {name: hash_file(folder / name) for name in names}
