"""What is wrong with a Snakemake command line before Snakemake itself trips over it.

Configuration files are read, and a cache in the home folder is made, before any Snakefile. Called
from the executor plugin, which every Snakemake of this environment imports first. What is refused
here would have failed a moment later with a traceback, or would have been taken for something else.
"""

import contextlib
import io
import os
import re
import sys
from collections.abc import MutableMapping
from functools import cache
from pathlib import Path

from toolgain.common.errors import ExitCode, UserError
from toolgain.common.package import ROOT

FILES = ("--configfile", "--configfiles")
CACHE = Path(".snakemake/cache")
PROFILES = "profiles/*/config*.yaml"
SNAKEFILES = ("Snakefile", "snakefile", "workflow/Snakefile", "workflow/snakefile")
"""Where Snakemake looks for one by itself."""
WITHOUT_SNAKEFILE = ("-h", "--help", "-v", "--version")
STARTED_IN = Path.cwd()
"""Where the words of the command line hold: Snakemake goes to `--directory` later."""


def check_command_line() -> None:
    """End this process with one line where it is a Snakemake that cannot start as it was called."""
    if not _is_snakemake():
        return
    try:
        check_words(sys.argv[1:])
    except UserError as error:
        print(f"toolgain: {error}", file=sys.stderr)
        sys.exit(ExitCode.BAD_INPUT)
    with_cache(os.environ, folder_of(sys.argv[1:]))


@cache
def on_slurm() -> bool:
    """Whether this Snakemake submits its jobs to Slurm, would do so but for `-n`, or runs in one.

    Snakemake itself forgets its executor in a dry run, which is to be checked as a real one.
    """
    if not _is_snakemake():
        return False
    # Imported here, since Snakemake imports this module before it is whole.
    from snakemake.cli import parse_args  # type: ignore[import-untyped]
    from snakemake_interface_executor_plugins.settings import (  # type: ignore[import-untyped]
        ExecMode,
    )

    # It says which profile it uses, a second time.
    quiet = io.StringIO()
    with (
        contextlib.chdir(STARTED_IN),
        contextlib.redirect_stderr(quiet),
        contextlib.redirect_stdout(quiet),
    ):
        _, options_given = parse_args(sys.argv[1:])
    # A job's step is a Snakemake of its own, which names no executor.
    in_job = options_given.mode == ExecMode.REMOTE
    return in_job or "slurm" in (options_given.executor or "")


def _is_snakemake() -> bool:
    program = Path(sys.argv[0])
    return program.name == "snakemake" or program.parts[-2:] == ("snakemake", "__main__.py")


def check_words(words: list[str]) -> None:
    """Refuse a command line that Snakemake would answer with a traceback.

    Raises:
        UserError: a configuration file is missing or is not YAML, two options name one, or a
            value of `--config` is given in a way that Snakemake does not know, or a profile or
            the Snakefile is not there.
    """
    for name, values in options(words):
        if name == "--profile" and values:
            _check_profile(values[0])
    _check_snakefile([name for name, _ in options(words)])
    given = [values for name, values in options(words) if name in FILES]
    if len(given) > 1:
        together = " ".join(value for values in given for value in values)
        raise UserError(
            f"--configfile stands {len(given)} times, and the last one alone would count; give all "
            f"files to one: --configfile {together}."
        )
    from toolgain.config import yaml_file

    for value in (value for values in given for value in values):
        bare = not Path(value).exists() and not re.search(r"[./]", value)
        if bare or Path(value).parts[:1] == ("results",):
            raise UserError(
                f"--configfile: {value} is no configuration file. Every word after --configfile is "
                "taken for one; targets such as `all` go in front of it."
            )
        yaml_file.read_config_file(Path(value))
    for name, values in options(words):
        for value in values if name in ("--config", "-C") else ():
            key, equals, said = value.partition("=")
            if not equals:
                raise UserError(f"--config {value}: give it as key=value.")
            if "." in key:
                raise UserError(f"--config {value}: write it as --config {_nested(key, said)}.")


def _check_profile(name: str) -> None:
    """Say where the profiles are: Snakemake's own message names no folder of this repository."""
    from platformdirs import AppDirs

    dirs = AppDirs("snakemake", "snakemake")
    places = (".", dirs.user_config_dir, dirs.site_config_dir)
    if name in ("", "none") or any((Path(place) / name).exists() for place in places):
        return
    root = ROOT.parent
    if not (root / "Snakefile").is_file():
        return
    if STARTED_IN.resolve() == root:
        here = ", ".join(f"profiles/{path.parent.name}" for path in sorted(root.glob(PROFILES)))
        raise UserError(f"--profile {name}: no such profile; there are {here}.")
    raise UserError(
        f"--profile {name}: no such profile in {STARTED_IN}; start in the repository's root: "
        f"cd {root}"
    )


def _check_snakefile(names: list[str]) -> None:
    """Say where the Snakefile is: Snakemake's own message names what it tried, and no cure."""
    named = any(name.startswith("-s") or name == "--snakefile" for name in names)
    # A profile may name one.
    elsewhere = named or "--profile" in names or "SNAKEMAKE_PROFILE" in os.environ
    if elsewhere or any(name in WITHOUT_SNAKEFILE for name in names):
        return
    if not any((STARTED_IN / place).exists() for place in SNAKEFILES):
        root = ROOT.parent
        if (root / "Snakefile").is_file():
            raise UserError(
                f"no Snakefile in {STARTED_IN}; start in the repository's root: cd {root}"
            )


def options(words: list[str]) -> list[tuple[str, list[str]]]:
    """The options of a command line, each with the words that follow it."""
    found: list[tuple[str, list[str]]] = []
    for word in words:
        if re.match(r"--?[A-Za-z]|--$", word):
            name, equals, value = word.partition("=")
            found.append((name, [value] if equals else []))
        elif found:
            found[-1][1].append(word)
    return found


def folder_of(words: list[str]) -> Path:
    """The working folder that a command line names."""
    named = [
        values[0] for name, values in options(words) if name in ("-d", "--directory") if values
    ]
    return Path(named[-1] if named else ".")


def with_cache(environment: MutableMapping[str, str], folder: Path) -> None:
    """Have Snakemake keep its cache in the working folder where the home folder takes none."""
    if "XDG_CACHE_HOME" in environment:
        return
    try:
        cache = Path("~/.cache/snakemake").expanduser()
        cache.mkdir(parents=True, exist_ok=True)
        if os.access(cache, os.W_OK):
            return
    except (OSError, RuntimeError):
        pass
    environment["XDG_CACHE_HOME"] = str((folder / CACHE).absolute())


def _nested(key: str, value: str) -> str:
    first, *others = key.split(".")
    text = value
    for name in reversed(others):
        text = f"{{{name}: {text}}}"
    return f"'{first}={text}'"
