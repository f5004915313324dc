"""Where nothing can be written, every verb says so in one line, and what was there stays whole.

A disk that is full, a file system that is read-only, a folder that is closed, a limit of the size
of files. A new verb with `--out` is found from the command line's parser and has to be entered in
`WRITERS`; one that only prints, in `PRINTERS`.
"""

import contextlib
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import harness_folders
import pytest
from commands import Ended, full, powerless, run, said
from evaluation_folders import rows, write
from test_checkpoints import make

from privileges import may_make_namespaces, may_mount
from toolgain import cli
from toolgain.bfcl.categories import POPULATION
from toolgain.common.errors import ExitCode
from toolgain.evaluation import sandbox

ROOT = Path(__file__).parents[2]
NOBODY = "http://127.0.0.1:9/v1"
"""An endpoint that is not asked before there is a place for its answers."""

WRITERS = {
    "freeze": ("freeze", "--section", "{}", "--out", "OUT"),
    "model": ("model", "--config", "MODEL_SECTION", "--out", "OUT"),
    "tasks": ("tasks", "--config", "TRAINING", "--out", "OUT_FOLDER"),
    "tasks, own rows": ("tasks", "--config", "OWN_ROWS", "--out", "OUT_FOLDER"),
    "rehearse": (
        *("rehearse", "--config", "GYM", "--tasks", "TASKS", "--endpoint", NOBODY, "--model", "m"),
        *("--gym-env", "ENVIRONMENT", "--out", "OUT"),
    ),
    "train": (
        *("train", "--config", "TRAINING", "--weights", "MODEL", "--tasks", "TASKS"),
        *("--run", "grpo", "--trl-env", "ENVIRONMENT", "--out", "OUT"),
    ),
    "train, smoke training left out": (
        *("train", "--config", "TRAINING", "--weights", "MODEL", "--tasks", "TASKS"),
        *("--run", "grpo", "--smoke", "--out", "OUT"),
    ),
    "trial": ("trial", "--config", "ASKING", "--weights", "MODEL", "--out", "OUT"),
    "select": ("select", "STEPS", "--out", "OUT"),
    "export": (
        *("export", "--best", "BEST", "--base", "MODEL", "--trl-env", "ENVIRONMENT"),
        *("--out", "OUT"),
    ),
    "evaluate": ("evaluate", "--endpoint", NOBODY, "--model", "m", "--out", "OUT_FOLDER"),
    "compare": ("compare", "BEFORE", "AFTER", "--out", "OUT"),
    "compare, tables": ("compare", "TABLE", "TABLE", "--out", "OUT"),
    "report": ("report", "COMPARISON", "--results", "HERE", "--out", "OUT"),
    "report, tables": ("report", "OF_TABLES", "--results", "HERE", "--out", "OUT"),
    "demo-model": ("demo-model", "--trl-env", "ENVIRONMENT", "--out", "OUT_FOLDER"),
}
"""Commands that come as far as their output. With ENVIRONMENT a verb must not come to the program
that it would start there: the disk is looked at before."""

PRINTERS = {
    "score": ("score", "SCORED"),
    "verdict": ("verdict", "COMPARISON", "--require", "not_regressed"),
    "status": ("status", "--results", "HERE"),
    "doctor": ("doctor", "--config", "WORKFLOW"),
}
"""Commands that write to standard output alone."""


