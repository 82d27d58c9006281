"""What is damaged in a loom of what opening it does not need: looked at all the same, and told.

A check of the pages costs little. Texts' tokens are only weighed by SQLite, and of the history so
many steps are read; the rest is read when it is come to, or by `llterm doctor`.
"""

from __future__ import annotations

import sqlite3

from llterm.core.loom_tree import Loom
from llterm.number_format import count_of
from llterm.store.connection import Connection, told
from llterm.store.stored_rows import check_step, read_extra, read_samples, read_step
from llterm.store.values import MOST_ID, NEWEST, OLDEST

_STEPS = 5_000
_SOUND = f"""
    typeof(author) = 'text' and typeof(fingerprint) = 'text' and typeof(birth) = 'text'
    and typeof(created) in ('real', 'integer') and created between {OLDEST} and {NEWEST}
    and typeof(overlap) = 'integer' and overlap between 0 and {MOST_ID}
    and typeof(ids) in ('blob', 'null') and coalesce(length(ids), 0) % 4 = 0
    and typeof(sizes) in ('blob', 'null')
    and coalesce(length(sizes), 0) = coalesce(length(ids), 0)
    and typeof(logprobs) in ('blob', 'null') and coalesce(length(logprobs), 0) % 8 = 0
"""
"""Of a text, what `rows.read_piece` takes."""


def survey(database: Connection, loom: Loom) -> str:
    """The first damage found; empty where there is none."""
    try:
        ((found,),) = database.execute("pragma integrity_check(1)").fetchall()
        if found != "ok":
            return "its pages are damaged"
        odd = database.execute(f"select count(*) from piece where ({_SOUND}) is not 1").fetchone()
        if odd != (0,):
            return count_of(odd[0], "text has lost its tokens", "texts have lost their tokens")
        for row in database.rows("select node, fields from extra"):
            read_extra(row)
        for row in database.rows("select place, drawn, blob from lines"):
            read_samples(row)
        steps = "select id, label, silent, undone, rows from step order by id desc limit ?"
        for row in database.rows(steps, (_STEPS,)):
            check_step(read_step(row)[0], loom)
    except (sqlite3.Error, ValueError) as error:
        return told(error)
    return ""
