"""The units of a search for near pairs, a process a core: they share the texts in files, so that memory stays small."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

from netllama.core.cores import count_cores
from netllama.core.temporary_folders import hold_folder
from netllama.core.worker_pool import map_in_order
from netllama.novelty.near_pairs import HashedTexts, NearPairs, PairSearch, Wanted

TEXTS_FOR_WORKERS = 20_000
"""So many texts outweigh the start of processes."""


def search_units(texts: HashedTexts, wanted: Wanted, units: Sequence[int], scratch: Path) -> Iterator[NearPairs]:
    """The pairs of each unit, in the order of `units`; the same for any number of cores.

    The files lie in a folder of `scratch`, and go with the last unit.
    """
    workers = min(count_cores(), len(units)) if len(texts.starts) > TEXTS_FOR_WORKERS else 1
    if workers <= 1:
        yield from map(PairSearch(texts, wanted).find, units)
        return
    with hold_folder(scratch, "texts-") as folder:
        texts.save(folder)
        del texts  # unless the caller holds it, too
        yield from map_in_order(partial(_load_search, folder, wanted), ((unit,) for unit in units), workers)


def _load_search(folder: Path, wanted: Wanted) -> Callable[[int], NearPairs]:
    return PairSearch(HashedTexts.load(folder), wanted).find
