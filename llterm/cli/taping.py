"""`--record FILE` and `--replay FILE`: a model on a server whose answers are kept, or were."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from llterm.config import Config, ModelConfig
from llterm.errors import UsageError


def taped(config: Config, typed: str | None, record: Path | None, replay: Path | None) -> Config:
    """The configuration with the model of this run recorded or replayed.

    `typed` is the model as typed, None where it was not. A replay needs neither the server nor its
    settings: what is not configured here is taken from the recording. Raises UsageError.
    """
    if record is None and replay is None:
        return config
    if record is not None and replay is not None:
        raise UsageError(
            "--record and --replay cannot be together", "", "A recording is there already."
        )
    from llterm.backends.registry import find_model

    if replay is not None:
        from llterm.backends.remote.cassette import read_cassette

        recorded, _ = read_cassette(replay)
        name = typed or replay.stem
        own = config.models.get(name)
        known = own.server if own else None
        model = replace(own or ModelConfig(), server=replace(known or recorded, replay=replay))
    else:
        name = config.model
        model = find_model(name, config).settings
        if model.server is None:
            raise UsageError(
                f"{name} is not a model on a server", "", "Only a server's answers are recorded."
            )
        model = replace(model, server=replace(model.server, record=record))
    return replace(config, model=name, models={**config.models, name: model})
