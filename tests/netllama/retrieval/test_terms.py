"""What a text is searched by: identifiers of networks, standards and code whole and in parts, words in any script."""

import hashlib
import unicodedata

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from netllama.retrieval import terms
from netllama.retrieval.terms import RULES, split_terms

CASES = {
    "AS64500": "as64500 64500",
    "asn65551": "asn65551 65551",
    "AS1.10": "as1.10 1.10",
    "AS 64500": "as 64500",
    "as path": "as path",
    "10.0.0.0/8,": "10.0.0.0/8 10.0.0.0",
    "(192.0.2.1).": "192.0.2.1",
    "2001:db8::/32": "2001:db8::/32 2001:db8::",
    "2001:DB8:0:0::1": "2001:db8::1",
    "::/0": "::/0 ::",
    "from fe80::1: up": "fe80::1 up",
    "::ffff:192.0.2.1": "::ffff:192.0.2.1",
    "192.0.2.1:179": "192.0.2.1:179 192.0.2.1 179",
    "64500:100": "64500:100 64500 100",
    "12:30:05": "12:30:05 12 30 05",
    "3GPP TS 38.331": "3gpp ts 38.331",
    "TS38.331": "ts38.331 ts 38.331",
    "RFC4271": "rfc4271 rfc 4271",
    "RFC 4271, 4.3": "rfc 4271 4.3",
    "clause 5.3.5.1.": "clause 5.3.5.1",
    "E.164": "e.164 164",
    "N2/S1": "n2/s1 n2 s1",
    "N2 of 5G": "n2 5g",
    "a value x = 1": "value x 1",
    "20ms, 100 MHz": "20ms 20 ms 100 mhz",
    "-110dBm": "110dbm 110 dbm",
    "local-pref": "local-pref local pref",
    "LOCAL_PREF": "local_pref local pref",
    "AS_PATH": "as_path as path",
    "as-path": "as-path as path",
    "ADD-PATH": "add-path add path",
    "ADD\u2011PATH": "add-path add path",
    "get_next_record()": "get_next_record get next record",
    "getNextRecord": "getnextrecord get next record",
    "BGPStream": "bgpstream bgp stream",
    "__init__": "init",
    "eBGP": "ebgp bgp",
    "IPv4, QoS, gNB": "ipv4 qos gnb",
    "prefixes, queries, peers": "prefix query peer",
    "UPFs, NLRIs, ASes, IPs": "upf nlri as ip",
    "status of DNS analysis, process": "status dns analysis process",
    "bgp_updates": "bgp_updates bgp update",
    "What is the peer's hold time?": "peer hold time",
    "WHAT IS THE PEER'S HOLD TIME?": "peer hold time",
    "https://example.org/a.gz": "https://example.org/a.gz https example org gz",
    "naïve Straße": "naïve strasse",
    "E\u0301te\u0301": "été",
    "ﬁlter": "filter",
    "हिन्दी": "हिन्दी",
    "маршрутизатор": "маршрутизатор",
    "路由器": "路由器 路由 由器",
    "... - :: :": "::",
    "": "",
}


quick = settings(max_examples=50)


@pytest.mark.parametrize(("text", "expected"), CASES.items())
def test_a_text_has_these_terms(text: str, expected: str) -> None:
    assert split_terms(text) == expected.split()


@quick
@given(st.text(), st.text())
def test_the_terms_of_two_texts_are_those_of_each(one: str, other: str) -> None:
    # A combining mark or a sign that NFKC joins to its neighbour could reach over the space: a line can't.
    assert split_terms(f"{one}\n.\n{other}") == split_terms(one) + split_terms(other)


@quick
@given(st.text())
def test_a_term_is_found_whether_it_was_seen_before_or_not(text: str) -> None:
    found = split_terms(text)
    terms._terms_of.clear()
    assert split_terms(text) == found
    assert all(term and not term.isspace() for term in found)


@quick
@given(st.text(st.characters(codec="ascii", categories=["Ll", "Nd", "Pd", "Po", "Zs"])))
@example("0's")
def test_the_case_of_plain_words_makes_no_difference(text: str) -> None:
    assert split_terms(text.upper()) == split_terms(text)


@quick
@given(st.text())
def test_composed_and_decomposed_letters_are_the_same(text: str) -> None:
    assert split_terms(unicodedata.normalize("NFD", text)) == split_terms(unicodedata.normalize("NFC", text))


def test_the_memory_of_seen_runs_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(terms, "_MOST_KEPT", 10)
    assert split_terms(" ".join(f"run{number}" for number in range(50))) == [f"run{number}" for number in range(50)]
    assert len(terms._terms_of) <= 10


def test_no_change_of_the_terms_goes_without_a_new_number_of_the_rules() -> None:
    """An index of the old rules must not be searched by the new ones: raise RULES, then take the new hash."""
    found = hashlib.sha256("\n".join(" ".join(split_terms(text)) for text in CASES).encode()).hexdigest()
    assert (RULES, found[:16]) == (2, "1e6bfb01187257e5")
