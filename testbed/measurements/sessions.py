"""Builds `sessions.csv`: what 40 UEs do in two hours, one row per event, ordered by time.

timestamp       UTC, milliseconds
ue              `phone01`, `robot01`, `meter01` ...
event           the state entered: RM-REGISTERED, RM-DEREGISTERED, CM-CONNECTED, CM-IDLE (TS 23.501, 5.3.2 and
                5.3.3); or PDU-SESSION-ESTABLISHED, PDU-SESSION-REJECTED, PDU-SESSION-RELEASED (TS 23.502, 4.3)
cell            serving cell
pdu_session_id  1 to 15; this and all further columns are empty except for PDU session events
snssai          S-NSSAI as SST-SD; SST 1 eMBB, 2 URLLC, 3 MIoT (TS 23.501, table 5.15.2.2-1)
dnn             data network name
five_qi         5QI of the session's main QoS flow (TS 23.501, table 5.7.4-1)
setup_ms        time from request to answer, ms; when a session is established or rejected
cause           5GSM cause of a rejection: 69, insufficient resources for specific slice (TS 24.501, 9.11.4.2)
duration_s      duration of a released session, s
dl_bytes, ul_bytes   traffic of a released session
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from testbed.measurements.arithmetic import compute_mean, compute_percent, compute_percentile, list_present
from testbed.measurements.tables import CELLS, HOUR, MeasurementTable, TableRow, add_seconds, format_time, round_rows

COLUMNS = {"timestamp": 0, "ue": 0, "event": 0, "cell": 0, "pdu_session_id": 0, "snssai": 0, "dnn": 0, "five_qi": 0,
           "setup_ms": 1, "cause": 0, "duration_s": 1, "dl_bytes": 0, "ul_bytes": 0}  # fmt: skip
SECONDS = 7200.0
SETUP_MS, SLOW_MS, SLOW_SECONDS = (60.0, 180.0), (600.0, 1100.0), 900
REJECTED_SECONDS, REJECTED_SHARE, NO_RESOURCES = 900, 0.7, 69
FLAPS, FLAP_SECONDS = 24, (30.0, 45.0)


@dataclass(frozen=True)
class QosFlow:
    """The main QoS flow of a session, which says what the session is used for."""

    dnn: str
    five_qi: int
    rate: tuple[float, float]
    """Range of the downlink bytes per second."""
    ul_share: float
    """Uplink bytes per downlink byte."""


@dataclass(frozen=True)
class UeKind:
    """A kind of UE: how many there are, their slice, and the flows that they choose from."""

    count: int
    snssai: str
    flows: tuple[QosFlow, ...]


BROWSING, STREAMING = QosFlow("internet", 9, (2e4, 6e5), 0.1), QosFlow("internet", 6, (2e5, 9e5), 0.02)
VOICE, SIGNALLING = QosFlow("ims", 1, (2.5e3, 4e3), 1.0), QosFlow("ims", 5, (50, 400), 1.0)
KINDS = {
    "phone": UeKind(20, "1-000001", (BROWSING, BROWSING, STREAMING, VOICE, SIGNALLING)),
    "robot": UeKind(8, "2-000001", (QosFlow("factory", 82, (2e3, 4e3), 1.0),)),
    "meter": UeKind(12, "3-000001", (QosFlow("metering", 9, (5, 50), 6.0),)),
}


@dataclass(frozen=True)
class PlantedEvents:
    """What is planted. Times are seconds after the start of the file."""

    slow: float
    """When phones begin to get slow setups."""
    rejected: float
    """When meters' sessions begin to be rejected."""
    flapping: str
    """The phone that registers and deregisters again and again."""
    flaps_from: float


def build_sessions(seed: int) -> MeasurementTable:
    rng = Random(f"sessions-{seed}")
    ues = [(f"{name}{number:02d}", kind) for name, kind in KINDS.items() for number in range(1, kind.count + 1)]
    flapping = rng.choice([ue for ue, _ in ues if ue.startswith("phone")])
    plan = PlantedEvents(
        60.0 * rng.randrange(20, 90), 60.0 * rng.randrange(20, 90), flapping, 60.0 * rng.randrange(20, 80)
    )
    events = [event for ue, kind in ues for event in _simulate_ue(rng, ue, kind, plan)]
    events.sort(key=lambda event: (event["second"], event["ue"]))
    empty: TableRow = dict.fromkeys(COLUMNS)
    rows = round_rows(COLUMNS, [empty | event | {"timestamp": _format_second(event["second"])} for event in events])
    return MeasurementTable(COLUMNS, rows, {"planted": _describe_planted(rows, plan), **_compute_facts(rows)})


