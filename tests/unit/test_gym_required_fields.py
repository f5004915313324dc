"""Fields that an environment's verifier requires of a row, read from its source."""

import json
import subprocess
from pathlib import Path
from typing import Any

import made
import pytest

from gym_env import GYM, needs_gym
from toolgain.config.sections import parse_config
from toolgain.environments.required_fields import required_fields
from toolgain.head import doctor
from toolgain.training.nemo_rl import gym, lint

SERVER = """
from typing import ClassVar, Optional
from pydantic import Field, model_validator
from nemo_gym.base_resources_server import BaseVerifyRequest, SimpleResourcesServer


class Question(BaseVerifyRequest):
    id: int
    note: str
    kind: ClassVar[str] = "some"


class VerifyRequest(Question):
    note: str = ""
    ground_truth: list[dict[str, str]] | str
    hint: Optional[str]
    level: int = Field(ge=1)
    tags: list[str] = Field(default_factory=list)
    other: str = Field(alias="another")
    first: str = Field(..., description="named")


class Repaired(BaseVerifyRequest):
    answer: str

    @model_validator(mode="before")
    @classmethod
    def filled(cls, values):
        return {"answer": "none", **values}


class Server(SimpleResourcesServer):
    async def verify(self, body: BODY) -> None: ...
"""


def source(folder: Path, body: str) -> Path:
    path = folder / "app.py"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(SERVER.replace("BODY", body))
    return path


def names(path: Path) -> list[str]:
    return [each.name for each in required_fields(path)]


def test_fields_without_a_default_are_required_inherited_ones_too(tmp_path: Path) -> None:
    assert names(source(tmp_path, "VerifyRequest")) == [
        "id", "ground_truth", "hint", "level", "first",
    ]  # fmt: skip
    assert names(source(tmp_path, "Question")) == ["id", "note"]
    by_name = {each.name: each for each in required_fields(source(tmp_path, "VerifyRequest"))}
    assert by_name["hint"].lacks({}) and not by_name["hint"].lacks({"hint": None})
    assert by_name["ground_truth"].lacks({"ground_truth": None})
    assert not by_name["ground_truth"].lacks({"ground_truth": []})


@pytest.mark.parametrize("body", ["Repaired", "BaseVerifyRequest", "dict[str, str]"])
def test_what_is_not_known_is_not_required(tmp_path: Path, body: str) -> None:
    assert names(source(tmp_path, body)) == []


def test_a_source_that_cannot_be_read_requires_nothing(tmp_path: Path) -> None:
    assert required_fields(tmp_path / "none.py") == []
    (tmp_path / "app.py").write_text("class (")
    assert required_fields(tmp_path / "app.py") == []


def environment(folder: Path) -> dict[str, Any]:
    """A Gym with a Workplace Assistant of ours, and upstream's configuration that names it."""
    source(folder / "resources_servers/workplace_assistant", "VerifyRequest")
    (folder / "workplace.yaml").write_text(
        json.dumps(
            {
                "workplace_assistant": {
                    "resources_servers": {"workplace_assistant": {"entrypoint": "app.py"}}
                },
                "workplace_assistant_simple_agent": {
                    "responses_api_agents": {
                        "simple_agent": {
                            "max_steps": 6,
                            "resources_server": {
                                "type": "resources_servers",
                                "name": "workplace_assistant",
                            },
                        }
                    }
                },
            }
        )
    )
    return {"env": {"nemo_gym": {"config_paths": ["workplace.yaml"]}}}


def checked(folder: Path, *rows: dict[str, Any]) -> lint.Finding:
    path = folder / "rows.jsonl"
    path.write_text("\n\n".join(map(json.dumps, rows)) + "\n")
    return lint.row_fields(environment(folder), folder, {path: gym.read_gym_rows(path)})


def test_a_row_without_its_ground_truth_is_refused_with_its_line(tmp_path: Path) -> None:
    whole = made.row(1) | {"hint": None, "level": 2, "first": "a"}
    found = checked(tmp_path, whole)
    assert found.ok, found.message
    assert "workplace_assistant asks for id, ground_truth, hint" in found.message
    without = {key: value for key, value in whole.items() if key not in ("ground_truth", "level")}
    found = checked(tmp_path, whole, without)
    assert not found.ok
    # Lines are counted as an editor does: the empty ones too.
    assert "rows.jsonl, line 3 has no ground_truth and no level" in found.message
    assert "resources_servers/workplace_assistant/app.py:15" in found.message


