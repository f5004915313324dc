"""Score the answers of a plain harness folder again, with the installed nvidia-bfcl.

Two revisions of the data, or two scorers, make folders that cannot be compared. Here the answers of
both are brought to one scorer: rows get the ids of nvidia-bfcl's data, and its own evaluator scores
them in the sandbox. Items that the folder's revision asks with another question are left out,
since its answers answer something else; so are those of any revision that the folder may be of.
How often the second score differs where the data are equal shows whether the answers are in a form
that nvidia-bfcl reads; where it does not, the folder is refused.
"""

import ast
import logging
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Literal

from toolgain.bfcl import data, results, revisions
from toolgain.bfcl.categories import WITHOUT_EXPECTED, group_of
from toolgain.bfcl.data import Item, Items, Key
from toolgain.bfcl.folders import HarnessFolder
from toolgain.bfcl.results import NATIVE, PlainFolder, Row
from toolgain.common.amounts import counted
from toolgain.common.errors import StageError, UserError
from toolgain.comparison import evaluations
from toolgain.comparison.evaluations import Evaluation
from toolgain.config.sections import EvaluationSection
from toolgain.evaluation import harness, rescoring, sandbox_setup
from toolgain.evaluation.harness import HarnessFolders, HarnessSettings

log = logging.getLogger(__name__)

MAX_DIFFERING = 0.01
"""Share of items of equal data that may be scored otherwise than in the folder; on answers of known
form it is 0."""


@contextmanager
def rescorer(bfcl_env: Path) -> Iterator[Callable[[Evaluation], Evaluation]]:
    """A function that scores the answers of a plain harness folder again, for `compare.run`."""
    section = EvaluationSection()
    layers = sandbox_setup.checked_layers(section)
    with tempfile.TemporaryDirectory(prefix="toolgain-rescore-") as name:
        number = iter(range(1_000_000))

        def again(evaluation: Evaluation) -> Evaluation:
            folders = HarnessFolders(Path(name).resolve() / str(next(number)))
            folders.work.mkdir()
            settings = HarnessSettings(
                bfcl_env=bfcl_env.absolute(),
                alias=section.alias,
                parallelism=1,
                sampling={},
                timeout_s=0,
                attempts=0,
                stall_s=0,
                layers=layers,
            )
            return rescored(evaluation, settings, folders)

        yield again


def rescored(
    evaluation: Evaluation, settings: HarnessSettings, folders: HarnessFolders
) -> Evaluation:
    """The evaluation with the scores of the installed nvidia-bfcl.

    Raises:
        UserError: the folder is of BFCL v4, of an unknown revision, or its answers are in a form
            that nvidia-bfcl does not read.
        StageError: the scorer could not be run.
    """
    source = evaluation.source
    if source is None or evaluation.version == "v4":
        raise UserError(
            f"--rescore: {evaluation.folder} is of BFCL v4, and nvidia-bfcl has the data of v3."
        )
    if not source.revision.names:
        raise UserError(
            f"--rescore: {evaluation.folder} is of {source.revision.name}; which question an "
            "answer belongs to is not known. Answer the questions of a known one again "
            "(docs/compare.md lists them)."
        )
    installed = data.installed_data(settings.bfcl_env)
    full = data.load_full(installed)
    same = asked_alike(source, full)
    rows, ours = _brought_over(source, same)
    data.write_data_folder(ours, installed, folders.data)
    if source.mode == NATIVE:
        credited = {
            key for key, right in zip(evaluation.keys, evaluation.right, strict=True) if right[0]
        }
        right = {item.key for key, item in same.items() if key in credited}
        rows = _with_underscores(rows, ours, right)
    else:
        rows = _harmless_texts(rows, ours)
    rescoring.write_harmless(rows, ours, folders.again / "result" / settings.alias)
    log.info("rescore: %s: %d answers", evaluation.subject, len(same))
    problem = harness.score_again(settings, folders, list(ours), source.mode == NATIVE)
    if problem:
        raise StageError(f"--rescore: {evaluation.folder}: {problem}.")
    folder = HarnessFolder(folders.again, settings.alias, "v3")
    known = revisions.Recognised((revisions.NVIDIA,), 0)
    found = evaluations.of_source(evaluation.folder, PlainFolder(folder, ours, known, source.mode))
    back = {item.key: key for key, item in same.items()}
    differing = _differing(evaluation, found, back, _changed(source, "answer"))
    if len(differing) > MAX_DIFFERING * len(same):
        raise UserError(
            f"--rescore: {evaluation.folder}: nvidia-bfcl scores {len(differing)} of {len(same)} "
            f"answers otherwise than the folder does, though their data are equal, such as "
            f"{differing[0]}; the answers are in a form that it does not read."
        )
    absent = {item.key for chosen in source.items.values() for item in chosen} - set(same)
    said = (
        f"{evaluation.subject}: scored again by the installed nvidia-bfcl, item by item (its own "
        f"scores: {source.revision.name}); {len(differing)} answers are scored otherwise than in "
        f"the folder where the data are equal. Left out: {counted(len(absent), 'item')} that "
        f"{'a revision which it may be of' if len(source.revision.names) > 1 else 'its revision'} "
        "asks with another question."
    )
    return replace(
        found,
        subject=evaluation.subject,
        scored_again=said,
        left_out=frozenset(
            full[category][item.index].key
            for category, chosen in source.items.items()
            for item in chosen
            if item.key in absent
        ),
    )


