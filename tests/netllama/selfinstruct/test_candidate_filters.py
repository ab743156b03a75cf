"""The filters: each objects to what it is for and to nothing near it, in the order of the params."""

import warnings
from dataclasses import replace
from typing import get_args

import pytest
from pydantic import ValidationError

from netllama.contamination.evaluation_questions import Evaluation, GivenAway
from netllama.core.generate_section import FilterName
from netllama.selfinstruct.candidate_filters import FILTERS, Context, choose_filters
from netllama.selfinstruct.output_contract import Candidate
from netllama.selfinstruct.run_checks import RUNS
from netllama.selfinstruct.second_answers import AGREES
from netllama.selfinstruct.task_pool import TaskPool
from tests.support.families import FAMILIES, family, load_family_seeds, params

DIRECTIVE = "Write tasks for a network engineer who debugs BGP sessions between two autonomous systems every day."
CONTEXT = Context(DIRECTIVE, min_words=3, max_words=8)
SCAPY = replace(CONTEXT, required_imports=frozenset({"scapy"}))
EITHER = replace(CONTEXT, required_imports=frozenset({"scapy", "pyshark"}))
BLACKLIST = replace(CONTEXT, blacklist=("image", "C++", "go to"))
NEAR = replace(
    CONTEXT,
    rouge_threshold=0.7,
    nearest=("seed", 0.7),
)
LOOP = "The session is down again."
DEEP = "-" * 20_000 + "1"  # Python 3.13 reads 3,000 of them
"""Python that ends in a RecursionError when it is parsed."""


def says(output: str, task_input: str = "", instruction: str = "Explain the hold timer.") -> Candidate:
    return Candidate(instruction, task_input, output)


def code(*blocks: str, language: str = "python") -> Candidate:
    return says("Try this:\n" + "\nand this:\n".join(f"```{language}\n{block}\n```" for block in blocks))


# In pieces, so that no scanner takes them for somebody's.
TOKENS = [
    "s" + "k-" + "a1B2" * 6,
    "s" + "k-" + "proj-" + "a1B2_" * 6,
    "h" + "f_" + "abcDEF" * 6,
    "gh" + "p_" + "a1B2" * 9,
    "github" + "_pat_" + "a1B2_" * 9,
    "AK" + "IA" + "ABCD1234" * 2,
    "xo" + "xb-" + "1234567890-abc",
    "AI" + "za" + "a1B2c" * 7,
    "-----BEGIN " + "RSA PRIVATE KEY-----",
    "-----BEGIN " + "PRIVATE KEY-----",
]
PASSES = Candidate("Explain the hold timer.", "", "It ends the session when no message came in time.")

