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
from netllama.core.progress_bar import track_rows
from netllama.novelty import near_pairs
from netllama.novelty.distinct_texts import DistinctTexts
from netllama.novelty.minhash import UNITS
from netllama.novelty.near_pairs import NearPairs, PairSearch, join_pairs
from netllama.splitting.neighbours import IndexedRows, Neighbours, PairedRows
from netllama.splitting.pool_rows import PoolRow


def find_neighbours(rows: Sequence[PoolRow], common: CommonText, threshold: float, folder: Path) -> Neighbours:
    """The neighbours of the rows by their texts without what is `common` to many."""
    if near_pairs.is_small(len(rows), threshold):
        return IndexedRows([common.state_own(row.task) for row in rows], threshold)
    search = StoredSearch(rows, common, threshold, folder)
    found = [search.find(unit) for unit in track_rows(range(UNITS), "near pairs")]
    return PairedRows(search.texts, join_pairs(found))


class StoredSearch:
    """The search of a large pool, with a folder for each unit that was searched; a damaged one is searched again."""

    def __init__(self, rows: Sequence[PoolRow], common: CommonText, threshold: float, folder: Path) -> None:
        self.texts = DistinctTexts()
        own = (common.state_own(row.task) for row in track_rows(rows, "texts"))
        self._search = PairSearch(self.texts.number_texts(own), threshold)
        code = [hash_file(path) for path in sorted(Path(near_pairs.__file__).parent.glob("*.py"))]
        self.folder = folder / hash_json([self.texts.hash_texts(), threshold, code, version("rensa")])[:16]

    def find(self, unit: int) -> NearPairs:
        """The pairs of the unit: from its folder, or else searched for and stored."""
        folder = self.folder / f"unit-{unit:02d}"
        if find_damage(folder):
            with atomic_path(folder) as new:
                new.mkdir()
                for name, array in self._search.find(unit)._asdict().items():
                    np.save(new / name, array)
                record_hashes(new)
        return NearPairs(*(np.load(folder / f"{name}.npy") for name in NearPairs._fields))


def share_units(shard: int, shards: int) -> Iterable[int]:
    """The units of shard 1 to `shards`."""
    return range(shard - 1, UNITS, shards)
