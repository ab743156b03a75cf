"""Simulates the counters of a cell in an undisturbed week, from Monday on: the rows of `kpi.csv`, one per 15 minutes.

15 minutes is a common granularity period (TS 32.401). The columns follow the NR cell measurements of TS 28.552, 5.1.1:
    timestamp             start of the period, UTC
    site, cell            like `A` and `A1`
    availability_pct      share of the period in which the cell was in service, %
    dl_throughput_mbps    downlink traffic carried, averaged over the period, Mbit/s
    ul_throughput_mbps    uplink, Mbit/s
    throughput_mbps       sum of the two, Mbit/s
    dl_volume_mb          downlink traffic of the period, megabytes (10^6); ul_volume_mb uplink
    dl_prb_util_pct       downlink physical resource blocks in use, %
    connected_users       mean number of UEs in RRC_CONNECTED, rounded
    latency_ms            mean round-trip time of the cell's test probes, ms; jitter_ms their mean variation, ms
    packet_loss_pct       lost test packets, %
    cqi                   mean reported wideband CQI, 0 to 15 (TS 38.214, 5.2.2.1)
    rrc_attempts          attempted RRC connection establishments; rrc_successes the successful ones
    ho_attempts           attempted handovers out of the cell; ho_successes the successful ones
    drops                 connections released abnormally
    energy_kwh            energy used in the period, kWh

A cell without traffic has no probes and reports: its latency, jitter, loss and CQI are empty.
"""

from datetime import datetime, timedelta
from random import Random

from testbed.measurements.arithmetic import clamp, draw_noise, interpolate
from testbed.measurements.tables import MONDAY, TableRow, format_time

COLUMNS = {
    "timestamp": 0,
    "site": 0,
    "cell": 0,
    "availability_pct": 1,
    "dl_throughput_mbps": 3,
    "ul_throughput_mbps": 3,
    "throughput_mbps": 3,
    "dl_volume_mb": 1,
    "ul_volume_mb": 1,
    "dl_prb_util_pct": 1,
    "connected_users": 0,
    "latency_ms": 1,
    "jitter_ms": 2,
    "packet_loss_pct": 3,
    "cqi": 2,
    "rrc_attempts": 0,
    "rrc_successes": 0,
    "ho_attempts": 0,
    "ho_successes": 0,
    "drops": 0,
    "energy_kwh": 3,
}
PERIOD = timedelta(minutes=15)
PERIODS = 7 * 96
# (Hour of the day, share of the busiest hour's traffic): offices are busy before noon, homes in the evening.
OFFICE = (
    (0, 0.07),
    (4, 0.04),
    (6, 0.12),
    (8, 0.6),
    (10, 0.95),
    (11, 1.0),
    (13, 0.8),
    (15, 0.85),
    (18, 0.45),
    (24, 0.07),
)
HOME = ((0, 0.2), (3, 0.04), (5, 0.05), (7, 0.35), (12, 0.5), (17, 0.7), (20, 1.0), (22, 0.7), (24, 0.2))
WEEKEND = 0.65


def simulate_week(rng: Random, cell: str) -> list[TableRow]:
    """The cell's week, one row per period."""
    profile = OFFICE if rng.random() < 0.5 else HOME
    peak, quality = rng.uniform(45, 95), rng.uniform(10, 11.5)
    rows = []
    for period in range(PERIODS):
        moment = MONDAY + period * PERIOD
        day = WEEKEND if moment.weekday() >= 5 else 1.0
        activity = interpolate(profile, moment.hour + moment.minute / 60) * day * (1 + draw_noise(rng, 0.05))
        rows.append(
            _simulate_period(rng, cell, moment, peak * activity, activity, quality - activity + draw_noise(rng, 0.25))
        )
    return rows


def _simulate_period(
    rng: Random, cell: str, moment: datetime, downlink: float, activity: float, cqi: float
) -> TableRow:
    uplink = downlink * (0.12 + draw_noise(rng, 0.01))
    used = clamp(5 + 820 * activity / cqi, 0, 97)
    users = round(3 + 70 * activity * (1 + draw_noise(rng, 0.05)))
    latency = 11 + 9 * used / (108 - used) + draw_noise(rng, 0.8)
    connections, handovers = round(users * rng.uniform(5, 7)), round(users * rng.uniform(2, 4))
    downlink, uplink = round(downlink, 3), round(uplink, 3)
    return {
        "timestamp": format_time(moment),
        "site": cell[0],
        "cell": cell,
        "availability_pct": 100.0,
        "dl_throughput_mbps": downlink,
        "ul_throughput_mbps": uplink,
        "throughput_mbps": downlink + uplink,
        "dl_volume_mb": downlink * PERIOD.seconds / 8,
        "ul_volume_mb": uplink * PERIOD.seconds / 8,
        "dl_prb_util_pct": used,
        "connected_users": users,
        "latency_ms": latency,
        "jitter_ms": latency * 0.12 + rng.random(),
        "packet_loss_pct": 0.02 + used * rng.uniform(0.001, 0.003),
        "cqi": cqi,
        "rrc_attempts": connections,
        "rrc_successes": connections - round(connections * rng.random() * 0.01),
        "ho_attempts": handovers,
        "ho_successes": handovers - round(handovers * rng.random() * 0.03),
        "drops": round(users * rng.random() * 0.03),
        "energy_kwh": 0.15 + 0.0022 * used + rng.random() * 0.01,
    }
