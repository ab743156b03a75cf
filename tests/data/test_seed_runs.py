"""The filter `runs` lets every hand-written task pass that the project ships."""

from pathlib import Path

import pytest

import netllama.code_checks.code_runner as room
from netllama.code_checks.code_runner import CodeRunner, Script
from netllama.code_checks.output_code import find_python
from netllama.code_checks.run_store import RunStore
from netllama.core.params import read_params
from tests.support.clones import ROOT
from tests.support.shipped_data import load_shipped_seeds


@pytest.mark.slow
def test_the_script_of_every_seed_task_holds(workdir: Path, network: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "ensure_network", lambda cache, seed: network)
    families = read_params(ROOT / "params.yaml").filters.runs_families
    seeds = [seed for family in families for seed in load_shipped_seeds()[family] if find_python(seed.output)]
    runs = CodeRunner(RunStore(Path("runs"))).run_all(
        [Script(find_python(seed.output), seed.scenario) for seed in seeds]
    )
    assert len(seeds) > 100
    assert [(seed.id, run.finding, run.detail) for seed, run in zip(seeds, runs, strict=True) if not run.holds] == []
