"""Results folders for the report's tests, made from BFCL's own items and simulated answers.

Every scenario is a complete results/ folder: evaluations, runs, frozen configs, tasks. The answers
are drawn from the expected calls (right answers) or by breaking them the way models do (wrong
answers), so that questions, tools and expected calls are those of the benchmark.
"""

import csv
import gzip
import json
import random
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]

NON_LIVE = [
    "simple", "java", "javascript", "multiple", "parallel", "parallel_multiple", "irrelevance",
]  # fmt: skip
LIVE = [
    "live_simple", "live_multiple", "live_parallel", "live_parallel_multiple", "live_irrelevance",
    "live_relevance",
]  # fmt: skip
MULTI_TURN = [
    "multi_turn_base", "multi_turn_miss_func", "multi_turn_miss_param", "multi_turn_long_context",
]  # fmt: skip
CATEGORIES = [*NON_LIVE, *LIVE, *MULTI_TURN]
NO_CALL = {"irrelevance", "live_irrelevance"}

COLUMNS = [
    "category", "id", "occurrence", "index", "repeat", "cluster", "valid", "strict_valid",
    "error_type", "error_message", "answer", "expected", "calls", "flags", "prompt_tokens",
    "completion_tokens", "latency_s", "requests", "finish_reason",
]  # fmt: skip

# Share of right answers before the training, per category.
BEFORE = {
    "simple": 0.82, "java": 0.48, "javascript": 0.52, "multiple": 0.80, "parallel": 0.70,
    "parallel_multiple": 0.66, "irrelevance": 0.62, "live_simple": 0.64, "live_multiple": 0.60,
    "live_parallel": 0.5, "live_parallel_multiple": 0.46, "live_irrelevance": 0.66,
    "live_relevance": 0.72, "multi_turn_base": 0.30, "multi_turn_miss_func": 0.22,
    "multi_turn_miss_param": 0.18, "multi_turn_long_context": 0.2,
}  # fmt: skip


@dataclass(frozen=True)
class Item:
    """One BFCL item as the evaluation folder records it."""

    category: str
    id: str
    occurrence: int
    index: int
    cluster: str
    question: list[list[dict[str, str]]]
    tools: list[dict[str, Any]]
    expected: Any


@dataclass(frozen=True)
class Effect:
    """What a simulated training does: shares of wrong items gained and right items lost."""

    gain: float = 0.15
    loss: float = 0.02
    categories: dict[str, tuple[float, float]] = field(default_factory=dict)


def data_folder() -> Path | None:
    """BFCL's data in the harness environment, or None where there is no such environment."""
    found = sorted((ROOT / ".venvs/bfcl").glob("lib/python3*/site-packages/bfcl/data"))
    return found[0] if found else None


@cache
def all_items() -> tuple[Item, ...]:
    """All 4441 items of the 17 scored categories."""
    folder = data_folder()
    assert folder is not None
    items: list[Item] = []
    for category in CATEGORIES:
        answers: dict[str, Any] = {}
        answer_file = folder / "possible_answer" / f"BFCL_v3_{category}.json"
        if answer_file.exists():
            answers = {row["id"]: row["ground_truth"] for row in _jsonl(answer_file)}
        seen: Counter[str] = Counter()
        for index, row in enumerate(_jsonl(folder / f"BFCL_v3_{category}.json")):
            occurrence = seen[row["id"]]
            seen[row["id"]] += 1
            items.append(
                Item(
                    category,
                    row["id"],
                    occurrence,
                    index,
                    _cluster(category, row["id"], index),
                    row["question"],
                    row.get("function") or _documents(folder, row.get("involved_classes", [])),
                    answers.get(row["id"]),
                )
            )
    return tuple(items)


