"""Results folders for the report's tests: BFCL's own items, made-up answers, the real scorer.

Answers are drawn from the expected calls (right answers) or by breaking them the way models do
(wrong answers), and written as the harness writes them. nvidia-bfcl scores them, so that error
types and messages are its own; toolgain reads the harness folder and writes the evaluation.
"""

import ast
import csv
import json
import os
import random
import subprocess
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from toolgain.bfcl import data, outcomes, results
from toolgain.bfcl.categories import CATEGORIES, MUST_NOT_CALL, POPULATION, group_of
from toolgain.bfcl.data import Item, Items
from toolgain.bfcl.decoder import decoding
from toolgain.bfcl.outcomes import ItemOutcome
from toolgain.training import health

ROOT = Path(__file__).parents[1]
BFCL_ENV = ROOT / ".venvs/bfcl"

# Share of right answers before the training, per category.
BEFORE = {
    "simple": 0.82, "java": 0.48, "javascript": 0.52, "multiple": 0.80, "parallel": 0.70,
    "parallel_multiple": 0.66, "irrelevance": 0.62, "live_simple": 0.64, "live_multiple": 0.60,
    "live_parallel": 0.5, "live_parallel_multiple": 0.46, "live_irrelevance": 0.66,
    "live_relevance": 0.72, "multi_turn_base": 0.30, "multi_turn_miss_func": 0.22,
    "multi_turn_miss_param": 0.18, "multi_turn_long_context": 0.2,
}  # fmt: skip


@dataclass(frozen=True)
class Effect:
    """What a simulated training does: shares of wrong items gained and right items lost."""

    gain: float = 0.15
    loss: float = 0.02
    categories: tuple[tuple[str, float, float], ...] = field(default=())

    def of(self, category: str) -> tuple[float, float]:
        """(gain, loss) in `category`."""
        for name, gain, loss in self.categories:
            if name == category:
                return gain, loss
        return self.gain, self.loss


def data_folder() -> Path | None:
    """BFCL's data in the harness environment, or None where there is no such environment."""
    found = sorted(BFCL_ENV.glob("lib/python3*/site-packages/bfcl/data"))
    return found[0] if found else None


@cache
def all_items() -> Items:
    """All 4441 items, by category."""
    return data.load_full(data.installed_data(BFCL_ENV))


