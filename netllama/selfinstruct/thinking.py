"""Takes a reasoning model's drafts out of the text of an answer, where its server left them in.

The rule, in one pass over the text:

- A draft begins with an opening tag at the start or the end of a line and goes on to its closing tag; the special
  tokens of a chat format, which no prose has, open one anywhere. Without a closing tag all the rest is a cut draft.
- A closing tag that nothing opened ends a draft that began in the prompt: everything in front of it is the draft.
- A tag inside a fence, in quotes or backticks, or as a word of a sentence is text about a tag and stays. So does a
  whole pair of which the opening tag is such a word.

The forms are those that vLLM, SGLang, llama.cpp and Open WebUI know as reasoning markup, and the channels of OpenAI's
harmony format.
"""

import re

_HARMONY_END = r"[^<\n]{0,80}(?:<\|constrain\|>\w{1,20})?<\|message\|>"
_NAME = r"(?:[a-z]{1,12}[:_])?(?:think(?:ing)?|thoughts?|reason(?:ing)?|scratchpad|reflection)"
_TAGS = (
    (rf"<{_NAME}>", rf"</{_NAME}>"),
    (r"Here(?:'s| is) my thought process:", r"Here(?:'s| is) my response:"),
)
"""(opening, closing) of the forms that open a draft at the edge of a line only."""
_TOKENS = (
    (r"\[THINK\]", r"\[/THINK\]"),
    (r"<\|begin_of_(?:thought|thinking)\|>", r"<\|end_of_(?:thought|thinking)\|>"),
    (r"<\|START_THINKING\|>", r"<\|END_THINKING\|>"),
    (r"<\|inner_prefix\|>", r"<\|inner_suffix\|>"),
    (r"◁think▷", r"◁/think▷"),
    (r"<unused94>", r"<unused95>"),
    (r"<\|channel>thought", r"<channel\|>"),
    (
        rf"(?:<\|start\|>assistant)?<\|channel\|>(?:analysis|commentary){_HARMONY_END}",
        rf"(?:<\|start\|>assistant)?<\|channel\|>final{_HARMONY_END}",
    ),
    # Harmony again, by a server that leaves the special tokens out of the text.
    (r"(?!)", r"assistantfinal"),
)
"""(opening, closing) of the forms that are special tokens."""
_FORMS = (*_TAGS, *_TOKENS)
_MARKUP = re.compile(
    r"(?P<lead>^[^\S\n]*+)?(?:(?P<fence>```)|"
    + "|".join(f"(?P<open{form}>{start})|(?P<close{form}>{end})" for form, (start, end) in enumerate(_FORMS))
    + r")(?P<trail>[^\S\n]*+$)?",
    re.MULTILINE | re.IGNORECASE,
)
_BEFORE_WORD, _AFTER_WORD = " \t\"'`(“‘«", " \t\"'`).,;:!?”’»"

# Around the answer proper, where a draft came first.
_ENVELOPE = r"answer|final_answer|response|output|solution"
_ENVELOPE_START = re.compile(
    rf"\s*+(?:<(?:{_ENVELOPE})>|<\|begin_of_solution\|>|<\|START_(?:RESPONSE|TEXT)\|>)", re.IGNORECASE
)
_ENVELOPE_END = re.compile(
    rf"(?:</(?:{_ENVELOPE})>|<\|(?:end_of_solution|END_RESPONSE|END_TEXT|return|end)\|>)\Z", re.IGNORECASE
)


def strip_thinking(text: str) -> str:
    """The text without drafts; the text itself where there is none, and empty where there is nothing else."""
    kept: list[str] = []
    start = 0
    draft: int | None = None
    fenced = found_draft = False
    mentioned: set[int] = set()
    for markup in _MARKUP.finditer(text):
        kind, form = _read_kind(markup)
        if draft is not None:
            if kind == "close" and form == draft:
                draft, start, fenced = None, markup.end(), False
        elif kind == "fence":
            fenced = not fenced
        elif kind == "open":
            if fenced or not _opens_draft(markup, form):
                mentioned.add(form)
                continue
            kept.append(text[start : markup.start()])
            draft, found_draft = form, True
        else:
            alone = markup["lead"] is not None and markup["trail"] is not None
            if form in mentioned and (fenced or not alone):
                mentioned.remove(form)
            elif not _is_word(markup):
                kept, start, fenced, found_draft = [], markup.end(), False, True
    if not found_draft:
        return text
    if draft is None:
        kept.append(text[start:])
    return _open_envelope("".join(kept))


def _read_kind(markup: re.Match[str]) -> tuple[str, int]:
    """("fence", 0), or ("open" or "close", form)."""
    if markup["fence"]:
        return "fence", 0
    (name,) = (name for name, found in markup.groupdict().items() if found and name not in ("lead", "trail"))
    return ("open", int(name[4:])) if name.startswith("open") else ("close", int(name[5:]))


def _opens_draft(markup: re.Match[str], form: int) -> bool:
    return _is_at_edge(markup) or (form >= len(_TAGS) and not _is_word(markup))


def _is_at_edge(markup: re.Match[str]) -> bool:
    """Whether the tag begins or ends its line."""
    return markup["lead"] is not None or markup["trail"] is not None


def _is_word(markup: re.Match[str]) -> bool:
    """Whether the tag stands in the middle of a line between spaces, quotes or punctuation."""
    before = markup.string[max(markup.start() - 1, 0) : markup.start()]
    after = markup.string[markup.end() : markup.end() + 1]
    in_quotes = bool(before and after) and before in _BEFORE_WORD and after in _AFTER_WORD
    return in_quotes and not _is_at_edge(markup)


def _open_envelope(answer: str) -> str:
    if start := _ENVELOPE_START.match(answer):
        answer = answer[start.end() :]
    return _ENVELOPE_END.sub("", answer.rstrip())
