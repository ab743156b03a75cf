import json
import struct

UPF = bytes([10, 100, 0, 1])
G_PDU, END_MARKER = 255, 254


def tunnelled(path):
    """Time in microseconds, outer addresses, message type, TEID and inner packet of each GTP-U message."""
    with open(path, "rb") as capture:
        capture.read(24)
        while header := capture.read(16):
            seconds, micros, size, _ = struct.unpack("<IIII", header)
            frame = capture.read(size)
            if frame[12:14] != b"\x08\x00" or frame[23] != 17:
                continue
            udp = frame[14 + (frame[14] & 15) * 4 :]
            if struct.unpack_from("!H", udp, 2)[0] != 2152:
                continue
            flags, kind, length, teid = struct.unpack_from("!BBHI", udp, 8)
            gtp = udp[8 : 16 + length]
            at = 8
            if flags & 7:
                at = 12
                following = gtp[11] if flags & 4 else 0
                while following:
                    size = gtp[at] * 4
                    following = gtp[at + size - 1]
                    at += size
            yield seconds * 10**6 + micros, frame[26:30], frame[30:34], kind, teid, gtp[at:]


def inner_addresses(packet):
    return (packet[12:16], packet[16:20]) if packet[0] >> 4 == 4 else (packet[8:24], packet[24:40])


messages = list(tunnelled("gtpu.pcap"))
[marker] = [position for position, message in enumerate(messages) if message[3] == END_MARKER]
_, _, old_gnb, _, old_teid, _ = messages[marker]
[ue] = {
    inner_addresses(packet)[1]
    for _, _, gnb, kind, teid, packet in messages
    if kind == G_PDU and gnb == old_gnb and teid == old_teid
}

before, after = [], []
new_teid = None
for position, (time, source, _, kind, teid, packet) in enumerate(messages):
    if kind != G_PDU:
        continue
    downlink = source == UPF
    if inner_addresses(packet)[1 if downlink else 0] != ue:
        continue
    (before if position < marker else after).append(time)
    if position > marker and downlink and new_teid is None:
        new_teid = teid

result = {
    "old_teid": old_teid,
    "new_teid": new_teid,
    "gap_ms": round((after[0] - before[-1]) / 1000, 3),
    "packets_before": len(before),
    "packets_after": len(after),
}
with open("result.json", "w") as out:
    json.dump(result, out, indent=2)
