"""Renames what the testbed's simulations name, so that no two networks share their names.

The simulations of all seeds have the same operators, collectors and cells in the same hour. Here each network gets
AS numbers, prefixes, names and an hour of its own. AS numbers are ones that IANA has not assigned; addresses are of
blocks that are allocated but hardly announced, as in internet/prefixes.py. The new prefixes contain each other as the
old ones do. Each name belongs to one side, `train` or `test`, for good: by its hash, or a prefix by its first octet.
"""

import ipaddress
from datetime import datetime, timedelta
from functools import cache, cached_property
from itertools import count
from random import Random

from testbed.internet.changes import START
from testbed.internet.topology import Topology
from testbed.reports.report_records import Side
from testbed.reports.report_wording import draw_number

FIRST_AS, LAST_AS = 420_000, 449_999
OCTETS: dict[Side, tuple[int, ...]] = {"train": (11, 21, 26, 28, 29, 55), "test": (7, 22, 30, 33, 214, 215)}
OCTETS6: dict[Side, int] = {"train": 0x2D, "test": 0x2E}
_SIMULATED = (21, 22, 28, 30)
_BEGIN, _MIDDLE = ("b", "d", "f", "g", "k", "l", "m", "n", "p", "r", "s", "t", "v", "z"), "aeiou"
_END = ("l", "n", "r", "s", "x")


def find_side(name: object) -> Side:
    """The side that a name or an AS number belongs to."""
    return "test" if draw_number("side", name) % 2 else "train"


@cache
def list_ases(side: Side) -> list[int]:
    return [asn for asn in range(FIRST_AS, LAST_AS + 1) if find_side(asn) == side]


class NetworkNames:
    """The names of one network; `key` tells it from the other networks of its side."""

    def __init__(self, side: Side, key: str, topology: Topology) -> None:
        self._side, self._key, rng = side, key, Random(f"names-{side}-{key}")
        ases = sorted(topology.neighbours)
        self._ases = dict(zip(ases, rng.sample(list_ases(side), len(ases)), strict=True))
        self._octets = dict(zip(_SIMULATED, rng.sample(OCTETS[side], len(_SIMULATED)), strict=True))
        self._mask, self._mask6 = rng.getrandbits(24), rng.getrandbits(120)
        self._shift = 300 * rng.randrange(-96, 12 * 15 - 12)  # the hour stays within one day
        self._words: dict[str, str] = {}

    def name_as(self, asn: int) -> str:
        return f"AS{self._ases[asn]}"

    def name_path(self, path: tuple[int, ...]) -> str:
        return " ".join(map(self.name_as, path))

    def name_prefix(self, prefix: str) -> str:
        """A prefix of the fictional networks, renamed. KeyError for a prefix of a real operator."""
        network = ipaddress.ip_network(prefix)
        first = network.network_address.packed[0]
        if network.version == 6:
            address = OCTETS6[self._side] << 120 | (int(network.network_address) ^ self._mask6) & (1 << 120) - 1
        else:
            address = self._octets[first] << 24 | (int(network.network_address) ^ self._mask) & (1 << 24) - 1
        octets = address.to_bytes(network.max_prefixlen // 8, "big")
        return str(ipaddress.ip_network((octets, network.prefixlen), strict=False))

    def name_thing(self, kind: str, old: str) -> str:
        """The new name of a collector, a phone or a slice: an invented word."""
        if (thing := f"{kind} {old}") not in self._words:
            words = (self._draw_word(thing, attempt) for attempt in count())
            taken = self._words.values()
            self._words[thing] = next(word for word in words if find_side(word) == self._side and word not in taken)
        return self._words[thing]

    def name_cell(self, old: str) -> str:
        """`A1` -> its site's new name and the sector, like `PEL-1`."""
        return f"{self._sites[old[0]]}-{old[1:]}"

    def format_clock(self, time: float) -> str:
        """A time of the simulated hour (Unix seconds) as the network's time of day, `14:05:12`."""
        return format_seconds(self._count_seconds(time))

    def format_minute(self, time: float) -> str:
        return self.format_clock(time)[:5]

    def shift_time(self, timestamp: str, later: int = 0) -> str:
        """The time of day of a `timestamp` in a measurement file of that hour, or so many seconds later."""
        moment = datetime.fromisoformat(timestamp) + timedelta(seconds=self._shift + later)
        return moment.strftime("%H:%M:%S")

    def _count_seconds(self, time: float) -> int:
        return int(time) - START + 8 * 3600 + self._shift

    @cached_property
    def _sites(self) -> dict[str, str]:
        rng, sites = Random(f"sites-{self._side}-{self._key}"), list[str]()
        while len(sites) < 4:
            name = "".join(rng.choice("BCDFGHKLMNPRSTVXZ") for _ in range(3))
            if find_side(name) == self._side and name not in sites:
                sites.append(name)
        return dict(zip("ABCD", sites, strict=True))

    def _draw_word(self, *key: object) -> str:
        rng = Random(f"word-{self._side}-{self._key}-{key}")
        return "".join(rng.choice(_BEGIN) + rng.choice(_MIDDLE) for _ in range(2)) + rng.choice(_END)


def format_seconds(seconds: int) -> str:
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
