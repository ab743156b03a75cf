"""Parses the filter language: clauses `term value...` joined by `and` (libbgpstream's FILTERING).

As in the library, filters that precede an error stay added.
"""

from .filters import StreamFilters
from .log import print_complaint

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


class FilterSyntaxError(ValueError):
    """An invalid filter string; the text is the library's complaint."""


def parse_filter_string(text: str, filters: StreamFilters) -> None:
    """Add the filters of a filter string. If it is invalid: print the complaint and raise FilterSyntaxError."""
    try:
        _FilterParser(text, filters).run()
    except FilterSyntaxError as refusal:
        print_complaint(str(refusal))
        raise


class _FilterParser:
    def __init__(self, text: str, filters: StreamFilters) -> None:
        self.text, self.filters = text, filters
        self.position = 0
        self.used: set[str] = set()

    def run(self) -> None:
        while True:
            term = self._read_term()
            specificity = "more"
            values = 0
            while True:
                token = self._peek_token()
                if not token:
                    if values:
                        return
                    raise FilterSyntaxError("Expected argument, found end of string")
                if values and token == "and":
                    self.position += 3
                    break
                if values and token == "or":
                    raise FilterSyntaxError("'or' is not yet implemented")
                if values and term == "aspath":
                    raise FilterSyntaxError("term 'aspath' does not allow multiple values")
                if term == "prefix" and token in _SPECIFICITIES:
                    self.position += len(token)
                    specificity = token
                    if not self._peek_token():
                        raise FilterSyntaxError("Expected argument, found end of string")
                self._add_filter(term, specificity, self._read_value())
                values += 1

    def _read_term(self) -> str:
        token = self._peek_token()
        if not token:
            raise FilterSyntaxError("Expected term, found end of string")
        term = _TERMS.get(token)
        if term is None:
            raise FilterSyntaxError(f"Expected a valid term, found '{token}'")
        if term in self.used:
            raise FilterSyntaxError(f"Term '{term}' used more than once")
        if term != "aspath":
            self.used.add(term)
        self.position += len(token)
        return term

    def _peek_token(self) -> str:
        """The next token, without consuming it. Only a space ends a token."""
        while self.position < len(self.text) and self.text[self.position] in _BLANKS:
            self.position += 1
        return self.text[self.position :].split(" ", 1)[0]

    def _read_value(self) -> str:
        rest = self.text[self.position :]
        if not rest.startswith('"'):
            value = self._peek_token()
            self.position += len(value)
            return value
        value, quote, after = rest[1:].partition('"')
        if not quote:
            raise FilterSyntaxError(f"Missing closing quote: '{rest}'")
        if after[:1] not in ("", " "):
            raise FilterSyntaxError(f'Found garbage after quoted "{value}"')
        self.position += len(value) + 2
        return value

    def _add_filter(self, term: str, specificity: str, value: str) -> None:
        if term == "extcommunity":
            raise FilterSyntaxError("Implementation of filter type Extended Community is still to come!")
        kind = f"prefix-{specificity}" if term == "prefix" else _KINDS.get(term, term)
        complaint = self.filters.add(kind, value)
        if complaint:
            raise FilterSyntaxError(complaint)
