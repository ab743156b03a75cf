"""The later half of the performance seeds."""

from datetime import timedelta
from itertools import pairwise
from statistics import correlation, fmean
from typing import Any

from tests.data.seed_checks import Ran, assert_picture, check
from tests.data.seed_checks.tables import (
    Row,
    Rows,
    assert_same,
    by_cell,
    grouped,
    kpi_without_copies,
    planted,
    printed_rows,
    time_of,
    values_of,
)

OBJECTIVES = ("latency_ms", "packet_loss_pct", "dl_throughput_mbps", "availability_pct")


@check("performance_analysis-024")
def finds_the_sleeping_cell_alone(ran: Ran) -> None:
    event = planted(ran.measurements("kpi"), "sleeping")
    assert ran.lines == [f"{event['cell']}: {event['start']} to {event['end']}, {event['periods']} periods"]


@check("performance_analysis-025")
def cleans_copies_and_units(ran: Ran) -> None:
    truth = ran.measurements("kpi")
    glitch = planted(truth, "unit_glitch")
    assert ran.lines[:2] == [
        f"copies dropped: {len(truth['planted_rows']['duplicates'])}",
        f"rows in kbit/s: {glitch['periods']} ['{glitch['cell']}']",
    ]
    cells = truth["clean"]["cells"]
    assert_same(printed_rows(ran, 1), [(cell, [cells[cell]["mean_throughput_mbps"]]) for cell in sorted(cells)], 3)


@check("performance_analysis-026")
def divides_the_sums_of_handovers(ran: Ran) -> None:
    rates = ran.measurements("kpi")["clean"]["cells"]
    expected: Rows = []
    for cell, rows in by_cell(kpi_without_copies(ran)).items():
        sums = [sum(values_of(rows, column)) for column in ("ho_attempts", "ho_successes")]
        expected.append((cell, [*sums, rates[cell]["ho_success_pct"]]))
    assert_same(printed_rows(ran, 3), expected, 3)


@check("performance_analysis-028")
def reports_each_stretch_of_missed_targets(ran: Ran) -> None:
    table, expected = ran.table("slices"), []
    for event in ran.measurements("slices")["planted"]:
        metric = event["metric"]
        hours = [row for row in table if row["slice"] == event["slice"]]
        hours = [row for row in hours if event["start"] <= row["timestamp"] < event["end"]]
        worst = (max if metric in OBJECTIVES[:2] else min)(values_of(hours, metric))
        expected.append(
            f"{event['slice']} {metric} from {event['start']} for {event['hours']} h, "
            f"worst {worst:g}, target {event['target']:g}"
        )
    assert sorted(ran.lines) == sorted(expected)


@check("performance_analysis-030")
def shows_the_delay_variation_of_each_flow(ran: Ran) -> None:
    expected: Rows = []
    for flow, rows in grouped(ran.table("jitter"), lambda row: row["flow"]).items():
        delays = {
            int(row["sequence"]): (time_of(row, "receive_time") - time_of(row, "send_time")) / timedelta(milliseconds=1)
            for row in rows
            if row["receive_time"]
        }
        changes = [abs(delay - delays[number - 1]) for number, delay in delays.items() if number - 1 in delays]
        expected.append((flow, [float(len(changes)), fmean(changes), max(changes)]))
    assert_same(printed_rows(ran, 3), expected, 3)


@check("performance_analysis-033")
def lists_the_five_worst_relations(ran: Ran) -> None:
    found: Rows = []
    for (source, target), rows in grouped(ran.table("handovers"), lambda row: (row["source"], row["target"])).items():
        shares = [
            100 * sum(row["result"] == result for row in rows) / len(rows)
            for result in ("success", "too_late", "too_early")
        ]
        if len(rows) >= 10:
            found.append((f"{source} {target}", [float(len(rows)), *shares]))
    worst = sorted(found, key=lambda each: (each[1][1], -each[1][0]))[:5]
    assert_same(printed_rows(ran, 4, names=2), worst, 1)
    event = planted(ran.measurements("handovers"), "too_late")
    assert worst[0][0] == f"{event['source']} {event['target']}"


@check("performance_analysis-034")
def shows_the_margins_of_postcodes_as_text(ran: Ran) -> None:
    postcodes = ran.measurements("cost")["postcodes"]
    least = sorted(postcodes, key=lambda name: postcodes[name]["margin_eur"])
    names = ("revenue_eur", "cost_eur", "margin_eur")
    assert_same(printed_rows(ran, 3), [(each, [postcodes[each][name] for name in names]) for each in least[:10]], 2)
    losses = sum(figures["margin_eur"] < 0 for figures in postcodes.values())
    assert ran.lines[-1] == f"loss-making postcodes: {losses}"


@check("performance_analysis-035")
def shows_the_distance_in_each_cell_the_longest_first(ran: Ran) -> None:
    distances = [
        (cell, [sum(values_of(rows, "speed_kmh")) / 3600]) for cell, rows in by_cell(ran.table("drive_test")).items()
    ]
    printed = printed_rows(ran, 1)
    assert_same(sorted(printed), distances, 2)
    assert all(longer[1] >= shorter[1] for longer, shorter in pairwise(printed))
    assert abs(sum(km for _, (km,) in printed) - ran.measurements("drive_test")["distance_km"]) < 0.06


@check("performance_analysis-036")
def counts_the_rows_that_were_never_delivered(ran: Ran) -> None:
    truth = ran.measurements("kpi")
    gap = planted(truth, "missing_rows")
    absent = [cell for _, cell in truth["planted_rows"]["left_out"]] + [gap["cell"]] * gap["periods"]
    expected = [
        (cell, [float(absent.count(cell)), float(sum(not row["latency_ms"] for row in rows))])
        for cell, rows in by_cell(kpi_without_copies(ran)).items()
    ]
    assert_same(printed_rows(ran, 2), expected, 0)


@check("performance_analysis-037")
def shows_and_draws_the_volume_of_each_5qi(ran: Ran) -> None:
    flows: dict[str, Any] = ran.measurements("sessions")["by_five_qi"]
    expected = [(name, [flows[name]["dl_bytes"] / 1e9]) for name in sorted(flows, key=int)]
    assert_same(printed_rows(ran, 1), expected, 4)
    assert_picture(ran, "volume_per_5qi.png")


def _ranks(values: list[float]) -> list[float]:
    """Equal values share the mean of their ranks."""
    ordered = sorted(values)
    last = {value: number + 1 for number, value in enumerate(ordered)}
    first = {value: len(ordered) - number for number, value in enumerate(reversed(ordered))}
    return [(first[value] + last[value]) / 2 for value in values]


@check("performance_analysis-039")
def finds_the_cell_whose_spike_drives_the_coefficients_apart(ran: Ran) -> None:
    expected: Rows = []
    for cell, rows in by_cell(kpi_without_copies(ran)).items():
        both: list[Row] = [row for row in rows if row["dl_prb_util_pct"] and row["latency_ms"]]
        load, delay = values_of(both, "dl_prb_util_pct"), values_of(both, "latency_ms")
        pearson, spearman = correlation(load, delay), correlation(_ranks(load), _ranks(delay))
        expected.append((cell, [float(len(both)), pearson, spearman, max(delay), spearman - pearson]))
    expected.sort(key=lambda each: -each[1][4])
    assert_same(printed_rows(ran, 5), expected, 3)
    assert expected[0][0] == planted(ran.measurements("kpi"), "spike")["cell"]
