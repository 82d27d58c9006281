"""The tables of a loom file, and how older ones become present ones."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from functools import cache

from llterm.store.values import Damage

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
_LISTED = """
    select name, sql from sqlite_master where not
    (sql is null and type = 'index' or type = 'table' and name in ('sqlite_stat1', 'sqlite_stat4'))
"""
"""Everything that a file holds, but for what SQLite itself adds."""
_VIRTUAL = re.compile(r"\s*create\s+virtual", re.IGNORECASE)


def header(database: sqlite3.Connection) -> tuple[int, int]:
    """Whose file it is (`APPLICATION` says: a loom), and its version. Raises sqlite3.Error."""
    (application,) = database.execute("pragma application_id").fetchone()
    (version,) = database.execute("pragma user_version").fetchone()
    return application, version


def migrate(database: sqlite3.Connection) -> None:
    """Bring a file to the present version, all or nothing."""
    (version,) = database.execute("pragma user_version").fetchone()
    if version < len(MIGRATIONS):
        database.executescript(
            f"begin; {';'.join(MIGRATIONS[version:])}; pragma user_version = {len(MIGRATIONS)};"
            f" pragma application_id = {APPLICATION}; commit;"
        )


def check_schema(database: sqlite3.Connection, version: int) -> None:
    """Raise Damage where the file holds other than the tables of this version, as they were made.

    A view in a table's place, a trigger or a computed column runs code out of the file.
    """
    expected = tables(max(version, 0))
    missing = set(expected)
    for name, statement in database.execute(_LISTED):
        if name not in missing:
            raise Damage(f"it holds what llterm never makes: {str(name)[:40]!r}")
        if plain(statement) != expected[name]:
            raise Damage(f"{name} is not the table that llterm makes")
        missing.remove(name)
    if missing:
        raise Damage(f"the table {min(missing)} is missing")


@cache
def tables(version: int) -> Mapping[str, str]:
    """By name, how each table of this version is made."""
    with closing(sqlite3.connect(":memory:")) as database:
        for script in MIGRATIONS[:version]:
            database.executescript(script)
        return {name: plain(made) for name, made in database.execute(_LISTED)}


@cache
def columns(version: int) -> Mapping[str, tuple[str, ...]]:
    """By table, the names of its columns in this version."""
    with closing(sqlite3.connect(":memory:")) as database:
        for script in MIGRATIONS[:version]:
            database.executescript(script)
        return {
            table: tuple(row[1] for row in database.execute(f"pragma table_info({table})"))
            for table in tables(version)
        }


def is_plain_table(database: sqlite3.Connection, name: str) -> bool:
    """Whether a table is one at all, whatever its columns: reading it runs nothing out of the file.

    Raises sqlite3.Error.
    """
    kinds = database.execute(
        "select type, sql from sqlite_master where name = ? and type in ('table', 'view')", (name,)
    ).fetchall()
    if len(kinds) != 1 or kinds[0][0] != "table" or _VIRTUAL.match(str(kinds[0][1])):
        return False
    # Computed columns are the hidden ones.
    return not any(row[-1] for row in database.execute(f"pragma table_xinfo({name})"))


def plain(statement: object) -> str:
    """SQL on one line, to be compared."""
    return " ".join(str(statement).split())
