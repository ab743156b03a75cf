"""What can change in the small Internet during the hour of an archive. Times are Unix seconds."""

from collections.abc import Mapping
from dataclasses import dataclass

from testbed.internet.prefixes import Announcement
from testbed.internet.routing import Link, RouteLeak

START = 1_709_625_600  # 2024-03-05 08:00:00 UTC
END = START + 3600


@dataclass(frozen=True)
class Announce:
    """The announcements of these prefixes are from now on these; () withdraws."""

    time: float
    announcements: Mapping[str, tuple[Announcement, ...]]


@dataclass(frozen=True)
class SetLinks:
    """Both directions of the links between these ASes fail or come back."""

    time: float
    links: tuple[tuple[int, int], ...]
    up: bool


@dataclass(frozen=True)
class SetPrepend:
    """(AS, neighbour): the AS prepends to others' routes that it passes on; 0 copies ends it."""

    time: float
    link: Link
    copies: int


@dataclass(frozen=True)
class SetLeak:
    """These prefixes are leaked from now on; None ends the leak."""

    time: float
    leak: RouteLeak | None
    prefixes: frozenset[str] = frozenset()


@dataclass(frozen=True)
class SetMed:
    """A peer announces these prefixes again with another metric; None repeats them as they are."""

    time: float
    feed: int
    prefixes: tuple[str, ...]
    med: int | None


@dataclass(frozen=True)
class SetSession:
    """A peer's session breaks, or is established again and sends the whole table."""

    time: float
    feed: int
    up: bool


Change = Announce | SetLinks | SetPrepend | SetLeak | SetMed | SetSession
