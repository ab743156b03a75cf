"""What the code in the seed tasks must print, worked out from the network's ground truth and from its files.

One check a seed with code, in the module of its family. A check knows nothing of the seed's code: it takes what was
printed or written and compares it with the truth (truth.json, NAME.json) or with its own count over the same files,
read by readers that are not ours (mrtparse, csv, `pcap_reader`).
"""

import csv
import json
import re
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from netllama.code_tasks.code_answers import NOW as NOW
from netllama.core.records import SeedTask
from testbed.script_runner import ScriptRun, choose_data
from tests.support import pcap_reader
from tests.support.mrt_elements import Archive


@dataclass(frozen=True)
class Ran:
    """A seed's code after its run against the network of one seed."""

    seed: SeedTask
    network: Path
    work: Path
    """The script's working directory, as the script left it."""
    run: ScriptRun

    @property
    def stdout(self) -> str:
        return self.run.stdout

    @property
    def lines(self) -> list[str]:
        """Printed lines without the empty ones, stripped."""
        return [line.strip() for line in self.run.stdout.splitlines() if line.strip()]

    @property
    def numbers(self) -> list[float]:
        """All numbers printed, in their order (a sign counts where no word or number precedes it)."""
        return [float(text) for text in re.findall(r"(?<![\w.])-?\d+(?:\.\d+)?(?:e[+-]?\d+)?", self.run.stdout)]

    @cached_property
    def archive(self) -> Archive:
        """The BGP scenario that was read: `.truth`, `.ribs`, `.updates`, `.list_elements()`, `.list_events()`."""
        return Archive(self.network / "routing" / choose_data(self.seed.scenario)[0])

    def capture(self, name: str = "") -> dict[str, Any]:
        """Ground truth of a capture; without a name, of what lay there as capture.pcap."""
        return _json(self.network / "captures" / f"{name or choose_data(self.seed.scenario)[1]}.json")

    def packets(self, name: str = "") -> list[pcap_reader.Packet]:
        """The packets of a capture, read with `struct` alone."""
        return list(
            pcap_reader.read_packets(self.network / "captures" / f"{name or choose_data(self.seed.scenario)[1]}.pcap")
        )

    def measurements(self, name: str) -> dict[str, Any]:
        """Ground truth of a CSV file."""
        return _json(self.network / "measurements" / f"{name}.json")

    def table(self, name: str) -> list[dict[str, str]]:
        """The rows of a CSV file as text."""
        with (self.network / "measurements" / f"{name}.csv").open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))


Check = Callable[[Ran], None]


@dataclass(frozen=True)
class Entry:
    check: Check
    same_everywhere: bool
    """The output hangs on nothing in the network: on another one it is the same."""
    fault_unseen: bool
    """fix_code: the fault of the code in the input does not show in what it prints (memory, time, style)."""


CHECKS: dict[str, Entry] = {}


def check(seed_id: str, same_everywhere: bool = False, fault_unseen: bool = False) -> Callable[[Check], Check]:
    """Register the check of a seed. It raises AssertionError where the output is not the truth."""

    def register(function: Check) -> Check:
        assert seed_id not in CHECKS, f"{seed_id} is checked twice"
        CHECKS[seed_id] = Entry(function, same_everywhere, fault_unseen)
        return function

    return register


def assert_top(shown: list[tuple[Any, int]], counts: Mapping[Any, int], places: int | None = None) -> None:
    """`shown` are the first `places` of the counts (all: None), the largest first; equal counts in any order."""
    assert [number for _, number in shown] == sorted(counts.values(), reverse=True)[:places]
    assert len(dict(shown)) == len(shown)
    assert all(counts[name] == number for name, number in shown)


def assert_picture(ran: Ran, name: str) -> None:
    """The script wrote one file, a whole PNG that is large enough to read."""
    assert [path.name for path in ran.run.files] == [name]
    content = (ran.work / name).read_bytes()
    assert content[:8] == b"\x89PNG\r\n\x1a\n"
    assert content[-8:-4] == b"IEND"
    assert min(struct.unpack("!II", content[16:24])) >= 300
    assert len(content) > 5000


def _json(path: Path) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return value
