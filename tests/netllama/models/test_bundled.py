"""The bundled model in the user's cache: downloaded and converted once, by one process."""

import logging
import sys
from pathlib import Path

import pytest

from netllama.models import bundled
from tests.support.racing import race

SLOW_CONVERSION = """
import os, time
from pathlib import Path
from netllama.models import bundled

def download(folder):
    with open("downloads", "a") as log:
        log.write("downloaded ")
    (folder / "model.gguf").touch()
    return folder / "model.gguf"

def convert(gguf, folder):
    assert gguf.exists()
    folder.mkdir()
    for name in ("config.json", "model.safetensors"):
        (folder / name).touch()
        time.sleep(0.2)

bundled.download, bundled.convert = download, convert
"""
USE = """
folder = bundled.ensure(Path("cache"))
assert sorted(os.listdir(folder)) == ["config.json", "hashes.json", "model.safetensors"]
"""


def test_of_several_processes_one_converts_and_all_find_the_whole_model(tmp_path: Path) -> None:
    name = f"smollm2-135m-instruct-{bundled.VERSION}"
    killed_converter = tmp_path / "cache" / f".{name}.abcd"
    killed_converter.mkdir(parents=True)
    race(tmp_path, SLOW_CONVERSION, *[USE] * 4)
    assert (tmp_path / "downloads").read_text() == "downloaded "
    assert sorted(path.name for path in (tmp_path / "cache").iterdir()) == [name, f"{name}.lock"]


def test_bars_and_warnings_of_libraries_are_hidden_and_errors_are_not(capsys: pytest.CaptureFixture[str]) -> None:
    from tqdm import tqdm

    def convert() -> None:
        with bundled.quiet("transformers"):
            list(tqdm(range(3), desc="Converting"))
            logging.getLogger("transformers").warning("a quantizer that can't be trained")
            raise OSError("no space left")

    with pytest.raises(OSError, match="no space left"):
        convert()
    assert capsys.readouterr().err == ""
    print("shown again", file=sys.stderr)
    assert capsys.readouterr().err == "shown again\n"