def test_every_verb_is_tried() -> None:
    for table, writes in ((WRITERS, True), (PRINTERS, False)):
        found = {
            name
            for name, verb in cli.cli.commands.items()
            if any(one.name == "out" for one in verb.params) is writes
        }
        assert {words[0] for words in table.values()} == found


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """What the words in capitals stand for, but for the outputs."""
    folder = tmp_path_factory.mktemp("inputs")
    found: dict[str, object] = {"HERE": folder, "ENVIRONMENT": Path(sys.prefix)}

    def section(name: str, **values: object) -> None:
        found[name] = folder / f"{name.lower()}.json"
        (folder / f"{name.lower()}.json").write_text(json.dumps(values))

    section("MODEL_SECTION", path=str(ROOT / "resources" / "demo-model"))
    small = {"seed": 1, "train": 8, "validation": 4}
    section("TRAINING", backend="trl", tasks=small, smoke_steps=0)
    section("ASKING", serve={"backend": "endpoint", "url": NOBODY})
    found["WORKFLOW"] = ROOT / "config" / "config.yaml"
    answer = {"id": "simple_0", "result": "no call"}
    harness_folders.write(folder / "scored", "simple", [answer], [])
    found["SCORED"] = folder / "scored"
    found["MODEL"], found["TASKS"] = folder / "model.json", folder / "tasks" / "tasks.json"
    found["BEST"], found["STEPS"] = folder / "best.json", folder / "steps"
    table = found["TABLE"] = folder / "rows.csv"
    table.write_text("id,score\n" + "".join(f"{n},{n % 2}\n" for n in range(20)))
    answers = rows(lambda _, index: index == 0, dict.fromkeys(POPULATION, 2))
    for name in ("BEFORE", "AFTER"):
        found[name] = write(folder / name.lower(), answers)
    found["COMPARISON"], found["OF_TABLES"] = folder / "comparison.json", folder / "tables.json"
    weights = make(folder / "steps", 5) / "policy" / "weights"
    (weights / "config.json").write_text("{}")
    for name, out in (
        *(("model", "MODEL"), ("select", "BEST"), ("compare", "COMPARISON")),
        ("compare, tables", "OF_TABLES"),
    ):
        made = run(*(found.get(word, word) for word in (*WRITERS[name][:-1], out)))
        assert made.code == 0, made
    made = run(*(found.get(word, word) for word in (*WRITERS["tasks"][:-1], folder / "tasks")))
    assert made.code == 0, made
    own = {
        f"{name}_file": str(folder / "tasks" / f"{name}.jsonl") for name in ("train", "validation")
    }
    section("OWN_ROWS", backend="trl", tasks=own)
    gym = {"config_paths": ["resources_servers/x/configs/x.yaml"]}
    section("GYM", backend="trl", environment="nemo_gym", gym=gym)
    return found


OLD = ("items.csv", "summary.json", "tasks.json", "train.jsonl", "config.json", "model.safetensors")


def fill(there: Path, words: tuple[str, ...]) -> dict[str, object]:
    """What lies where `words` will write: old files, whose names the outputs have."""
    there.mkdir(exist_ok=True)
    if "OUT" in words:
        for name in ("out.json", "out.md"):
            (there / name).write_text("as it was")
    else:
        (there / "out").mkdir()
        for name in OLD:
            (there / "out" / name).write_text("as it was")
    return {"OUT": there / "out.json", "OUT_FOLDER": there / "out"}


def spoilt(there: Path, words: tuple[str, ...]) -> list[str]:
    """Old files that are not as they were, and halves of new ones."""
    names = ["out.json", "out.md"] if "OUT" in words else [f"out/{name}" for name in OLD]
    gone = [name for name in names if not (there / name).is_file()]
    changed = [n for n in names if n not in gone and (there / n).read_text() != "as it was"]
    halves = [str(path) for path in there.rglob(".*.*") if path.is_file()]
    return gone + changed + halves


def of(words: tuple[str, ...], *found: dict[str, object]) -> list[object]:
    known = {name: value for one in found for name, value in one.items()}
    return [known.get(word, word) for word in words]


def check(ended: Ended, full: bool, place: Path) -> None:
    assert ended.code == (ExitCode.FAILED if full else ExitCode.BAD_INPUT), ended
    line = said(ended)
    assert str(place) in line, line
    assert not full or "make room" in line, line


@pytest.mark.parametrize("verb", WRITERS)
def test_closed_folder_and_limit_of_size(
    verb: str, inputs: dict[str, object], tmp_path: Path
) -> None:
    words, there = WRITERS[verb], tmp_path / "there"
    outputs = fill(there, words)
    check(run(*of(words, inputs, outputs), before=full), True, there)
    assert spoilt(there, words) == []
    for folder in (there, *(path for path in there.rglob("*") if path.is_dir())):
        folder.chmod(0o555)
    ended = run(*of(words, inputs, outputs), before=powerless)
    for folder in (there, *(path for path in there.rglob("*") if path.is_dir())):
        folder.chmod(0o755)
    check(ended, False, there)
    assert spoilt(there, words) == []


