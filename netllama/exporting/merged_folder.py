"""A model folder written weight by weight: sharded safetensors, configuration, tokenizer, and what it was made from."""

import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from netllama.core.errors import StageError
from netllama.core.files import hash_file, read_json, write_json
from netllama.exporting.base_weights import ReadWeight
from netllama.models.model_reference import ModelReference

if TYPE_CHECKING:
    import torch
    from transformers import PretrainedConfig, PreTrainedTokenizerBase

FILE = "merge.json"
INDEX = "model.safetensors.index.json"
SHARD_BYTES = 2 * 10**9
"""As much of the model is in memory while it is written."""
Precision = Literal["bf16", "fp16", "fp32"]


class MergeRecord(BaseModel):
    """merge.json, beside the merged weights: all that they were made from."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    base: ModelReference
    adapter: dict[str, str]
    """SHA-256 of each file of the adapter."""
    weights: Literal["trained", "published"]
    """What the adapter was added to: the base as it was in training, or as published."""
    precision: Precision
    """Of the files."""
    template_hash: str
    """Fingerprint of the renderer that the adapter was trained with."""
    files: dict[str, str] = {}
    """SHA-256 of each file beside it; empty until they are written."""


def write_merge_record(folder: Path, record: MergeRecord) -> None:
    """Write the record beside the files that are in the folder, with their hashes."""
    files = {path.name: hash_file(path) for path in sorted(folder.iterdir()) if path.is_file()}
    write_json(folder / FILE, record.model_copy(update={"files": files}).model_dump())


def read_merge_record(folder: Path) -> MergeRecord:
    """The record in a merged folder, whose files have the hashes in it."""
    if not (folder / FILE).is_file():
        raise StageError(f"{folder / FILE}: no such file; run `python -m commands.merge`")
    try:
        record = MergeRecord.model_validate(read_json(folder / FILE))
    except ValidationError:
        raise StageError(f"{folder / FILE}: not the record of a merge; run `python -m commands.merge` again") from None
    for name, recorded in record.files.items():
        if not (folder / name).is_file() or hash_file(folder / name) != recorded:
            raise StageError(f"{folder / name}: not the file that {FILE} records; run `python -m commands.merge` again")
    return record


def to_torch(precision: Precision) -> "torch.dtype":
    import torch

    return {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}[precision]


def plan_shards(sizes: Mapping[str, int], limit: int = SHARD_BYTES) -> dict[str, list[str]]:
    """Names of weights by the file that takes them, in their order; a file is larger than `limit` for one weight only.

    Named as transformers names them: model.safetensors, or model-00001-of-00003.safetensors.
    """
    shards: list[list[str]] = [[]]
    used = 0
    for name, size in sizes.items():
        if used + size > limit and shards[-1]:
            shards.append([])
            used = 0
        shards[-1].append(name)
        used += size
    if len(shards) == 1:
        return {"model.safetensors": shards[0]}
    return {f"model-{number:05}-of-{len(shards):05}.safetensors": names for number, names in enumerate(shards, 1)}


def write_weights(
    folder: Path, shapes: "Mapping[str, torch.Size]", read: ReadWeight, precision: Precision, limit: int = SHARD_BYTES
) -> Iterator[str]:
    """Write what `read` gives for each name; yields the name of each weight when it was read.

    StageError for a weight that is no finite number in this precision.
    """
    from safetensors.torch import save_file

    dtype = to_torch(precision)
    sizes = {name: shape.numel() * dtype.itemsize for name, shape in shapes.items()}
    shards = plan_shards(sizes, limit)
    for file, names in shards.items():
        tensors = {}
        for name in names:
            weight = read(name)
            if weight.shape != shapes[name]:
                raise StageError(f"{name}: has shape {list(weight.shape)}, config.json says {list(shapes[name])}")
            tensors[name] = weight.to("cpu", dtype).contiguous()
            if not tensors[name].isfinite().all():
                raise StageError(f"{name}: has values beyond the range of {precision}; merge with --precision fp32")
            yield name
        save_file(tensors, folder / file, metadata={"format": "pt"})
    if len(shards) > 1:
        weight_map = {name: file for file, names in shards.items() for name in names}
        write_json(folder / INDEX, {"metadata": {"total_size": sum(sizes.values())}, "weight_map": weight_map})


def write_companions(
    folder: Path, base: Path, config: "PretrainedConfig", tokenizer: "PreTrainedTokenizerBase", precision: Precision
) -> None:
    """config.json, generation_config.json and the tokenizer: what a model folder needs besides weights.

    An answer ends where training ended it, with the tokenizer's end-of-sequence token, whatever else ends the base's.
    """
    values = config.to_dict()
    # The name under which the base was converted, and a quantizer that the merged weights don't have.
    for key in ("_name_or_path", "quantization_config"):
        values.pop(key, None)
    write_json(folder / "config.json", values | {"dtype": str(to_torch(precision)).removeprefix("torch.")})
    path = base / "generation_config.json"
    generation = read_json(path) if path.is_file() else {}
    generation.pop("_from_model_config", None)
    ends = generation.get("eos_token_id", config.eos_token_id)
    known = [end for end in (ends if isinstance(ends, list) else [ends]) if end is not None]
    own = int(tokenizer.eos_token_id)
    generation["eos_token_id"] = own if set(known) <= {own} else [own, *(end for end in known if end != own)]
    write_json(folder / "generation_config.json", generation)
    tokenizer.save_pretrained(folder)


def require_replaceable(out: Path) -> None:
    """StageError for a folder that a merge would destroy: one that is there, and was not written by a merge."""
    if out.exists() and not (out / FILE).is_file():
        raise StageError(f"{out}: is there already, and no merged model; remove it, or say --out with another name")


def require_room(out: Path, needed: int) -> None:
    """StageError where the disk can't take this many bytes."""
    place = next(parent for parent in out.absolute().parents if parent.exists())
    free = shutil.disk_usage(place).free
    if free < needed:
        raise StageError(f"{place}: {free / 1e9:.1f} GB free, and the merged model takes {needed / 1e9:.1f} GB")
