"""The cache of built networks: each is built once, by one process, and kept as long as somebody uses it."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from testbed.network import DAYS_KEPT, ensure_network
from tests.support.racing import race

SLOW_BUILD = """
import os, time
from pathlib import Path
import testbed.network

def build_network(folder, seed):
    with open("builds", "a") as log:
        log.write("built ")
    folder.mkdir()
    for name in ("first", "last"):
        (folder / name).touch()
        time.sleep(0.2)

testbed.network.build_network = build_network
"""
USE = """
folder = testbed.network.ensure_network(Path("cache"), 1)
assert sorted(os.listdir(folder)) == ["first", "hashes.json", "last"]
"""


def test_of_several_processes_one_builds_and_all_find_the_whole_network(tmp_path: Path) -> None:
    race(tmp_path, SLOW_BUILD, *[USE] * 6)
    assert (tmp_path / "builds").read_text() == "built "


def test_a_network_of_other_code_stays_as_long_as_it_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    monkeypatch.setattr(
        "testbed.network.build_network",
        lambda folder, seed: (folder.mkdir(), (folder / "truth.json").touch(), calls.append(seed)),
    )
    first = ensure_network(tmp_path, 3)
    assert (ensure_network(tmp_path, 3), calls) == (first, [3])

    monkeypatch.setattr("testbed.network.code_hash", lambda: "0" * 64)
    killed_builder, other_seed = tmp_path / ".3-111111111111.abcd", tmp_path / "33-111111111111"
    for path in (killed_builder, other_seed):
        path.mkdir()
    second = ensure_network(tmp_path, 3)
    assert (calls, sorted(tmp_path.glob("3-*"))) == ([3, 3], sorted([first, second]))

    long_ago = time.time() - (DAYS_KEPT + 1) * 86400
    for path in (first, second, killed_builder, other_seed):
        os.utime(path, (long_ago, long_ago))
    assert ensure_network(tmp_path, 3) == second
    assert sorted(tmp_path.iterdir()) == sorted([second, other_seed, tmp_path / "3.lock"])


@pytest.mark.parametrize("damage", [lambda path: path.write_bytes(b"\x01"), Path.unlink], ids=["flipped", "missing"])
def test_a_damaged_network_is_built_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: Callable[[Path], object]
) -> None:
    def build(folder: Path, seed: int) -> None:
        (folder / "captures").mkdir(parents=True)
        (folder / "captures" / "calls.pcap").write_bytes(b"\0")

    monkeypatch.setattr("testbed.network.build_network", build)
    damage(ensure_network(tmp_path, 1) / "captures" / "calls.pcap")
    assert (ensure_network(tmp_path, 1) / "captures" / "calls.pcap").read_bytes() == b"\0"
