"""Text to the terms that it is indexed and searched by: AS numbers, prefixes, clauses, attributes and code survive.

The usual tokenizers of search libraries delete "AS" as an English stop word and cut 10.0.0.0/8, TS 38.331 and E.164
into bare numbers. Here a run of characters without a space becomes one or several terms: the run itself, lower-cased,
and the parts that a reader may search for (AS64500: as64500 and 64500; LOCAL_PREF: local_pref, local and pref). Words
lose the s of the plural, no other ending.

`RULES` is part of an index: change it with the rules, or an index made by the old ones is searched by the new ones.
"""

import re
import socket
import unicodedata
from itertools import chain

RULES = 2
_STOPPED = """
a an and are at be been but by can could did does for from had has have how in into is it its may might must of on or
shall should such than that the their them then there these they this those to was were what when where which while who
whose why will with would you your
"""
STOP_WORDS = frozenset(_STOPPED.split())
"""Words that say nothing of the subject. "As" is none of them: it may be an autonomous system."""
_MOST_KEPT = 1 << 18
"""Runs whose terms are remembered. Words repeat, so that nearly every run is looked up rather than taken apart."""

_MARKS = "".join(chr(code) for code in range(0x300, 0xFFFF) if unicodedata.category(chr(code)) in ("Mn", "Mc"))
"""Vowel signs and accents, which belong to a word in many scripts but are no letters to `re`."""
_RUN = re.compile(rf"[\w:][\w{_MARKS}:./+&@'-]*")
_EDGE = "./+&@'-:"
_JOINT = re.compile(r"[:/+&@'_-]|(?<!\d)\.|\.(?!\d)")
"""What a run is cut at: a dot between digits is none."""
_AS_NUMBER = re.compile(r"asn?(\d+(?:\.\d+)?)")
_WORD_AND_NUMBER = re.compile(r"([^\W\d_]{2,})(\d{3,}|\d+(?:\.\d+)+)")
_NUMBER_AND_UNIT = re.compile(r"(\d{2,}|\d+(?:\.\d+)+)([^\W\d_]{1,4})")
_PLURAL = re.compile(r"(?!https$)[a-z]{2,}[^\W\d_siu]s", re.ASCII)
_ACRONYMS = re.compile(r"([A-Z]{2,})e?s")
_CAMEL = re.compile(r"[A-Z]{2,}(?![a-z])|[A-Z]?[a-z]+")
_IPV4 = re.compile(r"(\d{1,3}(?:\.\d{1,3}){3})(?:/\d{1,2})?")
_IPV6 = re.compile(r"([0-9a-f]*:[0-9a-f:.]*(?<!(?<!:):))(/\d{1,3})?:?")
"""An address, the length of a prefix, and the colon of a sentence."""
_IDEOGRAPHS = re.compile(r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff]+")
"""Written without spaces: Chinese, and Japanese with its kana."""
_SIGNS = {0x2010: "-", 0x2011: "-", 0x2013: "-", 0x2212: "-", 0x2018: "'", 0x2019: "'", 0x00AD: None, 0x200B: None}


def split_terms(text: str) -> list[str]:
    """The terms of a text or a query in the order of their runs, repeated ones as often as they occur."""
    return list(chain.from_iterable(map(_terms_of.__getitem__, find_runs(text))))


def find_runs(text: str) -> list[str]:
    """The runs of a text: each a key of `_TermsOfRuns`, what is between them left out."""
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text.translate(_SIGNS))
    return _RUN.findall(text)


def expand_run(run: str) -> list[str]:
    """The terms of one run, none twice; stop words and bare punctuation give none."""
    if address := _read_address(run.rstrip("./+&@'-").casefold()):
        return address
    run = run.strip(_EDGE).removesuffix("'s").removesuffix("'S")
    parts = [part for part in _JOINT.split(run) if part]
    terms = [run.casefold()] if len(parts) > 1 else []
    for part in parts:
        word = part.casefold()
        if word not in STOP_WORDS and not (terms and len(word) == 1 and word.isalpha()):
            terms += [_drop_plural(part, word), *_split_word(part, word)]
    return list(dict.fromkeys(terms))


def _drop_plural(written: str, word: str) -> str:
    """The singular of an English word or an acronym, by the commonest rules."""
    if acronym := _ACRONYMS.fullmatch(written):
        return acronym[1].casefold()
    if not _PLURAL.fullmatch(word):
        return word
    if word.endswith("ies"):
        return word[:-3] + "y"
    return word[:-2] if word.endswith(("sses", "shes", "ches", "xes", "zes")) else word[:-1]


def _split_word(written: str, word: str) -> list[str]:
    """What else a word is found by: the number of AS64500 and RFC4271, the unit of 20ms, the words of camelCase."""
    if number := _AS_NUMBER.fullmatch(word):
        return [number[1]]
    if pair := _WORD_AND_NUMBER.fullmatch(word) or _NUMBER_AND_UNIT.fullmatch(word):
        return [pair[1], pair[2]]
    if ideographs := _IDEOGRAPHS.findall(word):
        return [signs[at : at + 2] for signs in ideographs for at in range(len(signs) - 1)]
    if written[1:].islower() or written.isupper() or _ACRONYMS.fullmatch(written):
        return []
    return [part.casefold() for part in _CAMEL.findall(written) if len(part) > 2]


def _read_address(run: str) -> list[str]:
    """An address or a prefix as one term, IPv6 in its shortest form, and the address of a prefix; else nothing."""
    if match := _IPV4.fullmatch(run):
        return list(dict.fromkeys((run, match[1])))
    if run.count(":") < 2 or not (match := _IPV6.fullmatch(run)):
        return []
    try:
        address = socket.inet_ntop(socket.AF_INET6, socket.inet_pton(socket.AF_INET6, match[1]))
    except OSError:
        return []
    return list(dict.fromkeys((address + (match[2] or ""), address)))


class _TermsOfRuns(dict[str, tuple[str, ...]]):
    """The terms of each run that was seen, worked out when it is first asked for."""

    def __missing__(self, run: str) -> tuple[str, ...]:
        if len(self) >= _MOST_KEPT:
            self.clear()
        terms = self[run] = tuple(expand_run(run))
        return terms


_terms_of = _TermsOfRuns()