def _simulate_ue(rng: Random, ue: str, kind: UeKind, plan: PlantedEvents) -> list[TableRow]:
    """The UE's events, ordered by time (seconds)."""
    cell, second = rng.choice(CELLS), rng.uniform(1, 300)
    events: list[TableRow] = []

    def add_event(event: str, **values: Any) -> None:
        events.append({"second": second, "ue": ue, "event": event, "cell": cell, **values})

    add_event("RM-REGISTERED")
    flaps = FLAPS if ue == plan.flapping else 0
    leaves = rng.random() < 0.3
    while second < SECONDS - 400:
        if flaps and second > plan.flaps_from:
            for _ in range(flaps):
                add_event("RM-DEREGISTERED")
                second += rng.uniform(3, 8)
                add_event("RM-REGISTERED")
                second += rng.uniform(*FLAP_SECONDS)
            flaps = 0
        add_event("CM-CONNECTED")
        second += 0.05
        flow, setup = rng.choice(kind.flows), rng.uniform(*_get_setup_range(kind, second, plan))
        session = {
            "pdu_session_id": rng.randrange(1, 4),
            "snssai": kind.snssai,
            "dnn": flow.dnn,
            "five_qi": flow.five_qi,
        }
        second += setup / 1000
        if _is_short_of_resources(kind, second, plan) and rng.random() < REJECTED_SHARE:
            add_event("PDU-SESSION-REJECTED", **session, setup_ms=setup, cause=NO_RESOURCES)
            second += 1
        else:
            add_event("PDU-SESSION-ESTABLISHED", **session, setup_ms=setup)
            duration, rate = rng.uniform(15, 90), rng.uniform(*flow.rate)
            second += duration
            used = {"dl_bytes": round(duration * rate), "ul_bytes": round(duration * rate * flow.ul_share)}
            add_event("PDU-SESSION-RELEASED", **session, duration_s=duration, **used)
            second += 0.5
        add_event("CM-IDLE")
        second += rng.uniform(20, 250)
        cell = rng.choice(CELLS) if ue.startswith("phone") else cell
    if leaves:
        add_event("RM-DEREGISTERED")
    return events


def _get_setup_range(kind: UeKind, second: float, plan: PlantedEvents) -> tuple[float, float]:
    slow = kind is KINDS["phone"] and plan.slow <= second < plan.slow + SLOW_SECONDS
    return SLOW_MS if slow else SETUP_MS


def _is_short_of_resources(kind: UeKind, second: float, plan: PlantedEvents) -> bool:
    return kind is KINDS["meter"] and plan.rejected <= second < plan.rejected + REJECTED_SECONDS


def _format_second(second: float) -> str:
    return format_time(add_seconds(HOUR, second), "milliseconds")


def _describe_planted(rows: Sequence[TableRow], plan: PlantedEvents) -> list[TableRow]:
    slow = [row for row in rows if (row["setup_ms"] or 0) > 400]
    rejected = [row for row in rows if row["event"] == "PDU-SESSION-REJECTED"]
    leaves = [row for row in rows if row["event"] == "RM-DEREGISTERED" and row["ue"] == plan.flapping]
    return [
        _describe_event("slow_setup", slow, "setup_ms > 400", snssai=KINDS["phone"].snssai, metric="setup_ms"),
        _describe_event(
            "rejections", rejected, f"cause == {NO_RESOURCES}", snssai=KINDS["meter"].snssai, metric="cause"
        ),
        _describe_event(
            "flapping_ue", leaves[:FLAPS], "more than 10 RM-DEREGISTERED of one UE", ue=plan.flapping, metric="event"
        ),
    ]


def _describe_event(kind: str, rows: Sequence[TableRow], rule: str, **where: str) -> TableRow:
    """A planted event for the ground truth; it starts at the first row and ends at the last."""
    return {
        "kind": kind,
        "start": rows[0]["timestamp"],
        "end": rows[-1]["timestamp"],
        "rows": len(rows),
        "rule": rule,
        **where,
    }


def _compute_facts(rows: Sequence[TableRow]) -> TableRow:
    last = {row["ue"]: row["event"] for row in rows if row["event"].startswith("RM-")}
    names = sorted({row["event"] for row in rows})
    return {
        "events": {name: sum(row["event"] == name for row in rows) for name in names},
        "registered_at_end": sum(event == "RM-REGISTERED" for event in last.values()),
        "registered_at_end_rule": "UEs whose last RM event is RM-REGISTERED.",
        "by_snssai": _group_by("snssai", rows),
        "by_five_qi": _group_by("five_qi", rows),
    }


def _group_by(column: str, rows: Sequence[TableRow]) -> dict[str, TableRow]:
    groups: dict[Any, list[TableRow]] = {}
    for row in rows:
        if row[column] is not None:
            groups.setdefault(row[column], []).append(row)
    return {str(value): _compute_figures(group) for value, group in sorted(groups.items())}


def _compute_figures(rows: Iterable[TableRow]) -> TableRow:
    """Figures of a group of rows. Setup times are those of established sessions; the percentile is interpolated."""
    rows = list(rows)
    established = [row for row in rows if row["event"] == "PDU-SESSION-ESTABLISHED"]
    rejected = sum(row["event"] == "PDU-SESSION-REJECTED" for row in rows)
    setups = list_present(established, "setup_ms")
    return {
        "established": len(established),
        "rejected": rejected,
        "success_pct": compute_percent(len(established), len(established) + rejected),
        "mean_setup_ms": compute_mean(setups),
        "p95_setup_ms": compute_percentile(setups, 0.95),
        "dl_bytes": sum(list_present(rows, "dl_bytes")),
        "ul_bytes": sum(list_present(rows, "ul_bytes")),
        "mean_duration_s": compute_mean(list_present(rows, "duration_s")),
    }
