"""Builds `drive_test.csv`, `gps.csv` and `radio.csv` from the hour of the measurement car.

drive_test.csv, one row per second of phone `ue01`:
    timestamp         UTC
    lat, lon          degrees (WGS 84)
    speed_kmh         km/h
    cell              serving cell
    ss_rsrp_dbm       SS-RSRP, dBm, in steps of 1 dB from -156 to -31 (TS 38.133, 10.1.6)
    ss_sinr_db        SS-SINR, dB, in steps of 0.5 dB from -23 to 40 (TS 38.133, 10.1.16)
    handover          1 if the serving cell differs from that of the previous row, else 0
gps.csv, one row per second from a clock that ticks at 0.4 s, except in a tunnel without reception:
    timestamp (UTC, milliseconds), lat, lon
radio.csv, every three seconds one row of each of six phones, ordered by time:
    timestamp         UTC, milliseconds
    ue, cell          phone and its serving cell
    ss_rsrp_dbm, ss_sinr_db   as above
    ss_rsrq_db        SS-RSRQ, dB, in steps of 0.5 dB from -43 to 20 (TS 38.133, 10.1.11)
    cqi               0 to 15, table 1, up to 64QAM (TS 38.214, table 5.2.2.1-2)
    mcs               0 to 28, table 1, up to 64QAM (TS 38.214, table 5.1.3.1-1)
    dl_throughput_mbps   downlink, Mbit/s
"""

import itertools
import math
from bisect import bisect_left
from collections.abc import Sequence
from random import Random
from typing import Any

from testbed.measurements.arithmetic import clamp, compute_mean, compute_percentile, draw_noise, interpolate
from testbed.measurements.drive import SECONDS, DriveSecond, simulate_drive
from testbed.measurements.tables import HOUR, MeasurementTable, TableRow, add_seconds, format_time, round_rows

LAT, LON = 48.2, 16.35
"""Position of the origin of drive.py's metres east and north."""
METRES_PER_LAT, METRES_PER_LON = 111_200.0, 74_100.0
POSITION = {"lat": 6, "lon": 6}
DRIVE_TEST = {"timestamp": 0, **POSITION, "speed_kmh": 1, "cell": 0, "ss_rsrp_dbm": 0, "ss_sinr_db": 1, "handover": 0}
GPS = {"timestamp": 0, **POSITION}
RADIO = {"timestamp": 0, "ue": 0, "cell": 0, "ss_rsrp_dbm": 0, "ss_rsrq_db": 1, "ss_sinr_db": 1, "cqi": 0, "mcs": 0,
         "dl_throughput_mbps": 2}  # fmt: skip
RULES = {"coverage_hole": "ss_rsrp_dbm < -110", "interference": "ss_rsrp_dbm >= -95 and ss_sinr_db < 0"}
PING_PONG_RULE = "The phone returns within 5 s to the cell it has just left."
GPS_LATE, TUNNEL = 0.4, (30, 60)
"""Seconds: the clock's tick after the full second; the shortest and the longest time without a position."""
PHONES = [f"ue{number:02d}" for number in range(1, 7)]
# (SINR, RSRQ) of a fully loaded carrier: -10.8 dB - 10 lg(1 + 10^(-SINR/10)), from their definitions in TS 38.215.
RSRQ = ((-20.0, -30.8), (-10.0, -21.2), (-5.0, -17.0), (0.0, -13.8), (5.0, -12.0), (10.0, -11.2), (20.0, -10.8))
# 3GPP defines CQI by a block error rate of 10 %, not by SINR: these least SINRs of CQI 1 to 15 are this model's own.
CQI_FROM = (-7.0, -5.0, -2.5, 0.5, 2.5, 4.5, 6.5, 8.5, 10.5, 12.5, 14.5, 16.5, 18.5, 20.5, 22.5)
# Bits per resource element for CQI 0 to 15, and the MCS with the same efficiency (CQI 1: the lowest MCS).
EFFICIENCY = (0.0, 0.1523, 0.2344, 0.377, 0.6016, 0.877, 1.1758, 1.4766, 1.9141, 2.4063, 2.7305, 3.3223, 3.9023,
              4.5234, 5.1152, 5.5547)  # fmt: skip
