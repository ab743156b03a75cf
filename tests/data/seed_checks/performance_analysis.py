"""Network performance seeds: what their code prints of the measurements' CSV files and of kpi.csv above all.

Figures of the truth have six decimals; where the truth has none, they are counted here over the rows as text.
"""

from datetime import timedelta
from itertools import groupby
from statistics import fmean, median

from tests.data.seed_checks import Ran, assert_picture, check
from tests.data.seed_checks.tables import (
    HOUR,
    QUARTER,
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


@check("performance_analysis-001")
def shows_each_cells_figures_with_the_worst_percentile_first(ran: Ran) -> None:
    cells = ran.measurements("kpi")["raw"]["cells"]
    names = ("latency_samples", "mean_throughput_mbps", "median_latency_ms", "p95_latency_ms")
    worst_first = sorted(cells, key=lambda cell: -cells[cell]["p95_latency_ms"])
    assert_same(printed_rows(ran, 4), [(cell, [cells[cell][name] for name in names]) for cell in worst_first], 1)


@check("performance_analysis-002")
def shows_each_cells_mean_of_the_last_hour(ran: Ran) -> None:
    expected = []
    for cell, rows in by_cell(ran.table("kpi")).items():
        last = max(map(time_of, rows))
        hour = values_of((row for row in rows if time_of(row) > last - HOUR), "throughput_mbps")
        assert len(hour) >= 3
        expected.append((f"{cell} {last}", [fmean(hour)]))
    assert_same(printed_rows(ran, 1, names=3), expected, 3)


@check("performance_analysis-003")
def shows_each_cells_share_below_the_target_and_draws(ran: Ran) -> None:
    expected = []
    for cell, rows in by_cell(ran.table("kpi")).items():
        values = values_of(rows, "dl_throughput_mbps")
        expected.append((f"{cell} share below 10 Mbit/s:", [sum(value < 10 for value in values) / len(values)]))
    assert_same(printed_rows(ran, 1, names=5), expected, 3)
    assert_picture(ran, "throughput_cdf.png")


@check("performance_analysis-004")
def flags_what_is_far_from_the_median_of_cell_and_hour(ran: Ran) -> None:
    flagged: list[Row] = []
    rows = [row for row in kpi_without_copies(ran) if row["latency_ms"]]
    for group in grouped(rows, lambda row: (row["cell"], time_of(row).hour)).values():
        middle = median(values_of(group, "latency_ms"))
        spread = median(abs(value - middle) for value in values_of(group, "latency_ms"))
        flagged += [row for row in group if abs(float(row["latency_ms"]) - middle) * 0.6745 > 3.5 * spread > 0]
    assert ran.lines[0] == f"{len(flagged)} of {len(rows)} samples flagged"
    worst = sorted(flagged, key=lambda row: -float(row["latency_ms"]))[:5]
    expected = [(f"{row['timestamp']} {row['cell']}", [float(row["latency_ms"])]) for row in worst]
    assert_same(printed_rows(ran, 1, names=3), expected, 1)
    spike = planted(ran.measurements("kpi"), "spike")
    assert expected[0][0] == f"{spike['start']} {spike['cell']}"


@check("performance_analysis-005")
def fills_short_gaps_on_the_grid_and_leaves_long_ones(ran: Ran) -> None:
    expected: Rows = []
    filled: dict[tuple[str, str], float] = {}
    for cell, rows in by_cell(ran.table("kpi")).items():
        known = {time_of(row): float(row["throughput_mbps"]) for row in rows if row["throughput_mbps"]}
        first, last = min(map(time_of, rows)), max(map(time_of, rows))
        grid = [first + number * QUARTER for number in range((last - first) // QUARTER + 1)]
        still = 0
        for missing, run in groupby(grid, key=lambda time: time not in known):
            times = list(run)
            left, right = known.get(times[0] - QUARTER), known.get(times[-1] + QUARTER)
            if missing and (len(times) > 3 or left is None or right is None):
                still += len(times)
            elif missing and left is not None and right is not None:
                step = (right - left) / (len(times) + 1)
                filled |= {(cell, str(time)): left + step * (n + 1) for n, time in enumerate(times)}
        expected.append((cell, [float(len(grid) - len(known)), float(still)]))
    assert_same(printed_rows(ran, 2), expected, 0)
    assert filled
    lines = (ran.work / "kpi_filled.csv").read_text().splitlines()
    assert lines[0] == "cell,timestamp,throughput_mbps"
    written = {(cell, time): value for cell, time, value in (line.split(",") for line in lines[1:])}
    assert all(abs(float(written[place]) - value) < 1e-6 for place, value in filled.items())
    assert sum(value == "" for value in written.values()) == sum(figures[1] for _, figures in expected)


@check("performance_analysis-007")
def shows_each_cells_busy_hour_and_its_volume(ran: Ran) -> None:
    expected = []
    busy = ran.measurements("kpi")["clean"]["busy_hour"]
    for cell, rows in by_cell(kpi_without_copies(ran)).items():
        hours = grouped((row for row in rows if time_of(row).hour == busy[cell]), lambda row: time_of(row).date())
        totals = [sum(values_of(quarters, "dl_volume_mb")) for quarters in hours.values() if len(quarters) == 4]
        expected.append((cell, [busy[cell], fmean(totals)]))
    assert_same(printed_rows(ran, 2), expected, 1)


@check("performance_analysis-009")
def lists_the_bins_with_weak_samples(ran: Ran) -> None:
    positions = {time_of(row): row for row in ran.table("gps")}
    bins: dict[tuple[str, str], list[float]] = {}
    lost = 0
    for row in ran.table("radio"):
        time = time_of(row)
        ticks = [time.replace(microsecond=400_000) + timedelta(seconds=number) for number in (-1, 0, 1)]
        near = [tick for tick in ticks if tick in positions and abs(tick - time) <= timedelta(seconds=1)]
        if not near:
            lost += 1
            continue
        place = positions[min(near, key=lambda tick: abs(tick - time))]
        where = f"{float(place['lat']):.3f}", f"{float(place['lon']):.3f}"
        bins.setdefault(where, []).append(float(row["ss_rsrp_dbm"]))
    assert lost == ran.measurements("radio")["samples_without_position"]
    assert ran.lines[0] == f"samples without a position: {lost}"
    found = [
        (" ".join(where), [float(len(levels)), sum(level < -110 for level in levels) / len(levels), median(levels)])
        for where, levels in bins.items()
        if len(levels) >= 5 and min(levels) < -110
    ]
    assert_same(printed_rows(ran, 3, names=2), sorted(found, key=lambda each: (-each[1][1], -each[1][0])), 3)


@check("performance_analysis-013")
def shows_and_draws_the_dearest_postcodes(ran: Ran) -> None:
    truth = ran.measurements("cost")
    dearest = [(postcode, [truth["postcodes"][postcode]["eur_per_gb"]]) for postcode in truth["dearest_per_gb"]]
    assert any(postcode.startswith("0") for postcode, _ in dearest)
    assert len(dearest) == 15
    assert_same(printed_rows(ran, 1), dearest, 3)
    assert_picture(ran, "cost_per_gb.png")


@check("performance_analysis-014")
def finds_the_planted_ping_pongs(ran: Ran) -> None:
    event = planted(ran.measurements("handovers"), "ping_pong")
    assert ran.lines[0] == f"ping-pong handovers: {event['count']}"
    printed = [line.split() for line in ran.lines[2:]]
    assert sorted([f"{words[0]} {words[1]}", words[2]] for words in printed) == sorted(event["returns"])
    assert {tuple(words[3:]) for words in printed} == {(event["target"], event["source"])}


@check("performance_analysis-015")
def shows_each_cells_mean_latency(ran: Ran) -> None:
    cells = ran.measurements("kpi")["raw"]["cells"]
    assert_same(printed_rows(ran, 1), [(cell, [cells[cell]["mean_latency_ms"]]) for cell in sorted(cells)], 1)


@check("performance_analysis-017")
def shows_the_median_latency_of_each_hour_of_the_day(ran: Ran) -> None:
    hours = grouped(ran.table("kpi"), lambda row: time_of(row).hour)
    assert len(hours) == 24
    assert_same(
        printed_rows(ran, 1), [(str(hour), [median(values_of(rows, "latency_ms"))]) for hour, rows in hours.items()], 6
    )


@check("performance_analysis-018")
def draws_the_hourly_median_throughput(ran: Ran) -> None:
    hours = grouped(ran.table("kpi"), lambda row: time_of(row).replace(minute=0))
    medians = {hour: median(values_of(rows, "throughput_mbps")) for hour, rows in hours.items()}
    low, high = min(medians, key=lambda hour: medians[hour]), max(medians, key=lambda hour: medians[hour])
    assert ran.lines[0] == f"hours: {len(hours)}"
    extremes = [(f"lowest: {low}", [medians[low]]), (f"highest: {high}", [medians[high]])]
    assert_same(printed_rows(ran, 1, names=3), extremes, 2)
    assert_picture(ran, "throughput.png")


@check("performance_analysis-022")
def lists_the_hours_below_the_limit(ran: Ran) -> None:
    hours = grouped(ran.table("kpi"), lambda row: time_of(row).replace(minute=0))
    means = {str(hour): fmean(values_of(rows, "throughput_mbps")) for hour, rows in hours.items()}
    slow = [(hour, [mean]) for hour, mean in means.items() if mean < 5]
    assert [hour for hour, _ in slow] == ran.measurements("kpi")["clean"]["hours_below_5_mbps"]
    assert_same(printed_rows(ran, 1, names=2), slow, 2)


@check("performance_analysis-023")
def shows_the_session_requests_of_each_slice(ran: Ran) -> None:
    slices = ran.measurements("sessions")["by_snssai"]
    names = ("established", "rejected", "p95_setup_ms", "success_pct")
    assert_same(printed_rows(ran, 4), [(name, [slices[name][each] for each in names]) for name in sorted(slices)], 2)
