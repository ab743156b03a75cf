"""Fetch a published adapter into models/adapter, to evaluate it here.

Reads  a repository of the Hugging Face Hub, models/base.json, models/tokenizer/, params `prompt`
Writes models/adapter/; the adapter that was there is kept in .scratch/adapters/
Run    dvc repro baseline                              # the base model's answers, once
       python -m commands.fetch_adapter you/net-llama
       dvc repro -s evaluate                           # that stage alone: not train, which would replace the adapter

The adapter must be trained on the base model that is here, with the prompt that params.yaml gives: an adapter of
another base or of another prompt would get scores of something else.
"""

import argparse
import shutil
from collections.abc import Sequence
from pathlib import Path

from netllama.core.errors import StageError, run_stage
from netllama.core.files import atomic_path, ensure_scratch_folder, hash_file, read_json
from netllama.core.params import View
from netllama.core.sections import PromptParams
from netllama.models.model_reference import ModelReference
from netllama.publishing.adapter_download import download_adapter, require_same_base
from netllama.publishing.base_identity import is_hub_id
from netllama.publishing.published_files import ADAPTER_FILES
from netllama.rendering.renderer import load_renderer

ADAPTER = Path("models/adapter")
BASE = Path("models/base.json")
TOKENIZER = Path("models/tokenizer")
TRAIN = Path("data/tokenized/train.parquet")
WEIGHTS = ADAPTER_FILES[0]


class Needs(View):
    """The params of this command."""

    prompt: PromptParams


def keep_adapter() -> Path | None:
    """A copy of the adapter that is in models/adapter, by the hash of its weights; None: there is none."""
    if not (ADAPTER / WEIGHTS).is_file():
        return None
    kept = ensure_scratch_folder("adapters") / hash_file(ADAPTER / WEIGHTS)[:12]
    if not kept.is_dir():
        with atomic_path(kept) as temporary:
            shutil.copytree(ADAPTER, temporary)
    return kept


def put_adapter(folder: Path) -> None:
    """Replace models/adapter by the adapter of `folder`, in one step."""
    with atomic_path(ADAPTER) as temporary:
        temporary.mkdir()
        for name in ADAPTER_FILES:
            shutil.copyfile(folder / name, temporary / name)


def main(arguments: Sequence[str] | None = None) -> None:
    """`arguments`: those of the command line, which None stands for."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        prog="python -m commands.fetch_adapter",
    )
    parser.add_argument("repo_id", metavar="OWNER/NAME", help="the repository on the Hub")
    parser.add_argument("--revision", default="", help="branch, tag or commit (default: the newest)")
    given = parser.parse_args(arguments)
    if not is_hub_id(given.repo_id):
        raise StageError(f"{given.repo_id}: not owner/name (letters, digits, - _ .), as in you/net-llama")
    needs = Needs.load()
    if not BASE.is_file():
        raise StageError(f"{BASE}: no such file; run `dvc repro baseline` first")
    here = ModelReference.model_validate(read_json(BASE))
    found = download_adapter(given.repo_id, given.revision)
    require_same_base(given.repo_id, found.record, here)
    if found.record.template_hash != load_renderer(TOKENIZER, needs.prompt).fingerprint:
        raise StageError(
            f"{given.repo_id}: trained with another prompt than `prompt` in params.yaml and models/tokenizer give; its "
            "card says with which one, under Training"
        )
    kept = keep_adapter()
    put_adapter(found.folder)
    print(f"{given.repo_id} at commit {found.commit} -> {ADAPTER}")
    if kept:
        print(f"what was there before -> {kept} (`dvc checkout {ADAPTER}` brings back what train made)")
    if TRAIN.is_file() and found.record.data.get(TRAIN.as_posix()) != hash_file(TRAIN):
        print(f"warning: trained on another {TRAIN} than lies here; it may have seen rows of your test side")
    print("next: dvc repro -s evaluate")


if __name__ == "__main__":
    run_stage(main)
