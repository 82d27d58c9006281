"""Chat templates that write calls of tools, each in one of the ways that models are trained on."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any

from llterm.backends.chat_formats import own_format
from llterm.core.conversation import Conversation
from llterm.core.json_text import json_text

_HEAD = (
    "{% if tools %}[T]{{ tools | tojson }}[/T]\n{% endif %}{% for message in messages %}"
    "<|{{ message.role }}|>\n"
)
_TAIL = "<|end|>\n{% endfor %}{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
_SAID = "{{ message.content or '' }}"


def _template(calls: str, head: str = _HEAD, said: str = _SAID) -> str:
    return f"{head}{said}{calls}{_TAIL}"


def _each(call: str, before: str = "", after: str = "", between: str = "") -> str:
    """A template's part for calls, whose `c` is one's function."""
    return (
        "{% if message.tool_calls %}" + before + "{% for call in message.tool_calls %}"
        "{% set c = call.function %}" + call
        + ("{% if not loop.last %}" + between + "{% endif %}" if between else "")
        + "{% endfor %}" + after + "{% endif %}"
    )  # fmt: skip


_JSON = '{"name": "{{ c.name }}", "arguments": {{ c.arguments | tojson }}}'
_PARAMETER = (
    "{% for key, value in c.arguments.items() %}<parameter={{ key }}>\n"
    "{{ value if value is string else value | tojson }}\n</parameter>\n{% endfor %}"
)
TEMPLATES: Mapping[str, str] = {
    "in tags": _template(_each(f"\n<tool_call>\n{_JSON}\n</tool_call>")),
    "as a list": _template(_each(_JSON, "[TOOL_CALLS][", "]", ", ")),
    "name, then arguments": _template(
        _each("[TOOL_CALLS]{{ c.name }}[CALL_ID]{{ call.id }}[ARGS]{{ c.arguments | tojson }}")
    ),
    "counted": _template(
        _each(
            "<|use|>functions.{{ c.name }}:{{ loop.index0 }}<|args|>{{ c.arguments | tojson }}"
            "<|/use|>", "<|uses|>", "<|/uses|>",
        )
    ),
    "arguments as text": _template(
        _each("<|call|>{{ c.name }}\n```json\n{{ '' + c.arguments }}\n```<|/call|>")
    ),
    "one call alone": _template(
        "{% if message.tool_calls %}{% set c = message.tool_calls[0].function %}"
        "{% if message.tool_calls | length > 1 %}{{ raise_exception('one call') }}{% endif %}"
        '{"name": "{{ c.name }}", "parameters": {{ c.arguments | tojson }}}{% endif %}'
    ),
    "tagged": _template(
        _each("\n<tool_call>\n<function={{ c.name }}>\n" + _PARAMETER + "</function>\n</tool_call>")
    ),
    "tagged by kind": _template(
        _each(
            '<invoke name="{{ c.name }}">{% for key, value in c.arguments.items() %}'
            '<p name="{{ key }}" string="{{ (value is string) | tojson }}">'
            "{{ value if value is string else value | tojson }}</p>{% endfor %}</invoke>",
            "<calls>", "</calls>",
        )
    ),
    "tagged by name": _template(
        _each(
            '<invoke name="{{ c.name }}">{% for key, value in c.arguments.items() %}<{{ key }}>'
            "{{ value if value is string else value | tojson }}</{{ key }}>{% endfor %}</invoke>\n",
            "<calls>\n", "</calls>",
        )
    ),
    "quoted by tokens": _template(
        _each(
            "<|call>call:{{ c.name }}{{ '{' }}{% for key, value in c.arguments.items() %}"
            "{{ key }}:{% if value is string %}<|q|>{{ value }}<|q|>{% else %}"
            "{{ value | tojson }}{% endif %}{% if not loop.last %},{% endif %}{% endfor %}}<call|>"
        )
    ),
    "after thoughts": _template(
        _each(f"<tool_call>\n{_JSON}\n</tool_call>\n"),
        said="{% if message.role == 'assistant' %}<think></think>\n{% endif %}" + _SAID,
    ),
}  # fmt: skip
"""By what is peculiar to each."""
UNTAUGHT: Mapping[str, str] = {
    "no tools": _template("", _HEAD.replace("tools", "nothing")),
    "tools alone": _template(""),
    "calls alone": _template(
        _each(f"\n<tool_call>\n{_JSON}\n</tool_call>"), _HEAD.replace("tools", "nothing")
    ),
    "calls by nothing but their names": _template(
        _each("{{ c.name }}\n{{ c.arguments | tojson }}")
    ),
}


def writer(template: str) -> Callable[[Conversation], Coroutine[Any, Any, str]]:
    """Writes conversations by a template."""
    form = own_format(template, "<s>", "</s>")

    async def write(conversation: Conversation) -> str:
        return "".join(part.text for part in form.write(conversation))

    return write


def calling(
    calls: Sequence[tuple[str, Mapping[str, Any]]], *, as_text: bool = False
) -> dict[str, Any]:
    """A message of an assistant that makes these calls."""
    return {
        "role": "assistant",
        "content": "",
        "tool_calls": [
            {
                "id": f"callabc{number:02}",
                "type": "function",
                "function": {"name": name, "arguments": json_text(given) if as_text else given},
            }
            for number, (name, given) in enumerate(calls)
        ],
    }
