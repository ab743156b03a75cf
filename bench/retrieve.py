"""The lexical index on synthetic chunks: build, growth and memory, opening, queries, and what they find.

Chunks (bench/network_chunks.py) are read from a file, one a line, as the index is built. Memory is the sum of the
resident sets of the building process and its workers, measured ten times a second; shared pages count in each. Growth
compares the processor time of the two largest sizes. Queries run on one core, in two kinds: six words of a chunk, and
a question's fifteen, nine of them among the 200 commonest words. What ten of them find must be what a plain BM25 loop
over all chunks finds, id for id and score for score. The peers get the same terms: rank_bm25 at 10,000 chunks, bm25s
at up to 100,000.

Run    python -m bench.retrieve [--full] [--check]    (--full: a million chunks, too; --check: exit code 1 if a target
                                                       is missed)
"""

import argparse
import math
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from bench.hardware import describe_hardware
from bench.network_chunks import make_chunks
from bench.synthetic_text import spell_word
from bench.tokenize import measure_resident_megabytes, read_processor_seconds
from netllama.retrieval.hits import Hit
from netllama.retrieval.lexical_index import LexicalIndex
from netllama.retrieval.score_matrix import K1, B
from netllama.retrieval.terms import split_terms

ROOT = Path(__file__).parent.parent
NUMBERS, FULL = [10_000, 100_000], 1_000_000
RANK_BM25_NUMBER, BM25S_MOST = 10_000, 100_000
QUERIES, COMPARED, HITS = 200, 5, 10
"""Timed of each kind, compared of each kind, and hits of each."""
MOST_SECONDS, MOST_MEGABYTES, MOST_OPENING, LEAST_QUERIES, MOST_EXPONENT = 600, 6_000, 1.0, 25, 1.1


@dataclass
class IndexRun:
    """What one size took."""

    seconds: float
    processor: float
    megabytes: float
    disk: float
    opening: float
    rates: list[float]
    """Queries a second and core, by kind."""
    same: bool


def name_chunk(number: int) -> str:
    return f"corpus/document-{number // 20:06d}.md#section-{number % 20}~1"


def read_chunks(path: Path, number: int) -> Iterator[str]:
    with open(path, encoding="utf-8") as file:
        yield from (line.rstrip("\n") for line in islice(file, number))


def build_index(texts: str, folder: str, number: int) -> None:
    """Runs in a process of its own."""
    LexicalIndex.build(read_chunks(Path(texts), number), [name_chunk(at) for at in range(number)]).save(Path(folder))


def build_with_bm25s(texts: str, folder: str, number: int) -> None:
    import bm25s

    index = bm25s.BM25(k1=K1, b=B, method="lucene")
    index.index([split_terms(text) for text in read_chunks(Path(texts), number)], show_progress=False)
    index.save(folder)


def run_build(function: str, texts: Path, folder: Path, number: int) -> tuple[float, float, float]:
    """Call one of the above in a new process; returns seconds, processor seconds, and the peak in megabytes."""
    start, processor, peak = time.perf_counter(), read_processor_seconds(), 0.0
    code = f"from bench.retrieve import {function}; {function}({str(texts)!r}, {str(folder)!r}, {number})"
    build = subprocess.Popen([sys.executable, "-c", f"if __name__ == '__main__':\n    {code}"], cwd=ROOT)
    try:
        while build.poll() is None:
            peak = max(peak, measure_resident_megabytes(build.pid))
            time.sleep(0.1)
    finally:
        build.terminate()
        build.wait()
    if build.returncode:
        raise SystemExit(f"{function} failed with exit code {build.returncode}; its output above says why")
    return time.perf_counter() - start, read_processor_seconds() - processor, peak


def make_queries(path: Path, number: int) -> tuple[list[str], list[str]]:
    """Queries of six words of a chunk, and of fifteen, most of them common."""
    draw, few, many = random.Random(1), [], []
    chosen = set(draw.sample(range(number), QUERIES))
    for at, text in enumerate(read_chunks(path, number)):
        if at in chosen:
            words = text.split()
            few.append(" ".join(draw.sample(words, 6)))
            many.append(" ".join([*draw.sample(words, 6), *(spell_word(draw.randrange(200)) for _ in range(9))]))
    return few, many


def measure_rate(search: Callable[[str], object], queries: Sequence[str]) -> float:
    """Queries a second of processor time, on one thread; the first ten warm up."""
    for query in queries[:10]:
        search(query)
    start = time.process_time()
    for query in queries:
        search(query)
    return len(queries) / (time.process_time() - start)


def search_by_loop(texts: Iterator[str], number: int, queries: list[str]) -> list[list[Hit]]:
    """BM25 as it is written down, over one text after the other, for all queries in one pass."""
    wanted = {term for query in queries for term in split_terms(query)}
    lengths, holders = [], dict[str, list[tuple[int, int]]]()
    for at, text in enumerate(texts):
        terms = split_terms(text)
        lengths.append(len(terms))
        for term, times in Counter(term for term in terms if term in wanted).items():
            holders.setdefault(term, []).append((at, times))
    mean, found = sum(lengths) / number, []
    for query in queries:
        scores: dict[int, float] = {}
        for term in split_terms(query):
            held = holders.get(term, [])
            rarity = np.float32(math.log(1 + (number - len(held) + 0.5) / (len(held) + 0.5)))
            for at, times in held:
                part = float(rarity) * (times / (K1 * (1 - B + B * lengths[at] / mean) + times))
                scores[at] = scores.get(at, 0.0) + float(np.float32(part))
        best = sorted(scores, key=lambda at: (-scores[at], name_chunk(at)))[:HITS]
        found.append([Hit(name_chunk(at), at, scores[at]) for at in best])
    return found


