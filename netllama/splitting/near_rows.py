"""Which way a pool's near-duplicates are found, by its size alone, and the search of a large one in parts.

Up to EXACT_ROWS rows an index finds all of them. A larger pool is searched by MinHash, in units that are independent of
each other: each is a folder of scratch, so that a killed run goes on where it was, and the processes of a SLURM array
can share the work (docs/scale.md). The pairs of all units together are the same whoever found them.
"""

from collections.abc import Iterable, Sequence
from importlib.metadata import version
from pathlib import Path

import numpy as np

from netllama.contamination.common_text import CommonText
from netllama.core.files import atomic_path, hash_file, hash_json
from netllama.core.kept_folders import find_damage, record_hashes
from netllama.core.progress_bar import track_parts, track_results
from netllama.novelty import near_pairs
from netllama.novelty.distinct_texts import DistinctTexts
from netllama.novelty.minhash import UNITS
from netllama.novelty.near_pairs import NearPairs, Wanted, hash_texts, join_pairs
from netllama.novelty.unit_search import search_units
from netllama.splitting.neighbours import IndexedRows, Neighbours, PairedRows
from netllama.splitting.pool_rows import PoolRow


def find_neighbours(rows: Sequence[PoolRow], common: CommonText, threshold: float, folder: Path) -> Neighbours:
    """The neighbours of the rows by their texts without what is `common` to many."""
    if near_pairs.is_small(len(rows), threshold):
        return IndexedRows([common.state_own(row.task) for row in rows], threshold)
    search = StoredSearch(rows, common, threshold, folder)
    return PairedRows(search.texts, join_pairs(search.find(range(UNITS))))


class StoredSearch:
    """The search of a large pool, with a folder for each unit that was searched; a damaged one is searched again."""

    def __init__(self, rows: Sequence[PoolRow], common: CommonText, threshold: float, scratch: Path) -> None:
        self.texts = DistinctTexts()
        own = track_results(common.list_own([row.task for row in rows]), "texts", len(rows))
        self._hashed, self._wanted = hash_texts(self.texts.number_texts(own)), Wanted(threshold)
        self._scratch = scratch
        code = [hash_file(path) for path in sorted(Path(near_pairs.__file__).parent.glob("*.py"))]
        self.folder = scratch / hash_json([self.texts.hash_texts(), threshold, code, version("rensa")])[:16]

    def find(self, units: Iterable[int]) -> list[NearPairs]:
        """The pairs of each unit: from its folder, or else searched for and stored."""
        folders = {unit: self.folder / f"unit-{unit:02d}" for unit in units}
        missing = [unit for unit, folder in folders.items() if find_damage(folder)]
        searched = search_units(self._hashed, self._wanted, missing, self._scratch)
        for unit, pairs in zip(missing, track_parts(searched, "near pairs", len(missing)), strict=True):
            with atomic_path(folders[unit]) as new:
                new.mkdir()
                for name, array in pairs._asdict().items():
                    np.save(new / name, array)
                record_hashes(new)
        return [
            NearPairs(*(np.load(folder / f"{name}.npy") for name in NearPairs._fields)) for folder in folders.values()
        ]


def share_units(shard: int, shards: int) -> Iterable[int]:
    """The units of shard 1 to `shards`."""
    return range(shard - 1, UNITS, shards)
