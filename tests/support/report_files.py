"""Files of a small evaluation, made up: every kind of score, and answers that try to break out of the page."""

import json
from pathlib import Path
from random import Random

from netllama.core.files import read_jsonl, write_csv, write_json, write_jsonl
from netllama.core.metrics import write_metrics
from netllama.core.records import Question, parse_as
from netllama.documents.chunk_file import write_chunks
from netllama.reading.reading_records import Arm, ReadingQuestion
from netllama.report.report_inputs import ReportPaths
from netllama.scoring.clean_items import compare_clean, note_suites
from netllama.scoring.comparison import as_rows, compare_groups, group_pairs, pair_scores
from netllama.scoring.score import Score
from tests.support.reading_sets import make_asked, make_balance, make_report_chunks

HOSTILE = "</script><script>document.title = 'broken out'</script><!-- <img src=x onerror=alert(1)> & \u2028 'quoted\""


def make_score(item: str, kind: str, value: float, answer: str = "", **changes: object) -> Score:
    row = {
        "item": item,
        "suite": "questions",
        "family": "bgp_knowledge",
        "kind": kind,
        "cluster": "",
        "value": value,
        "measures": {},
        "answer": answer,
        "expected": "16 octets" if kind != "heldout" else "",
        "explanation": "",
    }
    return Score.model_validate(row | changes)


def make_scores(side: str, random: Random) -> list[Score]:
    """60 four-choice, 30 true/false, 20 blanks, 6 code, 8 written answers, 12 general questions, 40 losses."""
    gain = 0.3 if side == "tuned" else 0.0
    scores = []
    for number in range(60):
        confidence = round(random.uniform(0.25, 1), 4)
        right = float(random.random() < 0.3 + gain)
        measures = {"confidence": confidence, "chance": 0.25}
        answer = "16 octets" if right else random.choice(["19 octets", "23 octets", "29 octets"])
        scores.append(make_score(f"q-bgp-{number:03}", "choice", right, answer, measures=measures))
    for number in range(30):
        measures = {"confidence": round(random.uniform(0.5, 1), 4), "chance": 0.5}
        value = float(random.random() < 0.5)
        scores.append(make_score(f"q-tf-{number:03}", "true_false", value, str(bool(value)), measures=measures))
    for number in range(20):
        scores.append(make_score(f"q-blank-{number:03}", "blank", float(number == 3), f"{side} wrote AS {number}"))
    for number in range(6):
        rung, fault = (7, "right") if side == "tuned" and number < 2 else (number % 3 + 3, "wrong API: line 2")
        measures = {"rung": round(rung / 7, 4)}
        code = f"import pybgpstream\n# {side} {number}"
        scores.append(
            make_score(f"q-code-{number}", "code", float(rung == 7), code, measures=measures, explanation=fault)
        )
    for number in range(8):
        answer = f"import {side}\n\nfor elem in stream:\n    print(elem, {number})\n" + (HOSTILE if number == 0 else "")
        value = round(random.uniform(0, 0.4) + gain, 4)
        changes = {"suite": "test", "family": "pybgpstream"}
        scores.append(make_score(f"pybgpstream-{number:03}", "generation", value, answer, **changes))
    for number in range(12):
        value = float(random.random() < 0.8 - 2 * gain)
        scores.append(make_score(f"q-general-{number:03}", "choice", value, "102", family="general"))
    for number in range(40):
        value = round(3 + random.gauss(0, 0.3) - 2 * gain, 6)
        changes = {"suite": "test", "measures": {"tokens": 100.0 + number}}
        scores.append(make_score(f"bgp-{number:03}", "heldout", value, **changes))
    return scores


def make_paths(folder: Path) -> ReportPaths:
    return ReportPaths(
        base=folder / "base.jsonl",
        tuned=folder / "tuned.jsonl",
        comparison=folder / "comparison.json",
        judge=folder / "judge.json",
        train_loss=folder / "train_loss.csv",
        val_loss=folder / "val_loss.csv",
        learning_rate=folder / "learning_rate.csv",
        grad_norm=folder / "grad_norm.csv",
        questions=folder / "questions",
        tasks=folder / "test.jsonl",
        asked=folder / "asked.jsonl",
        chunks=folder / "chunks.jsonl",
        search=folder / "retrieve.json",
        refusals=folder / "refusals.json",
    )


