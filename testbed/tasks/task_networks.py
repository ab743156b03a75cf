"""The simulated networks that tasks are drawn from, in names and numbers of their side (reports/network_names.py)."""

import ipaddress
from collections import defaultdict
from dataclasses import dataclass, field, replace
from functools import cache, cached_property, lru_cache

from testbed.internet.bgp import AS_SEQUENCE, PathAttributes
from testbed.internet.changes import START
from testbed.internet.collectors import WELL_KNOWN
from testbed.measurements.jitter import build_jitter
from testbed.measurements.tables import TableRow
from testbed.reports.network_names import find_side
from testbed.reports.report_records import Side
from testbed.reports.report_wording import choose
from testbed.reports.reported_network import ReportedNetwork, simulate_network

TASKS_OF_A_NETWORK = 96
"""Tasks in a row that are drawn from one network."""
FIRST_PRIVATE, LAST_PRIVATE = 64_512, 65_534
"""AS numbers of 16 bits for private use (RFC 6996): the first halves of communities."""


@dataclass(frozen=True)
class TaskElement:
    """A table entry (R), an announcement (A) or a withdrawal (W), in the names of its network."""

    type: str
    collector: str
    peer: int
    prefix: str
    path: tuple[int, ...] = ()
    communities: tuple[tuple[int, int], ...] = ()

    @property
    def version(self) -> int:
        return 6 if ":" in self.prefix else 4

    def format_line(self, number: int) -> str:
        communities = " ".join(f"{asn}:{value}" for asn, value in self.communities)
        path = " ".join(map(str, self.path))
        return f"{number}|{self.type}|{self.collector}|{self.peer}|{self.prefix}|{path}|{communities}"


HEADER = "line|type|collector|peer|prefix|as-path|communities"


@dataclass(frozen=True)
class TaskNetwork:
    side: Side
    key: str
    simulated: ReportedNetwork
    _prefixes: dict[str, str] = field(default_factory=dict)
    """New names of those that were asked for."""

    @cached_property
    def routes(self) -> list[tuple[str, PathAttributes]]:
        """(prefix, attributes) of the tables at the beginning of the hour, in the order of the feeds."""
        return [
            (self._name_prefix(prefix), self.name_attributes(attributes))
            for table in self.simulated.list_tables(START)
            for prefix, attributes in table.items()
        ]

    @cached_property
    def packets(self) -> list[TableRow]:
        """The rows of jitter.csv."""
        return build_jitter(self.simulated.seed).rows

    @cached_property
    def tables(self) -> dict[int, list[TaskElement]]:
        """Table entries by peer."""
        tables: dict[int, list[TaskElement]] = defaultdict(list)
        for element in self.elements["R"]:
            tables[element.peer].append(element)
        return tables

    @cached_property
    def elements(self) -> dict[str, list[TaskElement]]:
        """By type: the table entries of all feeds, the hour's announcements and withdrawals. Paths with AS_SETs are
        left out."""
        feeds = self.simulated.recording.world.feeds
        found = [
            self._make_element("R", feeds[index].collector.name, feeds[index].asn, prefix, attributes)
            for index, table in enumerate(self.simulated.list_tables(START))
            for prefix, attributes in table.items()
        ]
        found += [
            self._make_element(
                "A" if each.after else "W", each.feed.collector.name, each.feed.asn, each.prefix, each.after
            )
            for each in self.simulated.elements
        ]
        by_type: dict[str, list[TaskElement]] = {"R": [], "A": [], "W": []}
        for element in filter(None, found):
            by_type[element.type].append(element)
        return by_type

    def _make_element(
        self, kind: str, collector: str, peer: int, prefix: str, attributes: PathAttributes | None
    ) -> TaskElement | None:
        named, asn = self._name_prefix(prefix), self.name_as(peer)
        if attributes is None:
            return TaskElement(kind, collector, asn, named)
        path = list_sequence(attributes)
        if not path:
            return None
        return TaskElement(kind, collector, asn, named, tuple(map(self.name_as, path)), self._name_all(attributes))

    def _name_prefix(self, prefix: str) -> str:
        if prefix not in self._prefixes:
            self._prefixes[prefix] = self.simulated.names.name_prefix(prefix)
        return self._prefixes[prefix]

    def name_as(self, asn: int) -> int:
        return int(self.simulated.names.name_as(asn).removeprefix("AS"))

    def name_address(self, address: str) -> str:
        return self.simulated.names.name_prefix(address).partition("/")[0]

    def name_attributes(self, attributes: PathAttributes) -> PathAttributes:
        asn, router = attributes.aggregator or (0, "")
        return replace(
            attributes,
            as_path=tuple((kind, tuple(map(self.name_as, own))) for kind, own in attributes.as_path),
            next_hop=self.name_address(attributes.next_hop),
            aggregator=(self.name_as(asn), self.name_address(router)) if router else None,
            communities=self._name_all(attributes),
            large_communities=tuple((self.name_as(a), b, c) for a, b, c in attributes.large_communities),
        )

    def _name_all(self, attributes: PathAttributes) -> tuple[tuple[int, int], ...]:
        named = dict.fromkeys((self._name_half(asn), value) for asn, value in attributes.communities)
        return tuple(named)

    def _name_half(self, asn: int) -> int:
        if asn == WELL_KNOWN:
            return asn
        return choose(list_private_ases(self.side), "community", self.key, asn)


@cache
def parse_prefix(prefix: str) -> tuple[int, int, int]:
    """(IP version, address, length); of an address, all of its bits."""
    network = ipaddress.ip_network(prefix)
    return network.version, int(network.network_address), network.prefixlen


def is_within(prefix: str, other: str) -> bool:
    """Whether a prefix is the other one or a part of it."""
    (version, address, length), (wide_version, wide, short) = parse_prefix(prefix), parse_prefix(other)
    bits = (32 if version == 4 else 128) - short
    return version == wide_version and length >= short and address >> bits == wide >> bits


def list_sequence(attributes: PathAttributes) -> tuple[int, ...]:
    """The AS path where it is a single AS_SEQUENCE; else nothing."""
    match attributes.as_path:
        case ((kind, asns),) if kind == AS_SEQUENCE:
            return asns
    return ()


@cache
def list_private_ases(side: Side) -> list[int]:
    return [asn for asn in range(FIRST_PRIVATE, LAST_PRIVATE + 1) if find_side(asn) == side]


@lru_cache(maxsize=2)
def open_network(side: Side, seed: int, number: int) -> TaskNetwork:
    """The `number`th network of a side and a seed (0.3 s of a processor)."""
    key = f"tasks-{seed}-{number}"
    return TaskNetwork(side, key, simulate_network(side, key))
