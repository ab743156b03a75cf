"""Simulates the hour of a measurement car, second by second: where it is, which cell serves it and how well.

The car drives around a block of streets between four sites with three sectors each. Levels depend on distance, antenna
direction and shadowing that is fixed in place, so every lap meets the same coverage hole, the same interference and the
same ping-pong at a cell border. Levels are interpolated, not computed with a logarithm: arithmetic.py says why. The
files are built from it in radio.py.
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from testbed.measurements.arithmetic import clamp, interpolate
from testbed.measurements.tables import CELLS

SECONDS = 3600
CORNERS = ((-300.0, -200.0), (1900.0, -150.0), (1850.0, 1900.0), (-250.0, 1800.0))
SITE_AT = ((0.0, 0.0), (1600.0, 200.0), (1500.0, 1700.0), (-100.0, 1500.0))
SECTOR = ((1.0, 0.0), (-0.5, 0.866), (-0.5, -0.866))
"""Directions (east, north) of a site's three antennas."""
RSRP = ((10.0, -55.0), (50.0, -64.0), (100.0, -71.0), (200.0, -79.0), (400.0, -88.0), (800.0, -97.0), (1600.0, -108.0))
"""(Metres, dBm in front of the antenna): about 9 dB less per doubling, as in the street canyons of a town."""
HYSTERESIS_DB, DWELL = 3.0, 15
"""A neighbour takes over when it is this much stronger, but not before the car has spent so many seconds in a cell."""
WEAKEST_STREET = -105.0
HOLE_METRES, HOLE_LOSS_DB, HOLE_AT_MOST = 120.0, 25.0, -116.0
NOISE_DBM = -119.0
"""Noise in a subcarrier of 30 kHz: -174 dBm/Hz + 45 dB, plus 10 dB for the receiver and distant cells."""
INTERFERED_METRES, INTERFERED_FROM, INTERFERED_SINR = 150.0, -86.0, -4.0
APART_METRES = 700.0


@dataclass(frozen=True)
class DriveSecond:
    """The car at one second of the hour. The levels do not yet contain a phone's measurement noise."""

    x: float
    y: float
    """Metres east (x) and north (y) of the origin."""
    speed: float
    """m/s."""
    cell: str
    rsrp: float
    """Level of the serving cell, dBm."""
    sinr: float
    """dB."""
    fault: str | None
    """The planted fault, `coverage_hole` or `interference`; None: no fault."""


