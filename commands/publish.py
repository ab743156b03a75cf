"""Publish the adapter, or a merged model, with card, metrics and hashes in a repository of the Hugging Face Hub.

Reads  models/adapter/ (or --model-folder), models/tokenizer/, metrics/, results/comparison.json,
       results/refusals.json, dvc.lock, params `families`, `teacher`, `prompt`; HF_TOKEN or hf_token, which may
       write (.env is read)
Writes a repository on the Hub, private unless --public; nothing here
Run    python -m commands.publish --repo-id you/net-llama --dry-run     # the files and the card; asks for no token
       python -m commands.publish --repo-id you/net-llama
       python -m commands.publish --repo-id you/net-llama-merged --model-folder models/merged

Run again, it uploads what changed. What is uploaded is a list of names; keys, tokens and paths of this machine in one
of these files end it before anything is sent. docs/publishing.md says more.
"""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from netllama.core.credentials import list_secrets
from netllama.core.errors import StageError, run_stage
from netllama.core.files import hash_file, read_text
from netllama.core.param_types import Families
from netllama.core.params import View
from netllama.core.sections import PromptParams
from netllama.core.teacher_section import TeacherParams
from netllama.exporting.merged_folder import read_merge_record
from netllama.models.training_record import read_training_record
from netllama.publishing.base_identity import HubBase, find_companions, identify_base, is_hub_id
from netllama.publishing.card_facts import (
    CardFacts,
    EvaluateNumbers,
    Kind,
    RetrieveNumbers,
    SplitNumbers,
    TokenizeNumbers,
    TrainNumbers,
    read_numbers,
)
from netllama.publishing.hub_repository import (
    choose_transfer,
    open_repository,
    require_same_kind,
    require_token,
    upload_files,
)
from netllama.publishing.licence_terms import LicenceTerms, find_licence_files, require_name, require_terms
from netllama.publishing.model_card import build_card
from netllama.publishing.private_content import require_nothing_private
from netllama.publishing.published_files import (
    ADAPTER_FILES,
    CARD,
    PROVENANCE,
    PublishedFile,
    list_adapter_files,
    list_licence_files,
    list_metric_files,
    list_model_files,
    make_json_file,
)
from netllama.publishing.recorded_run import list_data_hashes, require_one_run, require_recorded_params
from netllama.rendering.chat_template import DATE
from netllama.rendering.renderer import load_renderer, require_same_template
from netllama.report.comparison_inputs import read_comparisons
from netllama.scoring.comparison import NAMES
from netllama.scoring.refusal_balance import find_balance

ADAPTER = Path("models/adapter")
TOKENIZER = Path("models/tokenizer")
COMPARISON = Path("results/comparison.json")
REFUSALS = Path("results/refusals.json")
SPLIT = Path("metrics/split.json")
RETRIEVE = Path("metrics/retrieve.json")
TOKENIZE = Path("metrics/tokenize.json")
TRAIN = Path("metrics/train.json")
EVALUATE = Path("metrics/evaluate.json")
METRICS = (
    Path("metrics/baseline.json"),
    EVALUATE,
    Path("metrics/generate.json"),
    RETRIEVE,
    SPLIT,
    TOKENIZE,
    TRAIN,
    COMPARISON,
    REFUSALS,
)
DATA = Path("data")
LOCK = Path("dvc.lock")


class Needs(View):
    """The params of this command."""

    families: Families
    teacher: TeacherParams
    prompt: PromptParams


def find_kind(folder: Path | None) -> Kind:
    """What is published; StageError for a folder that is no model, or not made of the adapter that was measured."""
    if folder is None:
        return "adapter"
    if not folder.is_dir():
        raise StageError(f"--model-folder {folder}: no such folder; `python -m commands.merge` writes one")
    if (folder / "config.json").is_file() and any(folder.glob("model*.safetensors")):
        kind: Kind = "merged"
    elif any(folder.glob("*.gguf")):
        kind = "gguf"
    else:
        raise StageError(f"--model-folder {folder}: no model (config.json and model*.safetensors, or *.gguf)")
    merged_from = read_merge_record(folder).adapter
    for name in ADAPTER_FILES[:2]:
        if merged_from.get(name) != hash_file(ADAPTER / name):
            raise StageError(f"{folder}: merged from another adapter than {ADAPTER}; run `python -m commands.merge`")
    return kind


