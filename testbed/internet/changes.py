"""The changes that can happen in the small Internet during an archive's hour. Times are Unix seconds."""

from collections.abc import Mapping
from dataclasses import dataclass

from testbed.internet.prefixes import Announcement
from testbed.internet.routing import Link, RouteLeak

START = 1_709_625_600  # 2024-03-05 08:00:00 UTC
END = START + 3600


@dataclass(frozen=True)
class Announce:
    """From now on, the prefixes are announced like this; () withdraws a prefix."""

    time: float
    announcements: Mapping[str, tuple[Announcement, ...]]


@dataclass(frozen=True)
class SetLinks:
    """The links between these pairs of ASes fail or come back, in both directions."""

    time: float
    links: tuple[tuple[int, int], ...]
    up: bool


@dataclass(frozen=True)
class SetPrepend:
    """An AS begins to prepend to other ASes' routes that it exports over `link`; with 0 copies it stops."""

    time: float
    link: Link
    copies: int


@dataclass(frozen=True)
class SetLeak:
    """From now on, the prefixes are leaked; None ends the leak."""

    time: float
    leak: RouteLeak | None
    prefixes: frozenset[str] = frozenset()


@dataclass(frozen=True)
class SetMed:
    """A peer announces the prefixes again with another metric; None: with the same attributes as before."""

    time: float
    feed: int
    prefixes: tuple[str, ...]
    med: int | None


@dataclass(frozen=True)
class SetSession:
    """A peer's session breaks, or comes back up and sends the whole table."""

    time: float
    feed: int
    up: bool


Change = Announce | SetLinks | SetPrepend | SetLeak | SetMed | SetSession
