"""Measurement files: the same bytes each time, values in range, and analyses that find what is planted and only that.

pandas reads the files as an analyst would. No code of the writer is used to check a figure of the ground truth.
"""

import hashlib
import json
import re
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from netllama.core.errors import StageError
from testbed.measurements.measurement_files import MEASUREMENTS, write_measurements

SEEDS = (1, 2, 3)
TIMES = {"jitter": ["send_time", "receive_time"], "cost": ["month"]}
Truth = dict[str, Any]


def hash_files(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """All files of each seed."""
    made = {seed: tmp_path_factory.mktemp(f"seed{seed}") for seed in SEEDS}
    for seed, folder in made.items():
        for name in MEASUREMENTS:
            write_measurements(name, seed, folder)
    return made


@pytest.fixture(params=SEEDS)
def read(request: pytest.FixtureRequest, folders: dict[int, Path]) -> Callable[[str], tuple[pd.DataFrame, Truth]]:
    """`read("kpi")` returns the file as pandas reads it, and its ground truth."""

    def read_one(name: str) -> tuple[pd.DataFrame, Truth]:
        folder = folders[request.param]
        options: dict[str, Any] = {"dtype": {"postcode": str}, "thousands": ","} if name == "cost" else {}
        frame = pd.read_csv(folder / f"{name}.csv", parse_dates=TIMES.get(name, ["timestamp"]), **options)
        return frame, json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))

    return read_one


Reader = Callable[[str], tuple[pd.DataFrame, Truth]]


def get_planted(truth: Truth, kind: str) -> Truth:
    (event,) = [event for event in truth["planted"] if event["kind"] == kind]
    return dict(event)


def is_close(left: Any, right: Any) -> bool:
    return bool(np.isclose(left, right, rtol=1e-9, atol=2e-6))


def test_a_file_does_not_depend_on_the_files_written_before_it(folders: dict[int, Path], tmp_path: Path) -> None:
    for name in reversed(MEASUREMENTS):
        write_measurements(name, 2, tmp_path)
    assert hash_files(tmp_path) == hash_files(folders[2])


def test_another_seed_gives_another_file(folders: dict[int, Path]) -> None:
    for name in MEASUREMENTS:
        assert len({(folder / f"{name}.csv").read_bytes() for folder in folders.values()}) == len(SEEDS)


def test_an_unknown_name_is_an_error_that_lists_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(StageError, match=r"unknown measurements 'kpis'; choose one of kpi, radio, gps"):
        write_measurements("kpis", 1, tmp_path)
    assert not list(tmp_path.iterdir())


def test_every_file_is_lf_utf8_with_a_header_and_fixed_decimals(folders: dict[int, Path]) -> None:
    for name in MEASUREMENTS:
        data = (folders[1] / f"{name}.csv").read_bytes()
        assert b"\r" not in data
        assert data.endswith(b"\n")
        text = pd.read_csv(folders[1] / f"{name}.csv", dtype=str, keep_default_na=False)
        assert 100 <= len(text) <= 9000
        truth = json.loads((folders[1] / f"{name}.json").read_text(encoding="utf-8"))
        assert (truth["measurements"], truth["seed"], truth["rows"]) == (name, 1, len(text))
        for column in text:
            decimals = {len(value.split(".")[1]) for value in text[column] if re.fullmatch(r"-?\d+\.\d+", value)}
            assert len(decimals) <= 1, f"{name}: {column}"
            assert "-0.0" not in set(text[column].str.rstrip("0"))


@pytest.mark.parametrize(
    ("name", "start", "end"),
    [
        ("kpi", "2024-03-04 00:00:00", "2024-03-10 23:45:00"),
        ("slices", "2024-03-04 00:00:00", "2024-03-10 23:00:00"),
        ("drive_test", "2024-03-05 08:00:00", "2024-03-05 08:59:59"),
        ("radio", "2024-03-05 08:00:00", "2024-03-05 09:00:00"),
        ("gps", "2024-03-05 08:00:00", "2024-03-05 09:00:00"),
        ("handovers", "2024-03-05 08:00:00", "2024-03-05 09:00:00"),
        ("sessions", "2024-03-05 08:00:00", "2024-03-05 10:00:00"),
    ],
)
def test_times_are_sorted_naive_and_within_the_files_period(read: Reader, name: str, start: str, end: str) -> None:
    times = read(name)[0]["timestamp"]
    assert str(times.dtype).startswith("datetime64")
    assert times.dt.tz is None
    assert times.is_monotonic_increasing
    assert pd.Timestamp(start) <= times.min() <= times.max() <= pd.Timestamp(end)