def subset(per_category: int, seed: int = 1) -> list[Item]:
    """A few items of every category, as the demo draws them."""
    draw = random.Random(seed)
    chosen = []
    for category in CATEGORIES:
        members = [item for item in all_items() if item.category == category]
        if category in MULTI_TURN:
            chosen += members[: max(3, per_category // 3)]
        else:
            picked = draw.sample(range(len(members)), min(per_category, len(members)))
            chosen += [members[i] for i in sorted(picked)]
    return chosen


def _cluster(category: str, identity: str, index: int) -> str:
    if category in MULTI_TURN:
        return f"mt_{index}"
    if category in LIVE:
        return f"live_doc_{identity.rsplit('-', 2)[-2]}"
    return f"{category}/{identity}"


@cache
def _document_files(folder: Path) -> dict[str, list[dict[str, Any]]]:
    return {path.stem: _jsonl(path) for path in (folder / "multi_turn_func_doc").glob("*.json")}


def _documents(folder: Path, classes: Iterable[str]) -> list[dict[str, Any]]:
    names = {
        "GorillaFileSystem": "gorilla_file_system", "MathAPI": "math_api",
        "MessageAPI": "message_api", "TwitterAPI": "posting_api", "TicketAPI": "ticket_api",
        "TradingBot": "trading_bot", "TravelAPI": "travel_booking",
        "VehicleControlAPI": "vehicle_control",
    }  # fmt: skip
    documents = _document_files(folder)
    return [tool for name in classes for tool in documents[names[name]]]


def _jsonl(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line]


# -- answers


def right_answer(item: Item, draw: random.Random) -> Any:
    """An answer that the scorer accepts: calls, or text where no call is wanted."""
    if item.category in MULTI_TURN:
        return [[[call] for call in turn] for turn in item.expected]
    if item.category in NO_CALL:
        return draw.choice(
            [
                "None of the available functions can answer this.",
                "I can't help with that using the tools I have. Could you tell me more?",
            ]
        )
    if item.expected is None:
        tool = item.tools[0]["name"]
        return [{tool: {}}]
    return [
        {
            name: {
                key: _plain(allowed[0])
                for key, allowed in arguments.items()
                if allowed and allowed[0] != ""
            }
            for name, arguments in call.items()
        }
        for call in item.expected
    ]


def _plain(value: Any) -> Any:
    """An expected value: objects list what is allowed by key."""
    if isinstance(value, dict):
        return {k: _plain(v[0]) if isinstance(v, list) and v else v for k, v in value.items()}
    return [_plain(part) for part in value] if isinstance(value, list) else value


def as_recorded(answer: Any) -> Any:
    """An answer as the harness writes it: the arguments of a call are JSON text."""
    if isinstance(answer, list):
        return [
            {
                name: json.dumps(args) if isinstance(args, dict) else args
                for name, args in part.items()
            }
            if isinstance(part, dict)
            else as_recorded(part)
            for part in answer
        ]
    return answer


def wrong_answer(item: Item, draw: random.Random) -> tuple[Any, str, str, list[str]]:
    """A wrong answer as (answer, error type, error message, flags)."""
    if item.category in MULTI_TURN:
        kind = draw.choice(["state", "state", "empty", "forced"])
        turns = [[[call] for call in turn] for turn in item.expected]
        cut = max(1, len(turns) - 1)
        if kind == "state":
            turns[cut - 1] = turns[cut - 1][:-1]
            message = "Model instance for GorillaFileSystem does not match the state expected."
            return turns, "multi_turn:instance_state_mismatch", message, []
        if kind == "empty":
            return (
                [*turns[:cut], [["I have done what you asked."]]],
                "multi_turn:empty_turn_model_response",
                f"Model response list is empty for turn {cut}",
                [],
            )
        first = turns[0][0] if turns[0] else ["ls()"]
        return (
            [[first] * 20],
            "multi_turn:force_terminated",
            "Model was force-terminated during inference at turn 0.",
            ["forced_stop"],
        )
    if item.category in NO_CALL:
        tool = item.tools[0]["name"] if item.tools else "search"
        return [{tool: {"query": "now"}}], "irrelevance_error:decoder_success", "", []
    kind = draw.choice(["value", "value", "name", "missing", "text", "count", "type", "unparsed"])
    if item.expected is None or kind == "text":
        return (
            "Could you tell me a little more about what you need?",
            "ast_decoder:decoder_wrong_output_format",
            "Did not output in the specified format.",
            [],
        )
    calls = right_answer(item, draw)
    name = next(iter(calls[0]))
    if kind == "unparsed":
        body = json.dumps({"name": name, "arguments": calls[0][name]})
        text = f"<tool_call>\n{body}\n</tool_call>"
        return text, "ast_decoder:decoder_failed", "Invalid syntax.", ["unparsed_call"]
    if kind == "name":
        calls[0] = {name.split(".")[-1] + "_info": calls[0][name]}
        return (
            calls,
            "simple_function_checker:wrong_func_name",
            f"Function name '{name}' not found in model output.",
            [],
        )
    if kind == "count":
        return (
            [*calls, calls[0]],
            "parallel_function_checker_no_order:wrong_count",
            "Wrong number of functions.",
            [],
        )
    arguments = dict(calls[0][name])
    if arguments:
        key = draw.choice(sorted(arguments))
        if kind == "missing":
            del arguments[key]
            calls[0] = {name: arguments}
            return (
                calls,
                "simple_function_checker:missing_required",
                f"Missing required parameter: '{key}'.",
                [],
            )
        value = arguments[key]
        arguments[key] = str(value) + " " if kind == "type" else _other(value)
        calls[0] = {name: arguments}
        error = "type_error:simple" if kind == "type" else "value_error:string"
        return calls, error, f"Invalid value for parameter '{key}': {arguments[key]!r}.", []
    return [*calls, calls[0]], "simple_function_checker:wrong_count", "Wrong number.", []


def _other(value: Any) -> Any:
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value * 10
    if isinstance(value, str):
        return value[:-1] if len(value) > 1 else value + "x"
    return str(value)


# -- evaluations


def evaluate(
    folder: Path,
    items: list[Item],
    right: list[bool],
    *,
    subject: str,
    seed: int,
    digest: str,
    subset_of: dict[str, Any] | None = None,
    hostile: bool = False,
    repeats: int = 1,
    conditions: dict[str, Any] | None = None,
    **over: Any,
) -> None:
    """Write an evaluation folder with the given outcome per item."""
    draw = random.Random(seed)
    folder.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = []
    for item, first in zip(items, right, strict=True):
        for repeat in range(repeats):
            # The same weights answer a few items otherwise when asked again.
            good = first if repeat == 0 or draw.random() > 0.03 else not first
            rows.append(_row(item, good, repeat, draw, hostile, len(rows)))
    with (folder / "items.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    with (
        (folder / "questions.jsonl.gz").open("wb") as raw,
        gzip.GzipFile(fileobj=raw, mode="wb", mtime=0) as file,
    ):
        for item in items:
            row = {
                "category": item.category,
                "id": item.id,
                "occurrence": item.occurrence,
                "question": item.question,
                "tools": item.tools,
                "expected": item.expected,
            }
            file.write((json.dumps(row, ensure_ascii=False) + "\n").encode())
    summary = summarise(rows, subject, subset_of, repeats)
    summary.update(over)
    _write(folder / "summary.json", summary)
    _write(folder / "manifest.json", _evaluation_manifest(subject, digest, conditions or {}))


def _row(
    item: Item, good: bool, repeat: int, draw: random.Random, hostile: bool, number: int
) -> dict[str, Any]:
    answer, error, message, flags = (
        (right_answer(item, draw), "", "", []) if good else wrong_answer(item, draw)
    )
    if hostile and not good:
        answer = HOSTILE[number % len(HOSTILE)]
        error, message = "value_error:string</script>", HOSTILE[0]
    calls = _count_calls(answer)
    tokens = 12 + 28 * calls + draw.randrange(30)
    return {
        "category": item.category,
        "id": item.id,
        "occurrence": item.occurrence,
        "index": item.index,
        "repeat": repeat,
        "cluster": item.cluster,
        "valid": int(good),
        "strict_valid": int(good and "unparsed_call" not in flags),
        "error_type": error,
        "error_message": message,
        "answer": json.dumps(as_recorded(answer), ensure_ascii=False),
        "expected": json.dumps(item.expected, ensure_ascii=False),
        "calls": calls,
        "flags": ";".join(flags),
        "prompt_tokens": 180 + 90 * len(item.tools) + draw.randrange(40),
        "completion_tokens": tokens,
        "latency_s": round(0.2 + tokens * 0.011 + draw.random() * 0.2, 3),
        "requests": max(1, len(item.question)),
        "finish_reason": "tool_calls" if calls else "stop",
    }


HOSTILE = [
    "<script>window.pwned = 1</script>",
    "</script><img src=x onerror='window.pwned=1'>",
    "{{ 7 * 7 }} {% raw %} ${7*7}",
    "\u202eevil\u202c \x07\x1b[31m\x00 \u2028 \ud7ff",
    "x" * 100_000,
    [{"f": {"a": float("nan"), "b": None, "<b>": "</textarea>"}}],
    "",
]


def _count_calls(answer: Any) -> int:
    if isinstance(answer, str):
        return 0
    return sum(1 if isinstance(part, dict) else sum(len(step) for step in part) for part in answer)


def summarise(
    rows: list[dict[str, Any]], subject: str, subset_of: dict[str, Any] | None, repeats: int
) -> dict[str, Any]:
    """A summary.json of the given rows."""
    population = Counter(item.category for item in all_items())
    categories = {}
    for category in CATEGORIES:
        members = [row for row in rows if row["category"] == category]
        if not members:
            continue
        correct = sum(row["valid"] for row in members)
        categories[category] = {
            "accuracy": 100 * correct / len(members),
            "correct": correct,
            "n": len(members),
            "population": population[category],
        }
    accuracy = {c: v["accuracy"] for c, v in categories.items()}
    groups = group_scores(accuracy, population)
    flags = Counter(flag for row in rows for flag in row["flags"].split(";") if flag)
    return {
        "schema": 1,
        "subject": subject,
        "n": len(rows) // repeats,
        "overall": sum(groups.values()) / 3,
        "groups": groups,
        "categories": categories,
        "strict": {"overall": sum(groups.values()) / 3 - 0.05},
        "subset": subset_of,
        "valid": True,
        "reasons": [],
        "errors": {},
        "flags": dict(flags),
        "repaired": 3,
        "requests": sum(row["requests"] for row in rows) + 3,
        "repeats": 1,
        "warnings": [],
        "sampling_seen": [{"temperature": 0.0, "top_p": 1.0}],
        "canary": {"answered": True, "parsed_call": True, "call_as_text": False, "text": True},
        "harness_overall": 51.22,
    }


def group_scores(accuracy: dict[str, float], population: dict[str, int]) -> dict[str, float]:
    """The three groups of the official formula, from accuracies per category."""
    simple = sum(accuracy[c] for c in ["simple", "java", "javascript"]) / 3
    rest = [accuracy[c] for c in ["multiple", "parallel", "parallel_multiple", "irrelevance"]]
    total = sum(population[c] for c in LIVE)
    return {
        "non_live": (simple + sum(rest)) / 5,
        "live": sum(accuracy[c] * population[c] for c in LIVE) / total,
        "multi_turn": sum(accuracy[c] for c in MULTI_TURN) / 4,
    }


def _evaluation_manifest(subject: str, digest: str, conditions: dict[str, Any]) -> dict[str, Any]:
    return {
        "schema": 1,
        "subject": subject,
        "weights": {"path": f"/models/{subject}", "digest": digest, "name": "Qwen3-4B-demo"},
        "config_digest": "c0ffee" + "0" * 58,
        "comparable": {
            "items": "d1" * 32,
            "scorer": "nvidia-bfcl 26.3",
            "harness": "nemo-evaluator 0.2.8",
            "formula": "official v3",
            "alias": "policy",
            "chat_template": "ab" * 32,
            "tool_parser": "hermes",
            "sampling": {"temperature": 0.0, "top_p": 1.0},
            "context": 32768,
            "dtype": "bfloat16",
            "server": "vllm",
            "server_version": "0.13.0",
            "machine": "NVIDIA H100",
            **conditions,
        },
        "versions": {"nemo-evaluator": "0.2.8", "nvidia-bfcl": "26.3", "vllm": "0.13.0"},
        "times": {
            "started": "2026-11-20T08:00:00+00:00",
            "finished": "2026-11-20T08:21:30+00:00",
            "wall_s": 1290.0,
            "stages": {"serve": 95.0, "canary": 2.1, "harness": 1150.0, "score": 4.0},
        },
        "cost": {"nodes": 1, "gpus": 8, "gpu_hours": 2.87},
        "slurm": {"id": "481516", "partition": "batch"},
        "host": "node017",
        "work_dir": "results/work/evaluations/0123456789ab-c0ffee000000",
        "commit": "3f2c1d0" + "0" * 33,
    }


# -- training runs


def train(folder: Path, *, seed: int, curves: bool = True, healthy: bool = True) -> None:
    """Write a run folder: manifest, best.json, export.json."""
    draw = random.Random(seed)
    steps = 240
    reward = [
        [step, round(0.32 + 0.36 * (1 - 2.718 ** (-step / 90)) + draw.gauss(0, 0.025), 5)]
        for step in range(1, steps + 1)
    ]
    accuracy = [
        [step, round(0.36 + 0.27 * (1 - 2.718 ** (-step / 80)) + draw.gauss(0, 0.012), 5)]
        for step in range(0, steps + 1, 20)
    ]
    candidates = [
        {
            "step": step,
            "path": f"results/work/training/5eed/step_{step}",
            "accuracy": value,
            "standard_error": (value * (1 - value) / 545) ** 0.5,
        }
        for step, value in accuracy
        if step >= 160 and step % 40 == 0
    ]
    best = max(candidates, key=lambda c: (c["accuracy"], c["step"]))
    manifest = {
        "schema": 1,
        "run": folder.name,
        "backend": "nemo_rl",
        "seed": seed,
        "checkpoint_dir": "results/work/training/5eed",
        "config_digest": "5eed" + "0" * 60,
        "planned_steps": steps,
        "total_steps": steps,
        "segments": [
            {
                "started": "2026-11-18T10:00:00+00:00", "finished": "2026-11-18T22:00:00+00:00",
                "host": "node[001-004]", "slurm_job_id": "481400", "first_step": 1,
                "last_step": 110, "end": "time_limit",
            },
            {
                "started": "2026-11-18T22:12:00+00:00", "finished": "2026-11-19T11:40:00+00:00",
                "host": "node[001-004]", "slurm_job_id": "481455", "first_step": 101,
                "last_step": steps, "end": "finished",
            },
        ],
        "hosts": ["node001", "node002", "node003", "node004"],
        "world_size": 32,
        "curves": {"train/reward": reward, "validation/accuracy": accuracy} if curves else {},
        "checkpoints": [{"step": step, "accuracy": value} for step, value in accuracy if step],
        "validation_items": 545,
        "health": [
            {
                "name": "reward_rises", "title": "Reward rises", "passed": True,
                "evidence": "mean of the first tenth 0.343, of the last tenth 0.661",
            },
            {
                "name": "validation_rises", "title": "Validation accuracy rises", "passed": healthy,
                "evidence": "step 0: 0.360; best: 0.624 at step 240",
            },
            {
                "name": "no_out_of_memory", "title": "No out-of-memory", "passed": True,
                "evidence": "no such line in 2 logs (48,112 lines)",
            },
            {
                "name": "checkpoints", "title": "Checkpoints at the intervals asked for",
                "passed": True, "evidence": "saved every 20 steps: 12 of 12",
            },
        ],
        "periods": {"val_period": 20, "save_period": 20, "keep_top_k": 3},
        "tasks": {
            "train": 1255, "validation": 545, "no_tool_share": 0.0,
            "contamination": {
                "name_overlap": 0.0, "ngram_overlap": 0.0008, "limit": 0.01, "compared_items": 4441,
            },
        },
        "versions": {"nemo-rl": "v0.7.0", "ray": "2.54.0", "torch": "2.13.0"},
        "times": {
            "started": "2026-11-18T10:00:00+00:00", "finished": "2026-11-19T11:40:00+00:00",
            "wall_s": 91680.0,
        },
        "cost": {
            "nodes": 4, "gpus": 32, "gpu_hours": 814.9, "jobs": ["481400", "481455"],
            "source": "sacct",
        },
        "slurm": {"id": "481455", "partition": "batch", "account": "research"},
        "wandb_url": None,
        "commit": "3f2c1d0" + "0" * 33,
    }  # fmt: skip
    selection = {
        "schema": 1,
        "step": best["step"],
        "path": best["path"],
        "accuracy": best["accuracy"],
        "standard_error": best["standard_error"],
        "initial_accuracy": accuracy[0][1],
        "beats_initial": best["accuracy"] > accuracy[0][1],
        "candidates": candidates,
        "passed_over": [
            {
                "path": "results/work/training/5eed/tmp_step_230",
                "reason": "unfinished: the save was cut",
            }
        ],
        "within_noise": True,
    }
    _write(folder / "manifest.json", manifest)
    _write(folder / "best.json", selection)
    _write(
        folder / "export.json",
        {
            "schema": 1,
            "path": "results/runs/grpo/model",
            "digest": f"{seed:02d}" * 32,
            "name": "Qwen3-4B-demo, trained",
            "base_digest": "ba5e" * 16,
            "checks": {"same_tensors": True, "no_nan": True, "greedy_equal": "4 of 4 prompts"},
            "dtype": "bfloat16",
            "tensors_changed": 398,
        },
    )


def draw_before(items: list[Item], seed: int = 7) -> list[bool]:
    """Outcomes before the training."""
    draw = random.Random(seed)
    return [draw.random() < BEFORE[item.category] for item in items]


def draw_after(items: list[Item], before: list[bool], effect: Effect, seed: int) -> list[bool]:
    """Outcomes after the training: some wrong items gained, some right ones lost."""
    draw = random.Random(seed)
    after = []
    for item, good in zip(items, before, strict=True):
        gain, loss = effect.categories.get(item.category, (effect.gain, effect.loss))
        after.append(draw.random() >= loss if good else draw.random() < gain)
    return after


def _write(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")
