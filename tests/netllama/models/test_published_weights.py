"""Weights one at a time: the right ones, and no file stays in memory behind them."""

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from netllama.core.errors import StageError
from netllama.models.published_weights import PublishedWeights


def test_every_tensor_is_that_of_its_file_and_none_stays_mapped(tiny_model_folder: Path, tmp_path: Path) -> None:
    # A copy: models that other tests of this process have loaded may be mapped still.
    folder = Path(shutil.copytree(tiny_model_folder, tmp_path / "own"))
    published = PublishedWeights(folder)
    expected = load_file(folder / "model.safetensors")
    read = {name: published[name] for name in expected}
    assert all(torch.equal(read[name], tensor) for name, tensor in expected.items())
    del expected
    assert str(folder) not in Path("/proc/self/maps").read_text(encoding="utf-8")


def test_a_tensor_that_is_not_there_is_named(tiny_model_folder: Path) -> None:
    with pytest.raises(StageError, match=r"its safetensors files have no model\.layers\.9\.mlp\.up_proj\.weight"):
        PublishedWeights(tiny_model_folder)["model.layers.9.mlp.up_proj.weight"]