CASES: list[tuple[str, Context, Candidate, bool]] = [
    # filter, context, candidate, whether it objects
    ("empty_field", CONTEXT, Candidate("", "", "b"), True),
    ("empty_field", CONTEXT, Candidate("Explain the hold timer.", "40 01", ""), True),
    ("empty_field", CONTEXT, Candidate("a", "", "b"), False),
    ("word_count", CONTEXT, Candidate("Too short", "", "b"), True),
    ("word_count", CONTEXT, Candidate("Now long enough", "", "b"), False),
    ("word_count", CONTEXT, Candidate(" ".join("abcdefghi"), "", "b"), True),
    ("word_count", CONTEXT, Candidate(" ".join("abcdefgh"), "", "b"), False),
    ("markers", CONTEXT, says("x\n###\ny"), True),
    ("markers", CONTEXT, says("x\n  ###  \ny"), True),
    ("markers", CONTEXT, says("### Heading\nx # y"), False),
    ("markers", CONTEXT, says("x\n7. Input: y"), True),
    ("markers", CONTEXT, says("x", "12. Output: y"), True),
    ("markers", CONTEXT, says("Input: y\n7. Step"), False),
    ("markers", CONTEXT, says("x", "y <noinput>"), True),
    ("markers", CONTEXT, says("x", "y no input"), False),
    ("markers", CONTEXT, says("x\n### Response: y"), True),
    ("markers", CONTEXT, says("x", "<|im_start|>user"), True),
    *(
        ("markers", CONTEXT, Candidate(*(f"a b{mark} c" if place == field else "a b c" for place in range(3))), True)
        for mark in "\u200b\u200c\u200d\u200e\u200f\u2060\ufeff\u00ad\u202e\u3164"
        for field in range(3)
    ),
    ("markers", CONTEXT, says("é ß 日本 \u00a0 \u2028 😀 ⚠\ufe0f – …"), False),
    ("prompt_leak", CONTEXT, says(f"As asked: {DIRECTIVE}"), True),
    ("prompt_leak", CONTEXT, says("x", DIRECTIVE), True),
    ("prompt_leak", CONTEXT, Candidate(DIRECTIVE.upper().replace(" ", "\n"), "", "x"), True),
    ("prompt_leak", CONTEXT, says(" ".join(DIRECTIVE.split()[2:14])), True),
    ("prompt_leak", CONTEXT, says(" ".join(DIRECTIVE.split()[2:13])), False),
    ("prompt_leak", CONTEXT, Candidate(*DIRECTIVE.split(" who ")[:1], *DIRECTIVE.split(" who ")), False),
    ("blacklist", BLACKLIST, says("x", instruction="Draw an IMAGE of it."), True),
    ("blacklist", BLACKLIST, says("x", instruction="Write it in C++."), True),
    ("blacklist", BLACKLIST, says("x", instruction="Go to the router."), True),
    ("blacklist", BLACKLIST, says("x", instruction="Imagery and images, my_image."), False),
    ("blacklist", BLACKLIST, says("an image", "image", instruction="Go through it to the end."), False),
    ("blacklist", CONTEXT, says("x", instruction="Draw an image."), False),
    ("echo", CONTEXT, says("explain the HOLD timer."), True),
    ("echo", CONTEXT, says("40 01 01", "40 01 01"), True),
    ("echo", CONTEXT, says("40 01 01 is ORIGIN", "40 01 01"), False),
    ("echo", CONTEXT, says("Explain the hold timer"), False),
    ("repetition", CONTEXT, says(f"{LOOP} {LOOP} {LOOP}"), True),
    ("repetition", CONTEXT, says(f"{LOOP}\n" * 3), True),
    ("repetition", CONTEXT, says(f"{LOOP} {LOOP} It is up."), False),
    ("repetition", CONTEXT, says("It is up again.\n" * 3), True),
    ("repetition", CONTEXT, says("It is up again.\n" * 2), False),
    ("repetition", CONTEXT, says("It is up.\n" * 9), False),
    ("broken_code", CONTEXT, says("```\nx = 1"), True),
    ("broken_code", CONTEXT, code("x = = 1"), True),
    ("broken_code", CONTEXT, code("x = 1", "x = = 1"), True),
    ("broken_code", CONTEXT, code("x\x00", language="py"), True),
    ("broken_code", CONTEXT, code(DEEP), True),
    ("broken_code", CONTEXT, code("not " * 60_000 + "1", language="Python"), True),
    ("broken_code", CONTEXT, code("x = 1", "import scapy\n"), False),
    ("broken_code", CONTEXT, code("x = = 1", language="console"), False),
    ("broken_code", CONTEXT, code("x = = 1", language=""), False),
    ("required_import", SCAPY, code("import dpkt"), True),
    ("required_import", SCAPY, code("from dpkt.ip import IP\nimport os"), True),
    ("required_import", SCAPY, code("import dpkt", "x = 'import scapy'"), True),
    ("required_import", SCAPY, code("x = [1]"), False),
    ("required_import", SCAPY, code("import os, xml.sax\nfrom collections.abc import Sized"), False),
    ("required_import", SCAPY, code("from . import dpkt\nfrom .dpkt import ip"), False),
    ("required_import", SCAPY, code("import scapy_http\nfrom . import scapy\n# import scapy"), True),
    ("required_import", SCAPY, code("import scapy"), False),
    ("required_import", SCAPY, code("import os, scapy.all as s"), False),
    ("required_import", SCAPY, code("from scapy.all import IP"), False),
    ("required_import", SCAPY, code("def f():\n    from scapy import all"), False),
    ("required_import", SCAPY, code("import dpkt", "import scapy.all"), False),
    ("required_import", SCAPY, code("import scapy.all", "import dpkt"), False),
    ("required_import", SCAPY, code("tshark -r a.pcap", language="console"), False),
    ("required_import", SCAPY, says("Scapy is a library."), False),
    ("required_import", SCAPY, code(DEEP), False),  # broken_code's to say
    ("required_import", EITHER, code("import pyshark"), False),
    ("required_import", EITHER, code("import dpkt"), True),
    ("required_import", CONTEXT, code("import dpkt"), False),
    *(
        ("local_path", CONTEXT, says(text), True)
        for text in (
            "Open /home/anna/a.pcap.",
            "open('/Users/anna/a.pcap')",
            "python /root/run.py",
            "C:\\Users\\anna\\a.pcap",
            "open('d:\\\\users\\\\anna')",
            "C:/Users/anna/a.pcap",
            "See file:///tmp/a.pcap",
        )
    ),
    ("local_path", CONTEXT, says("x", "/home/anna/a.pcap"), True),
    ("local_path", CONTEXT, says("x", instruction="Read /home/anna/a.pcap."), True),
    *(
        ("local_path", CONTEXT, says(text), False)
        for text in (
            "2>/dev/null",
            "/etc/frr/frr.conf",
            "AS/home",
            "the AS/home/office link",
            "https://example.com/home/page",
            "https://example.com/Users/anna",
            "http://data.ris.ripe.net/rrc00/",
            "GET /users/5/sessions HTTP/1.1",
            "/home",
            "~/a.pcap",
            "/var/www/home/index.html",
            "C:\\Windows",
            "a profile://x",
        )
    ),
    *(("secret", CONTEXT, says(f"key: {token}, keep it"), True) for token in TOKENS),
    ("secret", CONTEXT, says("x", TOKENS[0]), True),
    ("secret", CONTEXT, says("x", instruction=f"Use {TOKENS[0]}"), True),
    *(
        ("secret", CONTEXT, says(text), False)
        for text in (
            "s" + "k-short",
            "a task-" + "abcdefgh" * 4,
            "risk-adjusted-" + "abcdefgh" * 4,
            "sha256 " + "0123456789abcdef" * 4,
            "-----BEGIN PUBLIC KEY-----",
            "-----BEGIN CERTIFICATE-----",
            "2001:db8::1 AKIA",
        )
    ),
    ("duplicate_output", replace(CONTEXT, same_output="seed"), PASSES, True),
    ("duplicate_output", NEAR, PASSES, False),
    ("near_duplicate", replace(NEAR, nearest=("seed", 0.7001)), PASSES, True),
    ("near_duplicate", NEAR, PASSES, False),
    ("near_question", replace(NEAR, given_away=GivenAway("question", "near", 0.7)), PASSES, True),
    ("near_question", NEAR, PASSES, False),
]


