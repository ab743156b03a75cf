"""A tap on a link: it records frames with their times, and hands out the port and identification numbers of hosts.

Times are whole microseconds after START (2024-03-05 08:00:00 UTC), so that all machines round them the same way.
"""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from random import Random

from testbed.captures import frames

START = 1_709_625_600
SECOND = 1_000_000
MILLI = 1_000
GATEWAY_MAC = "02:00:5e:00:00:fe"
EPHEMERAL = (32_768, 60_999)
ETHERNET_LINK = 1
SNAPLEN = 65_535


@dataclass(frozen=True)
class Frame:
    time: int
    """Microseconds after START."""
    data: bytes
    wire: int
    """Length on the wire; greater than len(data) if the frame was cut."""
    protocol: int | None
    """IP protocol or IPv6 next header of the outermost packet; None: not IP."""


def to_seconds(microseconds: int) -> float:
    return round(microseconds / SECOND, 6)


def to_unix_time(microseconds: int) -> float:
    """Unix time of a time in a capture."""
    return round(START + microseconds / SECOND, 6)


def get_mac(address: str) -> str:
    """A locally administered MAC for a private address; the gateway's for all others, which lie behind it."""
    octets = frames.pack_address(address)
    local = octets[:2] == b"\xc0\xa8" or octets[0] == 10 or address.startswith("2001:db8:10:")
    return "02:00:" + octets[-4:].hex(":") if local else GATEWAY_MAC


class Tap:
    """Records the frames of a capture. `share` scales the amount of traffic of each kind (1: a full capture)."""

    def __init__(self, draw: Random, share: float = 1.0) -> None:
        self.draw, self.share = draw, share
        self.frames: list[Frame] = []
        self._identifications: Counter[str] = Counter()
        self._port = draw.randint(*EPHEMERAL)

    def scale_count(self, number: int) -> int:
        """`number` in a full capture, scaled to this one; at least 1."""
        return max(1, round(number * self.share))

    def take_port(self) -> int:
        """An unused ephemeral port: each conversation of a capture gets its own."""
        self._port = self._port + 1 if self._port < EPHEMERAL[1] else EPHEMERAL[0]
        return self._port

    def take_identification(self, address: str) -> int:
        """The next IPv4 identification number of a host."""
        self._identifications[address] += 1
        return (sum(frames.pack_address(address)) * 257 + self._identifications[address]) & 0xFFFF

    def record_frame(self, time: int, data: bytes, protocol: int | None = None, snaplen: int = SNAPLEN) -> None:
        """Record the first `snaplen` octets of a frame."""
        self.frames.append(Frame(time, data[:snaplen], len(data), protocol))

    def record_ip(
        self,
        time: int,
        source: str,
        target: str,
        protocol: int,
        payload: bytes,
        *,
        identification: int | None = None,
        ttl: int | None = None,
        tos: int = 0,
        fragment: int = frames.DONT_FRAGMENT,
        vlan: tuple[int, int] | None = None,
        snaplen: int = SNAPLEN,
    ) -> None:
        """Record an IP packet in an Ethernet frame; hosts behind the gateway are reached through its MAC.

        The host's next identification and its usual TTL are used unless others are given (fields: frames.encode_ip,
        `vlan`: frames.encode_ethernet).
        """
        following = self.take_identification(source)
        packet = frames.encode_ip(
            source,
            target,
            protocol,
            payload,
            identification=following if identification is None else identification,
            ttl=get_ttl(source) if ttl is None else ttl,
            tos=tos,
            fragment=fragment,
        )
        ethertype = frames.IPV6 if ":" in source else frames.IPV4
        data = frames.encode_ethernet(get_mac(source), get_mac(target), packet, ethertype, vlan)
        self.record_frame(time, data, protocol, snaplen)

    def record_udp(
        self,
        time: int,
        source: str,
        target: str,
        ports: tuple[int, int],
        payload: bytes,
        *,
        tos: int = 0,
        vlan: tuple[int, int] | None = None,
        snaplen: int = SNAPLEN,
    ) -> None:
        """Record a UDP datagram, as `record_ip` does."""
        datagram = frames.encode_udp(source, target, ports, payload)
        self.record_ip(time, source, target, frames.UDP, datagram, tos=tos, vlan=vlan, snaplen=snaplen)

    def sort_frames(self) -> list[Frame]:
        """The frames ordered by time; frames of the same time keep the order in which they were recorded."""
        return sorted(self.frames, key=lambda frame: frame.time)


def get_ttl(address: str) -> int:
    """TTL at the tap: 64 for a host beside it, 5 to 15 less for a host behind the gateway."""
    return 64 if get_mac(address) != GATEWAY_MAC else 59 - frames.pack_address(address)[-1] % 11


def write_pcap(path: Path, recorded: list[Frame]) -> None:
    """Write a classic pcap with microseconds, little-endian on every machine."""
    from scapy.utils import RawPcapWriter

    with RawPcapWriter(str(path), linktype=ETHERNET_LINK, endianness="<", snaplen=SNAPLEN) as writer:
        writer.write_header(None)
        for frame in recorded:
            when, fraction = divmod(frame.time, SECOND)
            writer.write_packet(frame.data, sec=START + when, usec=fraction, caplen=len(frame.data), wirelen=frame.wire)
