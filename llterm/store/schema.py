"""The tables of a loom file, and how older ones become present ones."""

from __future__ import annotations

import sqlite3

APPLICATION = 0x4C4C5452
"""`LLTR`: says in the file's header that it is a loom."""

MIGRATIONS = (
    """
    create table meta (key text primary key, value) without rowid;
    create table piece (
        id integer primary key, data blob not null, author text not null, created real not null,
        ids blob, sizes blob, overlap integer not null, fingerprint text not null, logprobs blob,
        birth text not null
    );
    create table node (
        id integer primary key, parent integer not null, piece integer not null,
        start integer not null, stop integer not null
    );
    create table step (
        id integer primary key, label text not null, silent integer not null,
        undone integer not null, rows text not null
    );
    create table weave (node integer primary key, blob blob not null);
    """,
    """
    alter table node add column more blob;
    create table mark (
        node integer primary key, bookmark integer not null, rating integer not null,
        tags text not null, note text not null, sort text not null
    );
    create table sight (
        node integer primary key, folded integer not null, unread integer not null
    );
    create table extra (node integer primary key, fields text not null);
    """,
    """
    create table lines (place integer primary key, drawn real not null, blob blob not null);
    """,
)
"""Version n of the schema is reached by the first n scripts."""


def migrate(database: sqlite3.Connection) -> None:
    """Bring a file to the present version, all or nothing."""
    (version,) = database.execute("pragma user_version").fetchone()
    if version < len(MIGRATIONS):
        database.executescript(
            f"begin; {';'.join(MIGRATIONS[version:])}; pragma user_version = {len(MIGRATIONS)};"
            f" pragma application_id = {APPLICATION}; commit;"
        )
