"""The workdir as `tokenize` and `train` leave it: a test side, and an adapter of any kind, far from its start."""

from pathlib import Path
from typing import Any

import torch

from netllama.core.files import hash_file, read_json, write_json
from netllama.core.params import read_params
from netllama.core.sections import LoraParams
from netllama.core.tokenized_rows import TokenizedRow, read_template_hash
from netllama.models.loading import load_base
from netllama.models.model_reference import ModelReference
from netllama.models.training_record import FILE, HASHED
from netllama.rendering.renderer import load_renderer
from netllama.training.adapter import add_adapter, save_adapter
from tests.support.kept_adapters import write_kept_adapter
from tests.support.tokenized_tables import write_tokenized_rows
from tests.support.training_runs import loading_params, lora_params, training_record

ADAPTER, BASE, TOKENIZER = Path("models/adapter"), Path("models/base.json"), Path("models/tokenizer")
TEST_SIDE = Path("data/tokenized/test.parquet")


def write_test_side(number: int = 5) -> None:
    """Rows as the stage tokenize makes them of the params as they are."""
    renderer = load_renderer(TOKENIZER, read_params().prompt)
    rows = []
    for each in range(number):
        request = f"Name the session of peer {each}" + " and of its neighbour" * each
        rendered = renderer.render(request, "It is a TCP session" + " on port 179" * (each % 3 + 1))
        start = rendered.answer_start
        rows.append(TokenizedRow(f"row-{each}", "bgp_knowledge", "seed", rendered.input_ids, start, start))
    write_tokenized_rows(TEST_SIDE, rows, renderer.fingerprint)


def record_files(adapter: Path = ADAPTER) -> None:
    """Let the record beside the adapter name its files as they are now."""
    files = {name: hash_file(adapter / name) for name in HASHED}
    write_json(adapter / FILE, read_json(adapter / FILE) | {"files": files})


def make_adapter(quantization: str = "none", double: bool = True, precision: str = "fp32", **lora: Any) -> None:
    """Trained, so to say, on `tiny` in this form: its matrices are drawn at random after their start."""
    template, base = read_template_hash(TEST_SIDE), read_json(BASE)
    made_of = (quantization, double, precision, lora_params(**lora).model_dump(mode="json"), template, base)
    write_kept_adapter(ADAPTER, lambda: draw_adapter(quantization, double, precision, lora_params(**lora)), *made_of)


def draw_adapter(quantization: str, double: bool, precision: str, params: LoraParams) -> None:
    base = load_base(Path("tiny"), loading_params(precision, quantization, double, "cached"))
    model, start = add_adapter(base, params, 1, Path("tiny"))
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_B" in name or "magnitude" in name:
                weight.add_(torch.randn(weight.shape, generator=generator).to(weight) * 0.1)
    record = training_record(template_hash=read_template_hash(TEST_SIDE))
    dtype = {"fp32": "float32", "bf16": "bfloat16"}[precision]
    loading = {"precision": dtype, "quantization": quantization, "double_quantization": double}
    made_by = record.model_copy(
        update={
            "base": ModelReference.model_validate(read_json(BASE)),
            "loading": loading,
            "lora": params.model_dump(),
        }
    )
    save_adapter(model, ADAPTER, made_by, start)
