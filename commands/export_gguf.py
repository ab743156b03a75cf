"""Write the merged model as a GGUF file for llama.cpp, with a Modelfile for Ollama.

Reads  models/merged/ (python -m commands.merge), data/tokenized/test.parquet
Writes models/gguf-TYPE/, or as --out says: model-TYPE.gguf, Modelfile, merge.json
Run    python -m commands.export_gguf bf16      # exact; or f16
       python -m commands.export_gguf q8_0      # half the size; q4_1: a third
       ollama create network-analyst -f models/gguf-q8_0/Modelfile

The file is read back by transformers before it is put in place: token ids have to be those of the tokenizer, logits on
the probes those of the merged model where the type rounds no weight, and the loss of the answers may rise by no more
than LARGEST_RISE where it does. What llama.cpp is not known to read is refused: another architecture than Llama, other
tokenizers than those of GPT-2, SmolLM, Llama 2 and Llama 3, a chat template that Ollama does not have.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from tqdm import tqdm

from netllama.core.errors import StageError, run_stage
from netllama.core.files import atomic_path, write_text
from netllama.core.tokenized_rows import TokenizedRow, read_template_hash, read_tokenized_rows
from netllama.cpu_layers.limits import limit_cpu_use
from netllama.exporting.gguf_check import compare_file, require_same_ids
from netllama.exporting.gguf_file import GgufType, require_llama, write_gguf
from netllama.exporting.gguf_vocabulary import read_vocabulary
from netllama.exporting.merged_folder import MergeRecord, read_merge_record, write_merge_record
from netllama.exporting.modelfile import build_modelfile, recognise_template
from netllama.exporting.streamed_model import load_config
from netllama.scoring.task_answers import sample_rows

MERGED = Path("models/merged")
TOKENIZED = Path("data/tokenized/test.parquet")
MODELFILE = "Modelfile"
LARGEST_RISE: dict[GgufType, float] = {"bf16": 0.01, "f16": 0.01, "q8_0": 0.02, "q4_1": 0.5}
"""Nats a token that the loss of the answers may rise by."""


def export_model(folder: Path, record: MergeRecord, out: Path, type: GgufType, probes: Sequence[TokenizedRow]) -> None:
    """Write GGUF file and Modelfile to `out`; StageError, and nothing written, where they are not the merged model."""
    from transformers import AutoTokenizer

    config = load_config(folder)
    require_llama(config)
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    vocabulary = read_vocabulary(tokenizer, config.vocab_size)
    template, system = recognise_template(tokenizer, vocabulary.add_bos)
    stops = [str(tokenizer.eos_token)]
    file = f"model-{type}.gguf"
    with atomic_path(out) as temporary:
        temporary.mkdir()
        path = temporary / file
        # The folder's name would differ from machine to machine; the base's id does not.
        tensors = write_gguf(folder, path, config, tokenizer, vocabulary, type, f"{record.base.id} network-analyst")
        rounded = sum(tqdm(tensors, desc=file, unit="tensor"))
        require_same_ids(folder, path, probes)
        found = compare_file(folder, path, config, type, probes)
        print(
            f"{file}: {path.stat().st_size / 1e6:.1f} MB, {rounded:,} weights rounded, tokenizer {vocabulary.pre}, "
            f"template {template.name}\n{found.probes} probes, {found.tokens:,} tokens: largest logit difference "
            f"{found.largest_difference:.2g}, mean {found.mean_difference:.2g}, same most likely token at "
            f"{found.same_choice:.2%}\nloss of the answers: merged {found.reference_loss:.4f}, GGUF "
            f"{found.other_loss:.4f}",
            flush=True,
        )
        if not rounded and found.largest_difference:
            raise StageError(f"{out}: not written; no weight was rounded, and the logits differ")
        if not found.other_loss - found.reference_loss <= LARGEST_RISE[type]:
            raise StageError(f"{out}: not written; the loss rises by more than {LARGEST_RISE[type]}; use another type")
        write_text(temporary / MODELFILE, build_modelfile(file, template, system, stops))
        write_merge_record(temporary, record)  # which adapter is in it: publish asks for that


def main(arguments: Sequence[str] | None = None) -> None:
    """`arguments`: those of the command line, which None stands for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, prog="python -m commands.export_gguf"
    )
    parser.add_argument("type", choices=get_args(GgufType), help="how weights are stored")
    parser.add_argument("--model", type=Path, default=MERGED, help=f"the merged folder (default: {MERGED})")
    parser.add_argument("--out", type=Path, help="the folder to write (default: models/gguf-TYPE)")
    parser.add_argument("--probes", type=int, default=16, help="test rows to compare on (default: 16)")
    given = parser.parse_args(arguments)
    out: Path = given.out or Path(f"models/gguf-{given.type}")
    if out.exists() and not (out / MODELFILE).is_file():
        raise StageError(f"{out}: is there already, and no export; remove it, or say --out with another name")
    if given.probes < 1:
        raise StageError(f"--probes {given.probes}: an export is checked on one row at least")
    limit_cpu_use()
    record = read_merge_record(given.model)
    if read_template_hash(TOKENIZED) != record.template_hash:
        raise StageError(f"{TOKENIZED}: rendered otherwise than {given.model} was trained; run the merge again")
    probes = sample_rows(read_tokenized_rows(TOKENIZED), given.probes)
    if not probes:
        raise StageError(f"{TOKENIZED}: no rows to compare on; run `dvc repro tokenize` with a larger split.test_size")
    export_model(given.model, record, out, given.type, probes)
    print(f"GGUF and Modelfile -> {out}")


if __name__ == "__main__":
    run_stage(main)