def asked_alike(source: PlainFolder, full: Items) -> dict[Key, Item]:
    """By key of the folder's item: nvidia-bfcl's, where every revision that fits asks the same.

    Args:
        full: all items of nvidia-bfcl.
    """
    other = _changed(source, "question")
    return {
        item.key: full[category][item.index]
        for category, chosen in source.items.items()
        for item in chosen
        if item.key not in other
    }


def _changed(source: PlainFolder, part: Literal["question", "answer"]) -> frozenset[Key]:
    """The folder's items whose `part` is not nvidia-bfcl's in a revision that fits."""
    table = revisions.revision_table()
    return frozenset(
        item.key
        for category, chosen in source.items.items()
        for name in source.revision.names
        if (changes := table[name].get(category))
        for item in chosen
        if (change := changes.get(item.index)) and getattr(change, part)
    )


def _brought_over(
    source: PlainFolder, same: Mapping[Key, Item]
) -> tuple[dict[str, list[Row]], Items]:
    """The rows with the ids of nvidia-bfcl's items, and those items, by category."""
    rows: dict[str, list[Row]] = {}
    ours: Items = {}
    for category, chosen in source.items.items():
        paired = results.answers(results.read_rows(source.folder.result_file(category)), chosen)
        kept = [(same[item.key], row) for item, row in paired if item.key in same]
        if kept:
            ours[category] = [item for item, _ in kept]
            rows[category] = [{**row, "id": item.id} for item, row in kept]
    return rows, ours


def _with_underscores(
    rows: dict[str, list[Row]], items: Items, right: Collection[Key]
) -> dict[str, list[Row]]:
    """Names of functions as nvidia-bfcl expects them: `math_sum` for `math.sum`.

    Some handlers of bfcl-eval ask with the dot, others with the underscore, and the scorer of each
    expects what was asked with. An answer with a dot that was scored as right tells which it was.
    """
    dots = any(
        "." in name
        for category, chosen in items.items()
        if category not in WITHOUT_EXPECTED
        for item, row in zip(chosen, rows[category], strict=True)
        if item.key in right and isinstance(row.get("result"), list)
        for call in row["result"]
        if isinstance(call, dict)
        for name in call
    )
    if not dots:
        return rows
    return {
        category: [{**row, "result": _renamed(row.get("result"))} for row in found]
        for category, found in rows.items()
    }


def _renamed(result: object) -> object:
    if not isinstance(result, list):
        return result
    return [
        {name.replace(".", "_"): arguments for name, arguments in call.items()}
        if isinstance(call, dict)
        else call
        for call in result
    ]


def _harmless_texts(rows: dict[str, list[Row]], items: Items) -> dict[str, list[Row]]:
    """Rows of prompt mode in which no text makes the evaluator run what the model wrote."""
    offered = {
        category: {tool["name"] for item in chosen for tool in item.tools}
        for category, chosen in items.items()
    }
    return {
        category: [_harmless_text(row, offered[category]) for row in found]
        if group_of(category) == "multi_turn"
        else found
        for category, found in rows.items()
    }


def _harmless_text(row: Row, offered: set[str]) -> Row:
    result = row.get("result")
    if not isinstance(result, list):
        return row
    turns = [
        [
            step if not isinstance(step, str) or is_plain_text(step, offered) else _NOTHING
            for step in rescoring.as_list(turn)
        ]
        for turn in result
    ]
    return {**row, "result": turns}


_NOTHING = f"[{rescoring.NO_FUNCTION}()]"


def is_plain_text(text: str, offered: set[str]) -> bool:
    """Whether a prompt-mode text is not a list of calls, or calls offered functions with literals.

    The evaluator of multi-turn items runs what it can parse.
    """
    try:
        body = ast.parse(text.strip("`\n []'"), mode="eval").body
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return True
    calls = body.elts if isinstance(body, ast.Tuple | ast.List) else [body]
    return all(_is_plain_call(one, offered) for one in calls)


def _is_plain_call(node: ast.expr, offered: set[str]) -> bool:
    if not isinstance(node, ast.Call):
        # The evaluator takes calls alone.
        return True
    if node.args or not isinstance(node.func, ast.Name) or node.func.id not in offered:
        return False
    try:
        return all(word.arg and ast.literal_eval(word.value) is not ... for word in node.keywords)
    except (ValueError, TypeError, MemoryError, RecursionError):
        return False


def _differing(
    folder: Evaluation,
    again: Evaluation,
    back: Mapping[Key, Key],
    expected_otherwise: Collection[Key],
) -> Sequence[str]:
    """Items of equal data with two scores, by id."""
    own = {key: bool(right[0]) for key, right in zip(folder.keys, folder.right, strict=True)}
    return [
        back[key][1]
        for key, right in zip(again.keys, again.right, strict=True)
        if back[key] not in expected_otherwise and own[back[key]] != bool(right[0])
    ]