def gather_facts(repo_id: str, kind: Kind, base: HubBase, terms: LicenceTerms, folder: Path | None) -> CardFacts:
    """What the card says. StageError where params.yaml says something else now than the run was made with."""
    needs = Needs.load()
    made_by = read_training_record(ADAPTER)
    renderer = load_renderer(TOKENIZER, needs.prompt)
    require_same_template(made_by.template_hash, renderer, str(ADAPTER))
    split = read_numbers(SPLIT, SplitNumbers, "dvc repro split")
    scores = read_numbers(EVALUATE, EvaluateNumbers, "dvc repro evaluate")
    chances = {NAMES["choice"]: scores.choice, NAMES["true_false"]: scores.true_false}
    has_generated = any(rows.get("generated") for rows in split.source.values())
    teacher = needs.teacher.model_name if has_generated else ""
    said = {"families": list(needs.families)} | ({"teacher.model_name": teacher} if teacher else {})
    require_recorded_params(LOCK, said)
    written, template = "", TOKENIZER / "chat_template.jinja"
    if kind == "adapter" and not renderer.is_plain_chat:
        written = renderer.render_prompt("REQUEST")
    asks_date = kind == "adapter" and template.is_file() and "date_string" in read_text(template)
    return CardFacts(
        repo_id=repo_id,
        kind=kind,
        base=base,
        terms=terms,
        families=list(needs.families),
        teacher=teacher,
        prompt=needs.prompt,
        fixed_date=DATE if asks_date else "",
        written_prompt=written,
        made_by=made_by,
        split=split,
        retrieve=read_numbers(RETRIEVE, RetrieveNumbers, "dvc repro retrieve"),
        tokenize=read_numbers(TOKENIZE, TokenizeNumbers, "dvc repro tokenize"),
        train=read_numbers(TRAIN, TrainNumbers, "dvc repro train"),
        comparisons=read_comparisons(COMPARISON),
        chances={suite: found.chance for suite, found in chances.items() if found},
        refusals=find_balance(REFUSALS, ADAPTER),
        gguf_files=sorted(path.name for path in folder.glob("*.gguf")) if folder else [],
    )


def gather_files(given: argparse.Namespace) -> list[PublishedFile]:
    """All that goes up, by name. Of the Hub it asks for the licence of a base model that is there, and nothing else."""
    require_one_run(LOCK, [ADAPTER, TOKENIZER, *METRICS])
    kind = find_kind(given.model_folder)
    reference = read_training_record(ADAPTER).base
    base = identify_base(reference, given.base_model)
    terms = require_terms(base.id, given.licence)
    facts = gather_facts(given.repo_id, kind, base, terms, given.model_folder)
    require_name(given.repo_id, [base.id, *([facts.teacher] if facts.teacher else [])])
    companions = find_companions(reference)
    if given.model_folder:
        files = list_model_files(given.model_folder, base)
    else:
        files = list_adapter_files(ADAPTER, TOKENIZER, companions, base)
    licences = list_licence_files(find_licence_files(terms, companions, given.licence_file), terms.notice)
    files += [*list_metric_files(METRICS), *licences, PublishedFile(CARD, build_card(facts).encode())]
    provenance = {
        "adapter": {name: hash_file(ADAPTER / name) for name in ADAPTER_FILES},
        "base": {"id": base.id, "revision": base.revision, "files": reference.files},
        "data": list_data_hashes(LOCK, DATA),
        "files": sorted([*(file.name for file in files), PROVENANCE]),
    }
    files.append(make_json_file(PROVENANCE, provenance))
    require_nothing_private(files, list_secrets(), [Path.cwd(), Path(os.path.expanduser("~"))])  # noqa: PTH111
    return sorted(files, key=lambda file: file.name)


def describe_files(files: Sequence[PublishedFile]) -> str:
    lines = [f"{file.size:>14,}  {file.name}" for file in files]
    return "\n".join([*lines, f"{sum(file.size for file in files):>14,}  bytes in {len(files)} files"])


def main(arguments: Sequence[str] | None = None) -> None:
    """`arguments`: those of the command line, which None stands for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, prog="python -m commands.publish"
    )
    parser.add_argument("--repo-id", required=True, metavar="OWNER/NAME", help="the repository on the Hub")
    parser.add_argument("--model-folder", type=Path, metavar="FOLDER", help="a merged model instead of the adapter")
    parser.add_argument("--dry-run", action="store_true", help="print the files and the card; send nothing")
    parser.add_argument("--public", action="store_true", help="for everybody to see (default: private)")
    parser.add_argument("--base-model", metavar="ORG/NAME", help="the Hub id of a base model in a local folder")
    parser.add_argument("--licence", metavar="ID", help="of a base model whose licence is not known here")
    parser.add_argument("--licence-file", type=Path, action="append", default=[], metavar="FILE", help="its text")
    parser.add_argument("--xet", action="store_true", help="upload through Xet instead of Git LFS")
    given = parser.parse_args(arguments)
    if not is_hub_id(given.repo_id):
        raise StageError(f"--repo-id {given.repo_id}: not owner/name (letters, digits, - _ .), as in you/net-llama")
    token = "" if given.dry_run else require_token()
    files = gather_files(given)
    print(describe_files(files))
    if given.dry_run:
        card = next(file for file in files if file.name == CARD)
        print(f"\n{card.read().decode()}")
        return
    with choose_transfer(given.xet):
        repository = open_repository(given.repo_id, given.public, token)
        print(repository.describe(given.public), flush=True)
        require_same_kind(repository, files)
        commit = upload_files(repository, files, token)
    if commit == repository.commit:
        print(f"{given.repo_id}: nothing has changed since commit {commit}")
        return
    print(f"{given.repo_id}: commit {commit}; its card says how to load it")


if __name__ == "__main__":
    run_stage(main)
