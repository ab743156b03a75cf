"""The page in headless Chromium: its script runs without an error, its filters work, it fits a phone; it prints, and
has a dark scheme."""

import json
import re
import shutil
import subprocess
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from netllama.comparing.model_answers import RecordedAnswers
from netllama.comparing.side_by_side import compare_models
from netllama.report.page import build_report
from netllama.report.report_inputs import read_scores
from tests.support.report_files import write_evaluation, write_reading

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
PROBE = """<script>
"use strict";
const seen = { errors: [] };
window.addEventListener("error", (event) => seen.errors.push(event.message));
document.addEventListener("securitypolicyviolation", (event) => seen.errors.push(event.violatedDirective));
function filter(values) {
  const filters = document.getElementById("filters");
  for (const name of ["kind", "family", "change", "search"]) filters.elements[name].value = values[name] ?? "";
  filters.dispatchEvent(new Event("input", { bubbles: true }));
  const cards = [...document.querySelectorAll(".answer")];
  return {
    count: document.getElementById("count").textContent,
    items: cards.map((card) => card.querySelector("h3").textContent),
    badges: [...new Set(cards.map((card) => card.querySelector(".badge").textContent))],
  };
}
window.addEventListener("load", () => {
  seen.first = filter({});
  document.getElementById("more").click();
  seen.more = document.querySelectorAll(".answer").length;
  seen.blank = filter({ kind: "blank" });
  seen.family = filter({ family: "pybgpstream", search: "  ELEM broken " });
  seen.family.hostile = document.querySelector(".side.tuned pre").textContent;
  seen.better = filter({ kind: "choice", change: "better" });
  seen.same = filter({ kind: "blank", change: "same" });
  seen.none = filter({ search: "no answer says this" });
  filter({ kind: "blank", search: "blank-007" });
  seen.marked = [...document.querySelectorAll("#list del, #list ins")].map((mark) => mark.outerHTML);
  filter({});
  Object.assign(document.body.style, { width: "360px", margin: "0" });
  const wide = [...document.querySelectorAll("body *")].filter(
    (element) => !element.closest(".wide table") && element.getBoundingClientRect().right > 361);
  seen.wide = wide.map((element) => element.outerHTML.slice(0, 80));
  seen.title = document.title;
  const result = document.createElement("pre");
  result.id = "seen";
  result.textContent = JSON.stringify(seen);
  document.body.append(result);
});
</script>"""

COLOURS = """<script>
"use strict";
window.addEventListener("load", () => {
  const style = getComputedStyle(document.body);
  const result = document.createElement("pre");
  result.id = "seen";
  result.textContent = JSON.stringify({
    dark: matchMedia("(prefers-color-scheme: dark)").matches, paper: style.backgroundColor, ink: style.color });
  document.body.append(result);
});
</script>"""


WIDTHS = """<script>
"use strict";
window.addEventListener("load", () => {
  const seen = {};
  for (const width of [360, 1150]) {
    Object.assign(document.body.style, { width: `${width}px`, margin: "0" });
    const wide = [...document.querySelectorAll("body *")].filter(
      (element) => !element.closest(".wide table") && element.getBoundingClientRect().right > width + 1);
    const cut = [...document.querySelectorAll(".figures .wide")].filter((each) => each.scrollWidth > each.clientWidth);
    seen[width] = { wide: wide.map((element) => element.outerHTML.slice(0, 80)), cut: cut.length };
  }
  const result = document.createElement("pre");
  result.id = "seen";
  result.textContent = JSON.stringify(seen);
  document.body.append(result);
});
</script>"""


@pytest.fixture(scope="module")
def visit(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], str]:
    """(what the probe saw, what the browser logged)."""
    if CHROMIUM is None:
        pytest.skip("no Chromium here: apt-get install chromium")
    folder = tmp_path_factory.mktemp("browser")
    page = build_report(write_evaluation(folder))
    path = folder / "report.html"
    # Before the page's own script, so that an error of it is seen, too.
    path.write_text(page.replace("<title>", f"{PROBE}<title>", 1), encoding="utf-8")
    return _open_page(path, folder)


def _start(path: Path, folder: Path, *options: str) -> "subprocess.CompletedProcess[str]":
    common = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder / 'profile'}"]
    return subprocess.run(
        [str(CHROMIUM), *common, *options, path.as_uri()], capture_output=True, text=True, timeout=60, check=True
    )


