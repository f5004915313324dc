"""toolgain held against a real NeMo RL checkout: `NEMO_RL_ROOT=... make test-upstream`.

Nothing of upstream is in this repository; its files are read where they are. The version is told
from the checkout's commit; NEMO_RL_REF names it for a copy without git history.
"""

import argparse
import ast
import importlib.util
import json
import os
import re
import runpy
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import facts
import made
import pytest
import yaml

from toolgain.checkpoint import export_nemo_rl
from toolgain.config.sections import Config, NemoRl, NemoRlSite, parse_config
from toolgain.slurm import containers
from toolgain.training.nemo_rl import gym, lint, plan, refs, schema, watch
from toolgain.training.nemo_rl import overrides as ov

pytestmark = pytest.mark.upstream

ROOT = Path(__file__).parents[2]
RECIPES = sorted((ROOT / "config/recipes").glob("*.yaml"))


@pytest.fixture(scope="module")
def root() -> Path:
    named = os.environ.get("NEMO_RL_ROOT")
    if not named:
        pytest.skip("NEMO_RL_ROOT names no NeMo RL checkout")
    return Path(named).resolve()


@pytest.fixture(scope="module")
def ref(root: Path) -> refs.Ref:
    named = os.environ.get("NEMO_RL_REF")
    if named:
        return refs.REFS[named]
    commit = refs.commit_of(root) or ""
    found = [r for r in refs.REFS.values() if r.commit and commit == r.commit]
    return found[0] if found else refs.REFS["main"]