def clean_kpi(kpi: pd.DataFrame) -> pd.DataFrame:
    kpi = kpi.drop_duplicates().copy()
    columns = ["dl_throughput_mbps", "ul_throughput_mbps", "throughput_mbps"]
    kpi.loc[kpi["throughput_mbps"] > 1000, columns] /= 1000
    return kpi


def assert_only(kpi: pd.DataFrame, event: Truth) -> None:
    """Assert that these are all the event's rows, and no others."""
    assert set(kpi["cell"]) == {event["cell"]}
    assert kpi["timestamp"].min() == pd.Timestamp(event["start"])
    assert kpi["timestamp"].max() == pd.Timestamp(event["end"]) - pd.Timedelta("15min")
    assert len(kpi) == event["periods"]


def test_the_rules_of_the_kpi_events_find_them_and_nothing_else(read: Reader) -> None:
    kpi, truth = read("kpi")
    for kind in ("degraded", "sleeping", "outage", "spike", "unit_glitch"):
        event = get_planted(truth, kind)
        assert_only(kpi.query(event["rule"]), event)


def test_a_degraded_cell_loses_its_throughput_and_a_glitch_a_factor_of_1000(read: Reader) -> None:
    kpi, truth = read("kpi")
    low = kpi.query("cqi < 6")
    usual = kpi[(kpi["cell"] == low["cell"].iloc[0]) & (kpi["timestamp"].dt.weekday < 5)]
    usual = usual[usual["timestamp"].dt.time.isin(low["timestamp"].dt.time) & (usual["cqi"] >= 6)]
    assert low["dl_throughput_mbps"].mean() < 0.3 * usual["dl_throughput_mbps"].mean()
    assert is_close(low["dl_throughput_mbps"].median().round(2), round(get_planted(truth, "degraded")["size"]["is"], 2))
    ratio = kpi["dl_throughput_mbps"] / (kpi["dl_volume_mb"] * 8 / 900).where(kpi["dl_volume_mb"] > 0)
    wrong = kpi[ratio > 1.1]
    assert_only(wrong, get_planted(truth, "unit_glitch"))
    assert ratio[ratio > 1.1].between(990, 1010).all()
    assert ratio[ratio <= 1.1].between(0.99, 1.01).all()


def test_missing_rows_missing_values_and_duplicates_are_those_of_the_truth(read: Reader) -> None:
    kpi, truth = read("kpi")

    def list_places(frame: pd.DataFrame) -> list[list[str]]:
        times = frame["timestamp"].dt.strftime("%Y-%m-%d %H:%M:%S")
        return sorted([time, cell] for time, cell in zip(times, frame["cell"], strict=True))

    single = truth["planted_rows"]
    assert list_places(kpi[kpi.duplicated()]) == single["duplicates"]
    assert kpi.duplicated().sum() == kpi.duplicated(["timestamp", "cell"]).sum()
    carrying = kpi[kpi["dl_volume_mb"] > 0]
    assert list_places(carrying[carrying["latency_ms"].isna()]) == single["missing_latency"]
    assert list_places(kpi[kpi["throughput_mbps"].isna()]) == single["missing_throughput"]
    idle = kpi[kpi["dl_volume_mb"] == 0]
    assert idle[["latency_ms", "jitter_ms", "packet_loss_pct", "cqi"]].isna().all(axis=None)
    grid = pd.MultiIndex.from_product(
        [pd.date_range("2024-03-04", periods=672, freq="15min"), sorted(set(kpi["cell"]))]
    )
    gone = grid.difference(pd.MultiIndex.from_frame(kpi[["timestamp", "cell"]])).to_frame(False, ["timestamp", "cell"])
    event = get_planted(truth, "missing_rows")
    run = gone[(gone["cell"] == event["cell"]) & gone["timestamp"].between(event["start"], event["end"], "left")]
    assert_only(run, event)
    assert list_places(gone.drop(run.index)) == single["left_out"]


