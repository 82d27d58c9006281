"""Keeps sampled lines in the loom, so that they are there again when the story is back where they
were drawn, also after a restart. One blob a place."""

from __future__ import annotations

import io
import json
import logging
import zipfile
from collections.abc import Iterable, Iterator
from hashlib import blake2b
from typing import Any

import numpy as np

from llterm.core.beams import Step
from llterm.core.distribution import Distribution
from llterm.core.jsontext import json_text
from llterm.core.provenance import arrival_row, read_arrival
from llterm.core.query import Source
from llterm.core.tokens import Asking
from llterm.core.weave_state import Weave
from llterm.session.keeping import (
    MOST_CANDIDATES,
    arrays_of,
    distributions,
    name_of,
    names_of,
    read_names,
    text_of,
)
from llterm.session.samples import Sample
from llterm.store.stored_settings import read_sampling, sampling_text

log = logging.getLogger(__name__)

VERSION = 1


def pack_lines(weave: Weave, samples: Iterable[Sample], source: Source) -> bytes:
    """The blob of the lines drawn beside a weave; empty where there are none to keep.

    What a constraint allowed is not kept, so lines under one are not either. Of too many the oldest
    are left out.
    """
    kept: list[Sample] = []
    room = MOST_CANDIDATES
    for one in samples:
        room -= sum(len(found.ids) for found in one.found)
        if one.steps and room >= 0:
            kept.append(one)
    if not kept or weave.constraint is not None:
        return b""
    header = {
        "version": VERSION,
        **_place(weave, source),
        "names": names_of(_ids(kept), source.vocabulary),
        "lines": [
            {
                "number": one.number,
                "residue": one.residue.hex(),
                "sampling": sampling_text(one.sampling),
                "finish": one.finish or "stopped",
                "steps": [
                    (step.id, step.data.hex(), step.logprob, step.rank, step.special,
                     step.permitted) for step in one.steps
                ],
                "arrivals": [arrival_row(arrival) for arrival in one.arrivals],
            }
            for one in kept
        ],
    }  # fmt: skip
    out = io.BytesIO()
    np.savez_compressed(
        out,
        header=np.frombuffer(json_text(header, bytes_kept=True).encode(), dtype=np.uint8),
        **arrays_of([found for one in kept for found in one.found]),
    )
    return out.getvalue()


def unpack_lines(blob: bytes, weave: Weave, source: Source) -> list[Sample]:
    """The lines kept for the place of this weave; none where another model drew them, the
    text before the story is another now, or the blob is broken."""
    if not blob or weave.constraint is not None:
        return []
    try:
        with np.load(io.BytesIO(blob), allow_pickle=False) as arrays:
            header = json.loads(arrays["header"].tobytes())
            place = {"version": VERSION, **_place(weave, source)}
            if any(header[name] != value for name, value in place.items()):
                return []
            if isinstance(source.vocabulary, Asking):
                source.vocabulary.learn(read_names(header["names"]))
            found = distributions(arrays)
            return [_line(one, found) for one in header["lines"]]
    except (ValueError, KeyError, TypeError, AttributeError, zipfile.BadZipFile, OSError,
            EOFError, StopIteration) as broken:  # fmt: skip
        log.warning("kept lines could not be read: %s", broken)
        return []


def _place(weave: Weave, source: Source) -> dict[str, Any]:
    """What lines depend on, as JSON gives it back."""
    return {
        # Not its tokens: a server's are guessed until it is asked.
        "before": blake2b(text_of(weave.anchor.tokens, source.vocabulary)).hexdigest(),
        "residue": weave.residue.hex(),
        "model": name_of(source),
        "fingerprint": source.vocabulary.fingerprint,
    }


def _ids(samples: Iterable[Sample]) -> Iterator[int]:
    for one in samples:
        yield from one.ids
        for found in one.found:
            yield from found.ids.tolist()


def _line(told: dict[str, Any], found: Iterator[Distribution]) -> Sample:
    sampling = read_sampling(told["sampling"])
    if sampling is None:
        raise ValueError("a line without its sampler settings")
    steps = [
        Step(id, bytes.fromhex(data), logprob, rank, special, permitted)
        for id, data, logprob, rank, special, permitted in told["steps"]
    ]
    return Sample(
        told["number"], bytes.fromhex(told["residue"]), sampling, steps,
        [next(found) for _ in steps], told["finish"],
        [read_arrival(one) for one in told.get("arrivals", ())],
    )  # fmt: skip