@pytest.fixture(scope="module")
def loader(root: Path) -> ModuleType:
    """Upstream's own configuration loader, which needs Hydra and OmegaConf alone."""
    spec = importlib.util.spec_from_file_location("loader", root / "nemo_rl/utils/config.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def recipe(path: Path | None) -> Config:
    """The production configuration, with a recipe on top."""
    values = yaml.safe_load((ROOT / "config/config.yaml").read_text())
    over = yaml.safe_load(path.read_text()) if path else {}
    return parse_config(merged(values, over))


def merged(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    result = dict(base)
    for key, value in over.items():
        both = isinstance(value, dict) and isinstance(result.get(key), dict)
        result[key] = merged(result[key], value) if both else value
    return result


def settings(root: Path, ref: refs.Ref) -> Iterator[tuple[str, NemoRl, Path]]:
    """The configurations that are for this version: name, section, upstream YAML."""
    for path in [None, *RECIPES]:
        section = recipe(path).training.nemo_rl
        if section.policy_backend not in (None, *ref.policy_backends):
            section = section.model_copy(update={"policy_backend": "dtensor_v2"})
        own = section.ref if path and path.stem.endswith("0") else ref.name
        if own == ref.name:
            yield (path.stem if path else "config.yaml"), section, root / section.config


PLACE = plan.Place(
    model=Path("/models/some"),
    train_file=Path("/data/train.jsonl"),
    validation_file=Path("/data/validation.jsonl"),
    checkpoints=Path("/work/some"),
    nodes=2,
    gpus_per_node=8,
    run="grpo",
)


def test_upstream_s_parser_takes_every_override_and_resolves_to_the_same(
    root: Path, ref: refs.Ref, loader: ModuleType
) -> None:
    from omegaconf import OmegaConf

    names = []
    for name, section, file in settings(root, ref):
        names.append(name)
        base = ov.load_yaml(file)
        if not ref.has_val_at_end:
            # The lint asks for it: the last step is validated only when it falls on the period.
            section = section.model_copy(update={"max_num_steps": 55})
        asked = plan.overrides(section, 3, ref, base, PLACE, 1255, schema=schema.read_schema(root))
        asked.append(ov.Override("checkpointing.checkpoint_must_save_by", "00:03:45:00"))
        theirs = loader.load_config(file)
        assert OmegaConf.to_container(theirs) == OmegaConf.to_container(base)
        applied = loader.parse_hydra_overrides(theirs, [item.render() for item in asked])
        used = ov.apply(base, asked)
        assert OmegaConf.to_container(applied, resolve=True) == used, name
        assert ov.differences(asked, used) == []
        numbers = plan.run_numbers(used, 1255)
        bad = [finding for finding in lint.lint_numbers(numbers, ref) if not finding.ok]
        assert bad == [], (name, bad)
    assert "config.yaml" in names


def validated(root: Path, file: Path, folder: Path, overrides: list[list[str]]) -> list[str]:
    """What upstream's own MasterConfig says of a YAML with each list of overrides."""
    files = [folder / f"{number}.txt" for number in range(len(overrides))]
    for path, asked in zip(files, overrides, strict=True):
        path.write_text("\n".join(asked))
    program = Path(__file__).parent / "master_config.py"
    command = [sys.executable, str(program), str(root), str(file), *map(str, files)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = [line for line in done.stdout.splitlines() if line.startswith(("accepted", "[{"))]
    assert len(lines) == len(files), done.stderr[-2000:]
    return lines


def test_upstream_s_own_classes_accept_every_recipe(
    root: Path, ref: refs.Ref, tmp_path: Path
) -> None:
    for name, section, file in settings(root, ref):
        base = ov.load_yaml(file)
        classes = schema.read_schema(root)
        both = [
            [o.render() for o in plan.overrides(section, 3, ref, base, PLACE, 1255, n, classes)]
            for n in (0, 3)
        ]
        assert validated(root, file, tmp_path, both) == ["accepted", "accepted"], name


def test_a_key_is_missing_for_us_where_upstream_s_classes_miss_it(
    root: Path, ref: refs.Ref, tmp_path: Path
) -> None:
    """Every key of the YAML is taken out once."""
    classes = schema.read_schema(root)
    base = ov.load_yaml(root / refs.WORKPLACE_YAML)
    asked = plan.overrides(recipe(None).training.nemo_rl, 3, ref, base, PLACE, 1255, schema=classes)
    lines = [item.render() for item in asked]
    used = ov.apply(base, asked)
    keys = sorted(key for key in ov.dotted_keys(base) if not key.startswith("env.nemo_gym."))
    ours = [bool(classes.missing(without(used, key))) for key in keys]
    said = validated(root, root / refs.WORKPLACE_YAML, tmp_path, [[*lines, f"!{k}"] for k in keys])
    theirs = ["Field required" in line for line in said]
    assert dict(zip(keys, ours, strict=True)) == dict(zip(keys, theirs, strict=True))
    assert any(ours) == classes.validated


def without(config: dict[str, Any], key: str) -> dict[str, Any]:
    """A copy of a configuration that lacks one key."""
    copy = json.loads(json.dumps(config))
    *parents, name = key.split(".")
    section = copy
    for parent in parents:
        section = section[parent]
    del section[name]
    return dict(copy)


def test_the_facts_kept_here_are_those_of_the_checkout(root: Path, ref: refs.Ref) -> None:
    if refs.commit_of(root) not in (None, ref.commit, facts.MAIN):
        pytest.skip("main has moved since its facts were taken")
    assert facts.extract(root) == facts.known(ref.name)


def test_upstream_sets_these_keys_itself(root: Path) -> None:
    for key, where in ov.REWRITTEN.items():
        file = re.search(r"\S+\.py", where)
        assert file
        name = key.rpartition(".")[2]
        if name in (root / file[0]).read_text():
            continue
        # Each is of some versions alone.
        assert name in ("hf_overrides", "_pad_token_id"), key


def test_the_shipped_yaml_would_leave_no_checkpoint_with_an_accuracy(
    root: Path, ref: refs.Ref
) -> None:
    used = ov.apply(ov.load_yaml(root / refs.WORKPLACE_YAML), [])
    numbers = plan.run_numbers(used, 1255)
    assert (numbers.val_period, numbers.save_period, numbers.total_steps) == (10, 6, 19)
    wrong = {finding.name for finding in lint.lint_numbers(numbers, ref) if not finding.ok}
    assert {"save period", "last step"} <= wrong
    # Asynchronous saves came with main.
    assert ("async_save" in wrong) == ref.has_async_save


def test_the_version_reads_and_has_what_the_table_says(root: Path, ref: refs.Ref) -> None:
    base = ov.load_yaml(root / refs.WORKPLACE_YAML)
    known = ov.dotted_keys(base)
    assert {ref.train_data_key, ref.validation_data_key} <= known
    assert ("grpo.val_at_end" in known) == ref.has_val_at_end
    assert ("checkpointing.save_optimizer" in known) == ref.has_save_optimizer
    assert ("policy.megatron_cfg.checkpoint.async_save" in known) == ref.has_async_save
    plugin = "policy.generation.vllm_cfg.tool_parser_plugin"
    assert (plugin in known) == ref.parser_plugin_is_mandatory
    script = (root / "ray.sub").read_text()
    assert ("SLURM_RESTART_COUNT" in script) == ref.log_folder_has_restart
    assert ("driver_command.sh" in script) == ref.driver_in_head
    takes = "--hf-model-name" in (root / export_nemo_rl.MEGATRON).read_text()
    assert takes == ref.converter_takes_model_name


def test_the_table_s_vllm_is_the_one_in_the_project_file(root: Path, ref: refs.Ref) -> None:
    if ref.vllm is None:
        pytest.skip("the versions of main move")
    text = (root / "pyproject.toml").read_text()
    assert f"vllm=={ref.vllm}" in text or f"vllm[{ref.vllm}" in text or ref.vllm in text


def test_every_variable_that_ray_sub_takes_by_chance_is_unset_or_set(root: Path) -> None:
    script = (root / "ray.sub").read_text()
    taken = set(re.findall(r"\$\{([A-Z][A-Z0-9_]*):-", script))
    handled = set(containers.TAKEN_BY_CHANCE) | set(containers.HOST_ONLY)
    # Read only with a meaning that is wanted, internal, or in a comment.
    fine = {"REDIT_SHARD_PORTS"}
    fine |= {"NRL_USE_FASTOKENS", "SLURM_RESTART_COUNT", "SLURM_JOB_ID", "SLURM_JOB_NUM_NODES"}
    fine |= {"SLURM_JOB_PARTITION", "NRL_JOB_START_EPOCH", "WORKER_NUM"}
    left = {n for n in taken - handled - fine if not n.startswith(("SANDBOX_", "RAY_", "SLURM_"))}
    assert left == set()


def test_ray_sub_reads_what_it_is_given(root: Path) -> None:
    script = (root / "ray.sub").read_text()
    for name in ("CONTAINER", "MOUNTS", "COMMAND", "GPUS_PER_NODE", "CPUS_PER_WORKER"):
        assert f"{name}=" in script
    for name in ("SLURM_JOB_PARTITION", "SLURM_JOB_ACCOUNT", "SLURM_JOB_NODELIST", "ENDED"):
        assert name in script


def own_parser(path: Path) -> argparse.ArgumentParser:
    """The argument parser of a program, made from its source without its imports."""
    tree = ast.parse(path.read_text())
    parser = argparse.ArgumentParser()
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "add_argument":
            words = [ast.literal_eval(word) for word in node.args]
            action = next((k.value for k in node.keywords if k.arg == "action"), None)
            options = {"action": ast.literal_eval(action)} if action else {}
            parser.add_argument(*words, **options)
    return parser


# What each converter imports of NeMo RL: the module, and the function that does the work.
WORK = {
    "megatron": ("nemo_rl.models.megatron.community_import", "export_model_from_megatron"),
    "dcp": ("nemo_rl.utils.native_checkpoint", "convert_dcp_to_hf"),
}


@pytest.mark.parametrize("kind", WORK)
def test_the_converters_own_main_takes_our_line(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    (tmp_path / "step_4/policy/weights/iter_0000000").mkdir(parents=True)
    config = {"policy": {"model_name": "base", "tokenizer": {"name": "base"}}}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    words = export_nemo_rl.converter(
        kind, root, tmp_path / "step_4", tmp_path / "config.yaml", Path("out"), Path("base")
    )
    done = called(root, kind, words, monkeypatch)
    weights = tmp_path / "step_4/policy/weights"
    if kind == "megatron":
        assert done["input_path"] == str(weights / "iter_0000000")
        assert (done["output_path"], done["hf_model_name"]) == ("out", "base")
    else:
        assert done["dcp_ckpt_path"] == str(weights)
        assert (done["hf_ckpt_path"], done["model_name_or_path"]) == ("out", "base")
    with pytest.raises(SystemExit):
        called(root, kind, [*words, "--hf-modell-name", "base"], monkeypatch)


def called(
    root: Path, kind: str, words: list[str], monkeypatch: pytest.MonkeyPatch
) -> dict[str, Any]:
    """What a converter hands to the function that does the work, run from its real file.

    Only that function, which needs Megatron or the weights, is a stand-in.
    """
    name, function = WORK[kind]
    parts = name.split(".")
    for length in range(1, len(parts) + 1):
        package = ".".join(parts[:length])
        monkeypatch.setitem(sys.modules, package, ModuleType(f"stand-in for {package}"))
    done: dict[str, Any] = {}
    monkeypatch.setattr(sys.modules[name], function, lambda **k: done.update(k), raising=False)
    monkeypatch.setattr(sys, "argv", words)
    runpy.run_path(str(root / words[0]), run_name="__main__")
    return done


def test_the_program_takes_a_config_and_hands_the_rest_to_hydra(root: Path) -> None:
    parser = own_parser(root / refs.PROGRAM)
    known, rest = parser.parse_known_args(["--config=some.yaml", "++a.b='c'", "~d"])
    assert (known.config, rest) == ("some.yaml", ["++a.b='c'", "~d"])


def test_a_duration_of_ours_is_read_as_the_same_seconds(root: Path) -> None:
    tree = ast.parse((root / "nemo_rl/utils/timer.py").read_text())
    function = next(n for n in tree.body if getattr(n, "name", "") == "convert_to_seconds")
    names: dict[str, Any] = {}
    exec(compile(ast.Module([function], []), "timer", "exec"), names)
    for seconds in (0, 59, 13500, 90061):
        assert names["convert_to_seconds"](lint.four_fields(seconds)) == seconds


def test_gym_has_the_command_and_the_files_that_make_the_data(root: Path, ref: refs.Ref) -> None:
    folder = root / refs.GYM_FOLDER
    if not (folder / "pyproject.toml").is_file():
        pytest.skip("the checkout has no submodules")
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    program, *words = ref.gym_prepares.split()
    assert program in project["scripts"]
    router = folder / "nemo_gym/cli/main.py"
    assert router.is_file() == bool(words)
    if words:
        assert f'"{" ".join(words)}": Command(' in router.read_text()
    assert project["requires-python"] == f">={ref.gym_python}"
    for name in gym.CONFIGS:
        assert (folder / name).is_file()
    # A stand-in for the model, which is taken away again where another is given.
    source = (folder / "nemo_gym/global_config.py").read_text()
    given = source.count('"dummy_model"')
    assert ref.gym_refuses_a_model == (given == 1)
    if ref.gym_commit:
        assert refs.check_gym(ref, root) in (None, ref.gym_commit)


def test_rows_that_gym_prepared_are_read(root: Path) -> None:
    folder = root / refs.GYM_FOLDER / refs.GYM_DATA
    files = [folder / f"{split}.jsonl" for split in gym.SPLITS]
    if not all(path.is_file() for path in files):
        pytest.skip("the data was not prepared in this checkout")
    for path in files:
        found = gym.read_gym_rows(path)
        assert found.agents == {"workplace_assistant_simple_agent": len(found.rows)}
        assert len(found.tools) == 27


def test_every_key_beyond_the_yaml_is_read_somewhere(root: Path, ref: refs.Ref) -> None:
    # The argument names of the chat server and of W&B are not upstream's own.
    own = [
        key
        for key in ref.keys_beyond_yaml
        if not key.startswith(("logger.wandb.", "policy.generation.vllm_cfg.http_server"))
    ]
    text = "".join(path.read_text() for path in sorted((root / "nemo_rl").rglob("*.py")))
    assert [key for key in own if key.rpartition(".")[2] not in text] == []


def test_the_environments_in_the_image_are_named_after_these_workers(root: Path) -> None:
    table = (root / "nemo_rl/distributed/ray_actor_environment_registry.py").read_text()
    for program in (NemoRlSite().vllm_python, str(recipe(None).evaluation.serve.program)):
        worker = Path(program).parents[1]
        assert worker.parent == Path("/opt/ray_venvs")
        assert f'"{worker.name}"' in table
    assert "NEMO_RL_VENV_DIR=/opt/ray_venvs" in (root / "docker/Dockerfile").read_text()


def test_the_words_that_are_looked_for_are_written(root: Path, ref: refs.Ref) -> None:
    grpo = (root / "nemo_rl/algorithms/grpo.py").read_text()
    assert watch._TIMEOUT in grpo
    assert '"global_valid_seqs"' in grpo
    logger = (root / "nemo_rl/utils/logger.py").read_text()
    assert "exp_(\\d+)" in logger
    checkpoint = (root / "nemo_rl/utils/checkpoint.py").read_text()
    for word in ("tmp_step_", "training_info.json", "config.yaml"):
        assert word in checkpoint
    assert (watch._EARLY_STOP in grpo) == (ref.name in ("v0.8.0", "main"))


def test_our_stand_in_has_no_key_that_upstream_lacks(root: Path, ref: refs.Ref) -> None:
    if ref.name in ("v0.5.0", "v0.6.0", "v0.7.0"):
        pytest.skip("the stand-in has the keys of main")
    theirs = ov.dotted_keys(ov.load_yaml(root / refs.WORKPLACE_YAML))
    ours = ov.dotted_keys(ov.load_yaml(made.SOURCE / refs.WORKPLACE_YAML))
    assert ours <= theirs