@pytest.mark.parametrize("state", ["raw", "clean"])
def test_the_kpi_figures_are_those_of_pandas(read: Reader, state: str) -> None:
    kpi, truth = read("kpi")
    kpi = clean_kpi(kpi) if state == "clean" else kpi
    assert truth[state]["rows"] == len(kpi)
    assert set(truth[state]["cells"]) == set(kpi["cell"])
    for cell, group in kpi.groupby("cell"):
        figures = truth[state]["cells"][cell]
        expected = {
            "rows": len(group),
            "latency_samples": group["latency_ms"].count(),
            "mean_latency_ms": group["latency_ms"].mean(),
            "median_latency_ms": group["latency_ms"].median(),
            "p95_latency_ms": group["latency_ms"].quantile(0.95),
            "max_latency_ms": group["latency_ms"].max(),
            "mean_throughput_mbps": group["throughput_mbps"].mean(),
            "mean_dl_throughput_mbps": group["dl_throughput_mbps"].mean(),
            "mean_dl_prb_util_pct": group["dl_prb_util_pct"].mean(),
            "rrc_success_pct": 100 * group["rrc_successes"].sum() / group["rrc_attempts"].sum(),
            "ho_success_pct": 100 * group["ho_successes"].sum() / group["ho_attempts"].sum(),
            "drops": group["drops"].sum(),
            "dl_volume_mb": group["dl_volume_mb"].sum(),
            "energy_kwh": group["energy_kwh"].sum(),
        }
        assert set(figures) == set(expected)
        assert all(is_close(figures[name], value) for name, value in expected.items()), cell


def test_busy_hours_quiet_hours_and_the_weekend_are_those_of_pandas(read: Reader) -> None:
    kpi, truth = read("kpi")
    kpi = clean_kpi(kpi)
    kpi["hour"] = kpi["timestamp"].dt.floor("h")
    hourly = kpi.groupby(["cell", "hour"])["dl_volume_mb"].agg(["sum", "count"]).reset_index()
    hourly = hourly[hourly["count"] == 4]
    profile = hourly.pivot_table(index="cell", columns=hourly["hour"].dt.hour, values="sum", aggfunc="mean")
    assert profile.idxmax(axis=1).to_dict() == truth["clean"]["busy_hour"]
    mean = kpi.groupby("hour")["throughput_mbps"].mean()
    quiet = [time.strftime("%Y-%m-%d %H:%M:%S") for time in mean[mean < 5].index]
    assert quiet == truth["clean"]["hours_below_5_mbps"]
    assert 7 <= len(quiet) <= 84
    parts = kpi.groupby(kpi["timestamp"].dt.weekday >= 5)["throughput_mbps"].mean()
    assert is_close(parts[True], truth["clean"]["weekend_mean_throughput_mbps"])
    assert is_close(parts[False], truth["clean"]["workday_mean_throughput_mbps"])
    assert 0.55 < parts[True] / parts[False] < 0.75, "the weekend shows"


def test_counters_keep_to_their_ranges(read: Reader) -> None:
    kpi, _ = read("kpi")
    numbers = kpi.select_dtypes("number")
    assert (numbers.min() >= 0).all()
    assert (kpi["rrc_successes"] <= kpi["rrc_attempts"]).all()
    assert (kpi["ho_successes"] <= kpi["ho_attempts"]).all()
    for column in ("dl_prb_util_pct", "availability_pct", "packet_loss_pct"):
        assert numbers[column].max() <= 100
    assert kpi["cqi"].max() <= 15
    assert kpi["cell"].nunique() == 12
    assert kpi["site"].nunique() == 4


def average_milliwatts(levels: pd.Series) -> float:
    return float(10 * np.log10((10 ** (levels / 10)).mean()))


@pytest.mark.parametrize("name", ["radio", "drive_test"])
def test_hole_and_interference_are_where_the_truth_says_and_nowhere_else(read: Reader, name: str) -> None:
    frame, truth = read(name)
    for kind in ("coverage_hole", "interference"):
        event, hit = get_planted(truth, kind), frame.query(get_planted(truth, kind)["rule"])
        assert len(hit) == event["rows"] >= 20
        assert sorted(set(hit["cell"])) == event["cells"]
        assert hit["timestamp"].iloc[0] == pd.Timestamp(event["start"])
        assert hit["timestamp"].iloc[-1] == pd.Timestamp(event["end"])
        assert is_close(hit["ss_rsrp_dbm"].mean(), event["mean_ss_rsrp_dbm"])
        assert is_close(hit["ss_sinr_db"].mean(), event["mean_ss_sinr_db"])
    assert len(get_planted(truth, "interference")["cells"]) == 1
    assert is_close(round(average_milliwatts(frame["ss_rsrp_dbm"]), 3), truth["mean_rsrp_dbm_of_milliwatts"])
    assert frame["ss_rsrp_dbm"].median() == truth["median_rsrp_dbm"]
    assert frame["ss_sinr_db"].median() == truth["median_sinr_db"]
    assert (frame["ss_rsrp_dbm"] < -110).sum() == truth["samples_below_minus_110_dbm"]