def measure_index(texts: Path, folder: Path, number: int) -> IndexRun:
    seconds, processor, megabytes = run_build("build_index", texts, folder, number)
    start = time.perf_counter()
    index = LexicalIndex.open(folder)
    opening = time.perf_counter() - start
    kinds = make_queries(texts, number)
    rates = [measure_rate(lambda query: index.search(query, HITS), queries) for queries in kinds]
    sample = [query for queries in kinds for query in queries[:COMPARED]]
    found = [index.search(query, HITS) for query in sample]
    same = found == search_by_loop(read_chunks(texts, number), number, sample)
    return IndexRun(seconds, processor, megabytes, measure_disk(folder), opening, rates, same)


def measure_disk(folder: Path) -> float:
    return sum(path.stat().st_size for path in folder.iterdir()) / 1e6


def measure_bm25s(texts: Path, folder: Path, number: int) -> str:
    import bm25s

    seconds, processor, megabytes = run_build("build_with_bm25s", texts, folder, number)
    start = time.perf_counter()
    index = bm25s.BM25.load(folder, mmap=True)
    opening = time.perf_counter() - start

    def search(query: str) -> object:
        return index.retrieve([split_terms(query)], k=HITS, show_progress=False, n_threads=0)

    rates = [measure_rate(search, queries) for queries in make_queries(texts, number)]
    return format_row("bm25s", number, seconds, processor, megabytes, measure_disk(folder), opening, rates)


def measure_rank_bm25(texts: Path, number: int) -> str:
    from rank_bm25 import BM25Okapi

    start, processor = time.perf_counter(), time.process_time()
    index = BM25Okapi([split_terms(text) for text in read_chunks(texts, number)], k1=K1, b=B)
    seconds, processor = time.perf_counter() - start, time.process_time() - processor
    rates = []
    for queries in make_queries(texts, number):
        rates.append(measure_rate(lambda query: np.argsort(index.get_scores(split_terms(query)))[-HITS:], queries[:40]))
    return format_row("rank_bm25", number, seconds, processor, None, None, None, rates)


def format_row(
    name: str,
    number: int,
    seconds: float,
    processor: float,
    megabytes: float | None,
    disk: float | None,
    opening: float | None,
    rates: Sequence[float],
) -> str:
    few, many = rates
    cells = ["-" if value is None else f"{value:,.{digits}f}" for value, digits in ((megabytes, 0), (disk, 1))]
    opened = "-" if opening is None else f"{opening:.2f}"
    built = f"{seconds:.1f} | {processor:.1f}"
    return f"| {name} | {number:,} | {built} | {' | '.join(cells)} | {opened} | {few:,.0f} | {many:,.0f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description="The lexical index: build, growth, memory, queries.")
    parser.add_argument("--full", action="store_true", help="up to a million chunks")
    parser.add_argument("--check", action="store_true", help="exit with 1 if a target is missed")
    arguments = parser.parse_args()
    numbers = [*NUMBERS, *([FULL] if arguments.full else [])]
    os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"
    runs = {}
    print(f"{describe_hardware()}\n")
    print("| index | chunks | build s | processor s | peak MB | MB on disk | open s | six words, 1/s | fifteen, 1/s |")
    print("|---|---|---|---|---|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory() as name:
        texts = Path(name) / "chunks.txt"
        with open(texts, "w", encoding="utf-8") as file:
            file.writelines(f"{text}\n" for text in make_chunks(numbers[-1]))
        for number in numbers:
            run = runs[number] = measure_index(texts, Path(name) / f"index-{number}", number)
            row = format_row(
                "ours", number, run.seconds, run.processor, run.megabytes, run.disk, run.opening, run.rates
            )
            print(row, flush=True)
            if number <= BM25S_MOST:
                print(measure_bm25s(texts, Path(name) / f"bm25s-{number}", number), flush=True)
            if number == RANK_BM25_NUMBER:
                print(measure_rank_bm25(texts, number), flush=True)
    *_, before, most = numbers
    run, same = runs[most], all(run.same for run in runs.values())
    exponent = math.log(run.processor / runs[before].processor) / math.log(most / before)
    print(
        f"\nretrieval, {most:,} chunks: built in {run.seconds:.0f} s ({run.processor:.0f} s of the processors, growth "
        f"n^{exponent:.2f} from {before:,}), {run.megabytes:,.0f} MB in all processes, opened in {run.opening:.2f} s, "
        f"{min(run.rates):,.0f} queries a second and core; found is what a loop finds: {'yes' if same else 'NO'}"
    )
    met = run.seconds < MOST_SECONDS and run.megabytes < MOST_MEGABYTES and run.opening < MOST_OPENING
    if arguments.check and not (met and same and min(run.rates) >= LEAST_QUERIES and exponent <= MOST_EXPONENT):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
