"""Bad files and full disks in every verb: one line, the right exit code, the old file whole.

Each command runs in a child with limits of memory and time, so that a pipe that nobody writes to,
a device without an end or ten lines of YAML that stand for a thousand million values fail the test
and not the machine.
"""

import contextlib
import gzip
import importlib
import json
import os
import resource
import signal
import socket
import struct
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from evaluation_folders import outcome, rows, write
from hypothesis import given
from hypothesis import strategies as st
from test_checkpoints import make
from verbs import VERBS, place_of

from privileges import may_mount
from toolgain import cli
from toolgain.bfcl.categories import POPULATION
from toolgain.common.errors import ExitCode, UserError
from toolgain.common.files import LARGEST, LARGEST_TABLE, read_gzip, write_text
from toolgain.common.yaml_text import parse_yaml
from toolgain.evaluation import sandbox
from toolgain.head import command_line
from toolgain.report.sources import read_sources

# What the verbs import, once for all children.
for name in (
    *("checkpoint.export", "checkpoint.select", "comparison.compare", "comparison.tables"),
    *("config.freeze", "evaluation.evaluate", "head.doctor", "models.base", "report.render"),
    *("bfcl.v4", "training.train", "training.nemo_rl.backend", "training.trl.backend"),
):
    importlib.import_module(f"toolgain.{name}")

ROOT = Path(__file__).parents[2]
MEMORY = 3 << 30
"""Bytes that a command may take beyond what this process has."""
SECONDS = 300
"""Far more than any of them takes, on a busy machine too."""


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    """Exit status; negative: the signal that ended it."""
    stderr: str


def run(
    *words: object,
    before: Callable[[], object] = lambda: None,
    after: Callable[[], object] = lambda: None,
) -> Ended:
    """Run `toolgain` with `words` in a child of this process, between `before` and `after`."""
    read, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(read)
            os.dup2(write_end, 2)
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
            sys.stderr = open(2, "w", errors="backslashreplace", closefd=False)  # noqa: SIM115
            used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
            resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(SECONDS)
            before()
            sys.argv = ["toolgain", *map(str, words)]
            cli.main()
            code = 0
        except SystemExit as error:
            code = error.code if isinstance(error.code, int) else 1
        except BaseException:
            traceback.print_exc()
            code = 99
        after()
        sys.stderr.flush()
        os._exit(code)
    os.close(write_end)
    with os.fdopen(read, "rb") as said:
        text = said.read().decode(errors="replace")
    return Ended(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), text)


def said(ended: Ended) -> str:
    """The line that a command ended with; what it logged before is no part of it."""
    assert "Traceback" not in ended.stderr, ended.stderr
    lines = [line for line in ended.stderr.splitlines() if line.startswith("toolgain: ")]
    assert len(lines) == 1, ended
    assert ended.stderr.splitlines()[-1] == lines[0], ended
    assert len(lines[0]) < 1000
    return lines[0]


def a_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        # Their names are short by nature.
        here = Path.cwd()
        os.chdir(path.parent)
        listener.bind(path.name)
        os.chdir(here)


def sparse(path: Path) -> None:
    path.touch()
    os.truncate(path, LARGEST_TABLE + 1)


def billion_laughs(path: Path) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    path.write_text("\n".join(lines))


def gzip_bomb(path: Path) -> None:
    with gzip.open(path, "wb", compresslevel=1) as file:
        for _ in range((LARGEST >> 20) + 2):
            file.write(bytes(1 << 20))


KINDS: dict[str, Callable[[Path], object]] = {
    "pipe": os.mkfifo,
    "device": lambda path: path.symlink_to("/dev/zero"),
    "socket": a_socket,
    "folder": Path.mkdir,
    "link to itself": lambda path: path.symlink_to(path.name),
    "1 GB without content": sparse,
    "gzip": lambda path: path.write_bytes(gzip.compress(bytes(1 << 20))),
    "aliases": billion_laughs,
    "an alias in itself": lambda path: path.write_text("&a [*a]"),
    "latin-1": lambda path: path.write_bytes('{"path": "Größe"}'.encode("latin-1")),
    "deep": lambda path: path.write_text("[" * 100_000),
    "deep and whole": lambda path: path.write_text("[" * 900 + "]" * 900),
    "long header": lambda path: path.write_bytes(struct.pack("<Q", 1 << 62)),
    "no date": lambda path: path.write_text("a: 2026-99-99"),
    "empty": Path.touch,
}

