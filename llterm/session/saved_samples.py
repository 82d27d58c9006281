"""Keeps samples in the loom, so that they are there again when the story is back where they
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
from llterm.core.json_text import json_text
from llterm.core.provenance import arrival_row, read_arrival
from llterm.core.query import Source
from llterm.core.tokens import LearnsTokens
from llterm.core.weave_state import Weave
from llterm.session.placed_sample import PlacedSample
from llterm.store.saved_weave import (
    MOST_CANDIDATES,
    arrays_of,
    distributions,
    name_of,
    names_of,
    read_names,
    text_of,
)
from llterm.store.stored_settings import read_sampling, sampling_text

log = logging.getLogger(__name__)

VERSION = 1


def pack_samples(weave: Weave, samples: Iterable[PlacedSample], source: Source) -> bytes:
    """The blob of the samples drawn beside a weave; empty where there are none to keep.

    What a constraint allowed is not kept, so samples under one are not either. Of too many the
    oldest are left out.
    """
    packed: list[PlacedSample] = []
    room = MOST_CANDIDATES
    for sample in samples:
        room -= sum(len(before.ids) for before in sample.found)
        if sample.steps and room >= 0:
            packed.append(sample)
    if not packed or weave.constraint is not None:
        return b""
    header = {
        "version": VERSION,
        **_place(weave, source),
        "names": names_of(_ids(packed), source.vocabulary),
        "lines": [
            {
                "number": sample.number,
                "residue": sample.residue.hex(),
                "sampling": sampling_text(sample.sampling),
                "finish": sample.finish or "stopped",
                "steps": [
                    (step.id, step.data.hex(), step.logprob, step.rank, step.special,
                     step.permitted) for step in sample.steps
                ],
                "arrivals": [arrival_row(arrival) for arrival in sample.arrivals],
            }
            for sample in packed
        ],
    }  # fmt: skip
    out = io.BytesIO()
    np.savez_compressed(
        out,
        header=np.frombuffer(json_text(header, bytes_kept=True).encode(), dtype=np.uint8),
        **arrays_of([before for sample in packed for before in sample.found]),
    )
    return out.getvalue()


def unpack_samples(blob: bytes, weave: Weave, source: Source) -> list[PlacedSample]:
    """The samples kept for the place of this weave; none where another model drew them, the
    text before the story is another now, or the blob is broken."""
    if not blob or weave.constraint is not None:
        return []
    try:
        with np.load(io.BytesIO(blob), allow_pickle=False) as arrays:
            header = json.loads(arrays["header"].tobytes())
            place = {"version": VERSION, **_place(weave, source)}
            if any(header[name] != value for name, value in place.items()):
                return []
            if isinstance(source.vocabulary, LearnsTokens):
                source.vocabulary.learn(read_names(header["names"]))
            listed = distributions(arrays)
            return [_sample(row, listed) for row in header["lines"]]
    except (ValueError, KeyError, TypeError, AttributeError, zipfile.BadZipFile, OSError,
            EOFError, StopIteration) as broken:  # fmt: skip
        log.warning("kept samples could not be read: %s", broken)
        return []


def _place(weave: Weave, source: Source) -> dict[str, Any]:
    """What samples depend on, as JSON gives it back."""
    return {
        # Not its tokens: ids of a server that tells texts alone are new with each connection.
        "before": blake2b(text_of(weave.anchor.tokens, source.vocabulary)).hexdigest(),
        "residue": weave.residue.hex(),
        "model": name_of(source),
        "fingerprint": source.vocabulary.fingerprint,
    }


def _ids(samples: Iterable[PlacedSample]) -> Iterator[int]:
    for sample in samples:
        yield from sample.ids
        for before in sample.found:
            yield from before.ids.tolist()


def _sample(row: dict[str, Any], listed: Iterator[Distribution]) -> PlacedSample:
    sampling = read_sampling(row["sampling"])
    if sampling is None:
        raise ValueError("a sample without its sampler settings")
    steps = [
        Step(id, bytes.fromhex(data), logprob, rank, special, permitted)
        for id, data, logprob, rank, special, permitted in row["steps"]
    ]
    return PlacedSample(
        row["number"], bytes.fromhex(row["residue"]), sampling, steps,
        [next(listed) for _ in steps], row["finish"],
        [read_arrival(arrival) for arrival in row.get("arrivals", ())],
    )  # fmt: skip
