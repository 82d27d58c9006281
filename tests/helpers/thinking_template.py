"""The chat template of a model that thinks before it answers, and its special tokens."""

from __future__ import annotations

SPECIAL = ("<|im_start|>", "<|im_end|>", "<think>", "</think>")
THINKING = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n"
    "{% if message.role == 'assistant' %}{{ message.content.split('</think>')[-1] }}"
    "{% for call in message.tool_calls or () %}{{ call.function | tojson }}{% endfor %}"
    "{% else %}{{ message.content }}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if tools %}{{ tools | tojson }}{% endif %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n"
    "{% if enable_thinking is not defined or enable_thinking %}<think>\n{% endif %}{% endif %}"
)
"""Opens thoughts, unless it is told not to."""
