"""How far a batch is, and what it came to, in words."""

from __future__ import annotations

from llterm.jobs.batch import BatchProgress, BatchResult
from llterm.jobs.batch_trial import BatchTrial
from llterm.number_format import count_of


def progress_line(progress: BatchProgress) -> str:
    """How far it is."""
    done = progress.before + progress.answered
    parts = [f"{done:,} of {count_of(progress.rows, 'row')}"]
    if progress.failed:
        parts.append(f"{progress.failed:,} failed")
    if progress.seconds:
        parts.append(f"{progress.rate:,.0f} tokens/s")
    if progress.left and (left := progress.seconds_left) is not None:
        parts.append(f"{duration(left)} left")
    return " · ".join(parts)


def summary(result: BatchResult) -> str:
    """What was done."""
    progress, counts = result.progress, result.duplicates
    done = progress.before + progress.answered
    lines = [
        f"{result.model}: {count_of(progress.answered, 'row')} answered, "
        f"{done:,} of {progress.rows:,} in {result.files.results}; "
        f"{count_of(progress.prompt_tokens, 'token')} of prompts, "
        f"{count_of(progress.tokens, 'token')} drawn in {duration(progress.seconds)}, "
        f"{progress.rate:,.0f} a second; seed {result.seed}"
    ]
    if counts.exact or counts.near:
        where = f"; {counts.dropped:,} moved to {result.files.duplicates}" if counts.dropped else ""
        lines.append(
            f"{count_of(counts.exact, 'exact duplicate')}, "
            f"{count_of(counts.near, 'near duplicate')}{where}"
        )
    if progress.failed and result.first_failure is not None:
        lines.append(
            f"{count_of(progress.failed, 'row')} failed: {result.files.errors} says why"
            f" (the first: {result.first_failure.title}). The same command asks them again."
        )
    return "\n".join(lines)


def stopped(progress: BatchProgress) -> str:
    """What is kept of a run that did not come to its end."""
    done = progress.before + progress.answered
    return (
        f"{done:,} of {count_of(progress.rows, 'row')} answered and kept; the same command goes on."
    )


def duration(seconds: float) -> str:
    """About how long, as `12 s`, `3 min`, `2 h 5 min`."""
    if seconds < 100:
        return f"{seconds:,.0f} s" if seconds >= 10 else f"{seconds:.1f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60:,} h {minutes % 60} min"


def forecast(trial: BatchTrial) -> str:
    """What all rows would take."""
    lines = [
        f"{trial.model}: {count_of(trial.rows, 'row')}; by {trial.tried:,} of them about "
        f"{trial.prompt_tokens:,.0f} tokens of prompt and {trial.tokens:,.0f} drawn each, "
        f"{trial.prompt_tokens * trial.rows:,.0f} and {trial.tokens * trial.rows:,.0f} in all, "
        f"{duration(trial.seconds_of_all)} at the most"
    ]
    if trial.failures:
        failed = len(trial.failures)
        lines.append(f"{failed:,} of the {trial.tried:,} failed: {trial.failures[0].title}")
    return "\n".join(lines)
