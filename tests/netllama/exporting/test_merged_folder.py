"""Sharded safetensors as transformers reads them, and a disk that has no room for them."""

import shutil
from collections import namedtuple
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from netllama.core.errors import StageError
from netllama.exporting.base_weights import read_published
from netllama.exporting.merged_folder import plan_shards, require_room, write_weights
from netllama.exporting.streamed_model import build_empty_model, list_stored_weights, load_config


@given(st.lists(st.integers(1, 50), min_size=1, max_size=40), st.integers(1, 100))
def test_shards_hold_every_weight_once_in_order_and_none_is_needlessly_large(sizes: list[int], limit: int) -> None:
    named = {f"w{number}": size for number, size in enumerate(sizes)}
    shards = list(plan_shards(named, limit).values())
    assert [name for names in shards for name in names] == list(named)
    for names, after in zip(shards, [*shards[1:], None], strict=True):
        size = sum(named[name] for name in names)
        assert size <= limit or len(names) == 1
        assert after is None or size + named[after[0]] > limit


def test_a_sharded_folder_is_read_by_transformers(tiny_model_folder: Path, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    shapes = list_stored_weights(build_empty_model(load_config(tiny_model_folder)))
    list(write_weights(tmp_path, shapes, read_published(tiny_model_folder), "bf16", limit=50_000))
    shutil.copy(tiny_model_folder / "config.json", tmp_path)
    count = len(list(tmp_path.glob("*.safetensors")))
    assert count > 2
    assert (tmp_path / f"model-00001-of-{count:05}.safetensors").is_file()
    whole, sharded = (AutoModelForCausalLM.from_pretrained(path) for path in (tiny_model_folder, tmp_path))
    for name, weight in whole.state_dict().items():
        assert torch.equal(weight, sharded.state_dict()[name]), name


def test_a_weight_of_another_shape_than_the_configuration_has_is_named(tiny_model_folder: Path, tmp_path: Path) -> None:
    shapes = {"model.norm.weight": torch.Size([3])}
    with pytest.raises(StageError, match=r"model\.norm\.weight: has shape \[64\], config\.json says \[3\]"):
        list(write_weights(tmp_path, shapes, read_published(tiny_model_folder), "bf16"))


def test_a_full_disk_is_said_before_anything_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage: Any = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**12, 10**12, 10**9))
    with pytest.raises(StageError, match=r"1\.0 GB free, and the merged model takes 26\.0 GB"):
        require_room(tmp_path / "new" / "merged", 26 * 10**9)
    require_room(tmp_path / "merged", 10**8)
