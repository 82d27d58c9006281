"""`--record FILE` and `--replay FILE`: a model on a server whose answers are kept, or were."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from llterm.config import Config, ModelConfig
from llterm.config.server import ServerSettings
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
    from llterm.backends.registry import BUNDLED, SCRIPTED, find_model

    # A recording under its whole name: fable.cassette must not be taken for the model fable.
    name = (typed or replay.name) if replay is not None else config.model
    if replay is None or name in (*BUNDLED, SCRIPTED):
        model = find_model(name, config).settings
    else:
        model = config.models.get(name, ModelConfig(server=_recorded(replay)))
    if model.server is None:
        raise UsageError(
            f"{name} is not a model on a server",
            "",
            "Only a server's answers are recorded and replayed.",
        )
    server = replace(model.server, record=record, replay=replay)
    return replace(
        config, model=name, models={**config.models, name: replace(model, server=server)}
    )


def _recorded(path: Path) -> ServerSettings:
    from llterm.backends.remote.cassette import read_cassette

    settings, _ = read_cassette(path)
    return settings
