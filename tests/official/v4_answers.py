"""Place synthetic answers in the folders of bfcl-eval v4, and add answers to its agentic parts.

Run with the Python of bfcl-eval v4:

    python v4_answers.py FOLDER_OF_RESULT_FILES MODEL_FOLDER SEED SHARE_WRONG
"""

import json
import random
import shutil
import sys
from pathlib import Path

from bfcl_eval.utils import (
    get_directory_structure_by_category,
    load_dataset_entry,
    load_ground_truth_entry,
)

AGENTIC = (
    "web_search_base",
    "web_search_no_snippet",
    "memory_kv",
    "memory_vector",
    "memory_rec_sum",
)


def main() -> None:
    flat, model, seed, wrong = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], sys.argv[4]
    for file in flat.glob("BFCL_v4_*_result.json"):
        category = file.stem.removeprefix("BFCL_v4_").removesuffix("_result")
        shutil.copy(file, folder_of(model, category))
    for category in AGENTIC:
        draw = random.Random(f"{seed}/{category}")
        without = {"include_prereq": False} if category.startswith("memory") else {}
        entries, answers = (
            load_dataset_entry(category, **without),
            load_ground_truth_entry(category),
        )
        rows = []
        for entry, answer in zip(entries, answers, strict=True):
            given = "unknown" if draw.random() < float(wrong) else answer["ground_truth"][0]
            said = json.dumps({"answer": str(given), "context": "I looked it up."})
            counts = [[7]]
            rows.append(
                {
                    "id": entry["id"],
                    "result": [[said]],
                    "input_token_count": counts,
                    "output_token_count": counts,
                    "latency": counts,
                }
            )
        file = folder_of(model, category) / f"BFCL_v4_{category}_result.json"
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))


def folder_of(model: Path, category: str) -> Path:
    folder = model / get_directory_structure_by_category(category)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


if __name__ == "__main__":
    main()
