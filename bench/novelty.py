"""The Self-Instruct novelty filter on synthetic instructions: time, growth and memory against a loop of rouge-score.

For each text in turn: `nearest(text)`, the call of the stage generate; above 0.7 it is rejected, else added. The peer
compares each text with all kept ones by rouge-score's own `_score_lcs` on tokens made once, as Stanford Alpaca does:
in full at 1,000 texts, where the scores and decisions of both must be equal; for more texts its time is extrapolated,
the mean of a random sample of its pairs times their number, and the decisions are compared on a sample of rows.

Run    python -m bench.novelty [--check]      (--check: exit code 1 where a target is missed)
"""

import argparse
import math
import random
import resource
import time
from dataclasses import dataclass, field

from bench.hardware import hardware
from bench.text import instructions
from netllama.novelty.index import NoveltyIndex

THRESHOLD = 0.7
REPEATS = {1_000: 3, 10_000: 3, 50_000: 3, 52_000: 1}
FULL, SMALL, LARGE, LAST = REPEATS
SAMPLE_PAIRS, SAMPLE_ROWS = 100_000, 12
LEAST_RATIO, MOST_SECONDS, MOST_EXPONENT = 1_000, 60, 1.5


@dataclass
class Run:
    """One pass of the filter."""

    scores: list[float] = field(default_factory=list)
    kept: list[int] = field(default_factory=list)
    """The rows that were added."""
    seconds: float = 0.0
    last: float = 0.0
    """Seconds a text, over the last 1,000."""

    def pairs(self) -> int:
        """How many pairs a loop compares: each row with all rows kept before it."""
        kept, pairs, compared = set(self.kept), 0, 0
        for row in range(len(self.scores)):
            compared += pairs
            pairs += row in kept
        return compared


def filtered(texts: list[str], floor: float = 0.0) -> Run:
    run, index, start = Run(), NoveltyIndex(), time.perf_counter()
    tail = start
    for row, text in enumerate(texts):
        if row == len(texts) - 1_000:
            tail = time.perf_counter()
        _, score = index.nearest(text, floor)
        run.scores.append(score)
        if score <= THRESHOLD:
            index.add(str(row), text)
            run.kept.append(row)
    end = time.perf_counter()
    run.seconds, run.last = end - start, (end - tail) / 1_000
    return run


class Peer:
    """rouge-score, one pair after the other."""

    def __init__(self, texts: list[str]) -> None:
        # Imported late, so that the memory of rouge-score (nltk, absl) is not counted as ours.
        from rouge_score import rouge_scorer

        tokenizer = rouge_scorer.RougeScorer(["rougeL"], use_stemmer=False)._tokenizer
        self._tokens = [tokenizer.tokenize(text) for text in texts]
        self._score = rouge_scorer._score_lcs

    def best(self, row: int, kept: list[int]) -> float:
        """The row's highest score to the kept rows before it."""
        return max((self._score(self._tokens[row], self._tokens[k]).fmeasure for k in kept if k < row), default=0.0)

    def filtered(self, number: int) -> Run:
        run, start = Run(), time.perf_counter()
        for row in range(number):
            run.scores.append(self.best(row, run.kept))
            if run.scores[-1] <= THRESHOLD:
                run.kept.append(row)
        run.seconds = time.perf_counter() - start
        return run

    def seconds_a_pair(self, run: Run, draw: random.Random) -> float:
        """The mean over random pairs of those the loop would compare."""
        sample: list[tuple[int, int]] = []
        while len(sample) < SAMPLE_PAIRS:
            row, other = draw.randrange(len(run.scores)), draw.choice(run.kept)
            if other < row:
                sample.append((row, other))
        start = time.perf_counter()
        for row, other in sample:
            self._score(self._tokens[row], self._tokens[other])
        return (time.perf_counter() - start) / len(sample)


def same_decisions(peer: Peer, run: Run, draw: random.Random) -> bool:
    """Half of the sampled rows are rejected ones, half kept ones."""
    kept = set(run.kept)
    rejected = [row for row in range(len(run.scores)) if row not in kept]
    rows = draw.sample(rejected, SAMPLE_ROWS // 2) + draw.sample(run.kept, SAMPLE_ROWS // 2)
    return all(peer.best(row, run.kept) == run.scores[row] for row in rows)


def peak_megabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description="The novelty filter against rouge-score.")
    parser.add_argument("--check", action="store_true", help="exit 1 where a target is missed")
    check = parser.parse_args().check
    texts, draw = instructions(LAST), random.Random(1)
    runs, floored, memory = {}, {}, {}
    before = peak_megabytes()
    for number, repeats in REPEATS.items():
        runs[number] = min((filtered(texts[:number]) for _ in range(repeats)), key=lambda run: run.seconds)
        memory[number] = peak_megabytes()
    for number in REPEATS:
        floored[number] = filtered(texts[:number], floor=THRESHOLD)
    same = all(floored[number].kept == runs[number].kept for number in REPEATS)

    peer = Peer(texts)
    full = peer.filtered(FULL)
    same = same and (full.scores, full.kept) == (runs[FULL].scores, runs[FULL].kept)
    same = same and same_decisions(peer, runs[LAST], draw)
    pair = peer.seconds_a_pair(runs[LAST], draw)
    peer_seconds = {number: pair * run.pairs() for number, run in runs.items()} | {FULL: full.seconds}

    print(f"{hardware()} (one core used); {before:.0f} MB before the first run")
    print(
        f"rouge-score loop: {full.seconds / full.pairs() * 1e6:.0f} us a pair, all {full.pairs():,} of {FULL:,} texts;"
    )
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