FILES = VERBS | {
    "doctor": ("doctor", "--config", "FILE"),
    "rehearse": ("rehearse", "--config", "FILE", "--out", "OUT"),
    "compare, tables": ("compare", "TABLE", "TABLE", "--out", "OUT"),
    "compare, samples": ("compare", "SAMPLES", "SAMPLES", "--metric", "acc", "--out", "OUT"),
    "compare, items": ("compare", "ITEMS", "ITEMS", "--out", "OUT"),
    "compare, results": ("compare", "BFCL", "BFCL", "--out", "OUT"),
    "score": ("score", "BFCL"),
    "select, checkpoint": ("select", "STEPS", "--out", "OUT"),
    "model, settings": ("model", "--config", "OF_SETTINGS", "--out", "OUT"),
    "model, weights": ("model", "--config", "OF_WEIGHTS", "--out", "OUT"),
    "model, index": ("model", "--config", "OF_INDEX", "--out", "OUT"),
    "model, template": ("model", "--config", "OF_TEMPLATE", "--out", "OUT"),
}
OTHERS = {"freeze", "demo-model", "status"}
"""Verbs that read no file of the user's, and `status`, which shows what it can read."""


def places(folder: Path) -> dict[str, Path]:
    """What the words of `FILES` stand for."""
    found = place_of(folder)
    bad = found["FILE"]
    for name, suffix in (("TABLE", ".csv"), ("SAMPLES", ".jsonl")):
        found[name] = folder / f"rows{suffix}"
        found[name].symlink_to(bad)
    found["ITEMS"] = write(folder / "items", [outcome("simple", 0, True)])
    (found["ITEMS"] / "items.csv").unlink()
    (found["ITEMS"] / "items.csv").symlink_to(bad)
    found["BFCL"] = folder / "bfcl"
    for kind in ("result", "score"):
        inside = found["BFCL"] / kind / "m"
        inside.mkdir(parents=True)
        (inside / f"BFCL_v3_simple_{kind}.json").symlink_to(bad)
    found["STEPS"] = folder / "steps"
    info = make(found["STEPS"], 5) / "training_info.json"
    info.unlink()
    info.symlink_to(bad)
    for role, name in (
        ("OF_SETTINGS", "config.json"),
        ("OF_WEIGHTS", "model.safetensors"),
        ("OF_INDEX", "model.safetensors.index.json"),
        ("OF_TEMPLATE", "chat_template.jinja"),
    ):
        model = model_in(folder / f"model_{role}")
        (model / name).unlink(missing_ok=True)
        (model / name).symlink_to(bad)
        found[role] = folder / f"{role}.json"
        patch = "nemotron-nano-v2" if role == "OF_TEMPLATE" else "none"
        found[role].write_text(json.dumps({"path": str(model), "patch": patch}))
    return found


def model_in(folder: Path) -> Path:
    """A model folder that is whole."""
    folder.mkdir()
    (folder / "config.json").write_text('{"model_type": "qwen3"}')
    (folder / "tokenizer_config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", 2) + b"{}")
    return folder


def test_every_verb_is_tried() -> None:
    tried = {words[0] for words in FILES.values()}
    assert set(cli.cli.commands) <= tried | OTHERS


# All kinds where JSON and where YAML is read; elsewhere those that wait, grow or have no content.
EVERY = ("verdict", "doctor", "evaluate, config", "report", "compare, items", "model, weights")
SOME = ("pipe", "device", "folder", "1 GB without content", "latin-1", "deep and whole")


@pytest.mark.parametrize(
    ("role", "kind"),
    [(role, kind) for role in FILES for kind in (KINDS if role in EVERY else SOME)],
)
def test_bad_file_is_one_line_and_exit_code_2(role: str, kind: str, tmp_path: Path) -> None:
    found = places(tmp_path)
    KINDS[kind](found["FILE"])
    ended = run(*(found.get(word, word) for word in FILES[role]))
    assert ended.code == ExitCode.BAD_INPUT, ended
    if role != "doctor":
        said(ended)
    assert "Traceback" not in ended.stderr
    assert not found["OUT"].exists()


