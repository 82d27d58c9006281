"""Pages for browsers, and what puts each of them together."""
