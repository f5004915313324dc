"""The training data of NeMo Gym: prepared by Gym's own command, checked and counted here.

Gym's preparation adds `agent_ref` to each row, which names the agent that plays it. Rows as they
are on the hub have none, and a training run on them dies in its first step.
"""

import json
import shlex
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolgain.common.amounts import in_percent
from toolgain.common.errors import StageError, UserError
from toolgain.common.files import (
    LARGEST_TABLE,
    file_digest,
    opened_text,
    read_text,
    reason,
    write_text,
)
from toolgain.config.sections import ClusterSection, TasksSection, TrainingSection
from toolgain.records import tasks as records
from toolgain.records.record import write_record
from toolgain.records.tasks import Contamination
from toolgain.tasks import gym_rows
from toolgain.training.nemo_rl.refs import GYM_DATA, GYM_FOLDER, REFS, Ref

CONFIGS = (
    "responses_api_models/vllm_model/configs/vllm_model_for_training.yaml",
    "resources_servers/workplace_assistant/configs/workplace_assistant.yaml",
)
SPLITS = ("train", "validation")


@dataclass(frozen=True)
class Rows:
    """What a prepared file holds."""

    rows: list[dict[str, Any]]
    lines: list[int]
    """The line of each row."""
    agents: dict[str, int]
    """Rows of each agent."""
    tools: list[str]
    """Names of all tools."""
    no_change: int
    """Rows that expect no call. In Workplace Assistant more rows reward doing nothing: those whose
    calls only read, fail (a tool or an id that is not there) or set what is set already; the
    rehearsal finds them."""


def prepare_command(ref: Ref, root: Path, download: bool) -> str:
    """The shell lines that make the data with Gym's own command.

    Args:
        ref: NeMo RL version.
        root: NeMo RL checkout.
        download: Fetch the rows from the Hugging Face hub; else they must lie in
            resources_servers/workplace_assistant/data.
    """
    configs = ",".join(CONFIGS[1:] if ref.gym_refuses_a_model else CONFIGS)
    fetch = " +should_download=true +data_source=huggingface" if download else ""
    words = (
        f'{ref.gym_prepares} "+config_paths=[{configs}]" +output_dirpath={GYM_DATA} '
        f"+mode=train_preparation{fetch}"
    )
    lines = [
        f"cd {shlex.quote(str(root / GYM_FOLDER))}",
        # Not `uv sync`: from v0.6.0 on Gym is a member of NeMo RL's workspace, for which uv asks
        # for NeMo RL's Python and takes its environment.
        f"uv venv --no-project --python {ref.gym_python} .venv && uv pip install --python .venv "
        "-e . && . .venv/bin/activate",
    ]
    if not download:
        return "\n".join([*lines, words])
    # The token does not outlive the commands, whether they succeed, fail or are interrupted.
    token = "umask 077; printf 'hf_token: %s\\n' \"$HF_TOKEN\" > env.yaml"
    return "\n".join([*lines, f"(trap 'rm -f env.yaml' EXIT; {token}; {words})"])


def find(ref: Ref, root: Path | None, tasks: TasksSection) -> dict[str, Path]:
    """The prepared files: those configured, else where Gym's preparation writes them.

    Raises:
        UserError: a file is missing; says how it is made.
    """
    if tasks.train_file or tasks.validation_file:
        return given_files(tasks)
    if root is None:
        raise UserError(
            "training.tasks.train_file and validation_file name no prepared data, and "
            "cluster.nemo_rl.root no checkout to look for it; set one of them."
        )
    folder = root / GYM_FOLDER / GYM_DATA
    found = {split: folder / f"{split}.jsonl" for split in SPLITS}
    missing = [path for path in found.values() if not path.is_file()]
    if missing:
        lines = prepare_command(ref, root, download=True).replace("\n", " && ")
        raise UserError(
            f"training data: {missing[0]} does not exist. On a host with a network run: {lines}"
        )
    return found


def given_files(tasks: TasksSection) -> dict[str, Path]:
    """The prepared files that are configured.

    Raises:
        UserError: one is not named, or missing.
    """
    files: dict[str, Path] = {}
    for split, name in {"train": tasks.train_file, "validation": tasks.validation_file}.items():
        if not name:
            raise UserError(f"training.tasks.{split}_file is missing; give both files or neither.")
        if not Path(name).is_file():
            raise UserError(f"training.tasks.{split}_file: {name} does not exist.")
        files[split] = Path(name)
    return files


def read_gym_rows(path: Path) -> Rows:
    """The rows of a prepared file.

    Raises:
        UserError: a line is not a prepared row; names the line and what is missing.
    """
    rows: list[dict[str, Any]] = []
    lines: list[int] = []
    agents: Counter[str] = Counter()
    tools: set[str] = set()
    no_change = 0
    for number, line in _lines(path):
        where = f"{path}, line {number}"
        try:
            row = json.loads(line)
        except ValueError as error:
            raise UserError(f"training data: {where}, is not JSON: {error}.") from error
        agent = row.get("agent_ref") if isinstance(row, dict) else None
        if not isinstance(agent, dict) or not isinstance(agent.get("name"), str):
            raise UserError(
                f"training data: {where}, has no agent_ref.name: this is not prepared data (NeMo "
                "RL would end with KeyError); run Gym's preparation (docs/nemo-rl.md)."
            )
        asked = row.get("responses_create_params")
        if not isinstance(asked, dict) or not asked.get("input"):
            raise UserError(
                f"training data: {where}, has no responses_create_params.input; run Gym's "
                "preparation (docs/nemo-rl.md)."
            )
        offered = asked.get("tools") or []
        if not _are_tools(offered):
            raise UserError(
                f"training data: {where}: responses_create_params.tools is not a list of "
                '{"type": "function", "name": ..., "parameters": ...}, the form of OpenAI\'s '
                "Responses API; NeMo Gym would refuse the row with HTTP 422."
            )
        agents[agent["name"]] += 1
        tools |= {tool["name"] for tool in offered if "name" in tool}
        no_change += not row.get("ground_truth", row.get("expected_answers", True))
        rows.append(row)
        lines.append(number)
    if not rows:
        raise UserError(f"training data: {path} holds no rows.")
    return Rows(rows, lines, dict(agents), sorted(tools), no_change)


