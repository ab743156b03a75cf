"""The chat template of a merged model: a server that knows nothing of params.yaml renders what was trained.

The tokenizer's own template misses what params add to it: `prompt.system_prompt`, the Alpaca format, and the fixed date
that Llama 3 templates would write as today's. Templates that let a model think would ask for thoughts.
"""

import json
from typing import TYPE_CHECKING

from netllama.core.errors import StageError
from netllama.rendering.chat_template import DATE, NO_THINKING
from netllama.rendering.renderer import Renderer

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_REQUESTS = (
    "probe",
    "Which AS announced 192.0.2.0/24?\n\n```python\nx = 1\n```",
    "Über 'quotes' and \"quotes\" {{ x }}",
)


def build_served_template(renderer: Renderer) -> str:
    """A Jinja template that renders one message of a user as `renderer` renders a request."""
    template = _build_alpaca(renderer) if renderer.template == "alpaca" else _extend_own(renderer)
    _require_same(renderer, template)
    return template


def render_message(tokenizer: "PreTrainedTokenizerBase", template: str, request: str) -> str:
    """The text that a server makes of a user's message."""
    messages = [{"role": "user", "content": request}]
    return str(
        tokenizer.apply_chat_template(messages, chat_template=template, tokenize=False, add_generation_prompt=True)
    )


def _extend_own(renderer: Renderer) -> str:
    own = str(renderer.tokenizer.chat_template)
    start = ""
    if "date_string" in own:
        start += f"{{%- set date_string = {json.dumps(DATE)} %}}"
    start += "".join(
        f"{{%- set {name} = false %}}" for name in NO_THINKING if name in own and name in renderer.chat.variables
    )
    if renderer.system_prompt:
        system = f'{{"role": "system", "content": {_quote(renderer.system_prompt)}}}'
        start += (
            f"{{%- if messages[0]['role'] != 'system' %}}{{%- set messages = [{system}] + messages %}}{{%- endif %}}"
        )
    if renderer.opening:
        return f"{start}{own}{{%- if add_generation_prompt %}}{{{{- {_quote(renderer.opening)} }}}}{{%- endif %}}"
    return start + own


def _build_alpaca(renderer: Renderer) -> str:
    """Each request with the whole preamble, as in training; a client's system text takes the trained one's place."""
    marker = "REQUEST"
    before, _, after = renderer.render_prompt(marker).rpartition(marker)
    bos = str(renderer.tokenizer.bos_token or "")
    bos = bos if bos and before.startswith(bos) else ""
    system = f"{renderer.system_prompt}\n\n" if renderer.system_prompt else ""
    preamble = before[len(bos) + len(system) :]
    return (
        f"{{{{- {_quote(bos)} }}}}"
        f"{{%- if messages[0]['role'] == 'system' %}}{{{{- messages[0]['content'] + '\\n\\n' }}}}"
        f"{{%- else %}}{{{{- {_quote(system)} }}}}{{%- endif %}}"
        "{%- for message in messages %}{%- if message['role'] == 'user' %}"
        f"{{{{- {_quote(preamble)} + message['content'] + {_quote(after)} }}}}"
        "{%- elif message['role'] == 'assistant' %}{{- message['content'] + eos_token + '\\n\\n' }}"
        "{%- endif %}{%- endfor %}"
    )


def _quote(text: str) -> str:
    """A string literal of Jinja; JSON's escapes are Python's, too, but for characters beyond the first plane."""
    return json.dumps(text, ensure_ascii=False)


def _require_same(renderer: Renderer, template: str) -> None:
    for request in _REQUESTS:
        if render_message(renderer.tokenizer, template, request) != renderer.render_prompt(request):
            raise StageError(
                "prompt: the merged model's chat template would not render what was trained; "
                f"it differs for the request {request[:20]!r}"
            )
