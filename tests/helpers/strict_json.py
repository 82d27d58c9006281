"""JSON as a strict reader takes it."""

from __future__ import annotations

import json
import math
from typing import Any


def strictly(text: str) -> Any:
    """What JSON says. Fails for what a strict reader would not take."""

    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is no JSON")

    def number(digits: str) -> float:
        parsed = float(digits)
        assert math.isfinite(parsed), digits
        return parsed

    parsed = json.loads(text, parse_constant=refuse, parse_float=number)
    json.dumps(parsed, ensure_ascii=False).encode()
    return parsed