MCS = (0, 0, 0, 2, 4, 6, 8, 11, 13, 15, 18, 20, 22, 24, 26, 28)
# Mbit/s for each bit per resource element, at 40 MHz with 30 kHz subcarriers: 106 resource blocks of 12 subcarriers,
# 2000 slots per second of 14 symbols, 14 % overhead (TS 38.306, 4.1.2), three quarters of slots downlink, two layers.
CARRIER_MBPS = 106 * 12 * 14 * 2000 * 0.86 * 0.75 * 2 / 1e6


def build_drive_test(seed: int) -> MeasurementTable:
    rng = Random(f"drive_test-{seed}")
    seconds = simulate_drive(seed)
    rows = []
    for number, second in enumerate(seconds):
        rsrp, sinr = _measure_levels(rng, second.rsrp, second.sinr)
        row = {
            "timestamp": format_time(add_seconds(HOUR, number)),
            **_compute_position(second),
            "speed_kmh": second.speed * 3.6,
        }
        row |= {"cell": second.cell, "ss_rsrp_dbm": rsrp, "ss_sinr_db": sinr}
        row["handover"] = int(number > 0 and second.cell != seconds[number - 1].cell)
        rows.append(row)
    rows = round_rows(DRIVE_TEST, rows)
    ping_pongs = _find_ping_pongs(rows)
    facts = {
        "planted": [
            *_describe_faults(rows, seconds),
            {"kind": "ping_pong", "rule": PING_PONG_RULE, "events": ping_pongs},
        ],
        "handovers": sum(row["handover"] for row in rows),
        "ping_pongs": len(ping_pongs),
        "distance_km": round(math.fsum(row["speed_kmh"] for row in rows) / 3600, 6),
        "mean_speed_kmh": compute_mean([row["speed_kmh"] for row in rows]),
        "seconds_standing": sum(row["speed_kmh"] == 0 for row in rows),
        **_summarise_levels(rows),
    }
    return MeasurementTable(DRIVE_TEST, rows, facts)


def build_gps(seed: int) -> MeasurementTable:
    seconds = simulate_drive(seed)
    start, end = _draw_tunnel(seed)
    ticks = _list_ticks(seed)
    rows = [
        {
            "timestamp": format_time(add_seconds(HOUR, tick + GPS_LATE), "milliseconds"),
            **_compute_position(seconds[tick]),
        }
        for tick in ticks
    ]
    rows = round_rows(GPS, rows)
    first, last = _format_tick(start), _format_tick(end)
    gap = {
        "kind": "missing_rows",
        "start": first,
        "end": last,
        "rows": end - start,
        "rule": "two rows more than 1 s apart",
    }
    extremes = {name: [min(row[name] for row in rows), max(row[name] for row in rows)] for name in POSITION}
    return MeasurementTable(GPS, rows, {"planted": [gap], "extremes": extremes})


def build_radio(seed: int) -> MeasurementTable:
    rng = Random(f"radio-{seed}")
    seconds, ticks = simulate_drive(seed), _list_ticks(seed)
    offsets = {phone: rng.uniform(-1.5, 1.5) for phone in PHONES}
    rows: list[TableRow] = []
    marks, unplaced = [], 0
    for number, second in enumerate(seconds):
        for place, phone in enumerate(PHONES):
            if number % 3 != place % 3:
                continue
            # No phone's clock is a whole number of seconds off the clock of the positions.
            late = (30 + 130 * place) / 1000
            rsrp, sinr = _measure_levels(rng, second.rsrp + offsets[phone], second.sinr)
            cqi = sum(sinr >= least for least in CQI_FROM)
            row: TableRow = {
                "timestamp": format_time(add_seconds(HOUR, number + late), "milliseconds"),
                "ue": phone,
                "cell": second.cell,
            }
            row |= {"ss_rsrp_dbm": rsrp, "ss_rsrq_db": round(interpolate(RSRQ, sinr) * 2) / 2, "ss_sinr_db": sinr}
            row |= {"cqi": cqi, "mcs": MCS[cqi]}
            row["dl_throughput_mbps"] = EFFICIENCY[cqi] * CARRIER_MBPS * rng.uniform(0.3, 0.6)
            rows.append(row)
            marks.append(second)
            unplaced += not _has_near_tick(ticks, number + late - GPS_LATE)
    rows = round_rows(RADIO, rows)
    facts = {
        "planted": _describe_faults(rows, marks),
        "samples_without_position": unplaced,
        "samples_without_position_rule": "No row of gps.csv of the same seed within 1 s.",
        **_summarise_levels(rows),
        "cells": {cell: _summarise_levels([row for row in rows if row["cell"] == cell]) for cell in _list_cells(rows)},
        "ues": {phone: _summarise_levels([row for row in rows if row["ue"] == phone]) for phone in PHONES},
        "throughput_rule": "Mean and 5th percentile (linear interpolation) of dl_throughput_mbps, Mbit/s.",
        "mean_dl_throughput_mbps": compute_mean([row["dl_throughput_mbps"] for row in rows]),
        "p5_dl_throughput_mbps": compute_percentile([row["dl_throughput_mbps"] for row in rows], 0.05),
    }
    return MeasurementTable(RADIO, rows, facts)