@pytest.mark.parametrize(("name", "context", "candidate", "objects"), CASES)
def test_a_filter_objects_to_what_it_is_for_and_to_nothing_near_it(
    name: str, context: Context, candidate: Candidate, objects: bool
) -> None:
    assert FILTERS[name](candidate, context) is objects


def test_every_filter_has_its_bad_and_its_good_cases() -> None:
    assert {name for name, _, _, objects in CASES if objects} == set(FILTERS)
    assert {name for name, _, _, objects in CASES if not objects} == set(FILTERS)


def test_a_good_candidate_meets_no_objection() -> None:
    assert [name for name, objects in FILTERS.items() if objects(PASSES, NEAR)] == []


def test_code_with_an_odd_escape_is_judged_without_a_warning_on_the_terminal() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert not FILTERS["broken_code"](code('x = "\\d"'), CONTEXT)
    assert caught == []


# Which filters a family has


def names(*listed: FilterName) -> list[str]:
    return [check.__name__ for check in choose_filters(listed)]


def test_filters_come_in_the_order_of_the_list() -> None:
    assert names("secret", "echo", "empty_field") == ["secret", "echo", "empty_field"]
    assert names(*reversed(FILTERS)) == list(reversed(FILTERS))


def test_a_task_without_text_is_never_let_through() -> None:
    assert names() == ["empty_field"]
    assert names("echo") == ["empty_field", "echo"]


def test_the_names_that_params_accept_are_those_of_the_filters() -> None:
    assert list(get_args(FilterName)) == [*FILTERS, RUNS, AGREES]
    assert names("echo", RUNS, AGREES) == ["empty_field", "echo"], "which are no functions of a candidate"
    assert all(check.__name__ == name for name, check in FILTERS.items())


# With the project's own settings


def test_the_params_list_every_filter_for_every_family() -> None:
    assert params().filters.enabled == (*FILTERS, RUNS)


@pytest.mark.parametrize("order", [[RUNS, "echo"], [AGREES, RUNS]])
def test_what_takes_long_comes_last(order: list[str]) -> None:
    with pytest.raises(ValidationError, match="put it"):
        params(enabled=order)


@pytest.mark.parametrize("word", ["file", "plot", "map"])
def test_words_of_the_domain_pass_by_default(word: str) -> None:
    candidate = says("```python\nimport pandas\n```", instruction=f"Read the capture {word} and explain it.")
    assert family("performance_analysis").pool.judge_candidate(candidate).reason is None


@pytest.mark.parametrize("name", FAMILIES)
def test_no_filter_objects_to_a_hand_written_seed(name: str) -> None:
    seeds = load_family_seeds(name)
    for seed in seeds:
        others = [other for other in seeds if other is not seed]
        # No directive: some state facts of the field, and a seed may say the same in as many words.
        pool = TaskPool(name, others, "", Evaluation([], params().contamination), params().filters)
        verdict = pool.judge_candidate(
            Candidate(" ".join(seed.instruction.split()), seed.input, seed.output, seed.category)
        )
        assert (seed.id, verdict.reason) == (seed.id, None)


def test_the_orders_of_either_contract_are_a_leak() -> None:
    wordings = [
        "Continue it with 4 new tasks, in exactly this format: a line `###`, then",
        "Write 4 new tasks that go on from these examples, as one JSON object:",
    ]
    for wording, contract in zip(wordings, ("blocks", "json_schema"), strict=True):
        pool = family(api="chat", output_contract=contract, enabled=["prompt_leak"]).pool
        assert pool.judge_candidate(says(wording)).reason == "prompt_leak"
        assert pool.judge_candidate(PASSES).reason is None
