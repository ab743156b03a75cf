"""One object of somebody else's file into what is asked and what is answered, in whichever format it is.

    Alpaca              instruction, input, output; system, history
    Dolly               instruction, context, response
    prompt/completion   prompt, completion (texts, or lists of messages)
    prompt/response     prompt, response
    question/answer     question, context, answer
    ShareGPT            conversations: [{from: human, value: ...}, {from: gpt, value: ...}, ...]
    chat                messages: [{role: user, content: ...}, {role: assistant, content: ...}, ...]

Of a conversation the first turn is taken, which needs nothing before it; the other messages are counted. A system text
is a part of what is asked. Keys beside these are ignored.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from netllama.core.files import JsonObject
from netllama.splitting.drops import BadRow, shorten_value


class Turn(NamedTuple):
    """What a row asks and answers; the values are still those of the file, of whatever type."""

    format: str
    instruction: object
    input: object
    output: object
    system: object = None
    messages_left: int = 0
    """Messages of the conversation that are not taken."""


class _Message(NamedTuple):
    role: str
    """user, assistant, system, or the file's own name for another one."""
    content: object


_NAMED = {
    "Alpaca": ("instruction", "input", "output"),
    "Dolly": ("instruction", "context", "response"),
    "prompt/completion": ("prompt", "input", "completion"),
    "prompt/response": ("prompt", "input", "response"),
    "question/answer": ("question", "context", "answer"),
}
_CONVERSATIONS = {"conversations": "ShareGPT", "messages": "chat"}
FORMATS = (*_NAMED, *_CONVERSATIONS.values())
_ROLES = {
    "user": ("user", "human", "prompter"),
    "assistant": ("assistant", "gpt", "model", "bot", "chatgpt", "bing", "bard"),
    "system": ("system", "developer"),
}
_ROLE = {name: role for role, names in _ROLES.items() for name in names}
_OTHERS = {
    "chosen": "preference pairs, which nothing here trains on",
    "rejected": "preference pairs, which nothing here trains on",
    "text": "whole texts; split each into instruction and output",
    "content": "whole texts; split each into instruction and output",
}


def read_turn(raw: JsonObject) -> Turn:
    """The turn of an object; BadRow where it is in no format that is read, or has no whole turn."""
    for key, name in _CONVERSATIONS.items():
        if isinstance(raw.get(key), list):
            return _read_conversation(name, raw[key], raw.get("system"))
    for name, (asked, context, answered) in _NAMED.items():
        if asked in raw and answered in raw:
            return _read_named(name, raw, asked, context, answered)
    if "instruction" in raw or "output" in raw:
        return Turn("Alpaca", raw.get("instruction"), raw.get("input"), raw.get("output"))
    raise BadRow("unknown_keys", _describe_keys(raw))


def names_format(raw: JsonObject) -> bool:
    """Whether an object has the keys of a row, whatever else is wrong with it."""
    named = any(asked in raw or answered in raw for asked, _, answered in _NAMED.values())
    return named or any(isinstance(raw.get(key), list) for key in _CONVERSATIONS)


def _read_named(name: str, raw: JsonObject, asked: str, context: str, answered: str) -> Turn:
    if isinstance(raw[asked], list) and isinstance(raw[answered], list):
        return _read_conversation(name, [*raw[asked], *raw[answered]], raw.get("system"))
    if history := raw.get("history"):
        if not isinstance(history, list) or not all(isinstance(turn, list) and len(turn) == 2 for turn in history):
            raise BadRow("wrong_type", f"history: expected pairs of texts, not {shorten_value(history)}")
        first, answer = history[0]
        return Turn(name, first, "", answer, raw.get("system"), 2 * len(history))
    return Turn(name, raw[asked], raw.get(context), raw[answered], raw.get("system"))


def _read_conversation(name: str, raw: Sequence[object], system: object) -> Turn:
    """The first question and the answer right behind it."""
    messages = [_read_message(number, each) for number, each in enumerate(raw, start=1)]
    leading = 0
    while leading < len(messages) and messages[leading].role == "system":
        leading += 1
    said = [*([system] if system else []), *(message.content for message in messages[:leading])]
    place = next((place for place, message in enumerate(messages) if message.role == "user"), None)
    if place is None:
        raise BadRow("no_turn", "no message of a user")
    if place + 1 == len(messages):
        raise BadRow("no_turn", f"message {place + 1}: nobody answers it")
    asked, answer = messages[place : place + 2]
    if answer.role != "assistant":
        raise BadRow("no_turn", f"message {place + 2}: from {answer.role}, expected the assistant's answer")
    joined = "\n\n".join(text for text in said if isinstance(text, str)) if len(said) > 1 else next(iter(said), None)
    return Turn(name, asked.content, "", answer.content, joined, len(messages) - leading - 2)


def _read_message(number: int, raw: object) -> _Message:
    if isinstance(raw, dict):
        for role, content in (("role", "content"), ("from", "value")):
            if isinstance(name := raw.get(role), str) and content in raw:
                return _Message(_ROLE.get(name.lower(), name), _join_parts(number, raw[content]))
    expected = "expected an object with role and content, or from and value"
    raise BadRow("no_turn", f"message {number}: {expected}, not {shorten_value(raw)}")


def _join_parts(number: int, content: Any) -> object:
    """The text of a content that is a list of parts; any other content as it is."""
    if not isinstance(content, list):
        return content
    parts = [part.get("text") for part in content if isinstance(part, dict) and part.get("type") == "text"]
    texts = [text for text in parts if isinstance(text, str)]
    if len(texts) < len(content):
        raise BadRow("wrong_type", f"message {number}: has parts that are not text")
    return "".join(texts)


def _describe_keys(raw: JsonObject) -> str:
    keys = ", ".join(sorted(raw)[:8]) or "none"
    meant = next((meaning for key, meaning in _OTHERS.items() if key in raw), f"formats: {', '.join(FORMATS)}")
    return f"no format that is read has these keys: {shorten_value(keys)} ({meant})"
