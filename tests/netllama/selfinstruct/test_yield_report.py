"""The yield report and the funnel, against a count by hand."""

import json
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from netllama.core.files import write_jsonl
from netllama.selfinstruct.candidate_filters import FILTERS
from netllama.selfinstruct.rounds import Family
from netllama.selfinstruct.yield_report import PARSER_PROBLEMS, build_funnel, build_yield_report, describe_barren
from netllama.teacher.budget import Prices, Usage
from netllama.teacher.store import Response, ResponseStore
from tests.support.families import PRICED, Scripted, family, grown
from tests.support.openai_server import WORDS, Answer, Asked

PRICES = Prices(Decimal("0.15"), Decimal("0.60"))


def task(number: int, instruction: str, output: str) -> str:
    return f"###\n{number}. Instruction: {instruction}\n{number}. Output:\n{output}\n"


def words(start: int) -> str:
    return " ".join(WORDS[start : start + 8])


ANSWERS = [
    Answer(task(1, words(0), "first") + task(2, words(10), "second"), "stop", 100, 40),  # two kept
    Answer(task(1, words(20), "third") + task(2, words(0), "other"), "length", 100, 50),  # a kept one, a cut one
    Answer(task(1, words(0) + " tonight", "x") + task(2, words(30), "third"), "stop", 100, 30),  # near, same output
    Answer("", refusal="No.", prompt_tokens=100, completion_tokens=2),
    Answer(task(1, "Too short", "x") + "###\nchatter\n" + task(2, words(40), "/home/anna/x"), "stop", 100, 20),
    Answer("", "content_filter", 0, 0),
]
KEPT, USD = 3, Decimal("0.15") * 500 / 10**6 + Decimal("0.60") * 142 / 10**6


def scripted(asked: Asked) -> Answer:
    return ANSWERS[asked.number]


def judged() -> Family:
    one = family(max_requests=6, requests_per_round=6)
    grown(one, teacher=Scripted(scripted))
    return one


def never(response: Response) -> bool:
    return False


def test_the_report_counts_what_was_kept_rejected_and_paid() -> None:
    report = build_yield_report([judged()], PRICES, never)
    similarity = report.pop("similarity_of_kept")
    by_family = report.pop("family")
    assert report == {
        "kept": KEPT,
        "rejected": 8,
        "rejected_for": {
            "truncated": 1,
            "near_duplicate": 1,
            "duplicate_output": 1,
            "refusal": 1,
            "word_count": 1,
            "malformed": 1,
            "local_path": 1,
            "content_filter": 1,
        },
        "answers": {"replayed": 0, "asked": 6},
        "prompt_tokens": 500,
        "completion_tokens": 142,
        "tokens_per_kept_row": round(642 / 3, 6),
        "usd": 0.00016,
        "usd_per_kept_row": 0.000053,
    }
    assert float(round(USD, 6)) == 0.00016
    assert set(similarity) == {"p05", "p50", "p95", "max"}
    assert by_family == {"bgp_knowledge": report | {"similarity_of_kept": similarity}}


def test_the_report_says_what_is_estimated_where_the_server_reports_no_tokens() -> None:
    one = family(max_requests=6, requests_per_round=6)
    one_reported = Answer("Sorry.", "stop", 100, 20)
    unreported = Answer("Sorry.", "stop", 0, 0)
    grown(one, teacher=Scripted(lambda asked: unreported if asked.number else one_reported))
    report = build_yield_report([one], PRICES, never)
    paid = PRICES.price_tokens(Usage(100, 20))
    most = sum(PRICES.price_tokens(Usage(answer.prompt_bound, answer.max_tokens)) for answer in one.responses[1:])
    assert report["answers"] == {"replayed": 0, "asked": 6, "without_usage": 5}
    assert report["usd"] == pytest.approx(float(paid + most), abs=1e-6)
    assert report["usd_estimated"] == pytest.approx(float(most), abs=1e-6)
    assert most > paid > 0


