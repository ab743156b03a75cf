"""A tap on a link: frames with their times, and the numbers that hosts behind it count up.

Times are whole microseconds after START (2024-03-05 08:00:00 UTC), so that no rounding differs between machines.
"""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

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
    """Length on the wire, above len(data) where the frame was cut."""
    protocol: int | None
    """IP protocol or IPv6 next header of the outermost packet; None: not IP."""


def to_seconds(microseconds: int) -> float:
    return round(microseconds / SECOND, 6)


def to_unix_time(microseconds: int) -> float:
    """Unix time of a capture's microsecond."""
    return round(START + microseconds / SECOND, 6)


def get_mac(address: str) -> str:
    """A locally administered MAC of a private address; all others lie behind the gateway."""
    octets = frames.pack_address(address)
    local = octets[:2] == b"\xc0\xa8" or octets[0] == 10 or address.startswith("2001:db8:10:")
    return "02:00:" + octets[-4:].hex(":") if local else GATEWAY_MAC


class Tap:
    """What a capture is recorded into. `share` scales down how much is recorded of each kind (1: a full capture)."""

    def __init__(self, draw: Random, share: float = 1.0) -> None:
        self.draw, self.share = draw, share
        self.frames: list[Frame] = []
        self._identifications: Counter[str] = Counter()
        self._port = draw.randint(*EPHEMERAL)

    def scale_count(self, number: int) -> int:
        """`number` of a full capture, at least 1."""
        return max(1, round(number * self.share))

    def take_port(self) -> int:
        """An ephemeral port that nobody had yet: no two conversations of a capture share one."""
        self._port = self._port + 1 if self._port < EPHEMERAL[1] else EPHEMERAL[0]
        return self._port

    def take_identification(self, address: str) -> int:
        """The next IPv4 identification of a host."""
        self._identifications[address] += 1
        return (sum(frames.pack_address(address)) * 257 + self._identifications[address]) & 0xFFFF

    def record_frame(self, time: int, data: bytes, protocol: int | None = None, snaplen: int = SNAPLEN) -> None:
        """A frame, of which the first `snaplen` octets are kept."""
        self.frames.append(Frame(time, data[:snaplen], len(data), protocol))

    def record_ip(self, time: int, source: str, target: str, protocol: int, payload: bytes, **fields: Any) -> None:
        """An IP packet in an Ethernet frame between its ends, or to and from the gateway; `fields` are those of
        frames.ip, `vlan` of frames.ethernet and `snaplen` of Tap.frame.
        """
        vlan, snaplen = fields.pop("vlan", None), fields.pop("snaplen", SNAPLEN)
        fields.setdefault("identification", self.take_identification(source))
        fields.setdefault("ttl", get_ttl(source))
        data = frames.encode_ip(source, target, protocol, payload, **fields)
        kind = frames.IPV6 if ":" in source else frames.IPV4
        self.record_frame(
            time, frames.encode_ethernet(get_mac(source), get_mac(target), data, kind, vlan), protocol, snaplen
        )

    def record_udp(
        self, time: int, source: str, target: str, ports: tuple[int, int], payload: bytes, **fields: Any
    ) -> None:
        self.record_ip(time, source, target, frames.UDP, frames.encode_udp(source, target, ports, payload), **fields)

    def sort_frames(self) -> list[Frame]:
        """The frames by time; of one time in the order they were recorded."""
        return sorted(self.frames, key=lambda frame: frame.time)


def get_ttl(address: str) -> int:
    """TTL at the tap: 64 of a host beside it, less 5 to 15 hops of one behind the gateway."""
    return 64 if get_mac(address) != GATEWAY_MAC else 59 - frames.pack_address(address)[-1] % 11


def write_pcap(path: Path, recorded: list[Frame]) -> None:
    """A classic pcap of microseconds, little-endian on every machine."""
    from scapy.utils import RawPcapWriter

    with RawPcapWriter(str(path), linktype=ETHERNET_LINK, endianness="<", snaplen=SNAPLEN) as writer:
        writer.write_header(None)
        for frame in recorded:
            when, fraction = divmod(frame.time, SECOND)
            writer.write_packet(frame.data, sec=START + when, usec=fraction, caplen=len(frame.data), wirelen=frame.wire)
