"""The commands: names, flags, help. What they do is in the modules they import when they run."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from llterm.cli import options
from llterm.cli.config import config_app
from llterm.cli.error_report import guarded
from llterm.cli.models import models_app
from llterm.formats.file_formats import EXPORTS, IMPORTS
from llterm.logbook import begin_log
from llterm.output import begin, put, say
from llterm.version import __version__

if TYPE_CHECKING:
    ExportFormat = str
    ImportFormat = str
else:
    ExportFormat, ImportFormat = Literal[EXPORTS], Literal[IMPORTS]
_NAMES = {"help_option_names": ["-h", "--help"]}

app = typer.Typer(
    help="Weave a story from a language model's own next-token probabilities.\n\n"
    "Without a command, llterm opens the app.",
    epilog="Exit codes: 0 done, 1 failed, 2 usage, 3 unreachable, 4 model, 5 capability missing, "
    "6 condition, 130 interrupted.",
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings=_NAMES,
)
app.add_typer(models_app, name="models")
app.add_typer(config_app, name="config")


def _version(asked: bool) -> None:
    if asked:
        put(f"llterm {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def bare(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Open the app when no command is given."""
    if context.invoked_subcommand is None:
        from llterm.cli.arguments import WeaveArguments
        from llterm.cli.weave import weave

        raise typer.Exit(weave(WeaveArguments()))


@app.command("weave")
@options.with_flags(options.WEAVE, options.SAMPLING)
def weave_command(
    file: Annotated[
        Path | None,
        typer.Argument(metavar="FILE.loom|FILE.txt", help="A loom, or a text to begin one."),
    ] = None,
    web: Annotated[
        bool, typer.Option("--web", help="Show the app in a browser on this machine.")
    ] = False,
    port: Annotated[int, typer.Option("--port", help="With --web: where it is served.")] = 8000,
    **flags: object,
) -> None:
    """Open the app: write by choosing among suggestions.

    A loom is opened where it was left, or made. A text file is imported into a loom beside it,
    never overwritten. Without a terminal one weave is done and its suggestion tree is printed.
    """
    from llterm.cli.arguments import WeaveArguments
    from llterm.cli.weave import weave

    arguments = WeaveArguments.of({"file": file, **flags})
    if web:
        from llterm.cli.web import serve, without_web

        raise typer.Exit(serve(without_web(sys.argv[1:]), port))
    raise typer.Exit(weave(arguments))


@app.command("suggest")
@options.with_flags(options.WEAVE, options.BANS)
def suggest_command(
    file: options.File = None,
    format: Annotated[
        Literal["text", "tree", "json", "dot"], typer.Option("--format", help="What to print.")
    ] = "text",
    **flags: object,
) -> None:
    """Print the most probable continuations of a text, exactly the best under the settings."""
    from llterm.cli.arguments import WeaveArguments
    from llterm.cli.suggest import suggest

    raise typer.Exit(suggest(WeaveArguments.of({"file": file, **flags}), format))


@app.command("sample")
@options.with_flags(
    {"model": options.Model},
    options.STORY,
    options.CHAT,
    options.HEAL,
    options.CONSTRAINT,
    options.DRAFT,
    options.RUN,
    options.RECORDING,
    options.SAMPLING,
)
def sample_command(
    file: options.File = None,
    number: Annotated[
        int, typer.Option("-n", "--number", min=1, max=4096, help="How many continuations.")
    ] = 1,
    tokens: Annotated[
        int, typer.Option("--tokens", min=1, max=1_000_000, help="Most tokens of each.")
    ] = 64,
    format: Annotated[
        Literal["text", "json", "jsonl"],
        typer.Option("--format", help="jsonl: one a line, as each ends."),
    ] = "text",
    sentence: Annotated[
        bool, typer.Option("--sentence/--no-sentence", help="End each where a sentence ends.")
    ] = False,
    stop: Annotated[
        list[str] | None,
        typer.Option("--stop", help="A text that ends a continuation; may be given many times."),
    ] = None,
    **flags: object,
) -> None:
    """Draw continuations of a text, many side by side, as the sampler settings say."""
    values = {**locals(), **flags}
    from llterm.cli.sample import sample

    raise typer.Exit(sample(values))