def _compute_position(second: DriveSecond) -> TableRow:
    return {"lat": LAT + second.y / METRES_PER_LAT, "lon": LON + second.x / METRES_PER_LON}


def _measure_levels(rng: Random, rsrp: float, sinr: float) -> tuple[int, float]:
    """(SS-RSRP in dBm, SS-SINR in dB) with a phone's noise, in the steps and ranges of TS 38.133."""
    level = round(clamp(rsrp + draw_noise(rng, 1.0), -156, -31))
    return level, round(clamp(sinr + draw_noise(rng, 1.0), -23, 40) * 2) / 2


def _list_cells(rows: Sequence[TableRow]) -> list[str]:
    return sorted({row["cell"] for row in rows})


def _summarise_levels(rows: Sequence[TableRow]) -> TableRow:
    """Number of samples, mean power (averaged in milliwatts, then converted to dBm) and medians."""
    # The only figure that needs pow and log10: C libraries differ far beyond its three decimals.
    powers = [10 ** (row["ss_rsrp_dbm"] / 10) for row in rows]
    return {
        "samples": len(rows),
        "mean_rsrp_dbm_of_milliwatts": round(10 * math.log10(math.fsum(powers) / len(powers)), 3),
        "median_rsrp_dbm": compute_percentile([row["ss_rsrp_dbm"] for row in rows], 0.5),
        "median_sinr_db": compute_percentile([row["ss_sinr_db"] for row in rows], 0.5),
        "samples_below_minus_110_dbm": sum(row["ss_rsrp_dbm"] < -110 for row in rows),
    }


def _describe_faults(rows: Sequence[TableRow], seconds: Sequence[DriveSecond]) -> list[TableRow]:
    """The planted faults, for the ground truth. `seconds` says where the car was at each row. Start and end are the
    times of the first and the last sample.
    """
    planted = []
    for kind, rule in RULES.items():
        hit = [number for number, second in enumerate(seconds) if second.fault == kind]
        some = [rows[number] for number in hit]
        fault: dict[str, Any] = {"kind": kind, "rule": rule, "rows": len(some), "cells": _list_cells(some)}
        fault |= {"start": some[0]["timestamp"], "end": some[-1]["timestamp"]}
        for axis in POSITION:
            values = [round(_compute_position(seconds[number])[axis], POSITION[axis]) for number in hit]
            fault[axis] = [min(values), max(values)]
        planted.append(
            fault
            | {f"mean_{name}": compute_mean([row[name] for row in some]) for name in ("ss_rsrp_dbm", "ss_sinr_db")}
        )
    return planted


def _find_ping_pongs(rows: Sequence[TableRow]) -> list[TableRow]:
    """Each return to the cell just left: its time, and the cells it leads from and to."""
    moves = [
        (number, rows[number - 1]["cell"], rows[number]["cell"])
        for number in range(len(rows))
        if rows[number]["handover"]
    ]
    return [
        {"timestamp": rows[later]["timestamp"], "source": source, "target": target}
        for (earlier, left, _), (later, source, target) in itertools.pairwise(moves)
        if target == left and later - earlier <= 5
    ]


def _draw_tunnel(seed: int) -> tuple[int, int]:
    """The first second without a position, and the first second with one again."""
    rng = Random(f"gps-{seed}")
    start = rng.randrange(600, SECONDS - 600)
    return start, start + rng.randrange(*TUNNEL)


def _list_ticks(seed: int) -> list[int]:
    start, end = _draw_tunnel(seed)
    return [tick for tick in range(SECONDS) if not start <= tick < end]


def _format_tick(tick: int) -> str:
    return format_time(add_seconds(HOUR, tick + GPS_LATE), "milliseconds")


def _has_near_tick(ticks: Sequence[int], second: float) -> bool:
    place = bisect_left(ticks, second)
    return any(abs(tick - second) <= 1 for tick in ticks[max(place - 1, 0) : place + 1])