def write_evaluation(folder: Path) -> ReportPaths:
    paths, random = make_paths(folder), Random(0)
    base, tuned = make_scores("base", random), make_scores("tuned", random)
    write_jsonl(paths.base, [score.model_dump() for score in base])
    write_jsonl(paths.tuned, [score.model_dump() for score in tuned])
    pairs = pair_scores(base, tuned)
    notes = note_suites(pairs, compare_clean(pairs, {"q-bgp-000"}))
    write_json(paths.comparison, as_rows(compare_groups(group_pairs(pairs)), notes))
    for path, name in ((paths.train_loss, "loss"), (paths.grad_norm, "grad_norm")):
        write_csv(path, [{"step": step, name: round(2 + 1 / (step + 1), 4)} for step in range(0, 41, 5)])
    write_csv(paths.val_loss, [{"step": step, "loss": round(3 - step / 100, 4)} for step in (0, 20, 40)])
    write_csv(paths.learning_rate, [{"step": step, "learning_rate": 0.001 - step * 2e-5} for step in range(0, 41, 5)])
    question = Question(
        id="q-bgp-000",
        family="bgp_knowledge",
        kind="choice",
        question=f"How long is a marker? {HOSTILE}",
        options=["16 octets", "19 octets", "23 octets", "29 octets"],
        answer="A",
        aliases=[],
        key_facts=[],
        reference="RFC 4271 section 4.1",
        cluster="",
    )
    write_jsonl(paths.questions / "bgp_knowledge.jsonl", [question.model_dump()])
    task = {"id": "pybgpstream-000", "family": "pybgpstream", "instruction": "Print all elements.", "input": "rrc00"}
    write_jsonl(paths.tasks, [task | {"output": "stream", "source": "extra"}])
    return paths


def read_embedded(page: str) -> list[dict[str, object]]:
    """The rows that the page's script reads."""
    start = page.index('id="data">') + len('id="data">')
    rows: list[dict[str, object]] = json.loads(page[start : page.index("</script>", start)])
    return rows


def write_reading(paths: ReportPaths) -> None:
    """Adds questions with documents to an evaluation: four on reports, two that none answers, and a closed one."""
    asked = [make_asked(number, ["r5", f"r{number}"] if number else ["r0"]) for number in range(4)]
    asked += [make_asked(number, ["r5"], answered=False) for number in range(2)]
    closed = {"id": "q-bgp-000", "kind": "choice", "family": "bgp_knowledge", "question": "Which?", "answer": ""}
    closed |= {"choices": [], "golden": ["r0"], "arms": {"oracle": ["r0"], "retrieved": ["r1", "r0"]}}
    write_jsonl(paths.asked, [*(row.model_dump() for row in asked), closed])
    write_chunks(paths.chunks, make_report_chunks())
    share = {"value": 0.75, "low": 0.5, "high": 0.9}
    measures = ("recall_at_1", "recall_at_3", "recall_at_10", "reciprocal_rank", "ndcg")
    marks = {"questions": 4, "parser": 0.875, "best_sentence": 0.125} | dict.fromkeys(measures, share)
    write_metrics(paths.search, {}, {"questions": 7, "reports": marks})
    write_json(paths.refusals, make_balance("").model_dump())
    sides = []
    for path, answers in (
        (paths.base, ("AS99", "AS64500 [1]")),
        (paths.tuned, ("The documents do not say.", "AS64500 [2]")),
    ):
        scores = read_jsonl(path, lambda row: parse_as(Score, row))
        for number, row in enumerate(asked):
            for arm in row.arms:
                scores.append(make_reading_score(row, arm, answers[number % 2]))
        scores.append(make_score("q-bgp-000", "choice", 1, "16 octets", arm="retrieved", measures={"chance": 0.25}))
        write_jsonl(path, [score.model_dump() for score in scores])
        sides.append(scores)
    pairs = pair_scores(*sides)
    write_json(
        paths.comparison, as_rows(compare_groups(group_pairs(pairs)), note_suites(pairs, compare_clean(pairs, set())))
    )


def make_reading_score(row: ReadingQuestion, arm: Arm, answer: str) -> Score:
    """Not judged by the rules: the page only shows what the scores say."""
    golden = [row.arms[arm].index(name) + 1 for name in row.golden if name in row.arms[arm]]
    refused, cited = answer.startswith("The documents"), [number for number in (1, 2) if f"[{number}]" in answer]
    measures = {"refused": float(refused), "exact": 0.0}
    if golden:
        measures |= {"cites": float(bool(cited)), "cites_golden": float(cited == golden), "slot": float(golden[0])}
    right = refused if arm in ("distractors", "absent") else cited == golden
    changes = {"suite": "reports", "family": row.family, "arm": arm, "measures": measures, "expected": row.answer}
    return make_score(row.id, "report", float(right), answer, **changes)
