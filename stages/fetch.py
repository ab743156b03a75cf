"""The base model of the run: pinned, hashed, its tokenizer an out of its own.

Reads  params `model`
Writes models/base.json (id, revision, file hashes), models/tokenizer/
Run    python -m stages.fetch

The weights stay in a local cache, so that a queued experiment copies nothing; a change of weights alone
leaves models/tokenizer as it is and re-tokenizes nothing.
"""

from pathlib import Path

from netllama.core.errors import run_stage
from netllama.core.files import atomic_path, write_json
from netllama.core.params import View
from netllama.core.sections import ModelParams
from netllama.core.tokenizer_files import load_tokenizer
from netllama.models.model_reference import resolve_model


class Needs(View):
    """The params of this stage."""

    model: ModelParams


def save_tokenizer(model_folder: Path, folder: Path) -> None:
    """The tokenizer of `model_folder` on its own, re-saved so that its bytes depend on it alone."""
    tokenizer = load_tokenizer(model_folder)
    with atomic_path(folder) as temporary:
        tokenizer.save_pretrained(temporary)


def main() -> None:
    needs = Needs.load()
    base = resolve_model(needs.model.id, needs.model.revision)
    save_tokenizer(base.folder, Path("models/tokenizer"))
    write_json("models/base.json", base.reference.model_dump())
    print(f"models/base.json: {base.reference.id} {base.reference.revision}, {len(base.reference.files)} files hashed")


if __name__ == "__main__":
    run_stage(main, __doc__)
