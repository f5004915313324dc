"""Layouts of result folders, revisions of the data, and the calling mode, without any package."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from harness_folders import all_items, answered, item, write, wrong
from hypothesis import given
from hypothesis import strategies as st

from toolgain.bfcl import results, revisions, v4
from toolgain.bfcl.data import installed_data
from toolgain.bfcl.folders import models_of, one_model
from toolgain.bfcl.revisions import ItemEvidence
from toolgain.common.errors import UserError

DATA = installed_data(Path(__file__).parents[2] / ".venvs" / "bfcl")
OFFICIAL = [name for name in revisions.revision_table() if name != revisions.NVIDIA]
CALL = [{"f": '{"x": 1}'}]


def test_layouts_that_people_have(tmp_path: Path) -> None:
    a = item("simple", 0)
    root = tmp_path / "job" / "artifacts"
    write(root, "simple", [answered(a, CALL)], [])
    for path in (root, root.parent, root / "result" / "policy"):
        found = one_model(path)
        assert (found.root, found.model, found.version) == (root, "policy", "v3")


def test_v4_keeps_groups_in_folders(tmp_path: Path) -> None:
    folder = tmp_path / "result" / "m" / "non_live"
    folder.mkdir(parents=True)
    (folder / "BFCL_v4_simple_python_result.json").write_text("")
    (found,) = models_of(tmp_path)
    assert found.version == "v4"
    assert found.result_file("simple_python").parent == folder
    with pytest.raises(UserError, match="is of BFCL v4, whose data, categories and Overall"):
        results.source_of(found, DATA)


def test_unscored_folder_says_what_to_run(tmp_path: Path) -> None:
    a = item("simple", 0)
    write(tmp_path, "simple", [answered(a, CALL)])
    with pytest.raises(UserError, match="run `bfcl evaluate` on it first"):
        results.source_of(one_model(tmp_path), DATA)


@pytest.mark.parametrize("name", ["score", "inspect", "empty"])
def test_unreadable_folders_are_named(tmp_path: Path, name: str) -> None:
    (tmp_path / "score" / "m").mkdir(parents=True)
    (tmp_path / "inspect").mkdir()
    (tmp_path / "inspect" / "2025.eval").touch()
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="What is read: a root of nvidia-bfcl or bfcl-eval"):
        models_of(tmp_path / name)


def test_the_first_items_of_a_category_are_a_subset(tmp_path: Path) -> None:
    first = all_items()["parallel"][:3]
    write(tmp_path, "parallel", [answered(one, CALL) for one in first], [wrong(first[1])])
    source = results.source_of(one_model(tmp_path), DATA)
    assert [one.id for one in source.items["parallel"]] == [one.id for one in first]
    found = results.score_folder(one_model(tmp_path), DATA)
    assert found["n"] == 3 and found["overall"] is None
    assert found["categories"]["parallel"] == pytest.approx(200 / 3)


def test_a_gap_between_rows_is_no_limit(tmp_path: Path) -> None:
    a, _, c = all_items()["parallel"][:3]
    write(tmp_path, "parallel", [answered(a, CALL), answered(c, CALL)], [])
    source = results.source_of(one_model(tmp_path), DATA)
    with pytest.raises(UserError, match="198 missing"):
        results.read_outcomes(source.folder, source.items)


def ids_of(revision: str) -> dict[str, set[str]]:
    items = revisions.items(all_items(), revision)
    return {category: {one.id for one in chosen} for category, chosen in items.items()}


@pytest.mark.parametrize("revision", revisions.revision_table())
def test_a_revision_fits_its_own_ids(revision: str) -> None:
    assert revision in revisions.recognised_revisions(all_items(), ids_of(revision), []).names


@given(st.data())
def test_one_changed_item_rules_a_revision_out(data: st.DataObject) -> None:
    """Evidence of the base on an item that a revision changed leaves only revisions without it."""
    revision = data.draw(st.sampled_from(OFFICIAL))
    changed = {
        category: {place: one for place, one in places.items() if one.question}
        for category, places in revisions.revision_table()[revision].items()
        if category != "live_relevance"
    }
    category = data.draw(st.sampled_from([name for name, places in changed.items() if places]))
    place = data.draw(st.sampled_from(sorted(changed[category])))
    seen = all_items()[category][place]
    evidence = ItemEvidence(category, seen.id, seen.question, seen.expected)
    found = revisions.recognised_revisions(all_items(), {category: {seen.id}}, [evidence])
    assert revision not in found.names
    assert revisions.NVIDIA in found.names


def test_data_that_nobody_knows_is_an_unknown_revision() -> None:
    one = all_items()["simple"][0]
    evidence = ItemEvidence("simple", one.id, [[{"role": "user", "content": "else"}]], one.expected)
    found = revisions.recognised_revisions(all_items(), {"simple": {one.id}}, [evidence])
    assert found.names == ()
    assert found.name == "an unknown revision (1 of 1 checked items differ)"
    assert not found.may_equal(found)


@pytest.mark.parametrize(
    ("text", "calls"),
    [
        ("[f(x=1), g(y='a')]", 2),
        ("f(x=1)", 1),
        ("[f(x=[1, 2], y={'a': (1)})]", 1),
        ("No function fits.", 0),
        ("[1, 2]", 0),
        ("[]", 0),
        ("", 0),
        ("(" * 100_000, 0),
    ],
)
def test_calls_as_text(text: str, calls: int) -> None:
    assert results.text_calls(text) == calls


@given(st.text())
def test_any_text_has_a_number_of_calls(text: str) -> None:
    assert results.text_calls(text) >= 0


@pytest.mark.parametrize(
    ("answers", "mode"),
    [(["[f(x=1)]", "no"], "prompt"), ([CALL, "no"], "native"), (["no", "no"], "native")],
)
def test_calling_mode(tmp_path: Path, answers: list[Any], mode: str) -> None:
    items = all_items()["simple"][:2]
    rows = [answered(one, answer) for one, answer in zip(items, answers, strict=True)]
    write(tmp_path, "simple", rows, [wrong(items[0])])
    source = results.source_of(one_model(tmp_path), DATA)
    assert source.mode == mode
    flags = [one.flags for one in results.read_outcomes(source.folder, source.items)]
    assert flags == [(), ()]


def test_the_table_holds_no_text() -> None:
    raw = json.loads(revisions.TABLE.read_text())
    changes = [one for kinds in raw.values() for items in kinds.values() for one in items.values()]
    assert all(len(part) in (0, revisions.SHORT) for _, *parts in changes for part in parts)


def v4_folder(root: Path, accuracies: dict[str, tuple[int, int]]) -> Path:
    """Answers and scores of a v4 folder: right ones and all, by category."""
    for category, (right, total) in accuracies.items():
        for kind in ("result", "score"):
            (root / kind / "m" / "group").mkdir(parents=True, exist_ok=True)
        answers = [{"id": f"{category}_{n}", "result": [], "latency": 1} for n in range(total)]
        head = {"accuracy": right / total, "correct_count": right, "total_count": total}
        bad = [{"id": f"{category}_{n}"} for n in range(right, total)]
        for kind, lines in (("result", answers), ("score", [head, *bad])):
            file = root / kind / "m" / "group" / f"BFCL_v4_{category}_{kind}.json"
            file.write_text("\n".join(json.dumps(line) for line in lines))
    return root


def test_v4_has_groups_and_an_overall_of_its_own(tmp_path: Path) -> None:
    needed = dict.fromkeys(v4.CATEGORIES, (1, 2)) | {
        "live_multiple": (9, 10),
        "web_search_base": (1, 1),
        "live_relevance": (0, 1),
    }
    found = v4.score_v4(one_model(v4_folder(tmp_path, needed)))
    live = 100 * (1 + 9 + 1 + 1) / 16
    agentic = (75 + 50) / 2
    assert found["groups"]["live"] == pytest.approx(live)
    assert found["groups"]["agentic"] == pytest.approx(agentic)
    assert found["overall"] == pytest.approx(5 + 0.1 * live + 5 + 15 + 0.4 * agentic)
    assert found["as_published"]["overall"] == pytest.approx(found["overall"])


def test_v4_without_the_agentic_parts_has_no_overall(tmp_path: Path) -> None:
    found = v4.score_v4(one_model(v4_folder(tmp_path, dict.fromkeys(v4.MULTI_TURN, (1, 4)))))
    assert found["overall"] is None
    assert found["groups"]["multi_turn"] == 25
    assert {"web_search_base", "memory_kv"} <= set(found["missing"])


def stranger(root: Path) -> tuple[Path, Path]:
    """A folder with the first items of a category; its result and its score file."""
    first = all_items()["parallel"][:3]
    write(root, "parallel", [answered(one, CALL) for one in first], [wrong(first[1])])
    kinds = ("result", "score")
    files = [root / kind / "policy" / f"BFCL_v3_parallel_{kind}.json" for kind in kinds]
    return files[0], files[1]


def test_what_editors_and_systems_leave_behind_is_read_over(tmp_path: Path) -> None:
    plain = results.score_folder(one_model(stranger(tmp_path / "plain")[0].parents[2]), DATA)
    for file in stranger(tmp_path / "windows"):
        file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes().replace(b"\n", b"\r\n"))
        (file.parent / ".DS_Store").write_bytes(b"\0\1")
        (file.parent / f"._{file.name}").write_bytes(b"\0\1")
        (file.parents[1] / ".DS_Store").write_bytes(b"\0\1")
    assert results.score_folder(one_model(tmp_path / "windows"), DATA) == plain


def test_counts_that_are_no_numbers_are_not_known(tmp_path: Path) -> None:
    file, _ = stranger(tmp_path)
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    odd = ["N/A", None, [10**400, True, {}]]
    for row, value in zip(rows, odd, strict=True):
        row["input_token_count"] = row["latency"] = value
    file.write_text("\n".join(map(json.dumps, rows)))
    assert results.score_folder(one_model(tmp_path), DATA)["n"] == 3


def without_result(file: Path) -> None:
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    file.write_text("\n".join(json.dumps({"id": row["id"]}) for row in rows))


def link_to_nowhere(file: Path) -> None:
    file.unlink()
    file.symlink_to("nowhere")


def packed(file: Path) -> None:
    file.rename(f"{file}.gz")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda file: file.unlink(), "holds no BFCL results. It has score/ alone"),
        (link_to_nowhere, "has a link to nowhere of parallel and no answers"),
        (lambda file: file.write_text(""), "is empty. Run `bfcl generate` again"),
        (without_result, "holds no answer: expected `result` with a text or a list"),
        (packed, "unpack them with `gunzip -r` first"),
        (lambda file: file.write_text(file.read_text()[:-9]), "line 3, is cut or is not a result"),
    ],
)
def test_what_cannot_be_read_says_what_to_do(
    tmp_path: Path, spoil: Callable[[Path], None], message: str
) -> None:
    file, _ = stranger(tmp_path)
    spoil(file)
    with pytest.raises(UserError, match=message) as refused:
        results.score_folder(one_model(tmp_path), DATA)
    assert "\n" not in str(refused.value)


def test_scores_without_answers_are_refused(tmp_path: Path) -> None:
    _, score = stranger(tmp_path)
    score.with_name("BFCL_v3_simple_score.json").write_text(score.read_text())
    with pytest.raises(UserError, match="has scores of simple and no answers"):
        results.score_folder(one_model(tmp_path), DATA)


def test_a_model_in_an_organisation_has_a_folder_in_a_folder(tmp_path: Path) -> None:
    file, score = stranger(tmp_path)
    for one in (file, score):
        (one.parents[1] / "org").mkdir()
        one.parent.rename(one.parents[1] / "org" / "m")
    for path in (tmp_path, tmp_path / "result", tmp_path / "result" / "org" / "m"):
        assert one_model(path).model == "org/m"
    assert results.score_folder(one_model(tmp_path), DATA)["n"] == 3


def test_links_to_a_models_folders_are_followed(tmp_path: Path) -> None:
    stranger(tmp_path / "elsewhere")
    for kind in ("result", "score"):
        (tmp_path / "root" / kind).mkdir(parents=True)
        link = tmp_path / "root" / kind / "m"
        link.symlink_to(tmp_path / "elsewhere" / kind / "policy")
    assert results.score_folder(one_model(tmp_path / "root"), DATA)["n"] == 3


def test_two_versions_of_bfcl_below_one_model_are_told_apart(tmp_path: Path) -> None:
    file, _ = stranger(tmp_path)
    v4_file = file.parent / "non_live" / "BFCL_v4_parallel_result.json"
    v4_file.parent.mkdir()
    v4_file.write_text(file.read_text())
    with pytest.raises(UserError, match="holds results of BFCL v3 and of v4, whose scores are"):
        one_model(tmp_path)


def test_a_folder_of_roots_and_an_archive_say_what_to_give(tmp_path: Path) -> None:
    stranger(tmp_path / "roots" / "before")
    stranger(tmp_path / "roots" / "after")
    with pytest.raises(UserError, match="several roots; give one of them: after, before"):
        models_of(tmp_path / "roots")
    (tmp_path / "sent").mkdir()
    (tmp_path / "sent" / "bfcl.tar.gz").touch()
    with pytest.raises(UserError, match=r"holds bfcl\.tar\.gz, which is packed; unpack it first"):
        models_of(tmp_path / "sent")


def test_scores_of_other_answers_are_found(tmp_path: Path) -> None:
    """Score files repeat each wrong answer; a handler may write it down in another form."""
    chosen = all_items()["parallel"][:10]

    def folder(root: Path, repeated: Callable[[int], object]) -> Path:
        bad = [wrong(one, model_result_raw=repeated(n)) for n, one in enumerate(chosen)]
        given = [answered(one, f"Sorry: {{'x': {n}}}\n") for n, one in enumerate(chosen)]
        write(root, "parallel", given, bad)
        return root

    same = folder(tmp_path / "same", lambda n: f'"Sorry: {{\\"x\\": {n}}}\\n"')
    assert results.score_folder(one_model(same), DATA)["categories"]["parallel"] == 0
    other = folder(tmp_path / "other", lambda n: f"Sorry: {{'x': {n + 1}}}")
    with pytest.raises(UserError, match="scores other answers than those beside it: 10 of 10"):
        results.score_folder(one_model(other), DATA)


@given(st.lists(st.text(max_size=20), min_size=10, max_size=10))
def test_an_answer_in_other_signs_is_the_same_answer(texts: list[str]) -> None:
    """As JSON text, with or without escapes, and as Python writes it."""
    for form in (json.dumps, lambda text: json.dumps(text, ensure_ascii=False), repr):
        pairs = [({"result": text}, {"model_result": form(text)}) for text in texts]
        results.check_scored_answers(Path("score.json"), pairs)


def test_a_partial_evaluation_that_pairs_by_id_is_a_subset(tmp_path: Path) -> None:
    """bfcl-eval's --partial-eval: any items, and a wrong one behind a gap repeats its own question;
    where answers were paired by position, it would repeat another."""
    a, _, c, d = all_items()["parallel"][:4]
    rows = [answered(one, CALL) for one in (a, c, d)]
    write(tmp_path / "by_id", "parallel", rows, [wrong(d)])
    found = results.score_folder(one_model(tmp_path / "by_id"), DATA)
    assert found["items"] == {"parallel": 3}
    before_the_gap = [wrong(a)]
    write(tmp_path / "unknown", "parallel", rows, before_the_gap)
    with pytest.raises(UserError, match="197 missing"):
        results.score_folder(one_model(tmp_path / "unknown"), DATA)