def test_radio_values_are_in_the_steps_and_ranges_of_3gpp(read: Reader) -> None:
    radio, truth = read("radio")
    assert radio["ss_rsrp_dbm"].between(-156, -31).all()
    assert radio["ss_rsrq_db"].between(-43, 20).all()
    assert radio["ss_sinr_db"].between(-23, 40).all()
    assert (radio[["ss_rsrq_db", "ss_sinr_db"]] % 0.5 == 0).all(axis=None)
    assert radio["cqi"].between(0, 15).all()
    assert radio["mcs"].between(0, 28).all()
    assert radio.groupby("cqi")["ss_sinr_db"].agg(["min", "max"]).stack().is_monotonic_increasing
    assert radio[["cqi", "mcs"]].drop_duplicates().sort_values("cqi")["mcs"].is_monotonic_increasing
    assert radio["cqi"].nunique() >= 8, "not one quality all over the town"
    assert (radio.loc[radio["cqi"] == 0, "dl_throughput_mbps"] == 0).all()
    assert is_close(radio["dl_throughput_mbps"].mean(), truth["mean_dl_throughput_mbps"])
    assert is_close(radio["dl_throughput_mbps"].quantile(0.05), truth["p5_dl_throughput_mbps"])
    for column, groups in (("cell", truth["cells"]), ("ue", truth["ues"])):
        counts = radio.groupby(column).size()
        assert {name: figures["samples"] for name, figures in groups.items()} == counts.to_dict()
        for name, group in radio.groupby(column):
            assert is_close(
                round(average_milliwatts(group["ss_rsrp_dbm"]), 3), groups[name]["mean_rsrp_dbm_of_milliwatts"]
            )


def test_the_radio_log_meets_the_positions_but_for_the_tunnel(read: Reader) -> None:
    (radio, truth), (gps, positions) = read("radio"), read("gps")
    gap = get_planted(positions, "missing_rows")
    breaks = gps["timestamp"].diff()
    (late,) = gps.index[breaks > pd.Timedelta("1s")]
    assert gps["timestamp"][late] == pd.Timestamp(gap["end"])
    assert breaks[late] == pd.Timedelta(gap["rows"] + 1, "s")
    track = pd.merge_asof(radio, gps, on="timestamp", direction="nearest", tolerance=pd.Timedelta("1s"))
    assert track["lat"].isna().sum() == truth["samples_without_position"] > 0
    hole = get_planted(truth, "coverage_hole")
    weak = track[track["ss_rsrp_dbm"] < -110].dropna()
    for axis in ("lat", "lon"):
        low, high = hole[axis]
        # A second at 50 km/h lies between the two clocks.
        assert weak[axis].between(low - 0.0003, high + 0.0003).all()


def test_the_car_goes_as_fast_as_it_says_and_its_ping_pongs_are_those_planted(read: Reader) -> None:
    drive, truth = read("drive_test")
    north, east = drive["lat"].diff() * 111_200, drive["lon"].diff() * 111_200 * np.cos(np.radians(48.2))
    metres = np.hypot(north, east)
    assert (metres - drive["speed_kmh"] / 3.6).abs()[1:].quantile(0.99) < 1
    assert is_close(drive["speed_kmh"].sum() / 3600, truth["distance_km"])
    assert metres.sum() / 1000 == pytest.approx(truth["distance_km"], rel=0.01)
    assert (drive["speed_kmh"] == 0).sum() == truth["seconds_standing"]
    changed = (drive["cell"] != drive["cell"].shift()) & drive["cell"].shift().notna()
    assert (changed.astype(int) == drive["handover"]).all()
    assert drive["handover"].sum() == truth["handovers"]
    moves = drive.assign(source=drive["cell"].shift(), target=drive["cell"])[changed]
    assert find_ping_pongs(moves.assign(ue="car")) == [
        (event["timestamp"], event["source"], event["target"]) for event in get_planted(truth, "ping_pong")["events"]
    ]
    assert len(get_planted(truth, "ping_pong")["events"]) == truth["ping_pongs"] >= 4


