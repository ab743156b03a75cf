"""Reads Ethernet pcaps with `struct`, as the RFCs specify the headers; shares no code with the writer."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import NamedTuple

IPV4, IPV6, VLAN = 0x0800, 0x86DD, 0x8100


class Tcp(NamedTuple):
    sport: int
    dport: int
    seq: int
    ack: int
    flags: int
    window: int
    payload: bytes


class Udp(NamedTuple):
    sport: int
    dport: int
    payload: bytes


@dataclass(frozen=True)
class Ip:
    version: int
    source: str
    target: str
    protocol: int
    tos: int
    ttl: int
    identification: int
    fragment: int
    data: bytes
    """The payload, without Ethernet padding."""
    whole: bytes

    @property
    def tcp(self) -> Tcp | None:
        if self.protocol != 6 or self.fragment & 0x1FFF:
            return None
        sport, dport, seq, ack, offset, flags, window = struct.unpack("!HHIIBBH", self.data[:16])
        return Tcp(sport, dport, seq, ack, flags, window, self.data[(offset >> 4) * 4 :])

    @property
    def udp(self) -> Udp | None:
        if self.protocol != 17 or self.fragment & 0x1FFF:
            return None
        sport, dport, length = struct.unpack("!HHH", self.data[:6])
        return Udp(sport, dport, self.data[8:length])


@dataclass(frozen=True)
class Packet:
    time: int
    """Microseconds since 1970."""
    frame: bytes
    wire: int
    vlan: int | None
    ethertype: int
    ip: Ip | None


def parse_ip(data: bytes) -> Ip:
    if data[0] >> 4 == 4:
        _, tos, total, number, fragment, ttl, protocol = struct.unpack("!BBHHHBB", data[:10])
        source, target = (str(IPv4Address(data[at : at + 4])) for at in (12, 16))
        start = (data[0] & 15) * 4
        return Ip(4, source, target, protocol, tos, ttl, number, fragment, data[start:total], data[:total])
    word, length, protocol, ttl = struct.unpack("!IHBB", data[:8])
    source, target = (str(IPv6Address(data[at : at + 16])) for at in (8, 24))
    whole = data[: 40 + length]
    return Ip(6, source, target, protocol, word >> 20 & 255, ttl, 0, 0, whole[40:], whole)


def read_packets(path: Path) -> Iterator[Packet]:
    content = path.read_bytes()
    assert content[:24] == struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1)
    at = 24
    while at < len(content):
        second, micro, captured, wire = struct.unpack("<IIII", content[at : at + 16])
        frame = content[at + 16 : at + 16 + captured]
        assert len(frame) == captured <= wire
        assert micro < 1_000_000
        at += 16 + captured
        kind, start, vlan = int.from_bytes(frame[12:14], "big"), 14, None
        if kind == VLAN:
            vlan, kind = struct.unpack("!HH", frame[14:18])
            start = 18
        ip = parse_ip(frame[start:]) if kind in (IPV4, IPV6) else None
        yield Packet(second * 1_000_000 + micro, frame, wire, vlan, kind, ip)