def readable_comparison(folder: Path) -> Path:
    """A table that two of make a comparison."""
    path = folder / "rows.csv"
    path.write_text("id,score\n" + "".join(f"{n},{n % 2}\n" for n in range(20)))
    return path


@pytest.fixture
def writers(tmp_path: Path) -> dict[str, tuple[object, ...]]:
    """Commands that reach their output, which is named OUT."""
    table = readable_comparison(tmp_path)
    config = tmp_path / "model.json"
    config.write_text(json.dumps({"path": str(ROOT / "resources" / "demo-model")}))
    make(tmp_path / "steps", 5)
    return {
        "freeze": ("freeze", "--section", "{}", "--out"),
        "model": ("model", "--config", config, "--out"),
        "select": ("select", tmp_path / "steps", "--out"),
        "compare": ("compare", table, table, "--out"),
    }


def powerless() -> None:
    """As root, without the right to write where the modes forbid it."""
    sandbox.drop_capabilities()


def full() -> None:
    """No file may grow, as where the disk is full."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))


@pytest.mark.parametrize("verb", ["freeze", "model", "select", "compare"])
def test_full_disk_and_closed_folder_leave_the_old_file_whole(
    verb: str, writers: dict[str, tuple[object, ...]], tmp_path: Path
) -> None:
    out = tmp_path / "there" / "out.json"
    write_text(out, "as it was")
    ended = run(*writers[verb], out, before=full)
    assert ended.code == ExitCode.FAILED and "make room" in said(ended) and str(out) in said(ended)
    out.parent.chmod(0o555)
    ended = run(*writers[verb], out, before=powerless)
    assert ended.code == ExitCode.BAD_INPUT and str(out.parent) in said(ended)
    out.parent.chmod(0o755)
    assert out.read_text() == "as it was"
    assert list(out.parent.iterdir()) == [out]


@pytest.mark.parametrize("verb", ["freeze", "model", "select", "compare"])
def test_output_that_is_no_file_is_refused_and_stays(
    verb: str, writers: dict[str, tuple[object, ...]], tmp_path: Path
) -> None:
    """As root, a file would take the place even of a device."""
    pipe, below = tmp_path / "pipe", tmp_path / "file" / "out.json"
    os.mkfifo(pipe)
    (tmp_path / "file").touch()
    for out in (pipe, tmp_path, below, Path(os.fsdecode(bytes(tmp_path) + b"/gr\xfc\xdfe"))):
        ended = run(*writers[verb], out)
        assert ended.code == ExitCode.BAD_INPUT, ended
        said(ended)
    assert pipe.is_fifo()


def test_names_that_are_no_utf_8_are_refused_before_anything_is_made(tmp_path: Path) -> None:
    model = model_in(tmp_path / "model")
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"path": str(model)}))
    (model / os.fsdecode(b"\xe9.txt")).touch()
    ended = run("model", "--config", config, "--out", tmp_path / "model.json")
    assert ended.code == ExitCode.BAD_INPUT and "is not UTF-8" in said(ended)


RESULTS = (
    *("config/evaluation.json", "config/training/grpo.json", "config/comparison.json"),
    *("evaluations/baseline/summary.json", "evaluations/baseline/manifest.json"),
    *("evaluations/baseline/items.csv", "evaluations/baseline/questions.jsonl.gz"),
    *("runs/grpo/manifest.json", "runs/grpo/best.json", "runs/grpo/smoke.json", "model.json"),
    *("progress/evaluate-baseline.json", "progress/train-grpo.json", "benchmarks/train/grpo.tsv"),
    *("tasks/grpo/tasks.json", "comparison.json"),
)
"""Files of a results folder that `status` and `report` look for."""


@pytest.fixture(scope="module")
def comparison(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A comparison of two evaluations of all categories."""
    folder = tmp_path_factory.mktemp("comparison")
    answers = rows(lambda _, index: index == 0, dict.fromkeys(POPULATION, 2))
    before, after = (write(folder / name, answers) for name in ("before", "after"))
    assert run("compare", before, after, "--out", folder / "comparison.json").code == 0
    return folder / "comparison.json"


