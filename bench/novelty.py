"""The Self-Instruct novelty filter on synthetic instructions: time, growth and memory against a loop of rouge-score.

Each text in turn goes through `find_nearest(text)`, as in the stage generate: it is rejected if the score is above 0.7,
else added. The peer compares each text with all kept texts, using rouge-score's own `_score_lcs` on tokens made once,
as Stanford Alpaca does. It runs in full on 1,000 texts, where the scores and decisions of both must be equal. For more
texts its time is extrapolated (the mean time of a random sample of its pairs, times the number of pairs), and the
decisions are compared on a sample of rows.

Run    python -m bench.novelty [--check]      (--check: exit code 1 if a target is missed)
"""

import argparse
import math
import random
import resource
import time
from dataclasses import dataclass, field

from bench.hardware import describe_hardware
from bench.synthetic_text import make_instructions
from netllama.novelty.novelty_index import NoveltyIndex

THRESHOLD = 0.7
REPEATS = {1_000: 3, 10_000: 3, 50_000: 3, 52_000: 1}
FULL, SMALL, LARGE, LAST = REPEATS
SAMPLE_PAIRS, SAMPLE_ROWS = 100_000, 12
LEAST_RATIO, MOST_SECONDS, MOST_EXPONENT = 1_000, 60, 1.5


@dataclass
class FilterPass:
    """One pass of the filter over all texts."""

    scores: list[float] = field(default_factory=list)
    kept: list[int] = field(default_factory=list)
    """The rows that were added."""
    seconds: float = 0.0
    last: float = 0.0
    """Seconds per text, over the last 1,000 texts."""

    def count_pairs(self) -> int:
        """How many pairs a plain loop compares: each row with all rows kept before it."""
        kept, pairs, compared = set(self.kept), 0, 0
        for row in range(len(self.scores)):
            compared += pairs
            pairs += row in kept
        return compared


def filter_texts(texts: list[str], floor: float = 0.0) -> FilterPass:
    run, index, start = FilterPass(), NoveltyIndex(), time.perf_counter()
    tail = start
    for row, text in enumerate(texts):
        if row == len(texts) - 1_000:
            tail = time.perf_counter()
        _, score = index.find_nearest(text, floor)
        run.scores.append(score)
        if score <= THRESHOLD:
            index.add(str(row), text)
            run.kept.append(row)
    end = time.perf_counter()
    run.seconds, run.last = end - start, (end - tail) / 1_000
    return run


class RougeScoreLoop:
    """The peer: rouge-score, one pair after the other."""

    def __init__(self, texts: list[str]) -> None:
        # Imported late, so that the memory of rouge-score (nltk, absl) does not count as ours.
        from rouge_score import rouge_scorer

        tokenizer = rouge_scorer.RougeScorer(["rougeL"], use_stemmer=False)._tokenizer
        self._tokens = [tokenizer.tokenize(text) for text in texts]
        self._score = rouge_scorer._score_lcs

    def find_best_score(self, row: int, kept: list[int]) -> float:
        """The row's highest score against the kept rows before it."""
        return max((self._score(self._tokens[row], self._tokens[k]).fmeasure for k in kept if k < row), default=0.0)

    def filter_texts(self, number: int) -> FilterPass:
        run, start = FilterPass(), time.perf_counter()
        for row in range(number):
            run.scores.append(self.find_best_score(row, run.kept))
            if run.scores[-1] <= THRESHOLD:
                run.kept.append(row)
        run.seconds = time.perf_counter() - start
        return run

    def measure_pair(self, run: FilterPass, draw: random.Random) -> float:
        """Mean seconds per pair, over random pairs that the loop would compare."""
        sample: list[tuple[int, int]] = []
        while len(sample) < SAMPLE_PAIRS:
            row, other = draw.randrange(len(run.scores)), draw.choice(run.kept)
            if other < row:
                sample.append((row, other))
        start = time.perf_counter()
        for row, other in sample:
            self._score(self._tokens[row], self._tokens[other])
        return (time.perf_counter() - start) / len(sample)


def agree_on_sample(peer: RougeScoreLoop, run: FilterPass, draw: random.Random) -> bool:
    """Whether both score a random sample of rows alike, half of them rejected and half kept."""
    kept = set(run.kept)
    rejected = [row for row in range(len(run.scores)) if row not in kept]
    rows = draw.sample(rejected, SAMPLE_ROWS // 2) + draw.sample(run.kept, SAMPLE_ROWS // 2)
    return all(peer.find_best_score(row, run.kept) == run.scores[row] for row in rows)


def read_peak_megabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description="The novelty filter against rouge-score.")
    parser.add_argument("--check", action="store_true", help="exit with 1 if a target is missed")
    check = parser.parse_args().check
    texts, draw = make_instructions(LAST), random.Random(1)
    runs, floored, memory = {}, {}, {}
    before = read_peak_megabytes()
    for number, repeats in REPEATS.items():
        runs[number] = min((filter_texts(texts[:number]) for _ in range(repeats)), key=lambda run: run.seconds)
        memory[number] = read_peak_megabytes()
    for number in REPEATS:
        floored[number] = filter_texts(texts[:number], floor=THRESHOLD)
    same = all(floored[number].kept == runs[number].kept for number in REPEATS)

    peer = RougeScoreLoop(texts)
    full = peer.filter_texts(FULL)
    same = same and (full.scores, full.kept) == (runs[FULL].scores, runs[FULL].kept)
    same = same and agree_on_sample(peer, runs[LAST], draw)
    pair = peer.measure_pair(runs[LAST], draw)
    peer_seconds = {number: pair * run.count_pairs() for number, run in runs.items()} | {FULL: full.seconds}

    print(f"{describe_hardware()} (one core used); {before:.0f} MB before the first run")
    compared = full.count_pairs()
    print(f"rouge-score loop: {full.seconds / compared * 1e6:.0f} us a pair, all {compared:,} of {FULL:,} texts;")
    print(f"{pair * 1e6:.0f} us a pair, {SAMPLE_PAIRS:,} random ones of {LAST:,} texts: extrapolated from these\n")
    print("| texts | kept | seconds | ms a text at the end | with floor 0.7, s | peak MB | peer, s | ratio |")
    print("|---|---|---|---|---|---|---|---|")
    for number, run in runs.items():
        how = "in full" if number == FULL else "extrapolated"
        print(
            f"| {number:,} | {len(run.kept):,} | {run.seconds:.2f} | {run.last * 1000:.2f} "
            f"| {floored[number].seconds:.2f} | {memory[number]:.0f} | {peer_seconds[number]:,.0f} ({how}) "
            f"| {peer_seconds[number] / run.seconds:,.0f} |"
        )
    exponent = math.log(runs[LARGE].seconds / runs[SMALL].seconds) / math.log(LARGE / SMALL)
    ratio, seconds = peer_seconds[LAST] / runs[LAST].seconds, runs[LAST].seconds
    print(
        f"\nnovelty filter, {LAST:,} instructions: {seconds:.1f} s, {ratio:,.0f} times as fast as a rouge-score loop "
        f"(extrapolated), growth n^{exponent:.2f} from 10k to 50k, {memory[LAST]:.0f} MB, scores and decisions "
        f"{'identical' if same else 'DIFFERENT'} (all of {FULL:,}, {SAMPLE_ROWS} rows of {LAST:,})"
    )
    if check and not (same and ratio >= LEAST_RATIO and seconds < MOST_SECONDS and exponent < MOST_EXPONENT):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