def test_totals_are_the_sums_of_the_families() -> None:
    families = [family(name) for name in ("bgp_knowledge", "packet_analysis")]
    grown(*families)
    report = build_yield_report(families, None, never)
    assert [len(one.kept) for one in families] == [8, 8]
    for key in ("kept", "rejected", "prompt_tokens", "completion_tokens"):
        assert report[key] == sum(numbers[key] for numbers in report["family"].values())
    assert report["answers"]["asked"] == sum(len(one.responses) for one in families)
    assert list(report["family"]) == ["bgp_knowledge", "packet_analysis"]


def test_without_a_price_there_is_no_price_in_the_report() -> None:
    report = build_yield_report([judged()], None, never)
    assert not [key for key in (*report, *report["family"]["bgp_knowledge"]) if "usd" in key]


def test_a_thousand_small_prices_add_up_to_a_figure_as_people_write_it() -> None:
    cheap = Answer("I can't.", "stop", 1, 1)
    one = family(max_requests=1000, requests_per_round=1000, num_instructions_to_generate=5)
    grown(one, teacher=Scripted(lambda asked: cheap))
    report = build_yield_report([one], Prices(Decimal("150"), Decimal(0)), never)
    assert report["usd"] == 0.15
    assert json.dumps(report["usd"]) == "0.15"


def test_batch_answers_are_counted_at_half_the_price() -> None:
    one = judged()
    one.responses = [response.model_copy(update={"batch": True}) for response in one.responses]
    assert build_yield_report([one], PRICES, never)["usd"] == float(round(USD / 2, 6))


def test_where_nothing_is_kept_no_price_a_row_is_made_up() -> None:
    one = family(max_requests=2)
    grown(one, teacher=Scripted(lambda asked: Answer("I can't.")))
    report = build_yield_report([one], PRICES, never)
    assert (report["usd_per_kept_row"], report["tokens_per_kept_row"]) == (None, None)
    assert report["similarity_of_kept"] == {}
    empty = build_yield_report([family(num_instructions_to_generate=0)], PRICES, never)
    assert (empty["kept"], empty["usd"], empty["answers"]) == (0, 0.0, {"replayed": 0, "asked": 0})


def test_similarity_is_the_spread_of_the_kept_rows_nearest_scores() -> None:
    one = family(num_instructions_to_generate=21, max_requests=100)
    grown(one)
    scores = [place / 20 for place in range(21)]
    one.kept = [row.model_copy(update={"nearest_score": score}) for row, score in zip(one.kept, scores, strict=True)]
    spread = build_yield_report([one], None, never)["similarity_of_kept"]
    assert spread == {"p05": 0.05, "p50": 0.5, "p95": 0.95, "max": 1.0}
    one.kept = one.kept[:2]
    assert build_yield_report([one], None, never)["similarity_of_kept"]["max"] == 0.05
    one.kept = one.kept[:1]
    assert build_yield_report([one], None, never)["similarity_of_kept"] == {}


def test_answers_are_replayed_when_they_were_recorded_and_asked_when_they_were_not(tmp_path: Path) -> None:
    def counted(store: ResponseStore) -> dict[str, Any]:
        one = family(**PRICED)
        grown(one, teacher=Scripted(store=store))
        report = build_yield_report([one], PRICES, store.is_recorded)
        write_jsonl(tmp_path / "used.jsonl", [response.model_dump() for response in one.responses])
        assert sum(report["answers"].values()) == len(one.responses)
        return {"asked": report["answers"]["asked"], "all": len(one.responses), "usd": report["usd"]}

    live, used = tmp_path / "live.jsonl", tmp_path / "used.jsonl"
    first = counted(ResponseStore(live))
    assert first["asked"] == first["all"] > 0
    assert counted(ResponseStore(live)) == first, "asked by an earlier run of this checkout"
    used.rename(tmp_path / "recorded.jsonl")
    promoted = counted(ResponseStore(live, [tmp_path / "recorded.jsonl"]))
    assert promoted == first | {"asked": 0}, "the data cost what it cost"