@app.command("mix")
@options.with_flags(
    options.PREFIX,
    options.CHAT,
    options.MIX,
    options.COMPARISON,
    options.CONSTRAINT,
    options.RUN,
    options.RECORDINGS,
    options.DRAWN,
)
def mix_command(
    file: Annotated[
        Path | None,
        typer.Argument(
            metavar="FILE|-",
            help="A text or a loom to go on with, or to read with --mode reference; "
            "- reads standard input.",
        ),
    ] = None,
    prompt: Annotated[str | None, typer.Option("--prompt", help="The text itself.")] = None,
    mode: Annotated[
        Literal["round-robin", "democratic", "reference"] | None,
        typer.Option(
            "--mode",
            help="Take turns, decide together, or compare with a reference "
            "(default democratic; with a text or a base file reference).",
        ),
    ] = None,
    tokens: Annotated[
        int | None,
        typer.Option(
            "--tokens",
            min=1,
            max=100_000,
            help="Print a report, and go on for so many tokens (default 64). With --mode "
            "reference: read no more than so many.",
        ),
    ] = None,
    format: Annotated[
        Literal["text", "json", "html"] | None,
        typer.Option("--format", help="Print a report in this form (default text)."),
    ] = None,
    **flags: object,
) -> None:
    """Mix several models into one text, or show how far they are from a reference.

    In turns or democratically, the models write a text together. With --mode reference all of them
    read one text, and KL divergence, perplexity and agreement are given as llama-perplexity does.
    On a terminal this opens a screen with the models side by side; a report is printed elsewhere,
    and with --format, --tokens, --continue, --require, --base, --write-base, --window, --stride or
    --method.
    """
    values = {**locals(), **flags}
    from llterm.cli.mix import mix

    raise typer.Exit(mix(values))


@app.command("score")
@options.with_flags(
    options.PREFIX, options.CHAT, {"model": options.Model}, options.RUN, options.RECORDING
)
def score_command(
    file: options.File = None,
    prompt: Annotated[str | None, typer.Option("--prompt", help="The text itself.")] = None,
    format: Annotated[
        Literal["text", "json", "html"],
        typer.Option("--format", help="text: the text in its heat on a terminal, else a table."),
    ] = "text",
    measure: Annotated[
        Literal["surprisal", "probability", "rank", "entropy"],
        typer.Option("--measure", help="What the heat shows, with --format text."),
    ] = "surprisal",
    top: Annotated[
        int, typer.Option("--top", min=1, max=1000, help="Candidates listed a token.")
    ] = 5,
    window: Annotated[
        int | None,
        typer.Option("--window", help="Tokens seen at once; unset: the model's context."),
    ] = None,
    stride: options.Stride = None,
    method: Annotated[
        Literal["overlap", "halves"],
        typer.Option(
            "--method",
            help="overlap: every token, in overlapping windows. halves: as llama.cpp's perplexity "
            "counts, windows side by side, the second half of each.",
        ),
    ] = "overlap",
    attribution: options.Attribution = None,
    at: options.At = None,
    candidate: options.Candidate = None,
    layer: options.Layer = 0,
    last: options.Last = 64,
    **flags: object,
) -> None:
    """Show how expected each token of a text is to a model: heat, perplexity, bits per byte."""
    values = {**locals(), **flags}
    from llterm.cli.score import attribute, score

    raise typer.Exit((score if attribution is None else attribute)(values))


@app.command("serve")
@options.with_flags(options.SERVE)
def serve_command(**flags: object) -> None:
    """Answer programs by HTTP, as OpenAI's and llama.cpp's servers do, with every probability.

    On this machine alone, unless --host says otherwise; a key is asked for then. Ctrl+C ends it:
    what is under way is given some seconds. docs/serve.md lists every address and field.
    """
    from llterm.cli.serve import serve

    raise typer.Exit(serve(flags))


@app.command("batch")
@options.with_flags({"model": options.Model}, options.BATCH, options.RECORDING, options.SAMPLING)
def batch_command(
    file: Annotated[
        Path | None,
        typer.Argument(
            metavar="IN.jsonl|-", help="Requests, as OpenAI's batches have them; - reads them."
        ),
    ] = None,
    **flags: object,
) -> None:
    """Answer many requests, or fill a template with many rows, and keep each result as it ends.

    Whatever stops it, the same command goes on where it was, and comes to the same texts. Results
    are found by custom_id; what fails is in OUT.errors.jsonl. docs/batch.md has examples.
    """
    from llterm.cli.batch import batch

    raise typer.Exit(batch({"file": file, **flags}))


