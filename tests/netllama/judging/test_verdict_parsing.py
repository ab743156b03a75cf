"""What the judge wrote, read: in any usual dress, and never guessed."""

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netllama.judging.verdict_parsing import ReadVerdict, parse_verdict
from netllama.teacher.store import Response

WHOLE = '{"facts_a": [true, false], "facts_b": [false, false], "better": "a"}'
READ = ReadVerdict([True, False], [False, False], "a")


def said(text: str, finish_reason: str = "stop") -> Response:
    return Response(
        key="k", draw="d", model="m", text=text, finish_reason=finish_reason, max_tokens=9, prompt_tokens=1,
        completion_tokens=1,
    )  # fmt: skip


@given(
    facts_a=st.lists(st.booleans(), max_size=6),
    more=st.integers(0, 63),
    better=st.sampled_from(["a", "b", "tie"]),
    before=st.text(alphabet='ab{}[]": \n1', max_size=30),
)
def test_a_verdict_comes_back_whatever_stands_in_front_of_it(
    facts_a: list[bool], more: int, better: str, before: str
) -> None:
    facts_b = [bool(more >> place & 1) for place in range(len(facts_a))]
    text = json.dumps({"facts_a": facts_a, "facts_b": facts_b, "better": better})
    assert parse_verdict(said(f"{before}\n\x00{text}"), len(facts_a)) == (facts_a, facts_b, better)


@pytest.mark.parametrize(
    "text",
    [
        f"```json\n{WHOLE}\n```",
        f"Answer A names the port, so:\n{WHOLE}\nThat is all.",
        f'<think>{{"facts_a": [false, false], "facts_b": [true, true], "better": "b"}} no, the other</think>\n{WHOLE}',
        f'First {{"facts_a": [false, false], "facts_b": [true, true], "better": "b"}}, on reflection {WHOLE}',
        WHOLE.replace('"a"}', '"Answer A"}'),
        WHOLE.replace("true", '"Yes"').replace("false", '"no"'),
        WHOLE.replace("facts_a", "Facts_A").replace("better", "BETTER"),
        WHOLE.replace(", ", ",\n\t"),
    ],
)
def test_what_has_one_meaning_is_read(text: str) -> None:
    assert parse_verdict(said(text), 2) == READ


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no JSON object"),
        ("Answer A is better.", "no JSON object"),
        (WHOLE[:-9], "no JSON object"),
        (WHOLE.replace('"a"}', '"c"}'), "better is none of a, b and tie"),
        (WHOLE.replace('"a"}', "null}"), "better is none of a, b and tie"),
        (WHOLE.replace("[true, false]", "[true]"), "facts_a does not hold 2 verdicts"),
        (WHOLE.replace("[false, false]", "[false, false, true]"), "facts_b does not hold 2 verdicts"),
        (WHOLE.replace("[true, false]", '{"1": true}'), "facts_a does not hold 2 verdicts"),
        (WHOLE.replace("[true, false]", "[1, 0]"), "facts_a holds something other"),
        (WHOLE.replace("[true, false]", '[true, "partly"]'), "facts_a holds something other"),
        (WHOLE.replace("[true, false]", "[true, null]"), "facts_a holds something other"),
        ('{"better": "a"}', "facts_a does not hold 2 verdicts"),
    ],
)
def test_what_has_none_is_a_problem(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        parse_verdict(said(text), 2)


def test_a_cut_or_withheld_answer_says_so() -> None:
    with pytest.raises(ValueError, match=r"no JSON object in the answer; cut at judge\.max_tokens"):
        parse_verdict(said(WHOLE[:20], "length"), 2)
    with pytest.raises(ValueError, match="withheld"):
        parse_verdict(said("", "content_filter"), 2)


def test_a_question_without_key_facts_needs_no_lists() -> None:
    assert parse_verdict(said('{"better": "tie"}'), 0) == ([], [], "tie")


@pytest.mark.parametrize("text", ["{" * 60_000, '{"a":' * 60_000, "[" * 60_000 + WHOLE[:3], '{"a": "' * 20_000])
def test_a_text_that_is_made_to_be_slow_is_not(text: str) -> None:
    started = time.process_time()
    with pytest.raises(ValueError, match="no JSON object"):
        parse_verdict(said(text), 2)
    assert time.process_time() - started < 2