def find_ping_pongs(moves: pd.DataFrame) -> list[tuple[str, str, str]]:
    """Returns to a cell left at most five seconds before, ordered by time."""
    moves = moves.sort_values(["ue", "timestamp"])
    before = moves.groupby("ue")[["timestamp", "source", "target"]].shift()
    back = (moves["source"] == before["target"]) & (moves["target"] == before["source"])
    found = moves[back & (moves["timestamp"] - before["timestamp"] <= pd.Timedelta("5s"))].sort_values(
        ["timestamp", "ue"]
    )
    times = found["timestamp"].dt.strftime("%Y-%m-%d %H:%M:%S")
    return list(zip(times, found["source"], found["target"], strict=True))


def test_ping_pong_handovers_are_all_between_the_planted_pair(read: Reader) -> None:
    frame, truth = read("handovers")
    event, found = get_planted(truth, "ping_pong"), find_ping_pongs(frame)
    assert len(found) == event["count"] >= 5
    assert {(source, target) for _, source, target in found} == {(event["target"], event["source"])}
    assert [time for time, _, _ in found] == [time[:19] for time, _ in event["returns"]]


def test_one_relation_hands_over_too_late_and_no_other(read: Reader) -> None:
    frame, truth = read("handovers")
    relations = (
        frame.assign(late=frame["result"] == "too_late").groupby(["source", "target"])["late"].agg(["size", "mean"])
    )
    bad = relations[(relations["size"] >= 10) & (relations["mean"] >= 0.2)]
    event = get_planted(truth, "too_late")
    assert bad.index.tolist() == [(event["source"], event["target"])]
    assert bad["size"].item() == event["attempts"]
    assert round((bad["size"] * bad["mean"]).item()) == event["failures"]
    assert frame["result"].value_counts().to_dict() == {
        name: count for name, count in truth["results"].items() if count
    }
    good = frame.loc[frame["result"] == "success", "duration_ms"]
    assert is_close(good.mean(), truth["mean_duration_ms"])
    assert is_close(good.quantile(0.95), truth["p95_duration_ms"])
    assert is_close(100 * len(good) / len(frame), truth["success_pct"])
    assert frame.groupby("source").size().to_dict() == truth["attempts_by_source"]
    assert frame.groupby("cause").size().to_dict() == truth["attempts_by_cause"]


def test_a_ue_leaves_the_cell_that_it_is_in(read: Reader) -> None:
    frame = read("handovers")[0].sort_values(["ue", "timestamp"])
    assert (frame["source"] != frame["target"]).all()
    stays = frame["source"].where(frame["result"] == "too_early", frame["target"])
    expected = stays.groupby(frame["ue"]).shift()
    assert (frame["source"] == expected)[expected.notna()].all()


def test_slow_setups_rejections_and_the_flapping_ue_are_those_planted(read: Reader) -> None:
    frame, truth = read("sessions")
    slow, event = frame[frame["setup_ms"] > 400], get_planted(truth, "slow_setup")
    assert set(slow["snssai"]) == {event["snssai"]}
    refused, refusal = frame[frame["cause"].notna()], get_planted(truth, "rejections")
    assert set(refused["snssai"]) == {refusal["snssai"]}
    assert set(refused["cause"]) == {69}
    left = frame[frame["event"] == "RM-DEREGISTERED"].groupby("ue").size()
    flapping = get_planted(truth, "flapping_ue")
    assert left[left > 10].index.tolist() == [flapping["ue"]]
    assert flapping["rows"] <= left.max() <= flapping["rows"] + 1, "it may leave for good at the end"
    for rows, one in ((slow, event), (refused, refusal)):
        assert len(rows) == one["rows"] >= 10
        assert rows["timestamp"].iloc[0] == pd.Timestamp(one["start"])
        assert rows["timestamp"].iloc[-1] == pd.Timestamp(one["end"])
        assert pd.Timestamp(one["end"]) - pd.Timestamp(one["start"]) <= pd.Timedelta("15min")