@pytest.mark.parametrize(
    ("verb", "out"),
    [("train", "runs/grpo/manifest.json"), ("evaluate", "evaluations/baseline")],
)
def test_closed_folder_beside_an_open_work_folder(
    verb: str, out: str, inputs: dict[str, object], tmp_path: Path
) -> None:
    """Found out before the work, not when its result is to be written."""
    closed = tmp_path / out if verb == "evaluate" else (tmp_path / out).parent
    closed.mkdir(parents=True)
    closed.chmod(0o555)
    outputs: dict[str, object] = {"OUT": tmp_path / out, "OUT_FOLDER": tmp_path / out}
    check(run(*of(WRITERS[verb], inputs, outputs), before=powerless), False, closed)


def may_mount_here() -> bool:
    return may_mount() if os.geteuid() == 0 else may_make_namespaces(os.geteuid())


@pytest.mark.parametrize("kind", ["full", "read-only"])
@pytest.mark.parametrize("verb", WRITERS)
def test_file_system_without_room(
    verb: str, kind: str, inputs: dict[str, object], tmp_path: Path
) -> None:
    """A real one, as large as what is in it: the kernel says ENOSPC, or EROFS."""
    if not may_mount_here():
        pytest.skip("a user that may not mount, as root in most containers")
    words, there = WRITERS[verb], tmp_path / "there"
    there.mkdir()
    outputs: dict[str, object] = {"OUT": there / "out.json", "OUT_FOLDER": there / "out"}

    def mount() -> None:
        sandbox.unshare(sandbox.CLONE_NEWNS, os.geteuid() != 0)
        sandbox.tmpfs(str(there), "size=64k")
        fill(there, words)
        if kind == "read-only":
            flags = sandbox.MS_REMOUNT | sandbox.MS_RDONLY | sandbox.MS_NOSUID | sandbox.MS_NODEV
            done = sandbox.libc.mount(b"none", bytes(there), None, flags, None)
            sandbox.succeeded(done, "remount")
        else:
            with contextlib.suppress(OSError), (there / "rest").open("wb", buffering=0) as rest:
                while True:
                    rest.write(bytes(4096))

        # The file system is seen in that process alone, so it looks itself.
        looks.append(lambda: sys.stderr.write(f"SPOILT {spoilt(there, words)}\n"))

    looks: list[Callable[[], object]] = []
    ended = run(*of(words, inputs, outputs), before=mount, after=lambda: looks[0]())
    *lines, last = ended.stderr.splitlines()
    assert last == "SPOILT []", ended
    check(Ended(ended.code, "\n".join(lines)), kind == "full", there)


@pytest.mark.parametrize("verb", WRITERS)
def test_output_that_is_none_is_refused_and_stays(
    verb: str, inputs: dict[str, object], tmp_path: Path
) -> None:
    """As root, a file would take the place even of a device."""
    words = WRITERS[verb]
    pipe, file, folder = tmp_path / "pipe", tmp_path / "file", tmp_path / "folder"
    os.mkfifo(pipe)
    file.write_text("as it was")
    folder.mkdir()
    other = folder if "OUT" in words else file
    for out in (pipe, other, file / "out.json", tmp_path / os.fsdecode(b"gr\xfc\xdfe")):
        ended = run(*of(words, inputs, {"OUT": out, "OUT_FOLDER": out}))
        assert ended.code == ExitCode.BAD_INPUT, ended
        said(ended)
    assert pipe.is_fifo() and file.read_text() == "as it was" and list(folder.iterdir()) == []
    assert sorted(tmp_path.iterdir()) == [file, folder, pipe]


@pytest.mark.parametrize("verb", PRINTERS)
def test_standard_output_on_a_full_disk(verb: str, inputs: dict[str, object]) -> None:
    def on_full() -> None:
        os.dup2(os.open("/dev/full", os.O_WRONLY), 1)

    ended = run(*of(PRINTERS[verb], inputs), before=on_full)
    assert ended.code == ExitCode.FAILED and "make room" in said(ended), ended