def _are_tools(offered: object) -> bool:
    """Whether each is an object, and a function has its name (chat completions nest it)."""
    return isinstance(offered, list) and all(
        isinstance(tool, dict)
        and (tool.get("type") != "function" or isinstance(tool.get("name"), str))
        for tool in offered
    )


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    try:
        with opened_text(path) as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    yield number, line
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"training data: {path} cannot be read: {reason(error)}.") from error


def as_tasks(rows: Iterable[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """Rows in the form that the comparison with BFCL reads: `prompt` and `tools`."""
    for row in rows:
        asked = row["responses_create_params"]
        spoken = asked["input"] if isinstance(asked["input"], list) else []
        yield {
            "prompt": [
                {"role": message["role"], "content": _text(message["content"])}
                for message in spoken
                if isinstance(message, dict) and "role" in message and "content" in message
            ],
            "tools": [
                {"type": "function", "function": {"name": tool["name"]}}
                for tool in asked.get("tools") or []
                if "name" in tool
            ],
        }


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    return " ".join(str(part.get("text", "")) for part in parts if isinstance(part, dict))


def copy_tasks(
    section: TrainingSection, cluster: ClusterSection, out: Path, bfcl_data: Path | None
) -> None:
    """The tasks stage of the nemo_rl backend: copy the prepared files into `out` and describe them.

    Raises:
        UserError: the data is missing or not prepared.
        StageError: it shares more with BFCL than `max_ngram_overlap` allows.
    """
    ref = REFS[section.nemo_rl.ref]
    named = cluster.nemo_rl.root
    copy_rows(
        find(ref, Path(named).resolve() if named else None, section.tasks),
        section.tasks,
        out,
        bfcl_data,
    )


def copy_rows(
    files: Mapping[str, Path], keys: TasksSection, out: Path, bfcl_data: Path | None
) -> None:
    """Copy prepared rows into `out` and describe them.

    Args:
        files: The prepared file of each split.
        keys: The `tasks` of a training section.
        out: Folder for the copies and tasks.json.
        bfcl_data: BFCL's data folder; None leaves the comparison out.

    Raises:
        UserError: a file is not prepared.
        StageError: the rows share more with BFCL than `max_ngram_overlap` allows.
    """
    found = {split: read_gym_rows(path) for split, path in files.items()}
    overlap = {_key(row) for row in found["train"].rows} & {
        _key(row) for row in found["validation"].rows
    }
    contamination = _compare(
        [*found["train"].rows, *found["validation"].rows],
        bfcl_data,
        keys.max_ngram_overlap,
    )
    out.mkdir(parents=True, exist_ok=True)
    # Rows of tasks that were generated here before.
    shutil.rmtree(out / gym_rows.FOLDER, ignore_errors=True)
    for split, path in files.items():
        write_text(out / f"{split}.jsonl", read_text(path, LARGEST_TABLE))
    every = sum(len(part.rows) for part in found.values())
    described = records.Tasks(
        train=len(found["train"].rows),
        validation=len(found["validation"].rows),
        no_tool_share=sum(part.no_change for part in found.values()) / every,
        agents={split: part.agents for split, part in found.items()},
        tools=len({name for part in found.values() for name in part.tools}),
        same_prompt_in_both=len(overlap),
        sources={split: str(path) for split, path in files.items()},
        sha256={split: file_digest(out / f"{split}.jsonl") for split in files},
        contamination=contamination,
    )
    write_record(out / "tasks.json", described)


def _key(row: Mapping[str, Any]) -> str:
    return json.dumps(row["responses_create_params"]["input"], sort_keys=True)


def _compare(rows: list[dict[str, Any]], bfcl_data: Path | None, limit: float) -> Contamination:
    if bfcl_data is None:
        return Contamination(name_overlap=None, ngram_overlap=None, limit=limit, compared_items=0)
    from toolgain.tasks.contamination import NGRAM, overlap

    found = overlap(as_tasks(rows), bfcl_data)
    if found.ngram_overlap > limit:
        raise StageError(
            f"training data: {in_percent(found.ngram_overlap, 2)} of the rows share {NGRAM} words "
            f"in a row with BFCL v3, more than the limit of {in_percent(limit, 2)} "
            f"(training.tasks.max_ngram_overlap); for example: {'; '.join(found.shared_ngrams)}"
        )
    # Every row of an environment offers the same tools, so a shared name counts for all of them;
    # it is reported, not refused.
    return Contamination(
        name_overlap=found.name_overlap,
        ngram_overlap=found.ngram_overlap,
        limit=limit,
        compared_items=found.compared_items,
        shared_names=list(found.shared_names),
    )
