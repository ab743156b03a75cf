"""docs/scale.md holds the tables that bench/scale_costs.py computes, and these follow from what they say they do."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bench.scale_costs import (
    ESTIMATED_DOLLARS,
    ESTIMATED_KEPT,
    ESTIMATED_TOKENS,
    NF4_BITS,
    PEAK_FLOPS,
    SHAPES,
    UTILISATION,
    compute_flops,
    compute_gpu_hours,
    compute_memory,
    list_tables,
)
from netllama.core.metrics import read_details
from netllama.core.params import read_params
from netllama.novelty.near_pairs import EXACT_ROWS, is_small
from tests.support.clones import ROOT
from tests.support.pages import read_page

PAGE = ROOT / "docs" / "scale.md"
PROFILE = ROOT / "profiles" / "llama-3.1-8b-instruct.yaml"
PARAMETERS = {"Llama-2-7B": 6.74e9, "Llama-3.1-8B": 8.03e9, "Llama-2-13B": 13.02e9, "Llama-2-70B": 68.98e9}
"""Of the models, as their cards say."""


@pytest.mark.parametrize("name", list(list_tables()))
def test_the_page_has_the_computed_table(name: str) -> None:
    assert list_tables()[name] in read_page(PAGE)


def test_the_estimate_is_that_of_the_stage(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "data", tmp_path / "data", ignore=shutil.ignore_patterns("corpus", "generated", "splits"))
    shutil.copy(PROFILE, tmp_path / "params.yaml")
    command = [sys.executable, "-m", "stages.generate", "--estimate"]
    environment = {"PYTHONPATH": str(ROOT), "DVC_ROOT": str(tmp_path), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    (all_families,) = re.findall(r"^all .*$", done.stdout, re.MULTILINE)
    assert all_families.split()[5] == f"{ESTIMATED_TOKENS:,}"
    for tier, dollars in ESTIMATED_DOLLARS.items():
        assert re.search(rf"^{tier} +{dollars:.4f}\b", done.stdout, re.MULTILINE)
    params = read_params(PROFILE)
    assert len(params.families) * params.generate.num_instructions_to_generate == ESTIMATED_KEPT


@pytest.mark.parametrize("model", list(SHAPES))
def test_the_shapes_have_the_weights_that_the_models_have(model: str) -> None:
    parts = compute_memory(model)
    weights = parts["NF4 layers"] / (NF4_BITS / 8) + parts["embeddings, head"] / 2
    assert weights * 1e9 == pytest.approx(PARAMETERS[model], rel=0.003)
    # 6 operations a weight, plus those of the adapter; the embeddings are looked up.
    assert 0.95 < compute_flops(model) / (6 * PARAMETERS[model]) < 1.05


def test_hours_follow_from_operations() -> None:
    rows = read_details(ROOT / "metrics/tokenize.json")["train"]
    tokens = 1e6 * rows["tokens"] / rows["rows"]
    hours = compute_gpu_hours("Llama-2-7B", 1_000_000)
    assert hours * 3600 * PEAK_FLOPS * UTILISATION == pytest.approx(tokens * compute_flops("Llama-2-7B"), rel=1e-3)


def test_the_page_says_where_minhash_begins() -> None:
    assert f"{EXACT_ROWS:,} rows" in read_page(PAGE)
    assert [is_small(10**6, threshold) for threshold in (0.55, 0.56)] == [True, False]
    assert "below 0.56" in read_page(PAGE)
