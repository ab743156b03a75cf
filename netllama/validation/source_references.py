"""Check the form of references: one or more sources, separated by `; `, each with the place in it.

    RFC 4271 section 4.3             RFC 4271 sections 4.2 and 4.4      RFC 3357, Title      RFC 2544 appendix C.2.2
    3GPP TS 23.501 clause 5.7.4      3GPP TS 38.133 table 10.1.6.1-1    ITU-T Y.1541 table 1
    NAME documentation: place        NAME API: place                    NAME source: file symbol
    Author, Title, venue             a report, a paper or a web page

    arithmetic on the given numbers  run with pandas 3.1                answers that need no source

A standard needs a section, clause, table, annex or appendix, or the title of a part without a number.
"""

import re

_NUMBER = r"(?:\d+[A-Z]?(?:\.\d+[A-Za-z]?)*(?:-\d+)?|[A-Z](?:\.\d+)*)(?: \([a-z0-9]+\)(?:(?:, | and )\([a-z0-9]+\))*)?"
_LIST = rf"{_NUMBER}(?:(?:, | and | to ){_NUMBER})*"
_PLACE = rf"(?:sections?|clauses?|tables?|figures?|appendix|appendices|annex) {_LIST}"
_PLACES = rf"{_PLACE}(?:(?:, | and ){_PLACE})*"
_DOCUMENT = (
    r"(?:RFC [1-9]\d{0,4}|3GPP T[SR] \d\d\.\d{3}(?:-\d+)?|ITU-T [A-Z]\.\d+(?:\.\d+)*|IEEE \d+(?:\.\d+\w*)?(?:-\d{4})?)"
)
_STANDARD = re.compile(rf"{_DOCUMENT}(?: {_PLACES}|, .+)")
_STANDARD_PREFIX = re.compile(r"(?:RFC|TS|TR|3GPP|ITU-T|IEEE)\b(?!/)")
_OTHER = re.compile(r"[^,:]+(?:, |: ).+|arithmetic on .+|run with \w+ \d+(?:\.\d+)*")


def list_reference_problems(reference: str) -> list[str]:
    """What is wrong with the sources of a reference and how to fix it; empty if all are well formed."""
    if not reference.strip():
        return ["is empty; name the source and the place in it, as in `RFC 4271 section 4.3`"]
    found = []
    for source in reference.split("; "):
        if not source.strip() or source != source.strip() or source.endswith((".", ";", ",")):
            found.append(f"{source!r}: empty, or begins or ends with a stray separator; remove it")
        elif "://" in source or "www." in source:
            found.append(f"{source!r}: is an address; name the document instead, which outlives it")
        elif source.count("(") != source.count(")"):
            found.append(f"{source!r}: has unbalanced brackets")
        elif _STANDARD_PREFIX.match(source):
            if not _STANDARD.fullmatch(source):
                found.append(
                    f"{source!r}: name the place, as in `RFC 4271 section 4.3` or `3GPP TS 23.501 clause 5.7.4`"
                )
        elif not _OTHER.fullmatch(source):
            found.append(f"{source!r}: name the place in it, as in `source: place`, or write `author, title`")
    return found
