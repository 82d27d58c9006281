"""Models on servers: the wire to them, and the dialects they speak."""

from llterm.backends.remote.opening import open_wire
from llterm.backends.remote.wire import BadAnswer, Refused, Reply, Spent, Wire

__all__ = ["BadAnswer", "Refused", "Reply", "Spent", "Wire", "open_wire"]