def test_a_family_without_a_task_is_described_by_the_leading_reason_and_an_answer() -> None:
    text = "Sure!\n" + task(1, "Too short", "x") + task(2, "Name it", "y") + "z" * 400
    chatter = Answer("No tasks today.")
    barren = family(max_requests=20)
    grown(barren, teacher=Scripted(lambda asked: chatter if asked.number < 2 else Answer(text)))
    message = describe_barren([family("packet_analysis", num_instructions_to_generate=0), barren])
    assert message.startswith(
        "bgp_knowledge: nothing kept of 8 answers; 12 of 20 tasks are word_count (a check of filters.enabled). "
        'One answer: "Sure!\\n###\\n1. Instruction: Too short\\n'
    )
    assert message.endswith('zzz"...')
    assert len(message) < 500
    assert "\n" not in message


def test_families_with_tasks_are_not_described() -> None:
    assert describe_barren([judged()]) == ""


def test_few_requests_spent_on_nothing_are_an_error_where_no_family_kept_anything() -> None:
    """Beside a family that kept something they are a shortfall, which the stage mentions."""
    few = family("packet_analysis", max_requests=2)
    grown(few, teacher=Scripted(lambda _: Answer("No tasks today.")))
    assert describe_barren([few]).startswith("packet_analysis: nothing kept of 2 answers; 2 of 2 tasks are malformed")
    assert describe_barren([few, judged()]) == ""
    assert describe_barren([family(num_instructions_to_generate=0)]) == ""


def test_the_funnel_goes_from_all_that_was_written_to_what_was_kept() -> None:
    assert build_funnel([judged()]) == [
        {"step": "written", "tasks": 11},
        {"step": "not malformed", "tasks": 10},
        {"step": "not truncated", "tasks": 9},
        {"step": "not content_filter", "tasks": 8},
        {"step": "not refusal", "tasks": 7},
        {"step": "not word_count", "tasks": 6},
        {"step": "not local_path", "tasks": 5},
        {"step": "not duplicate_output", "tasks": 4},
        {"step": "not near_duplicate", "tasks": 3},
        {"step": "kept", "tasks": 3},
    ]


@pytest.mark.parametrize("filters", [list(FILTERS), list(FILTERS)[::-1], ["near_duplicate"], []])
def test_the_funnel_adds_up_whatever_the_filters(filters: list[str]) -> None:
    families = [family(name, enabled=filters, max_requests=6) for name in ("bgp_knowledge", "packet_analysis")]
    for one in families:
        grown(one, teacher=Scripted(scripted if one.name == "bgp_knowledge" else lambda asked: ANSWERS[0]))
    steps = build_funnel(families)
    rejected = [row for one in families for row in one.rejected]
    kept = sum(len(one.kept) for one in families)
    assert steps[0] == {"step": "written", "tasks": kept + len(rejected)}
    assert steps[-1] == {"step": "kept", "tasks": kept}
    assert steps[-2]["tasks"] == kept, "every reason has its step"
    lost = {after["step"]: before["tasks"] - after["tasks"] for before, after in pairwise(steps[:-1])}
    reasons = [row.reason for row in rejected]
    assert lost == {f"not {reason}": reasons.count(reason) for reason in set(reasons)}


def test_contract_problems_come_before_filters_in_the_funnel() -> None:
    assert set(PARSER_PROBLEMS).isdisjoint(FILTERS)
    steps = [row["step"].removeprefix("not ") for row in build_funnel([judged()])[1:-1]]
    assert steps == [name for name in (*PARSER_PROBLEMS, *FILTERS) if name in steps]


def test_a_funnel_of_nothing_has_two_empty_steps() -> None:
    assert build_funnel([family(num_instructions_to_generate=0)]) == [
        {"step": "written", "tasks": 0},
        {"step": "kept", "tasks": 0},
    ]
