"""Another token or text in the place of one of the story's, which stays as a branch, or of a
suggestion."""

from __future__ import annotations

from llterm.core.display import raw_text
from llterm.core.tokens import Tail
from llterm.session import taking
from llterm.session.changes import Change
from llterm.session.refusals import cannot_stand
from llterm.session.session import Session


def force(session: Session, start: int, id: int, logprob: float) -> Change:
    """Let another token stand after the story's first `start` bytes. Raises LltermError."""
    source, document = session.model, session.document
    at, token = document.display_offset(start), source.vocabulary.token(id)
    if token.special or len(document.bytes_before(at)) != start:
        raise cannot_stand()
    session.stop()
    document.checkpoint()
    run = taking.forced_run(source, token, logprob)
    return session.reshape(lambda: document.accept(run, at))


def accept_but(session: Session, tail: Tail, number: int, id: int, logprob: float) -> Change:
    """Take a path of the tree up to its token of index `number`, and another in place of that."""
    (woven, ids), source = session.path(tail), session.model
    before = woven.run(tail[: len(tail) - len(ids) + number], source)
    run = taking.forced_after(before, woven.weave.residue, source, id, logprob)
    return session.land(run)


def put_text(session: Session, number: int, text: str) -> Change:
    """Let a person's text stand at the place of this number in `session.reader`."""
    document = session.document
    at = document.display_offset(session.reader.places[number].start)
    session.stop()
    return session.reshape(lambda: document.write(text, at))


def accept_text(session: Session, tail: Tail, text: str) -> Change:
    """Take a suggestion as the person rewrote it: the text is theirs then."""
    if text == raw_text(session.added(tail)):
        return session.accept(tail)
    document = session.document
    document.checkpoint()
    change = session.edit(session.at, session.at, text)
    document.checkpoint()
    return change