def _open_page(path: Path, folder: Path, *options: str) -> tuple[dict[str, Any], str]:
    run = _start(path, folder, "--enable-logging=stderr", "--dump-dom", *options)
    found = re.search(r'<pre id="seen">(.*?)</pre>', run.stdout, re.DOTALL)
    assert found, run.stderr[-2000:]
    seen: dict[str, Any] = json.loads(unescape(found[1]))
    return seen, run.stderr


def test_the_console_has_no_error_and_no_answer_runs(visit: tuple[dict[str, Any], str]) -> None:
    seen, log = visit
    assert seen["errors"] == []
    assert "CONSOLE" not in log
    assert seen["title"] == "Base against tuned"


def test_filters_and_search_show_the_answers_that_they_name(visit: tuple[dict[str, Any], str]) -> None:
    seen, _ = visit
    assert (seen["first"]["count"], len(seen["first"]["items"]), seen["more"]) == ("136 of 136 answers.", 25, 50)
    assert seen["blank"]["items"] == [f"q-blank-{number:03}" for number in range(20)]
    assert seen["family"]["items"] == ["pybgpstream-000"]
    assert "</script><script>document.title" in seen["family"]["hostile"]
    assert seen["better"]["badges"] == ["▲ better"]
    assert seen["same"]["items"] == []
    assert seen["none"]["count"] == "0 of 136 answers."


def test_the_words_that_differ_are_marked(visit: tuple[dict[str, Any], str]) -> None:
    assert visit[0]["marked"] == ["<del>base</del>", "<ins>tuned</ins>"]


def test_nothing_but_tables_is_wider_than_a_phone(visit: tuple[dict[str, Any], str]) -> None:
    assert visit[0]["wide"] == []


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here: apt-get install chromium")
def test_a_print_has_the_headline_and_the_verdicts_and_no_controls(tmp_path: Path) -> None:
    page = build_report(write_evaluation(tmp_path))
    (path := tmp_path / "report.html").write_text(page, encoding="utf-8")
    _start(path, tmp_path, f"--print-to-pdf={tmp_path / 'report.pdf'}")
    printed = _read_words(tmp_path / "report.pdf")
    headline = re.search(r'<p class="headline">(.*?)</p>', page, re.DOTALL)
    assert headline
    assert " ".join(unescape(headline[1]).split()) in printed
    verdicts = re.findall(r"<li><strong>(.*?)</strong>: (.*?),", page)
    assert len(verdicts) > 2
    for suite, values in verdicts:
        assert f"{unescape(suite)}: {unescape(values)}" in printed
    for control in ("words of question or answer", "Family all", "Show all"):
        assert control not in printed


def _read_words(pdf: Path) -> str:
    """The text of all pages, with one space between words."""
    import pypdfium2

    document = pypdfium2.PdfDocument(pdf)
    text = "\n".join(page.get_textpage().get_text_bounded() for page in document)
    document.close()
    return " ".join(text.split())


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here: apt-get install chromium")
def test_a_dark_scheme_has_light_letters_on_dark_paper(tmp_path: Path) -> None:
    page = build_report(write_evaluation(tmp_path))
    (path := tmp_path / "report.html").write_text(page.replace("<title>", f"{COLOURS}<title>", 1), encoding="utf-8")
    seen, _ = _open_page(path, tmp_path, "--blink-settings=preferredColorScheme=0")
    assert seen["dark"]
    paper, ink = ([int(number) for number in re.findall(r"\d+", seen[name])[:3]] for name in ("paper", "ink"))
    assert max(paper) < 60
    assert min(ink) > 200


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here: apt-get install chromium")
def test_every_section_fits_a_phone_and_no_table_beside_a_chart_is_cut_on_a_screen(tmp_path: Path) -> None:
    write_reading(paths := write_evaluation(tmp_path))
    sides = [read_scores(path) for path in (paths.base, paths.tuned)]
    other, this = (RecordedAnswers(f"side {at}", sides[0], own, "tiny", {}) for at, own in enumerate(sides))
    page = build_report(paths, compare_models(other, this))
    assert all(f'id="{part}"' in page for part in ("reading", "beside", "code"))
    (path := tmp_path / "report.html").write_text(page.replace("<title>", f"{WIDTHS}<title>", 1), encoding="utf-8")
    seen, _ = _open_page(path, tmp_path, "--window-size=1300,900")
    assert seen["360"]["wide"] == seen["1150"]["wide"] == []
    assert seen["1150"]["cut"] == 0
