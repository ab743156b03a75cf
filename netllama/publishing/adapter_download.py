"""A published adapter, fetched to be evaluated here: its files, pinned to a commit, and whether they fit."""

from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from netllama.core.errors import StageError
from netllama.core.files import read_json
from netllama.models.hub import clear_hub_errors, token
from netllama.models.hub_waits import SECONDS
from netllama.models.model_reference import ModelReference
from netllama.models.training_record import FILE, TrainingRecord, require_recorded_files
from netllama.publishing.published_files import ADAPTER_FILES


@dataclass(frozen=True)
class DownloadedAdapter:
    folder: Path
    """In the Hub's cache."""
    commit: str
    record: TrainingRecord


def download_adapter(repo_id: str, revision: str) -> DownloadedAdapter:
    """The adapter of `revision` (branch, tag, commit; empty: the newest). StageError where it was not made here."""
    from huggingface_hub import HfApi, snapshot_download

    with clear_hub_errors(repo_id + (f" at revision {revision}" if revision else "")):
        info = HfApi(token=token()).model_info(repo_id, revision=revision or None, timeout=SECONDS)
        names = {file.rfilename for file in info.siblings or []}
        if missing := [name for name in ADAPTER_FILES if name not in names]:
            what = "it is not known what it was trained on" if missing == [FILE] else "it is no adapter"
            raise StageError(f"{repo_id}: has no {missing[0]}, so {what}; `python -m commands.publish` uploads it")
        folder = snapshot_download(repo_id, revision=info.sha, allow_patterns=list(ADAPTER_FILES), token=token())
    record = _read_record(repo_id, Path(folder))
    require_recorded_files(Path(folder), record, f"delete {Path(folder).parent.parent} and fetch it again")
    return DownloadedAdapter(Path(folder), str(info.sha), record)


def _read_record(repo_id: str, folder: Path) -> TrainingRecord:
    try:
        return TrainingRecord.model_validate(read_json(folder / FILE))
    except ValidationError as error:
        first = error.errors()[0]
        reason = f"{'.'.join(map(str, first['loc']))}: {first['msg'].lower()}"
        raise StageError(
            f"{repo_id}: its {FILE} is not of this version ({reason}); take the version that published it"
        ) from None


def require_same_base(repo_id: str, record: TrainingRecord, here: ModelReference) -> None:
    """StageError unless the weights here are those that the adapter was trained on, wherever each is from."""
    if record.base.has_weights_of(here):
        return
    base = record.base
    raise StageError(
        f"{repo_id}: trained on {base.id}, and the base model here is {here.id} with other weights; set model.id: "
        f"{base.id} and model.revision: '{base.revision}' in params.yaml and run `dvc repro baseline`"
    )
