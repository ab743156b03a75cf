"""`python -m commands.near_duplicates`: parts of a large pool's search, which the stage split takes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.synthetic_pool import make_pool
from commands.near_duplicates import main
from netllama.core.errors import StageError
from netllama.core.files import write_jsonl
from netllama.core.metrics import read_details
from netllama.novelty import near_pairs
from netllama.novelty.near_pairs import NearPairs, PairSearch
from stages import split

WRITTEN = [*split.SPLITS.values(), split.DROPPED, split.LEAKAGE]


@pytest.fixture
def pool(workdir: Path, set_params: Callable[..., None]) -> None:
    """200 foreign rows with near-duplicates beside the seeds of the repository."""
    write_jsonl(split.GENERATED, [])
    fields = {"instruction", "input", "output", "family"}
    write_jsonl(split.EXTRA / "mine.jsonl", (row.model_dump(include=fields) for row in make_pool(200, planted=0.4)))
    set_params(**{"split.extra": ["mine.jsonl"], "split.max_leakage": 1.0})


def read_outs() -> tuple[list[bytes], Any]:
    """What the stage wrote, but for scores below the threshold, of which MinHash does not look for the highest."""
    details = read_details(split.METRICS)
    for side in ("val", "test"):
        assert 0 < details["leakage"][side].pop("max_similarity") < 0.7
    return [path.read_bytes() for path in WRITTEN], details


def test_split_takes_the_stored_parts_and_writes_what_it_writes_of_a_small_pool(
    pool: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    split.main()
    small = read_outs()
    monkeypatch.setattr(near_pairs, "EXACT_ROWS", 100)
    for shard in ("2/2", "1/2"):
        main(["--shard", shard])
    assert "shard 1 of 2: 8 of 16 units searched -> .scratch/split/" in capsys.readouterr().out
    search = PairSearch.find
    searched: list[int] = []

    def count_searches(self: PairSearch, unit: int, *others: object) -> NearPairs:
        searched.append(unit)
        return search(self, unit, *others)  # type: ignore[arg-type]

    monkeypatch.setattr(PairSearch, "find", count_searches)
    split.main()
    assert read_outs() == small
    # Those in train, which are known after the sides are.
    assert searched == list(range(16))


def test_a_small_pool_has_nothing_to_share(pool: None, capsys: pytest.CaptureFixture[str]) -> None:
    main([])
    assert "nothing to share" in capsys.readouterr().out
    assert not list(Path(".scratch/split").glob("*"))


@pytest.mark.parametrize("shard", ["0/3", "4/3", "1/17", "3", "a/b", "1/", "-1/3"])
def test_a_shard_that_is_none_is_refused_before_anything_is_read(shard: str, tmp_path: Path) -> None:
    with pytest.raises(StageError, match="give the part and the number of parts, as 3/16"):
        main([f"--shard={shard}"])
