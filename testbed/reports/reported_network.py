"""A simulated network under its own names: what the reports are about."""

from dataclasses import dataclass
from functools import cached_property
from itertools import count

from netllama.core.errors import StageError
from testbed.internet.bgp import PathAttributes
from testbed.internet.changes import END, START
from testbed.internet.collectors import Feed
from testbed.internet.scenarios import Recording, simulate_hour
from testbed.internet.simulation import RoutingTable
from testbed.internet.truth import iterate_elements
from testbed.measurements.handovers import build_handovers
from testbed.measurements.kpi import build_kpi
from testbed.measurements.radio import build_drive_test
from testbed.measurements.sessions import build_sessions
from testbed.measurements.slices import build_slices
from testbed.measurements.tables import MeasurementTable
from testbed.reports.network_names import NetworkNames
from testbed.reports.report_records import Side
from testbed.reports.report_wording import draw_number

SLOT = 300
SLOTS = range(START, END, SLOT)
ATTEMPTS = 20


@dataclass(frozen=True)
class Element:
    """A feed announces a route to a prefix, or withdraws it (None), at `time`; `before` is the route that it had."""

    time: float
    feed: Feed
    prefix: str
    before: PathAttributes | None
    after: PathAttributes | None


@dataclass(frozen=True)
class ReportedNetwork:
    """A network with an hour of BGP in which several incidents happen, and its 5G measurements."""

    seed: int
    recording: Recording
    names: NetworkNames

    @cached_property
    def elements(self) -> list[Element]:
        """All elements with prefixes of fictional networks, ordered by time. A broken session has no routes."""
        world = self.recording.world
        tables: list[RoutingTable] = [dict(table) for table in world.tables]
        result = []
        for message in self.recording.messages:
            table, feed = tables[message.feed], world.feeds[message.feed]
            if message.states:
                table.clear()
            for _, _, prefix, attributes in iterate_elements([message]):
                before = table.pop(prefix, None)
                if attributes is not None:
                    table[prefix] = attributes
                if self.is_fictional(prefix):
                    result.append(Element(message.time, feed, prefix, before, attributes))
        return result

    def list_tables(self, moment: float) -> list[RoutingTable]:
        """What each feed announces just before `moment`: its routes to prefixes of fictional networks."""
        tables = [{p: a for p, a in table.items() if self.is_fictional(p)} for table in self.recording.world.tables]
        for message in self.recording.messages:
            if message.time >= moment:
                break
            table = tables[message.feed]
            if message.states:
                table.clear()
            for _, _, prefix, attributes in iterate_elements([message]):
                table.pop(prefix, None)
                if attributes is not None and self.is_fictional(prefix):
                    table[prefix] = attributes
        return tables

    def is_fictional(self, prefix: str) -> bool:
        """Whether a fictional AS holds the prefix; real operators' prefixes are left out of all reports."""
        announcements = self.recording.world.plan.get(prefix)
        fictional = self.recording.world.topology.fictional
        return announcements is None or announcements[0].origination.asn in fictional

    def name_interval(self, slot: int) -> dict[str, str]:
        return {"start": self.names.format_minute(slot), "end": self.names.format_minute(slot + SLOT)}

    @cached_property
    def kpi(self) -> MeasurementTable:
        return build_kpi(self.seed)

    @cached_property
    def drive_test(self) -> MeasurementTable:
        return build_drive_test(self.seed)

    @cached_property
    def handovers(self) -> MeasurementTable:
        return build_handovers(self.seed)

    @cached_property
    def sessions(self) -> MeasurementTable:
        return build_sessions(self.seed)

    @cached_property
    def slices(self) -> MeasurementTable:
        return build_slices(self.seed)


def simulate_network(side: Side, key: str) -> ReportedNetwork:
    """The network that `key` names on its side; the same key gives the same network.

    Not every simulation's seed has all incidents: the first of up to 20 that has them is taken, else StageError.
    """
    for attempt in count():
        seed = draw_number("network", side, key, attempt) % 2**31
        try:
            recording = simulate_hour("mixed", seed)
        except StageError:
            if attempt + 1 == ATTEMPTS:
                raise
            continue
        return ReportedNetwork(seed, recording, NetworkNames(side, key, recording.world.topology))
    raise AssertionError("count() never ends")
