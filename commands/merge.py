"""Merge the adapter into its base: a model folder for servers that know nothing of adapters.

Reads  models/adapter/, models/base.json, models/tokenizer/, data/tokenized/test.parquet, params `prompt`
Writes models/merged/, or as --out says: safetensors, configuration, tokenizer, merge.json (what it was made from)
Run    python -m commands.merge
       python -m commands.merge --precision fp32       # nothing rounded, twice the size
       python -m commands.merge --weights published    # onto the weights that were not quantized

The adapter is added to what it was trained on, for QLoRA the quantized weights. Base with adapter and the merged files
answer the same probes first, rows of the test side: where any two logits are further apart than the tolerance, nothing
is written. Folders under models/ are not in git, and this one is no out of DVC. Next: python -m commands.export_gguf.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from tqdm import tqdm

from netllama.core.errors import StageError, run_stage
from netllama.core.files import atomic_path, hash_file
from netllama.core.params import View
from netllama.core.sections import PromptParams
from netllama.core.tokenized_rows import TokenizedRow, read_template_hash, read_tokenized_rows
from netllama.cpu_layers.limits import limit_cpu_use
from netllama.exporting.adapter_update import CONFIG, WEIGHTS, AdapterUpdate
from netllama.exporting.base_weights import TrainedForm, read_published, read_trained
from netllama.exporting.merged_folder import (
    MergeRecord,
    Precision,
    require_replaceable,
    require_room,
    to_torch,
    write_companions,
    write_merge_record,
    write_weights,
)
from netllama.exporting.probe_check import ProbeComparison, compare_on_probes
from netllama.exporting.served_template import build_served_template
from netllama.exporting.streamed_model import StreamedModel, build_empty_model, list_stored_weights, load_config
from netllama.models.model_reference import locate_model
from netllama.models.training_record import read_training_record, require_base
from netllama.rendering.renderer import load_renderer, require_same_template
from netllama.scoring.task_answers import sample_rows
from netllama.training.adapter import list_linear_layers

ADAPTER = Path("models/adapter")
BASE = Path("models/base.json")
TOKENIZER = Path("models/tokenizer")
TOKENIZED = Path("data/tokenized/test.parquet")
MERGED = Path("models/merged")
TOLERANCE: dict[Precision, float] = {"fp32": 0.05, "fp16": 0.25, "bf16": 2.0}
"""Logits may be this far apart: in fp32 only the order of additions differs, the others round each weight.

Measured with the bundled model on 100 rows: 0.00015 in fp32 (0.015 in one of four runs), 0.56 in bf16.
"""


class Needs(View):
    """The params of this command."""

    prompt: PromptParams


def describe_check(found: ProbeComparison, reference: str, tolerance: float) -> str:
    return (
        f"{found.probes} probes, {found.tokens:,} tokens: largest logit difference {found.largest_difference:.2g} "
        f"(tolerance {tolerance:g}), mean {found.mean_difference:.2g}, same most likely token at "
        f"{found.same_choice:.2%}\nloss of the answers: {reference} {found.reference_loss:.4f}, merged "
        f"{found.other_loss:.4f}"
    )


def merge_adapter(
    out: Path, weights: str, precision: Precision, probes: Sequence[TokenizedRow], tolerance: float, needs: Needs
) -> None:
    """Write the merged folder to `out`; StageError, and nothing written, where it is not base and adapter."""
    record = read_training_record(ADAPTER)
    renderer = load_renderer(TOKENIZER, needs.prompt)
    require_same_template(record.template_hash, renderer, str(ADAPTER))
    require_same_template(read_template_hash(TOKENIZED), renderer, str(TOKENIZED))
    base = locate_model(BASE)
    require_base(ADAPTER, record, base.reference, BASE)
    if weights == "published" and record.lora.get("init_lora_weights") == "loftq":
        raise StageError(f"{ADAPTER}: loftq starts from what quantization took; merge with --weights trained")
    adapter, form = AdapterUpdate(ADAPTER), TrainedForm.of(record, ADAPTER)
    config = load_config(base.folder)
    empty = build_empty_model(config)
    shapes = list_stored_weights(empty)
    adapter.require_base(shapes)
    linear = {f"{name}.weight" for name in list_linear_layers(empty)}
    trained, published = read_trained(base.folder, form, linear), read_published(base.folder)
    read = trained if weights == "trained" else published
    require_room(out, sum(shape.numel() for shape in shapes.values()) * to_torch(precision).itemsize)
    with atomic_path(out) as temporary:
        temporary.mkdir()
        written = write_weights(temporary, shapes, lambda name: adapter.apply(name, read(name)), precision)
        for _ in tqdm(written, total=len(shapes), desc="merge", unit="weight"):
            pass
        renderer.tokenizer.chat_template = build_served_template(renderer)
        write_companions(temporary, base.folder, config, renderer.tokenizer, precision)
        merged = StreamedModel(load_config(temporary), read_published(temporary)).compute_logits
        reference = StreamedModel(config, read, adapter).compute_logits
        found = compare_on_probes(reference, merged, probes)
        print(describe_check(found, f"base ({weights}) with adapter", tolerance), flush=True)
        if weights == "published":
            learned = StreamedModel(config, trained, adapter).compute_logits
            before = compare_on_probes(learned, merged, probes)
            print(
                f"as it was trained: loss of the answers {before.reference_loss:.4f}, largest logit difference "
                f"{before.largest_difference:.2g}, same most likely token at {before.same_choice:.2%}",
                flush=True,
            )
        if not found.largest_difference <= tolerance:
            raise StageError(
                f"{out}: not written; the merged model is {found.largest_difference:.2g} from base and adapter, the "
                f"tolerance is {tolerance:g}; merge with --precision fp32, or say --tolerance"
            )
        files = {name: hash_file(ADAPTER / name) for name in (CONFIG, WEIGHTS)}
        made_from = MergeRecord(
            base=record.base,
            adapter=files,
            weights="trained" if weights == "trained" else "published",
            precision=precision,
            template_hash=record.template_hash,
        )
        write_merge_record(temporary, made_from)


def main(arguments: Sequence[str] | None = None) -> None:
    """`arguments`: those of the command line, which None stands for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, prog="python -m commands.merge"
    )
    parser.add_argument("--out", type=Path, default=MERGED, help=f"the folder to write (default: {MERGED})")
    parser.add_argument("--weights", choices=("trained", "published"), default="trained", help="what is added to")
    parser.add_argument("--precision", choices=get_args(Precision), default="bf16", help="of the files (default: bf16)")
    parser.add_argument("--probes", type=int, default=16, help="test rows to compare on (default: 16)")
    parser.add_argument("--tolerance", type=float, help=f"of two logits (default: {TOLERANCE})")
    given = parser.parse_args(arguments)
    if given.probes < 1:
        raise StageError(f"--probes {given.probes}: a merge is checked on one row at least")
    require_replaceable(given.out)
    limit_cpu_use()
    needs = Needs.load()
    probes = sample_rows(read_tokenized_rows(TOKENIZED), given.probes)
    if not probes:
        raise StageError(f"{TOKENIZED}: no rows to compare on; run `dvc repro tokenize` with a larger split.test_size")
    tolerance = TOLERANCE[given.precision] if given.tolerance is None else given.tolerance
    merge_adapter(given.out, given.weights, given.precision, probes, tolerance, needs)
    print(f"merged model -> {given.out}")


if __name__ == "__main__":
    run_stage(main)
