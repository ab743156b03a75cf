"""training.json, beside an adapter: all that made it. The stage train writes it, evaluate reads it."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from netllama.core.errors import StageError
from netllama.core.files import hash_file, read_json
from netllama.models.model_reference import ModelReference

FILE = "training.json"
HASHED = ("adapter_config.json", "adapter_model.safetensors")
"""The files beside it."""


class TrainingRecord(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    base: ModelReference
    data: dict[str, str]
    """SHA-256 of each table of tokenized rows, by its path."""
    template_hash: str
    """Fingerprint of the renderer that made the rows."""
    loading: dict[str, object]
    """The params of this section; the precision is what `auto` came to, in torch's name."""
    lora: dict[str, object]
    train: dict[str, object]
    device: str
    processes: int
    versions: dict[str, str]
    """Versions of the libraries that affect the result."""
    files: dict[str, str] = {}
    """SHA-256 of the adapter's files, `HASHED`; empty until they are written."""


def read_training_record(adapter: Path) -> TrainingRecord:
    """The record beside the adapter in this folder, whose files have the hashes in it."""
    path = adapter / FILE
    if not path.is_file():
        raise StageError(f"{path}: no such file; run `dvc repro train`")
    try:
        record = TrainingRecord.model_validate(read_json(path))
    except ValidationError as error:
        first = error.errors()[0]
        where = ": ".join([str(path), *filter(None, [".".join(map(str, first["loc"]))])])
        raise StageError(f"{where}: {first['msg'].lower()}; run `dvc repro train`") from None
    require_recorded_files(adapter, record, "run `dvc repro --force train`")
    return record


def require_recorded_files(adapter: Path, record: TrainingRecord, remedy: str) -> None:
    """StageError where a file of the adapter is not the one that its record names."""
    for name in HASHED:
        if not (adapter / name).is_file():
            raise StageError(f"{adapter / name}: no such file; {remedy}")
        if hash_file(adapter / name) != record.files.get(name):
            raise StageError(f"{adapter / name}: not the file that {FILE} beside it records; {remedy}")


def require_base(adapter: Path, record: TrainingRecord, base: ModelReference, base_json: Path) -> None:
    """StageError where the adapter was trained on other weights than `base`, under whatever name it had them."""
    if not record.base.has_weights_of(base):
        raise StageError(
            f"{adapter}: trained on {record.base.id} {record.base.revision}".rstrip()
            + f", not on the model of {base_json} ({base.id}); set model.id and run `dvc repro fetch`, or train an "
            "adapter for it: `dvc repro train`"
        )
