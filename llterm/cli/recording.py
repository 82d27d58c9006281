"""`--record FILE` and `--replay FILE`: models on servers whose answers are kept, or were."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from llterm.config import Config, ModelConfig
from llterm.config.server_settings import ServerSettings
from llterm.errors import ModelError, UsageError


def with_recording(
    config: Config, typed: str | None, record: Path | None, replay: Path | None
) -> Config:
    """The configuration with the model of this run recorded or replayed.

    `typed` is the model as typed, None where it was not. A replay needs neither the server nor its
    settings: what is not configured here is taken from the recording. Raises UsageError.
    """
    if record is None and replay is None:
        return config
    _check_one_way(record, replay)
    # A recording under its whole name: fable.cassette must not be taken for the model fable.
    name = (typed or replay.name) if replay is not None else config.model
    return replace(_with_model_recorded(config, name, record, replay), model=name)


def with_recordings(
    config: Config, models: Sequence[str], records: Sequence[Path], replays: Sequence[Path]
) -> Config:
    """As `with_recording`, of several models: a file for each that is on a server, in their order.

    In a replay a name that means no model is one of the recorded ones. Raises UsageError.
    """
    if not records and not replays:
        return config
    _check_one_way(records, replays)
    served = [name for name in models if _is_served(name, config, replaying=bool(replays))]
    files = records or replays
    if len(files) != len(served):
        flag = "--record" if records else "--replay"
        raise UsageError(
            f"{flag} is given {len(files)} times for {len(served)} models on servers",
            f"On servers: {', '.join(served) or 'none of them'}.",
            "Give it once for each of these, in the order of -m.",
        )
    if len(set(served)) < len(served) or len(set(files)) < len(files):
        raise UsageError(
            "Two recordings cannot be one", "A model or a file is named twice.", "Name each once."
        )
    for name, file in zip(served, files, strict=True):
        config = _with_model_recorded(
            config, name, file if records else None, file if replays else None
        )
    return config


def _check_one_way(record: object, replay: object) -> None:
    if record and replay:
        raise UsageError(
            "--record and --replay cannot be together", "", "A recording is there already."
        )


def _with_model_recorded(
    config: Config, name: str, record: Path | None, replay: Path | None
) -> Config:
    """The configuration with this model recorded or replayed."""
    from llterm.backends.registry import BUNDLED, SCRIPTED, find_model

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
    return replace(config, models={**config.models, name: replace(model, server=server)})


def _is_served(name: str, config: Config, *, replaying: bool) -> bool:
    from llterm.backends.registry import find_model

    try:
        return find_model(name, config).settings.server is not None
    except ModelError:
        if replaying:
            return True
        raise


def _recorded(path: Path) -> ServerSettings:
    from llterm.backends.remote.cassette import read_cassette

    settings, _ = read_cassette(path)
    return settings