@pytest.mark.parametrize("kind", KINDS)
def test_status_and_report_say_what_they_cannot_read_and_show_the_rest(
    kind: str, comparison: Path, tmp_path: Path
) -> None:
    results = tmp_path / "results"
    for name in RESULTS:
        (results / name).parent.mkdir(parents=True, exist_ok=True)
        KINDS[kind](results / name)
    for words in (
        ("status", "--results", results),
        ("report", comparison, "--results", results, "--out", tmp_path / "report.html"),
    ):
        ended = run(*words)
        assert ended.code == 0 and "Traceback" not in ended.stderr, ended
    assert any("cannot be read" in line for line in read_sources(comparison, results).missing)


def test_results_folder_that_is_none_is_one_line(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "results")
    ended = run("status", "--results", tmp_path / "results")
    assert ended.code == ExitCode.BAD_INPUT and "not a folder" in said(ended)


@pytest.mark.parametrize("kind", KINDS)
def test_configfile_of_snakemake_is_refused_before_snakemake_opens_it(
    kind: str, tmp_path: Path
) -> None:
    KINDS[kind](tmp_path / "config.yaml")
    with pytest.raises(UserError, match=r"config: .*config\.yaml"):
        command_line.check_words(["all", "--configfile", str(tmp_path / "config.yaml")])


@pytest.mark.parametrize("role", FILES)
def test_file_that_nobody_may_read_is_one_line_and_exit_code_2(role: str, tmp_path: Path) -> None:
    """Mode 000, as a user without the right to read it all the same."""
    found = places(tmp_path)
    found["FILE"].write_text("{}")
    found["FILE"].chmod(0)
    ended = run(*(found.get(word, word) for word in FILES[role]), before=powerless)
    assert ended.code == ExitCode.BAD_INPUT, ended
    assert "Traceback" not in ended.stderr
    if role != "doctor":
        said(ended)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts a file system")
@pytest.mark.parametrize("verb", ["freeze", "model", "select", "compare"])
def test_full_file_system_leaves_the_old_file_whole(
    verb: str, writers: dict[str, tuple[object, ...]], tmp_path: Path
) -> None:
    """A real one, as large as what is in it: the kernel says ENOSPC."""
    if not may_mount():
        pytest.skip("a root that may not mount, as in most containers")
    folder = tmp_path / "full"
    folder.mkdir()

    def fill() -> None:
        sandbox.unshare(sandbox.CLONE_NEWNS, False)
        sandbox.tmpfs(str(folder), "size=64k")
        (folder / "out.json").write_text("as it was")
        with contextlib.suppress(OSError), (folder / "rest").open("wb", buffering=0) as rest:
            while True:
                rest.write(bytes(4096))

        # The file system is seen in that process alone, so it looks itself.
        def look() -> None:
            kept = (folder / "out.json").read_text() == "as it was"
            names = sorted(path.name for path in folder.iterdir())
            sys.stderr.write(f"KEPT {names if kept else None}\n")

        looks.append(look)

    looks: list[Callable[[], None]] = []

    ended = run(*writers[verb], folder / "out.json", before=fill, after=lambda: looks[0]())
    assert ended.code == ExitCode.FAILED, ended
    assert "make room" in ended.stderr and str(folder / "out.json") in ended.stderr
    assert "KEPT ['out.json', 'rest']" in ended.stderr, ended


@pytest.mark.slow
def test_gzip_that_grows_without_end_is_refused(tmp_path: Path) -> None:
    gzip_bomb(tmp_path / "questions.jsonl.gz")
    with pytest.raises(OSError, match="holds more than"):
        read_gzip(tmp_path / "questions.jsonl.gz")


def test_aliases_that_stand_for_little_are_read() -> None:
    text = "base: &base {a: 1}\nruns: {one: *base, two: *base}"
    assert parse_yaml(text)["runs"] == {"one": {"a": 1}, "two": {"a": 1}}


@given(
    st.recursive(st.integers() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x))
)
def test_yaml_within_bounds_is_read_as_it_is(value: object) -> None:
    try:
        assert parse_yaml(yaml.safe_dump(value)) == value
    except ValueError as error:
        assert "nested deeper" in str(error)
