"""Writes packet captures and their ground truth: NAME.pcap and, beside it, NAME.json.

The ground truth is what an analysis should find; it is noted while the packets are made. For every capture it holds

    capture, seed
    packets, bytes      number of packets, and their octets on the wire
    first, last         Unix times of the first and the last packet
    protocols           packets and bytes by IP protocol or IPv6 next header ("6", "17", ...); "non-IP" for the rest

and the facts of its kind, which are listed at the `record_traffic` function of its module. Times are Unix seconds;
durations and RTTs are seconds. Both are given to the microsecond.
"""

from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

from netllama.core.errors import StageError
from netllama.core.files import atomic_path, write_json
from testbed.captures import dns, gtpu, icmp, mixed, n2, packet_loss, qos, syn_flood, web
from testbed.captures.tap import Frame, Tap, to_unix_time, write_pcap

Recorder = Callable[[Tap], dict[str, Any]]

CAPTURES: dict[str, str] = {
    "web": "HTTP and TLS connections from a LAN: handshakes, requests, FIN and RST endings, a refusal, unanswered SYNs",
    "loss": "TCP with retransmissions, duplicate ACKs, reordering, lost SYNs and a zero window",
    "dns": "lookups over UDP and TCP: slow, repeated, unanswered, refused, truncated; and a DNS tunnel",
    "syn_flood": "a SYN flood from spoofed sources, the users it shuts out, and a port scan",
    "qos": "DSCP, ECN and VLAN marks: RTP voice and video with jitter and loss, bulk and default traffic",
    "gtpu": "GTP-U on N3: users' IPv4 and IPv6 packets by TEID and QFI, echoes, an end marker, error indications",
    "n2": "NGAP over SCTP on N2 and PFCP on N4: registration, sessions, handovers, releases, refusals",
    "icmp": "pings, traceroutes, fragments, path MTU, ARP with an address conflict, IPv6 neighbour discovery",
    "mixed": "a bit of all the others, with frames that are not IP, malformed and truncated packets",
}
_RECORDERS: dict[str, Recorder] = {
    "web": web.record_traffic,
    "loss": packet_loss.record_traffic,
    "dns": dns.record_traffic,
    "syn_flood": syn_flood.record_traffic,
    "qos": qos.record_traffic,
    "gtpu": gtpu.record_traffic,
    "n2": n2.record_traffic,
    "icmp": icmp.record_traffic,
    "mixed": mixed.record_traffic,
}


def write_capture(name: str, seed: int, folder: Path) -> None:
    """Write folder/NAME.pcap (microseconds, little-endian, Ethernet) and folder/NAME.json.

    The same name and seed give the same bytes on every machine. StageError for an unknown name.
    """
    if name not in _RECORDERS:
        raise StageError(f"unknown capture {name!r}; choose one of {', '.join(CAPTURES)}")
    tap = Tap(Random(f"{name}-{seed}"))
    facts = _RECORDERS[name](tap)
    frames = tap.sort_frames()
    with atomic_path(folder / f"{name}.pcap") as temporary:
        write_pcap(temporary, frames)
    write_json(folder / f"{name}.json", {"capture": name, "seed": seed, **summarise_frames(frames), **facts})


def summarise_frames(frames: list[Frame]) -> dict[str, Any]:
    """The facts that the ground truth has for every capture. `frames` must be ordered by time and not empty."""
    protocols: dict[str, dict[str, int]] = {}
    for frame in frames:
        key = "non-IP" if frame.protocol is None else str(frame.protocol)
        total = protocols.setdefault(key, {"packets": 0, "bytes": 0})
        total["packets"] += 1
        total["bytes"] += frame.wire
    return {
        "packets": len(frames),
        "bytes": sum(frame.wire for frame in frames),
        "first": to_unix_time(frames[0].time),
        "last": to_unix_time(frames[-1].time),
        "protocols": protocols,
    }
