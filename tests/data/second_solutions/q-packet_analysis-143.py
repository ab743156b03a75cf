import json
import struct


def ones_sum(data):
    if len(data) % 2:
        data += b"\x00"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def fault_of(packet):
    total, protocol = int.from_bytes(packet[2:4], "big"), packet[9]
    if total > len(packet):
        return "ip_length"
    if int.from_bytes(packet[6:8], "big") & 0x3FFF:
        return None
    segment = packet[(packet[0] & 15) * 4 : total]
    if protocol == 6:
        if segment[12] >> 4 < 5:
            return "tcp_offset"
        pseudo = packet[12:20] + struct.pack("!HH", 6, len(segment))
        if ones_sum(pseudo + segment) != 0xFFFF:
            return "tcp_checksum"
    if protocol == 17 and int.from_bytes(segment[4:6], "big") < 8:
        return "udp_length"
    return None


result = {"ip_length": [], "tcp_offset": [], "tcp_checksum": [], "udp_length": [], "first_frame": None}
with open("capture.pcap", "rb") as capture:
    capture.read(24)
    number = 0
    while header := capture.read(16):
        number += 1
        seconds, micros, captured, wire = struct.unpack("<IIII", header)
        frame = capture.read(captured)
        if captured != wire or frame[12:14] != b"\x08\x00":
            continue
        fault = fault_of(frame[14:])
        if fault:
            result[fault].append(round(seconds + micros / 10**6, 6))
            if result["first_frame"] is None:
                result["first_frame"] = number
for times in result.values():
    if isinstance(times, list):
        times.sort()

with open("result.json", "w") as out:
    json.dump(result, out, indent=2)