def test_the_rows_of_an_agent_that_may_add_fields_are_not_judged(tmp_path: Path) -> None:
    used = environment(tmp_path)
    text = (tmp_path / "workplace.yaml").read_text().replace('"simple_agent"', '"other_agent"')
    (tmp_path / "workplace.yaml").write_text(text)
    path = tmp_path / "rows.jsonl"
    row = {key: value for key, value in made.row(1).items() if key != "ground_truth"}
    path.write_text(json.dumps(row))
    found = lint.row_fields(used, tmp_path, {path: gym.read_gym_rows(path)})
    assert (found.ok, found.message) == (True, "no verifier is known to ask for any")


@needs_gym
def test_the_doctor_judges_the_rows_of_a_trl_run_by_the_installed_gym(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    train, _ = made.data(tmp_path / "data", train=3, validation=2)
    training = {
        "backend": "trl",
        "environment": "nemo_gym",
        "tasks": {"train_file": "data/train.jsonl", "validation_file": "data/validation.jsonl"},
        "gym": {
            "config_paths": [
                "resources_servers/workplace_assistant/configs/workplace_assistant.yaml"
            ]
        },
    }
    config = parse_config(
        {"model": {"path": "model"}, "training": training, "environments": {"gym": str(GYM)}}
    )

    def line(name: str) -> doctor.CheckLine:
        found = {each.name: each for each in doctor.checks(config, requests=[])}
        return found[f"run grpo, {name}"]

    assert line("data").message.startswith("3 training and 2 validation rows")
    assert line("fields of the rows").ok and line("agents of the rows").ok
    rows = [json.loads(text) for text in train.read_text().splitlines()]
    rows[1].pop("ground_truth")
    train.write_text("\n".join(map(json.dumps, rows)))
    found = line("fields of the rows")
    assert not found.ok
    assert "train.jsonl, line 2 has no ground_truth" in found.message
    rows[0]["agent_ref"]["name"] = "someone"
    train.write_text("\n".join(map(json.dumps, rows)))
    assert "name the agent someone" in line("agents of the rows").message


def servers() -> list[Path]:
    """The servers of the real Gym."""
    return sorted(GYM.glob("lib/python3*/site-packages/resources_servers/*/app.py"))


@needs_gym
def test_gym_s_own_example_rows_have_what_its_servers_require() -> None:
    judged = 0
    for server in servers():
        fields, rows = required_fields(server), server.parent / "data/example.jsonl"
        if not fields or not rows.is_file():
            continue
        judged += 1
        for line in rows.read_text().splitlines():
            row = json.loads(line)
            assert [each.name for each in fields if each.lacks(row)] == [], server
    assert judged > 30


@needs_gym
@pytest.mark.slow
def test_pydantic_requires_the_same_of_workplace_assistant_and_others() -> None:
    wanted = {
        "workplace_assistant": "WorkbenchVerifyRequest",
        "xlam_fc": "XlamFcVerifyRequest",
        "mcqa": "MCQAVerifyRequest",
    }
    program = (
        "import importlib, json, sys\n"
        "found = {}\n"
        "for server, name in json.loads(sys.argv[1]).items():\n"
        "    module = importlib.import_module(f'resources_servers.{server}.app')\n"
        "    fields = getattr(module, name).model_fields\n"
        "    found[server] = sorted(k for k, f in fields.items() if f.is_required())\n"
        "print(json.dumps(found))"
    )
    done = subprocess.run(
        [GYM / "bin/python", "-c", program, json.dumps(wanted)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    real = json.loads(done.stdout.splitlines()[-1])
    by_name = {path.parent.name: path for path in servers()}
    for server, fields in real.items():
        # What every row has, and what the agent adds.
        own = [name for name in fields if name not in ("responses_create_params", "response")]
        assert sorted(names(by_name[server])) == own
    assert "ground_truth" in real["workplace_assistant"]