def test_session_figures_are_those_of_pandas(read: Reader) -> None:
    frame, truth = read("sessions")
    assert frame["event"].value_counts().to_dict() == truth["events"]
    last = frame[frame["event"].str.startswith("RM-")].groupby("ue")["event"].last()
    assert (last == "RM-REGISTERED").sum() == truth["registered_at_end"] < 40
    for column, groups in (("snssai", truth["by_snssai"]), ("five_qi", truth["by_five_qi"])):
        keys = frame[column].dropna()
        keys = keys.astype(int).astype(str) if column == "five_qi" else keys
        assert set(groups) == set(keys)
        for key, group in frame.loc[keys.index].groupby(keys):
            done, figures = group[group["event"] == "PDU-SESSION-ESTABLISHED"], groups[key]
            refused = (group["event"] == "PDU-SESSION-REJECTED").sum()
            assert (figures["established"], figures["rejected"]) == (len(done), refused)
            assert is_close(figures["success_pct"], 100 * len(done) / (len(done) + refused))
            assert is_close(figures["mean_setup_ms"], done["setup_ms"].mean())
            assert is_close(figures["p95_setup_ms"], done["setup_ms"].quantile(0.95))
            assert (figures["dl_bytes"], figures["ul_bytes"]) == (group["dl_bytes"].sum(), group["ul_bytes"].sum())
            assert is_close(figures["mean_duration_s"], group["duration_s"].mean())


def test_states_follow_one_another_as_in_ts_23_501(read: Reader) -> None:
    frame, _ = read("sessions")
    follows = {
        "RM-REGISTERED": {"CM-CONNECTED", "RM-DEREGISTERED"},
        "RM-DEREGISTERED": {"RM-REGISTERED"},
        "CM-CONNECTED": {"PDU-SESSION-ESTABLISHED", "PDU-SESSION-REJECTED"},
        "PDU-SESSION-ESTABLISHED": {"PDU-SESSION-RELEASED"},
        "PDU-SESSION-RELEASED": {"CM-IDLE"},
        "PDU-SESSION-REJECTED": {"CM-IDLE"},
        "CM-IDLE": {"CM-CONNECTED", "RM-DEREGISTERED"},
    }
    for _, events in frame.groupby("ue")["event"]:
        assert events.iloc[0] == "RM-REGISTERED"
        assert all(after in follows[before] for before, after in pairwise(events))
    assert set(frame["five_qi"].dropna()) == {1, 5, 6, 9, 82}


def test_jitter_loss_delay_and_order_of_the_flows_are_those_of_the_truth(read: Reader) -> None:
    frame, truth = read("jitter")
    for name, flow in frame.groupby("flow"):
        figures, got = truth["flows"][name], flow.dropna().sort_values("receive_time")
        delay = (got["receive_time"] - got["send_time"]) / pd.Timedelta("1ms")
        estimate = 0.0
        for change in delay.diff().abs().dropna():
            estimate += (change - estimate) / 16
        expected = {
            "sent": len(flow),
            "lost": len(flow) - len(got),
            "loss_pct": 100 * (1 - len(got) / len(flow)),
            "reordered": (got["sequence"] < got["sequence"].cummax()).sum(),
            "rfc3550_jitter_ms": estimate,
            "mean_delay_change_ms": delay.diff().abs().mean(),
            "mean_delay_ms": delay.mean(),
            "p50_delay_ms": delay.median(),
            "p95_delay_ms": delay.quantile(0.95),
            "max_delay_ms": delay.max(),
        }
        assert set(figures) == set(expected)
        assert all(is_close(figures[key], value) for key, value in expected.items()), name
        assert (flow["sequence"].diff()[1:] == 1).all()
        assert not got["receive_time"].duplicated().any(), "the order of arrival is one"


def test_the_loss_burst_the_delay_step_and_the_reordered_packets_are_those_planted(read: Reader) -> None:
    frame, truth = read("jitter")
    lost = frame["receive_time"].isna()
    run = (lost != lost.shift()).cumsum()
    longest = frame[lost & (lost.groupby(run).transform("size") >= 10)]
    burst = get_planted(truth, "loss_burst")
    assert set(longest["flow"]) == {burst["flow"]}
    first, rows = burst["first_sequence"], burst["rows"]
    around = range(longest["sequence"].min(), longest["sequence"].max() + 1)
    assert set(range(first, first + rows)) <= set(around) == set(longest["sequence"])
    assert len(longest) <= rows + 2, "a chance loss may touch the burst"
    delay = (frame["receive_time"] - frame["send_time"]) / pd.Timedelta("1ms")
    slow, step = frame[delay > 80], get_planted(truth, "delay_step")
    assert set(slow["flow"]) == {step["flow"]}
    assert (len(slow), slow["sequence"].iloc[0]) == (step["rows"], step["first_sequence"])
    assert slow["send_time"].iloc[0] == pd.Timestamp(step["start"])
    assert slow["send_time"].iloc[-1] < pd.Timestamp(step["end"])
    arrived = frame.dropna().sort_values("receive_time")
    behind = arrived[arrived["sequence"] < arrived.groupby("flow")["sequence"].cummax()]
    assert set(behind["flow"]) == {"video"}
    assert sorted(behind["sequence"]) == get_planted(truth, "reordering")["sequences"]


