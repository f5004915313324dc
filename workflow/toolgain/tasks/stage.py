"""The `tasks` stage: write the training and validation tasks, and prove their distance from BFCL.

Input: a frozen training section (its `tasks` keys). Output, in one folder: `train.jsonl`,
`validation.jsonl`, the same tasks as rows of NeMo Gym in `gym/`, and `tasks.json` (counts, shares,
digests, contamination), written last. Tasks are generated, or read from `train_file` and
`validation_file`.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

from toolgain.common.amounts import in_percent
from toolgain.common.errors import StageError
from toolgain.common.files import file_digest, write_jsonl, write_text
from toolgain.config.sections import TasksSection
from toolgain.records import tasks as records
from toolgain.records.record import write_record
from toolgain.records.tasks import Contamination
from toolgain.tasks import contamination, gym_rows
from toolgain.tasks.files import read_pair, same_prompts
from toolgain.tasks.generated.generate import TaskMaker, generate
from toolgain.tasks.generated.task import Split, Task, prompt_chars


def make_tasks(
    keys: TasksSection, out: Path, bfcl_data: Path | None, everyday: TaskMaker | None = None
) -> None:
    """Generate the tasks of a training section into `out`.

    Args:
        keys: the `tasks` of a training section.
        out: folder for the three files.
        bfcl_data: BFCL's data folder; None leaves the comparison out, and tasks.json says so.
        everyday: makes the training tasks of `everyday_share`.

    Raises:
        UserError: a file of one's own is missing or holds something else than tasks, or both hold
            the same ones.
        StageError: more of the tasks than `max_ngram_overlap` share a name or text with BFCL.
    """
    own = keys.train_file and keys.validation_file
    if own:
        train, validation = read_pair(Path(keys.train_file or ""), Path(keys.validation_file or ""))
    else:
        train = _generated(keys, "train", keys.train, everyday)
        # Tools written by hand are seen in pre-training: they would say nothing here.
        validation = _generated(keys, "validation", keys.validation, None)
    sets = {"train": train, "validation": validation}
    out.mkdir(parents=True, exist_ok=True)
    for name, tasks in sets.items():
        lines = (json.dumps(task.as_json(), ensure_ascii=False) for task in tasks)
        write_text(out / f"{name}.jsonl", "".join(line + "\n" for line in lines))
        rows = (gym_rows.row(number, task) for number, task in enumerate(tasks))
        write_jsonl(out / gym_rows.FOLDER / f"{name}.jsonl", rows)
    every = [*sets["train"], *sets["validation"]]
    described = records.Tasks(
        train=len(sets["train"]),
        validation=len(sets["validation"]),
        no_tool_share=sum(task.kind == "none" for task in every) / max(len(every), 1),
        kinds={name: dict(Counter(t.kind for t in tasks)) for name, tasks in sets.items()},
        functions={name: len(_functions(tasks)) for name, tasks in sets.items()},
        shared_functions=len(_functions(sets["train"]) & _functions(sets["validation"])),
        longest_prompt_chars=max(map(prompt_chars, every), default=0),
        seed=None if own else keys.seed,
        same_prompt_in_both=same_prompts(train, validation) if own else None,
        sha256={
            name: file_digest(out / f"{name}.jsonl")
            for split in sets
            for name in (split, f"{gym_rows.FOLDER}/{split}")
        },
        contamination=_compare(every, bfcl_data, keys.max_ngram_overlap),
    )
    write_record(out / "tasks.json", described)


def _generated(
    keys: TasksSection, split: Split, count: int, everyday: TaskMaker | None
) -> list[Task]:
    others = (keys.everyday_share, everyday) if everyday and keys.everyday_share > 0 else None
    return generate(
        keys.seed, count, split, keys.no_tool_share, keys.max_prompt_chars, keys.wordy_share, others
    )


def _functions(tasks: list[Task]) -> set[str]:
    return {tool["function"]["name"] for task in tasks for tool in task.tools}


def _compare(tasks: list[Task], bfcl_data: Path | None, limit: float) -> Contamination:
    if bfcl_data is None:
        return Contamination(name_overlap=None, ngram_overlap=None, limit=limit, compared_items=0)
    found = contamination.overlap((task.as_json() for task in tasks), bfcl_data)
    for what, value, examples in (
        ("a function name", found.name_overlap, found.shared_names),
        (f"{contamination.NGRAM} words in a row", found.ngram_overlap, found.shared_ngrams),
    ):
        if value > limit:
            raise StageError(
                f"training tasks: {in_percent(value, 2)} share {what} with BFCL v3, more than the "
                f"limit of {in_percent(limit, 2)} (training.tasks.max_ngram_overlap), such as: "
                f"{'; '.join(examples)}"
            )
    return Contamination(
        name_overlap=found.name_overlap,
        ngram_overlap=found.ngram_overlap,
        limit=limit,
        compared_items=found.compared_items,
        shared_names=list(found.shared_names),
        shared_ngrams=list(found.shared_ngrams),
    )
