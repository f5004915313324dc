"""Bad files in every verb: one line and the right exit code, nothing written.

Each command runs in a child with limits of memory and time, so that a pipe that nobody writes to,
a device without an end or ten lines of YAML that stand for a thousand million values fail the test
and not the machine.
"""

import gzip
import json
import os
import socket
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from commands import powerless, run, said
from evaluation_folders import outcome, rows, write
from hypothesis import given
from hypothesis import strategies as st
from test_checkpoints import make
from verbs import VERBS, place_of

from toolgain import cli
from toolgain.bfcl.categories import POPULATION
from toolgain.common.errors import ExitCode, UserError
from toolgain.common.files import LARGEST, LARGEST_TABLE, read_gzip
from toolgain.common.yaml_text import parse_yaml
from toolgain.head import command_line
from toolgain.report.sources import read_sources


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