def test_cost_per_postcode_needs_text_postcodes_and_finds_the_outliers(read: Reader) -> None:
    frame, truth = read("cost")
    sums = frame.groupby("postcode")[["cost_eur", "revenue_eur", "traffic_gb", "subscribers"]].sum()
    assert set(sums.index) == set(truth["postcodes"])
    each = sums["cost_eur"] / sums["subscribers"]
    assert sorted(each[each > 30].index) == get_planted(truth, "expensive_subscribers")["postcodes"]
    assert each[each <= 30].max() < each[each > 30].min() / 2
    assert sums.index[sums["traffic_gb"] == 0].tolist() == get_planted(truth, "no_traffic")["postcodes"]
    dearest = (sums["cost_eur"] / sums["traffic_gb"])[sums["traffic_gb"] > 0].nlargest(15)
    assert dearest.index.tolist() == truth["dearest_per_gb"]
    for postcode, row in sums.iterrows():
        figures = truth["postcodes"][postcode]
        for name in ("cost_eur", "revenue_eur", "traffic_gb"):
            assert is_close(row[name], figures[name])
        assert is_close(row["revenue_eur"] - row["cost_eur"], figures["margin_eur"])
        assert is_close(each[postcode], figures["eur_per_subscriber_month"])
    for area, group in frame.groupby("area"):
        assert is_close(group["cost_eur"].sum(), truth["areas"][area]["cost_eur"])
        assert is_close(group["coverage_share"].mean(), truth["areas"][area]["mean_coverage_share"])
    assert is_close(frame["revenue_eur"].sum(), truth["all"]["revenue_eur"])
    assert frame["coverage_share"].between(0, 1).all()
    assert np.allclose(frame["capex_eur"] + frame["opex_eur"], frame["cost_eur"], atol=0.006)


def test_cost_read_without_care_falls_into_both_traps(folders: dict[int, Path]) -> None:
    careless = pd.read_csv(folders[1] / "cost.csv")
    truth = json.loads((folders[1] / "cost.json").read_text(encoding="utf-8"))
    twins = get_planted(truth, "leading_zero_twins")["postcodes"]
    assert careless["postcode"].nunique() == len(truth["postcodes"]) - len(twins) < len(truth["postcodes"])
    assert all(int(five) == int(four) and five != four for five, four in twins)
    assert not pd.api.types.is_numeric_dtype(careless["revenue_eur"])


def test_the_sla_is_broken_where_planted_and_nowhere_else(read: Reader) -> None:
    frame, truth = read("slices")
    over = pd.DataFrame({name: frame[name] > frame[f"sla_{name}"] for name in ("latency_ms", "packet_loss_pct")})
    for name in ("dl_throughput_mbps", "availability_pct"):
        over[name] = frame[name] < frame[f"sla_{name}"]
    assert len(truth["planted"]) == 3
    for event in truth["planted"]:
        of_slice = frame["slice"] == event["slice"]
        hit = frame[of_slice & over[event["metric"]]]
        assert len(hit) == event["hours"] == over[of_slice].any(axis=1).sum()
        assert hit["timestamp"].iloc[0] == pd.Timestamp(event["start"])
        assert hit["timestamp"].iloc[-1] == pd.Timestamp(event["end"]) - pd.Timedelta("1h")
        assert is_close(hit[event["metric"]].mean(), event["mean"])
        figures = truth["slices"][event["slice"]]
        assert figures["hours_in_violation"] == len(hit)
        assert is_close(figures["compliance_pct"], 100 * (1 - len(hit) / of_slice.sum()))
        assert figures["violations"] == over[of_slice].sum().to_dict()
        for name in over:
            assert is_close(frame.loc[of_slice, name].mean(), figures[f"mean_{name}"])