@cache
def chosen_items(per_category: int | None) -> Items:
    """All items, or a stratified draw with a third as many multi-turn scenarios."""
    if per_category is None:
        return all_items()
    sizes = {
        category: min(
            population,
            max(3, per_category // 3) if group_of(category) == "multi_turn" else per_category,
        )
        for category, population in POPULATION.items()
    }
    return data.draw(all_items(), sizes, 1)


# -- answers


def right_answer(item: Item, draw: random.Random) -> Any:
    """An answer that the scorer accepts: calls, or text where no call is expected."""
    if group_of(item.category) == "multi_turn":
        return [[[_call(code, item)] for code in turn] for turn in item.expected]
    if item.category in MUST_NOT_CALL:
        return draw.choice(
            [
                "None of the available functions can answer this.",
                "I can't help with that using the tools I have. Could you tell me more?",
            ]
        )
    if item.expected is None:
        return [{_asked(item.tools[0]["name"]): {}}]
    as_text = item.category in ("java", "javascript")
    return [
        {
            _asked(name): {
                key: _text(allowed[0]) if as_text else _plain(allowed[0])
                for key, allowed in arguments.items()
                if allowed and allowed[0] != ""
            }
            for name, arguments in call.items()
        }
        for call in item.expected
    ]


def wrong_answer(item: Item, draw: random.Random) -> Any:
    """An answer as a model that errs gives it."""
    if group_of(item.category) == "multi_turn":
        turns = right_answer(item, draw)
        kind = draw.choice(["state", "state", "empty", "forced"])
        if kind == "forced":
            return [[(turns[0] or [[{"ls": {}}]])[0]] * 21]
        cut = draw.randrange(len(turns))
        if kind == "empty":
            return [*turns[:cut], *[["I have done what you asked."] for _ in turns[cut:]]]
        return [*turns[:cut], turns[cut][:-1] or ["Done."], *turns[cut + 1 :]]
    if item.category in MUST_NOT_CALL:
        return [{_asked(item.tools[0]["name"]): {"query": "now"}}] if item.tools else "{}"
    kind = draw.choice(["value", "value", "name", "missing", "text", "count", "type", "unparsed"])
    if item.expected is None or kind == "text":
        return "Could you tell me a little more about what you need?"
    calls = right_answer(item, draw)
    name = next(iter(calls[0]))
    arguments = dict(calls[0][name])
    if kind == "unparsed":
        body = json.dumps({"name": name, "arguments": arguments})
        return f"<tool_call>\n{body}\n</tool_call>"
    if kind == "name":
        return [{name + "_info": arguments}, *calls[1:]]
    if kind == "count" or not arguments:
        return [*calls, calls[0]]
    key = draw.choice(sorted(arguments))
    if kind == "missing":
        del arguments[key]
    else:
        value = arguments[key]
        arguments[key] = [value] if kind == "type" else _other(value)
    return [{name: arguments}, *calls[1:]]


def _asked(name: str) -> str:
    """A function's name as the harness offers it to the model."""
    return name.replace(".", "_")


_PARSING = threading.Lock()


def _call(code: str, item: Item) -> dict[str, Any]:
    """`mv(source='a')` as a call; arguments without a name get that of the tool's parameter."""
    # Python 3.11's parser counts its depth for all threads together.
    with _PARSING:
        node = ast.parse(code, mode="eval").body
    assert isinstance(node, ast.Call)
    name = ast.unparse(node.func)
    names = next(
        (list(tool["parameters"]["properties"]) for tool in item.tools if tool["name"] == name), []
    )
    arguments = dict(zip(names, map(ast.literal_eval, node.args), strict=False))
    arguments |= {word.arg or "": ast.literal_eval(word.value) for word in node.keywords}
    return {name: arguments}


def _plain(value: Any) -> Any:
    """An expected value: objects list what is allowed by key."""
    if isinstance(value, dict):
        return {k: _plain(v[0]) if isinstance(v, list) and v else v for k, v in value.items()}
    return [_plain(part) for part in value] if isinstance(value, list) else value


def _text(value: Any) -> str:
    """A value as source text, which the Java and JavaScript checkers read."""
    return value if isinstance(value, str) else json.dumps(_plain(value))


def _other(value: Any) -> Any:
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value * 10 + 1
    if isinstance(value, str):
        return value[:-1] + "x"
    return str(value)


def as_recorded(answer: Any) -> Any:
    """An answer as the harness writes it: the arguments of a call are JSON text."""
    if isinstance(answer, dict):
        return {name: json.dumps(arguments) for name, arguments in answer.items()}
    return [as_recorded(part) for part in answer] if isinstance(answer, list) else answer


HOSTILE = [
    "<script>window.pwned = 1</script>",
    "</script><img src=x onerror='window.pwned=1'>",
    "{{ 7 * 7 }} {% raw %} ${7*7}",
    "\u202eevil\u202c \x07\x1b[31m\x00 \u2028 \ud7ff",
    "x" * 100_000,
    [{"f": '{"a": NaN, "b": null, "<b>": "</textarea>"}'}],
    "",
]


# -- evaluations


Wish = Callable[[Item], bool]
"""Whether the model should answer an item right."""


def wished_before(item: Item) -> bool:
    """Outcomes before the training."""
    return random.Random(f"before/{item.key}").random() < BEFORE[item.category]


def wished_after(effect: Effect, seed: int) -> Wish:
    """Outcomes after the training: some wrong items gained, some right ones lost."""

    def wish(item: Item) -> bool:
        gain, loss = effect.of(item.category)
        luck = random.Random(f"after/{seed}/{item.key}").random()
        return luck >= loss if wished_before(item) else luck < gain

    return wish


@cache
def scored(
    per_category: int | None, effect: Effect | None, seed: int, repeat: int
) -> tuple[ItemOutcome, ...]:
    """The outcomes of a simulated model: the baseline without an effect."""
    wish = wished_before if effect is None else wished_after(effect, seed)
    items = chosen_items(per_category)
    with tempfile.TemporaryDirectory() as folder:
        harness_folder(Path(folder), items, wish, seed, repeat)
        with decoding(BFCL_ENV) as decoder:
            found = results.outcomes(Path(folder) / "output", items, decoder.decode, repeat)
        return tuple(found)


def harness_folder(folder: Path, items: Items, wish: Wish, seed: int, repeat: int) -> None:
    """Write result/ as the harness does, and let nvidia-bfcl score it into score/."""
    output = folder / "output"
    data.write_data_folder(items, data.installed_data(BFCL_ENV), folder / "data")
    answered = output / "result" / "policy"
    answered.mkdir(parents=True)
    for category, chosen in items.items():
        rows = [_row(item, wish(item), seed, repeat) for item in chosen]
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (answered / f"BFCL_v3_{category}_result.json").write_text(text, encoding="utf-8")
    command = [
        str(BFCL_ENV / "bin/bfcl"), "evaluate", "--model", "policy", "--model-mapping", "oai",
        "--test-category", "multi_turn,ast", "--result-dir", str(output), "--score-dir",
        str(output), "--model-args",
        "base_url=http://127.0.0.1:1/v1/chat/completions,native_calling=True",
    ]  # fmt: skip
    env = {**os.environ, "BFCL_DATA_DIR": str(folder / "data"), "OMP_NUM_THREADS": "1"}
    subprocess.run(command, cwd=folder, env=env, check=True, capture_output=True)


def _row(item: Item, good: bool, seed: int, repeat: int) -> dict[str, Any]:
    # The same weights answer a few items otherwise when evaluated again.
    again = random.Random(f"again/{seed}/{repeat}/{item.key}")
    if repeat and again.random() < 0.03:
        good = not good
    draw = random.Random(f"answer/{item.key}/{good}/{seed if not good else 0}")
    answer = right_answer(item, draw) if good else wrong_answer(item, draw)
    recorded = as_recorded(answer)
    calls = 0 if isinstance(recorded, str) else str(recorded).count("{'")
    tokens = 12 + 28 * calls + draw.randrange(30)
    prompt, latency = 180 + 90 * len(item.tools), round(0.2 + tokens * 0.011, 3)
    multi_turn = group_of(item.category) == "multi_turn"
    return {
        "id": item.id,
        "result": recorded,
        "input_token_count": [[prompt]] if multi_turn else prompt,
        "output_token_count": [[tokens]] if multi_turn else tokens,
        "latency": [[latency]] if multi_turn else latency,
    }


def evaluation_folder(
    folder: Path,
    rows: Sequence[ItemOutcome],
    *,
    per_category: int | None,
    digest: str,
    conditions: dict[str, Any] | None = None,
    **over: Any,
) -> None:
    """Write an evaluation folder with the given outcomes; `over` replaces keys of the summary."""
    folder.mkdir(parents=True)
    place = {item.key: n for n, item in enumerate(data.flat(chosen_items(per_category)))}
    ordered = sorted(rows, key=lambda outcome: (place[outcome.key], outcome.repeat))
    outcomes.write_items(folder, ordered)
    outcomes.write_questions(folder, data.question_rows(chosen_items(per_category)))
    _write(folder / "summary.json", summarise(folder.name, ordered, per_category) | over)
    _write(folder / "manifest.json", _evaluation_manifest(folder.name, digest, conditions or {}))


def summarise(
    subject: str, rows: Sequence[ItemOutcome], per_category: int | None
) -> dict[str, Any]:
    """A summary.json of the given outcomes."""
    scores = results.scores(outcomes.accuracies(rows))
    strict = results.scores(outcomes.accuracies(rows, strict=True))
    repeats = 1 + max(outcome.repeat for outcome in rows)
    number = Counter(outcome.category for outcome in rows)
    flags = Counter(flag for outcome in rows for flag in outcome.flags)
    return {
        "schema": 1,
        "subject": subject,
        "n": len(rows) // repeats,
        "overall": scores["overall"],
        "groups": scores["groups"],
        "categories": {
            category: {
                "accuracy": scores["categories"][category],
                "correct": sum(o.valid for o in rows if o.category == category),
                "n": number[category],
                "population": POPULATION[category],
            }
            for category in CATEGORIES
        },
        "strict": {"overall": strict["overall"], "groups": strict["groups"]},
        "subset": None
        if per_category is None
        else {
            "non_live": per_category,
            "live": per_category,
            "multi_turn": max(3, per_category // 3),
            "categories": {},
            "seed": 1,
        },
        "valid": True,
        "reasons": [],
        "warnings": [],
        "errors": {},
        "flags": dict(flags),
        "retried": 3,
        "rounds": 1,
        "requests": sum(outcome.requests for outcome in rows) + 3,
        "retried_requests": 3,
        "sampling_seen": [{"temperature": 0.0, "top_p": 1.0}],
        "repeats": repeats,
        "canary": {"answered": True, "parsed_call": True, "call_as_text": False, "text": True},
        "harness_overall": 51.22,
    }


def spoil(folder: Path) -> None:
    """Put into the texts of items.csv what tries to break the page: markup and controls."""
    csv.field_size_limit(10**9)
    with (folder / "items.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    for number, row in enumerate(rows):
        if row["valid"] == "0":
            row["error_type"], row["error_message"] = "value_error:string</script>", HOSTILE[0]
            if not row["category"].startswith("multi_turn"):
                row["answer"] = json.dumps(HOSTILE[number % len(HOSTILE)], ensure_ascii=False)
    with (folder / "items.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)


def _evaluation_manifest(subject: str, digest: str, conditions: dict[str, Any]) -> dict[str, Any]:
    return {
        "schema": 1,
        "subject": subject,
        "weights": {"path": f"/models/{subject}", "digest": digest, "name": "simulated model"},
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
        "slurm_jobs": ["481516"],
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
        "fingerprint": "5eed",
        "backend": "nemo_rl",
        "seed": seed,
        "checkpoint_dir": "results/work/training/5eed",
        "config_digest": "5eed" + "0" * 60,
        "weights": {"path": "/models/base", "digest": "ba5e" * 16},
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
        "checkpoints": [
            {"step": step, "accuracy": value, "kept": step >= 160 and step % 40 == 0}
            for step, value in accuracy if step
        ],
        "validation_items": 545,
        "health": health.signs(
            {"train/reward": reward, "validation/accuracy": accuracy} if curves else {},
            steps=steps, val_period=20, save_period=20, saved=range(20, steps + 1, 20),
            out_of_memory=[] if healthy else ["logs/exp_002/ray-head.log"],
            logs=2, validation_items=545,
        ),
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
            "wall_s": 91680.0, "lost_s": 0.0, "stages": {"checkpoints": 1200.0, "steps": 86000.0},
        },
        "cost": {
            "nodes": 4, "gpus": 32, "gpu_hours": 814.9, "jobs": ["481400", "481455"],
            "source": "sacct",
        },
        "slurm": {
            "job_id": "481455", "nodes": ["node001", "node002", "node003", "node004"],
            "partition": "batch", "account": "research",
        },
        "slurm_jobs": ["481400", "481455"],
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
            "name": "simulated model after step 240",
            "base_digest": "ba5e" * 16,
            "checkpoint": best["path"],
            "step": best["step"],
            "kind": "hugging_face",
            "bytes": 16_060_522_496,
            "exported": "2026-11-19T11:52:00+00:00",
            "checks": {"same_tensors": True, "no_nan": True, "greedy_equal": "4 of 4 prompts"},
            "dtype": "bfloat16",
            "tensors_changed": 398,
        },
    )


def _write(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")