def simulate_drive(seed: int) -> list[DriveSecond]:
    """The hour, second by second."""
    rng = Random(f"drive-{seed}")
    sites = [(x + rng.uniform(-80, 80), y + rng.uniform(-80, 80)) for x, y in SITE_AT]
    length = sum(_get_side_length(corner) for corner in range(4))
    shadows = [[rng.uniform(-4, 4) for _ in range(int(length // 100) + 1)] for _ in CELLS]
    ways, speeds = _simulate_movement(rng, length)
    points = [_locate_point(way) for way in ways]
    levels = [
        [
            _compute_level(point, sites, number) + _interpolate_shadow(shadows[number], way)
            for number in range(len(CELLS))
        ]
        for point, way in zip(points, ways, strict=True)
    ]
    serving = _plant_ping_pong(rng, _choose_serving_cells(levels))
    strong = sorted(
        {way for way, level, cell in zip(ways, levels, serving, strict=True) if level[cell] > INTERFERED_FROM}
    )
    interfered = rng.choice(strong)
    victim = serving[ways.index(interfered)]
    hole = (interfered + rng.uniform(APART_METRES, length - APART_METRES)) % length
    seconds = []
    for point, way, speed, level, cell in zip(points, ways, speeds, levels, serving, strict=True):
        near = level[cell] > INTERFERED_FROM - 4 and _compute_distance(way, interfered, length) < INTERFERED_METRES
        in_hole = _compute_distance(way, hole, length) < HOLE_METRES
        fault = "coverage_hole" if in_hole else "interference" if near and cell == victim else None
        seconds.append(DriveSecond(*point, speed, CELLS[cell], *_compute_signal(level, cell, fault), fault))
    return seconds


def _compute_signal(level: Sequence[float], cell: int, fault: str | None) -> tuple[float, float]:
    """(level in dBm, SINR in dB) of the serving cell. The neighbours have little traffic, so the SINR stays usable at a
    cell border.
    """
    rsrp = max(level[cell], WEAKEST_STREET)
    if fault == "coverage_hole":
        rsrp = min(rsrp - HOLE_LOSS_DB, HOLE_AT_MOST)
        return rsrp, rsrp - NOISE_DBM
    if fault == "interference":
        return rsrp, INTERFERED_SINR
    others = max(value for number, value in enumerate(level) if number != cell)
    return rsrp, clamp(level[cell] - others + 8, 3, 28)


def _get_side_length(corner: int) -> float:
    (left, low), (right, high) = CORNERS[corner], CORNERS[(corner + 1) % 4]
    return math.sqrt((right - left) * (right - left) + (high - low) * (high - low))


def _simulate_movement(rng: Random, length: float) -> tuple[list[float], list[float]]:
    """Metres along the lap, and m/s, at each second. The car drives at up to 14 m/s and stops at some red lights."""
    way, speed, red = 0.0, 8.0, 0
    ways, speeds = [], []
    for _ in range(SECONDS):
        if red == 0 and rng.random() < 0.006:
            red = rng.randrange(15, 40)
        speed = max(speed - 2.5, 0.0) if red else clamp(speed + rng.uniform(-0.8, 1.0), 3, 14)
        red = max(red - 1, 0)
        way = (way + speed) % length
        ways.append(way)
        speeds.append(speed)
    return ways, speeds


def _locate_point(way: float) -> tuple[float, float]:
    corner = 0
    while corner < 3 and way > _get_side_length(corner):
        way -= _get_side_length(corner)
        corner += 1
    (left, low), (right, high) = CORNERS[corner], CORNERS[(corner + 1) % 4]
    share = way / _get_side_length(corner)
    return left + (right - left) * share, low + (high - low) * share


def _compute_level(point: tuple[float, float], sites: Sequence[tuple[float, float]], number: int) -> float:
    """Level of cell `number` in dBm; the antenna gain is 0 dB in front and -14 dB behind."""
    (x, y), (east, north) = point, SECTOR[number % 3]
    x, y = x - sites[number // 3][0], y - sites[number // 3][1]
    distance = max(math.sqrt(x * x + y * y), 1.0)
    return interpolate(RSRP, distance) - 7 * (1 - (x * east + y * north) / distance)


def _interpolate_shadow(values: Sequence[float], way: float) -> float:
    place, share = int(way // 100), way % 100 / 100
    return values[place] * (1 - share) + values[(place + 1) % len(values)] * share


def _choose_serving_cells(levels: Sequence[Sequence[float]]) -> list[int]:
    cell = max(range(len(CELLS)), key=lambda number: levels[0][number])
    since, serving = 0, []
    for second, level in enumerate(levels):
        best = max(range(len(CELLS)), key=lambda number: level[number])
        if best != cell and level[best] > level[cell] + HYSTERESIS_DB and second - since >= DWELL:
            cell, since = best, second
        serving.append(cell)
    return serving


def _plant_ping_pong(rng: Random, serving: Sequence[int]) -> list[int]:
    """At the cell border crossed most often, the phone returns to the old cell after 2 s and comes back 2 s later."""
    crossed = [(second, (serving[second - 1], serving[second])) for second in range(1, SECONDS - DWELL)
               if serving[second - 1] != serving[second]]  # fmt: skip
    counts = Counter(pair for _, pair in crossed)
    often = rng.choice(sorted(pair for pair, count in counts.items() if count == max(counts.values())))
    result = list(serving)
    for second, pair in crossed:
        if pair == often:
            result[second + 2 : second + 4] = [pair[0]] * 2
    return result


def _compute_distance(way: float, other: float, length: float) -> float:
    """Metres between two places along the lap, the shorter way round."""
    return min((way - other) % length, (other - way) % length)
