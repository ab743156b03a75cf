"""Scores of questions with documents as metrics: by arm, refusals, and by the place of the document with the answer."""

from collections.abc import Sequence
from statistics import mean

from netllama.reading.reading_records import ARMS, Arm
from netllama.scoring.score import Numbers, Score

HOLDING: tuple[Arm, ...] = ("oracle", "retrieved")
"""The arms whose documents hold the answer; retrieved: where the search found it."""
LACKING: tuple[Arm, ...] = ("distractors", "absent")
"""The arms whose documents never hold it."""


def is_holding(score: Score) -> bool:
    """Whether an answer on reports was written with the document that holds the answer."""
    return score.kind == "report" and score.arm in HOLDING and "slot" in score.measures


def is_lacking(score: Score) -> bool:
    """Whether an answer on reports was written without it, though with others."""
    return score.kind == "report" and score.arm in LACKING


def summarize_reading(scores: Sequence[Score]) -> Numbers:
    """By kind and arm; empty where nothing was asked with documents. What no question measured is left out."""
    metrics: dict[str, float | Numbers] = {}
    for arm in ARMS:
        if own := [score for score in scores if score.kind == "report" and score.arm == arm]:
            metrics[arm] = _summarize_arm(own)
    held, lacked = ([score for score in scores if chosen(score)] for chosen in (is_holding, is_lacking))
    metrics |= {"right_refusals": _average(lacked, "refused")} if lacked else {}
    metrics |= {"false_refusals": _average(held, "refused")} if held else {}
    found = [score for score in held if score.arm == "retrieved"]
    if slots := sorted({int(score.measures["slot"]) for score in found}):
        metrics["by_slot"] = {
            str(slot): _average_values([score for score in found if score.measures["slot"] == slot]) for slot in slots
        }
    for arm in HOLDING:
        if own := [score for score in scores if score.kind == "choice" and score.arm == arm]:
            metrics[f"choice_{arm}"] = {
                "accuracy": _average_values(own),
                "accuracy_norm": _average(own, "accuracy_norm"),
                "questions": len(own),
            }
    return metrics


def _summarize_arm(own: Sequence[Score]) -> Numbers:
    names = ("exact", "refused", "invented", "quotes_found", "cites", "cites_golden", "citation_precision")
    found = {name: [score for score in own if name in score.measures] for name in names}
    return {
        "accuracy": _average_values(own),
        **{name: _average(scores, name) for name, scores in found.items() if scores},
        "questions": len(own),
    }


def _average_values(scores: Sequence[Score]) -> float:
    return round(mean(score.value for score in scores), 4)


def _average(scores: Sequence[Score], name: str) -> float:
    return round(mean(score.measures[name] for score in scores), 4)
