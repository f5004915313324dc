"""The last lines of the screen after a failure: per failed stage its cause, its log, what to do;
after Ctrl-C that it was that.

Snakemake prints a block for every attempt and every stage that could not follow. What a person
needs is printed once more, after all of it.
"""

import atexit
import os
import shlex
import shutil
import sys
import textwrap
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from toolgain.common.amounts import counted
from toolgain.common.failures import not_valid, said_in
from toolgain.common.files import parse_json, read_text
from toolgain.common.logs import last_lines
from toolgain.common.screen import for_terminal, from_here
from toolgain.head import interrupt
from toolgain.slurm.endings import Ending, Refusal, advice


def print_at_exit(workflow: Any) -> None:
    """Have the causes of the failed jobs printed as the last thing that this process does.

    Args:
        workflow: Snakemake's workflow, after a job failed for good.
    """
    scheduler = workflow.scheduler
    endings: dict[Any, Ending | Refusal] = getattr(scheduler._executor, "endings", {})
    failed = [(job, endings.get(job)) for job in scheduler.failed]
    # A stage that Ctrl-C ended has not failed.
    lines = interrupted_block() if interrupt.seen() else failure_block(failed, width())
    text = "\n".join(lines)
    if text:
        atexit.register(lambda: print(for_terminal(text), file=sys.stderr, flush=True))


def invalid_evaluations(outputs: Iterable[Path]) -> Iterator[str]:
    """What is said at once of an evaluation among a finished job's `outputs` that is not valid."""
    for path in outputs:
        if path.name == "summary.json":
            try:
                summary = parse_json(read_text(path))
                if summary["valid"] is False:
                    yield not_valid(path.parent.name, [str(why) for why in summary["reasons"]])
            except (OSError, ValueError, KeyError, TypeError):
                continue


def width() -> int:
    """Columns of the screen, at most 100."""
    return min(100, shutil.get_terminal_size((80, 24)).columns)


def interrupted_block() -> Iterator[str]:
    """The lines after a run that was ended by Ctrl-C."""
    yield ""
    yield "toolgain: ended by Ctrl-C; finished work is kept, and what was running resumes."
    yield f"  start again: {_same_command()}"


def _same_command() -> str:
    return shlex.join(["snakemake", *sys.argv[1:]])


def failure_block(failed: list[tuple[Any, Ending | Refusal | None]], columns: int) -> Iterator[str]:
    """The block for failed jobs, each with how Slurm ended it or why Slurm did not take it."""
    if not failed:
        return
    yield ""
    yield f"toolgain: {counted(len(failed), 'stage')} failed."
    for job, ending in sorted(failed, key=lambda pair: str(pair[0])):
        stage = " ".join([job.rule.name, *job.wildcards_dict.values()])
        slurm = f" ({ending.title})" if ending else ""
        log = Path(str(job.log[0])) if len(job.log) else None
        yield ""
        yield f"  {stage}{slurm}"
        yield from _cause(log, ending, columns)
        shown = _log_to_open(log, ending)
        if shown is not None:
            yield f"    log:  {from_here(str(shown))}"
        todo = ending.advice(job.rule.name) if ending else advice(None)
        yield from _wrapped("next: ", todo, columns)
    yield ""
    yield f"  start again: {_same_command()}"


def _cause(log: Path | None, ending: Ending | Refusal | None, columns: int) -> Iterator[str]:
    # A log may be an earlier attempt's: what is known of this one goes first.
    said = (ending.cause if ending else None) or (said_in(log) if log else None)
    if said:
        yield from _wrapped("", said, columns)
        return
    end = last_lines(_log_to_open(log, ending) or Path(os.devnull), 5)
    yield "    it ended without a word of its own; the end of its log:"
    yield from (f"      | {line[: columns - 8]}" for line in end)


def _log_to_open(log: Path | None, ending: Ending | Refusal | None) -> Path | None:
    """The stage's log; Slurm's where the stage never came to write one; none without a job."""
    if isinstance(ending, Refusal):
        return None
    if log is not None and log.exists() and log.stat().st_size:
        return log
    return ending.log if ending and ending.log.exists() else None


def _wrapped(head: str, text: str, columns: int) -> list[str]:
    return textwrap.wrap(
        head + from_here(text),
        columns,
        initial_indent="    ",
        subsequent_indent="    " + " " * len(head),
        break_long_words=False,
        break_on_hyphens=False,
    )