@app.command("classify")
@options.with_flags(options.CLASSIFY, {"model": options.Model}, options.RUN, options.RECORDING)
def classify_command(
    file: Annotated[
        Path | None,
        typer.Argument(
            metavar="FILE|-",
            help="A text or a loom; a .csv or .jsonl table of many; - reads standard input.",
        ),
    ] = None,
    prompt: Annotated[str | None, typer.Option("--prompt", help="The text itself.")] = None,
    format: Annotated[
        Literal["text", "json", "jsonl", "csv", "html"],
        typer.Option("--format", help="What to print; jsonl: a line for each text as it ends."),
    ] = "text",
    **flags: object,
) -> None:
    """Say which label fits a text, or many, with the model's probability of every label.

    A label's probability is summed over all ways to write it in tokens. Where the right labels are
    known, accuracy, confusions and calibration are told. docs/classify.md has examples.
    """
    from llterm.cli.classify import classify

    raise typer.Exit(classify({"file": file, "prompt": prompt, "format": format, **flags}))


@app.command("export")
def export_command(
    loom: Annotated[Path, typer.Argument(metavar="FILE.loom", help="The loom.")],
    format: Annotated[
        ExportFormat | None,
        typer.Option("--format", help="Unset: what the name of the output says, else text."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="The file; unset: standard output.")
    ] = None,
    all_branches: Annotated[
        bool,
        typer.Option("--all", help="With text, markdown, html: every branch, not only the story."),
    ] = False,
    level_merge: Annotated[
        int,
        typer.Option(
            "--level-merge", min=0, help="With dot: equal texts within so many levels are one node."
        ),
    ] = 0,
) -> None:
    """Write a loom as text, page, picture, or another program's file."""
    from llterm.cli.export_import import run_export
    from llterm.formats.exports import ExportOptions

    said = run_export(loom, format, output, ExportOptions(all_branches, level_merge))
    if said:
        say(said)


@app.command("import")
def import_command(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A file of another program.")],
    format: Annotated[
        ImportFormat | None,
        typer.Option("--from", help="Its format; unset: it is found out."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="The loom; unset: beside the file.")
    ] = None,
) -> None:
    """Make a loom of another program's file, or of a text. The file stays as it is."""
    from llterm.cli.export_import import run_import

    say(run_import(file, format, output))


@app.command("keys")
def keys_command(
    test: Annotated[
        bool, typer.Option("--test", help="Show what the terminal sends for the keys you press.")
    ] = False,
    format: Annotated[Literal["text", "json"], typer.Option("--format")] = "text",
    config: options.ConfigPath = None,
) -> None:
    """Print the keys in force."""
    from llterm.cli.settings import load

    loaded = load(file=config)
    if test:
        from llterm.cli.key_test import run_keytest

        raise typer.Exit(run_keytest(loaded.keys))
    from llterm.reports.key_list import keys_json, keys_table

    put(keys_json(loaded.keys) if format == "json" else keys_table(loaded.keys))


@app.command("doctor")
def doctor_command(
    target: Annotated[
        str | None,
        typer.Argument(
            metavar="[FILE.loom|URL|MODEL]",
            help="A loom, a server, or a model on one to check.",
        ),
    ] = None,
    repair: Annotated[
        bool,
        typer.Option("--repair", help="Put a damaged loom right; the damaged file is kept aside."),
    ] = False,
    model: options.Model = None,
    kernels: options.Kernels = None,
    parallel: options.Parallel = None,
    config: options.ConfigPath = None,
) -> None:
    """Check the installation: versions, terminal, folders, configuration, model; or one loom; or
    what a server can do."""
    from llterm.cli.doctor import check_server, examine, is_served
    from llterm.cli.settings import load

    # A loom is checked also where the configuration is broken.
    loom = target is not None and Path(target).suffix == ".loom"
    loaded = None if loom else load({"model": model, "parallel": parallel}, config)
    if loaded is not None and is_served(target or loaded.model, loaded):
        put(check_server(target or loaded.model, loaded))
        return
    if loaded is None or target is not None:
        from llterm.cli.doctor_loom import check_loom

        report, code = check_loom(Path(target or ""), repair=repair, waiting=say)
    else:
        report, code = examine(loaded, options.model_flags({"kernels": kernels}))
    put(report)
    raise typer.Exit(code)


def main() -> None:
    """The program."""
    begin()
    begin_log()
    code = guarded(_run)
    sys.exit(code or guarded(sys.stdout.flush))


def _run() -> int | None:
    command = typer.main.get_command(app)
    if "_LLTERM_COMPLETE" in os.environ:
        command(prog_name="llterm")
    # Not `command()`: the parser's own main turns a reader that left, and ctrl+c, into exits of
    # its own kind.
    with command.make_context("llterm", sys.argv[1:]) as context:
        command.invoke(context)
    return None
