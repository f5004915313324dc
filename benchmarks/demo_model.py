"""Score a model folder on BFCL items that the demo does not use, in a few minutes of one core.

    .venv/bin/python benchmarks/demo_model.py resources/demo-model [--items 40] [--answers FILE]

Greedy answers to single-turn items outside config/demo.yaml's draw, judged by the harness's own
checker. It has the harness's conversion of tools and its rules for calls, but no server in
between: for choosing among pre-training runs, not for a result. Runs parts of itself in the
environments .venvs/bfcl (prompts, checker) and .venvs/trl (answers).
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

Rows = list[dict[str, Any]]

CATEGORIES = (
    "simple", "multiple", "parallel", "parallel_multiple", "java", "javascript", "irrelevance",
    "live_simple", "live_multiple", "live_irrelevance", "live_relevance",
)  # fmt: skip
LIMIT = 160
"""Most tokens of an answer, as in config/demo.yaml."""
_CALL = re.compile(r"<tool_call>(.*?)</tool_call>", re.DOTALL)


def choose(number: int) -> Rows:
    """Items that the demo's subset leaves out; live_relevance has none to spare."""
    import yaml

    from toolgain.bfcl import data

    subset = yaml.safe_load(Path("config/demo.yaml").read_text())["evaluation"]["subset"]
    items = data.load_items(data.installed_data(Path(".venvs/bfcl")), CATEGORIES)
    used = data.draw(items, data.sizes_of(subset), subset["seed"])
    rows: Rows = []
    for category in CATEGORIES:
        taken = {item.key for item in used[category]}
        free = {category: [item for item in items[category] if item.key not in taken]}
        for item in data.draw(free, {category: number}, 7)[category]:
            rows.append(
                {
                    "category": category,
                    "functions": item.tools,
                    "messages": item.question[0],
                    "expected": item.expected,
                }
            )
    return rows


def prepare(rows: Rows) -> Rows:
    """The tools as the harness sends them (environment bfcl)."""
    import copy

    from bfcl.model_handler import utils
    from bfcl.model_handler.constant import GORILLA_TO_OPENAPI
    from bfcl.model_handler.model_style import ModelStyle

    for row in rows:
        functions = utils.func_doc_language_specific_pre_processing(
            copy.deepcopy(row["functions"]), row["category"]
        )
        row["tools"] = utils.convert_to_tool(functions, GORILLA_TO_OPENAPI, ModelStyle.OpenAI)
    return rows


def answer(rows: Rows, model_path: str) -> Rows:
    """Greedy answers (environment trl)."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from toolgain.training.trl.sampling import complete

    tokenizer = AutoTokenizer.from_pretrained(model_path)
    model = AutoModelForCausalLM.from_pretrained(model_path, dtype=torch.float32).eval()
    for row in rows:
        text = tokenizer.apply_chat_template(
            row["messages"], tools=row["tools"], add_generation_prompt=True, tokenize=False
        )
        row["ids"] = tokenizer(text, add_special_tokens=False)["input_ids"]
    rows.sort(key=lambda row: len(row["ids"]))
    for start in range(0, len(rows), 8):
        batch = rows[start : start + 8]
        with torch.no_grad():
            found = complete(
                model,
                [row["ids"] for row in batch],
                limit=LIMIT,
                endings={tokenizer.eos_token_id},
                padding=tokenizer.pad_token_id,
                temperature=0.0,
            )
        for row, ids in zip(batch, found, strict=True):
            row["prompt_tokens"] = len(row.pop("ids"))
            row["cut"] = ids[-1] != tokenizer.eos_token_id
            row["answer"] = tokenizer.decode(ids, skip_special_tokens=True)
    return rows


def judge(rows: Rows) -> Rows:
    """Right or wrong, by the harness's checker (environment bfcl)."""
    from bfcl.eval_checker.ast_eval.ast_checker import ast_checker

    for row in rows:
        calls: Any = []
        try:
            for block in _CALL.findall(row["answer"]):
                call = json.loads(block)
                calls.append({call["name"]: dict(call["arguments"])})
        except (ValueError, KeyError, TypeError):
            calls = None
        opened = "<tool_call>" in row["answer"]
        row["unparsed"] = opened and not calls
        row["called"] = bool(calls)
        if row["category"].endswith("irrelevance"):
            row["right"] = not calls
        elif row["category"].endswith("relevance"):
            row["right"] = bool(calls)
        elif not calls:
            row["right"], row["error"] = False, "no call"
        else:
            language = {"java": "Java", "javascript": "JavaScript"}.get(row["category"], "Python")
            if language != "Python":
                calls = [
                    {n: {k: str(v) for k, v in a.items()} for n, a in c.items()} for c in calls
                ]
            found = ast_checker(
                row["functions"], calls, row["expected"], language, row["category"],
                "gpt-4o-2024-11-20-FC",
            )  # fmt: skip
            row["right"] = found["valid"]
            row["error"] = str(found.get("error_type"))
    return rows


STEPS = {"prepare": ("bfcl", prepare), "answer": ("trl", answer), "judge": ("bfcl", judge)}


def elsewhere(step: str, rows: Rows, *arguments: str) -> Rows:
    """Run a step in its environment."""
    python = Path(".venvs") / STEPS[step][0] / "bin/python"
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "rows.json"
        file.write_text(json.dumps(rows))
        subprocess.run(
            [python, __file__, "--step", step, str(file), *arguments],
            check=True,
            env={**os.environ, "PYTHONPATH": "workflow", "HF_HUB_OFFLINE": "1",
                 "OMP_NUM_THREADS": "1"},
            stdout=subprocess.DEVNULL,
        )  # fmt: skip
        found: Rows = json.loads(file.read_text())
    return found


def main() -> None:
    """Score and print a table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("--items", type=int, default=40, help="items of each category")
    parser.add_argument("--answers", type=Path, help="write every answer to this file")
    options = parser.parse_args()
    rows = elsewhere("prepare", choose(options.items))
    started = time.monotonic()
    rows = elsewhere("judge", elsewhere("answer", rows, options.model))
    if options.answers:
        options.answers.write_text("\n".join(json.dumps(row) for row in rows) + "\n")
    groups: dict[str, Rows] = defaultdict(list)
    for row in rows:
        groups[row["category"]].append(row)
    groups["all"] = rows
    print(f"{'category':<18}{'items':>6}{'right':>7}{'called':>8}{'unparsed':>10}{'cut':>6}")
    for name in (*CATEGORIES, "all"):
        part = groups[name]
        if part:
            share = [
                sum(r[k] for r in part) / len(part) for k in ("right", "called", "unparsed", "cut")
            ]
            print(
                f"{name:<18}{len(part):>6}{share[0]:>7.0%}{share[1]:>8.0%}{share[2]:>10.0%}{share[3]:>6.0%}"
            )
    print(f"answers took {time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--step"]:
        file = Path(sys.argv[3])
        done = STEPS[sys.argv[2]][1](json.loads(file.read_text()), *sys.argv[4:])  # type: ignore[operator]
        file.write_text(json.dumps(done))
    else:
        main()
