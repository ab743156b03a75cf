"""The page in headless Chromium: its script runs without an error, its filters work, it fits a phone."""

import json
import re
import shutil
import subprocess
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from netllama.report.page import build_report
from tests.support.report_files import write_evaluation

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


def _open_page(path: Path, folder: Path) -> tuple[dict[str, Any], str]:
    options = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--enable-logging=stderr",
        f"--user-data-dir={folder / 'profile'}",
    ]
    run = subprocess.run(
        [str(CHROMIUM), *options, "--dump-dom", path.as_uri()], capture_output=True, text=True, timeout=60, check=True
    )
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
