"""Keep BFCL out of the training tasks, and measure that it is.

Function names of BFCL v3 are reserved: their checksums lie beside this file (the names themselves
are not shipped), and the generator draws again when it hits one. A finished set of tasks is
compared with BFCL's items: function names, and word 8-grams of the questions.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from toolgain.common.files import read_text

RESERVED_FILE = Path(__file__).with_name("reserved_names.txt")
NGRAM = 8
"""Words in a row that count as shared text."""

SCORED = frozenset(
    """
    simple java javascript multiple parallel parallel_multiple irrelevance
    live_simple live_multiple live_parallel live_parallel_multiple live_irrelevance live_relevance
    multi_turn_base multi_turn_miss_func multi_turn_miss_param multi_turn_long_context
    """.split()  # noqa: SIM905
)
"""The 17 categories of BFCL v3 whose items are compared: 4441 items."""


def normal_name(name: str) -> str:
    """A function name without what a harness changes in it: case, dots, underscores."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


def name_digest(name: str) -> str:
    """The checksum under which a name is reserved (the first 10 hex digits of a SHA-256)."""
    return hashlib.sha256(normal_name(name).encode()).hexdigest()[:10]


@cache
def _reserved() -> frozenset[str]:
    return frozenset(read_text(RESERVED_FILE).split())


def is_reserved(name: str) -> bool:
    """Whether BFCL v3 has a function of this name."""
    return name_digest(name) in _reserved()


def ngrams(text: str, size: int = NGRAM) -> set[tuple[str, ...]]:
    """All runs of `size` words (letters and digits, lower case) of a text."""
    parts = re.findall(r"[a-z0-9]+", text.lower())
    return {tuple(parts[i : i + size]) for i in range(len(parts) - size + 1)}


def reserve(names: Iterable[str]) -> str:
    """The content of `reserved_names.txt` for these names."""
    return "\n".join(sorted({name_digest(name) for name in names})) + "\n"


def bfcl_texts(data: Path) -> tuple[list[str], list[str]]:
    """Function names and user messages of all scored BFCL v3 items in a BFCL data folder."""
    names: list[str] = []
    questions: list[str] = []
    for file in sorted(data.glob("BFCL_v3_*.json")):
        if file.stem.removeprefix("BFCL_v3_") not in SCORED:
            continue
        for line in read_text(file).splitlines():
            item = json.loads(line)
            names += [function["name"] for function in item.get("function", [])]
            questions.append(
                " \n ".join(
                    m["content"] for turn in item["question"] for m in turn if m["role"] == "user"
                )
            )
    for file in sorted((data / "multi_turn_func_doc").glob("*.json")):
        names += [json.loads(line)["name"] for line in read_text(file).splitlines() if line.strip()]
    return names, questions


@dataclass(frozen=True)
class Overlap:
    """How much of a set of tasks is also in BFCL; the shares are of tasks."""

    name_overlap: float
    ngram_overlap: float
    compared_items: int
    shared_names: tuple[str, ...]
    shared_ngrams: tuple[str, ...]


def overlap(tasks: Iterable[Mapping[str, Any]], data: Path) -> Overlap:
    """Compare tasks (lines of train.jsonl) with all scored items of a BFCL data folder.

    A task shares a name if one of its tools has the name of a BFCL function, and shares text if its
    question has `NGRAM` words in a row that a BFCL question has too. Three examples of each are
    kept.
    """
    names, questions = bfcl_texts(data)
    taken = {normal_name(name) for name in names}
    grams = set().union(*(ngrams(question) for question in questions)) if questions else set()
    number, with_name, with_gram = 0, 0, 0
    shared_names: list[str] = []
    shared_ngrams: list[str] = []
    for task in tasks:
        number += 1
        own = [t["function"]["name"] for t in task["tools"]]
        hits = [name for name in own if normal_name(name) in taken]
        text = " ".join(m["content"] for m in task["prompt"] if m["role"] == "user")
        runs = ngrams(text) & grams
        with_name += bool(hits)
        with_gram += bool(runs)
        shared_names += hits
        shared_ngrams += [" ".join(run) for run in sorted(runs)[:1]]
    return Overlap(
        with_name / max(number, 1),
        with_gram / max(number, 1),
        len(questions),
        tuple(shared_names[:3]),
        tuple(shared_ngrams[:3]),
    )
