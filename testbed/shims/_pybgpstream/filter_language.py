"""The filter language -> filters: clauses `term value...` joined by `and` (libbgpstream's FILTERING).

Filters before the place of an error stay added, as they do in the library.
"""

from .filters import Filters
from .log import complain

_TERMS = {
    "project": "project",
    "proj": "project",
    "collector": "collector",
    "coll": "collector",
    "router": "router",
    "rout": "router",
    "type": "type",
    "resourcetype": "resourcetype",
    "restype": "resourcetype",
    "peer": "peer",
    "origin": "origin",
    "orig": "origin",
    "prefix": "prefix",
    "pref": "prefix",
    "community": "community",
    "comm": "community",
    "aspath": "aspath",
    "path": "aspath",
    "extcommunity": "extcommunity",
    "extc": "extcommunity",
    "ipversion": "ipversion",
    "ipv": "ipversion",
    "elemtype": "elemtype",
}
_KINDS = {"type": "record-type", "resourcetype": "resource-type", "peer": "peer-asn", "origin": "origin-asn"}
_SPECIFICITIES = ("any", "more", "less", "exact")
_BLANKS = " \t\n\v\f\r"


class Refused(ValueError):
    """The library's complaint about a filter string."""


def parse(text: str, filters: Filters) -> None:
    """Add the filters of a filter string. Refused, after the complaint was printed, where it is invalid."""
    try:
        _Parser(text, filters).run()
    except Refused as refusal:
        complain(str(refusal))
        raise


class _Parser:
    def __init__(self, text: str, filters: Filters) -> None:
        self.text, self.filters = text, filters
        self.position = 0
        self.used: set[str] = set()

    def run(self) -> None:
        while True:
            term = self._term()
            specificity = "more"
            values = 0
            while True:
                token = self._token()
                if not token:
                    if values:
                        return
                    raise Refused("Expected argument, found end of string")
                if values and token == "and":
                    self.position += 3
                    break
                if values and token == "or":
                    raise Refused("'or' is not yet implemented")
                if values and term == "aspath":
                    raise Refused("term 'aspath' does not allow multiple values")
                if term == "prefix" and token in _SPECIFICITIES:
                    self.position += len(token)
                    specificity = token
                    if not self._token():
                        raise Refused("Expected argument, found end of string")
                self._add(term, specificity, self._value())
                values += 1

    def _term(self) -> str:
        token = self._token()
        if not token:
            raise Refused("Expected term, found end of string")
        term = _TERMS.get(token)
        if term is None:
            raise Refused(f"Expected a valid term, found '{token}'")
        if term in self.used:
            raise Refused(f"Term '{term}' used more than once")
        if term != "aspath":
            self.used.add(term)
        self.position += len(token)
        return term

    def _token(self) -> str:
        """The next token, not consumed; tokens end at spaces only."""
        while self.position < len(self.text) and self.text[self.position] in _BLANKS:
            self.position += 1
        return self.text[self.position :].split(" ", 1)[0]

    def _value(self) -> str:
        rest = self.text[self.position :]
        if not rest.startswith('"'):
            value = self._token()
            self.position += len(value)
            return value
        value, quote, after = rest[1:].partition('"')
        if not quote:
            raise Refused(f"Missing closing quote: '{rest}'")
        if after[:1] not in ("", " "):
            raise Refused(f'Found garbage after quoted "{value}"')
        self.position += len(value) + 2
        return value

    def _add(self, term: str, specificity: str, value: str) -> None:
        if term == "extcommunity":
            raise Refused("Implementation of filter type Extended Community is still to come!")
        kind = f"prefix-{specificity}" if term == "prefix" else _KINDS.get(term, term)
        complaint = self.filters.add(kind, value)
        if complaint:
            raise Refused(complaint)
