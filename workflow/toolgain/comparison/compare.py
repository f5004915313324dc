"""Compare evaluations before and after, item by item, or say why they cannot be compared.

`compare_folders` writes comparison.json; all numbers in it are percent points, unrounded. What is
computed is in `toolgain.statistics`; docs/statistics.md says why.
"""

import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import click
import yaml

from toolgain.bfcl.categories import POPULATION
from toolgain.bfcl.folders import one_model
from toolgain.bfcl.outcomes import CONTEXT_OVERFLOW, INFERENCE_ERROR
from toolgain.common.amounts import counted
from toolgain.common.errors import ExitCode, NotValidError, UserError
from toolgain.common.screen import for_terminal
from toolgain.comparison import behaviour, comparability, evaluations, groups, record
from toolgain.comparison.evaluations import Evaluation
from toolgain.config.sections import ComparisonSection
from toolgain.records.comparison import (
    Comparison,
    Condition,
    Detectable,
    Flips,
    Method,
    Origin,
    OverallChange,
    Reason,
    RecipeComparison,
    RunComparison,
    Verdict,
)
from toolgain.statistics import answer, power, repeats, seeds, verdict
from toolgain.statistics.bootstrap import Resampling
from toolgain.statistics.pairs import Design, Pair
from toolgain.statistics.verdict import Judged, Settings

log = logging.getLogger(__name__)

ANCHORS = Path(__file__).with_name("anchors.yaml")
ALL_RUNS = "all runs"
"""The recipe of runs of which nothing else is known."""


def compare_folders(
    baseline: Path,
    trained: Sequence[Path],
    section: ComparisonSection,
    out: Path,
    bfcl_env: Path,
    primary: str | None = None,
    rescore: Callable[[Evaluation], Evaluation] | None = None,
) -> None:
    """Compare `baseline` with each of `trained` and write comparison.json to `out`.

    Args:
        baseline, trained: evaluation folders of ours, or harness folders with result/ and score/.
        section: how the change is judged.
        out: the file to write.
        bfcl_env: environment of the harness, read only for plain harness folders.
        primary: a group that the verdict is asked of, in place of the official Overall.
        rescore: scores the answers of a plain harness folder again.

    Raises:
        UserError: a folder is unreadable or foreign; nothing is written.
        NotValidError: the evaluations cannot be compared; comparison.json says why.
    """
    read = [evaluations.read_evaluation(folder, bfcl_env) for folder in (baseline, *trained)]
    read = list(_named(read).values())
    if rescore is not None:
        read = [rescore(one) if one.plain else one for one in read]
        gone = frozenset().union(*(one.left_out for one in read))
        read = [one.where(lambda key: key not in gone) for one in read]
    before, *after = read
    if groups.wanted(read, primary):
        by_group = groups.compare_groups((before, *after), primary, section, out)
        for warning in by_group.warnings:
            log.warning(warning)
        log.info(by_group.sentence)
        return
    subjects = {evaluation.subject: evaluation for evaluation in after}
    section = _completed(section, list(subjects))
    result = compare(before, subjects, section)
    record.write_comparison(out, result)
    for warning in result.warnings:
        log.warning(warning)
    log.info(said(result))
    if result.verdict == "not_comparable":
        raise NotValidError(f"{said(result)} See {out}.")


def chosen(folders: Sequence[Path], baseline: str | None, trained: Sequence[str]) -> list[Path]:
    """The folders to compare, the one before first.

    Args:
        folders: one per evaluation, or one root whose models `baseline` and `trained` name.

    Raises:
        UserError: there are not at least two, or the root has no such models.
    """
    if baseline is None and not trained:
        if len(folders) < 2:
            raise UserError(
                "compare: give the folder before and at least one after, or one root with "
                "--baseline NAME --trained NAME."
            )
        return list(folders)
    if len(folders) != 1 or baseline is None or not trained:
        raise UserError(
            "compare: --baseline and --trained name models of one root; give one folder and both."
        )
    return [one_model(folders[0], name).results for name in (baseline, *trained)]


def _completed(section: ComparisonSection, runs: list[str]) -> ComparisonSection:
    """The section with its recipes and the headline put in, where it leaves them open."""
    # A run alone has no mean, so that it may be missing here.
    given = section.recipes.items()
    recipes = {name: members for name, members in given if len(members) > 1 or members[0] in runs}
    recipes = recipes or {ALL_RUNS: runs}
    for name, members in recipes.items():
        if unknown := sorted(set(members) - set(runs)):
            raise UserError(
                f"config: comparison.recipes.{name} names {', '.join(unknown)}; "
                f"the runs compared are {', '.join(runs)}."
            )
    only = runs if len(runs) == 1 else list(recipes)
    primary = section.primary or (only[0] if len(only) == 1 else None)
    if primary not in (*runs, *recipes):
        raise UserError(
            f"config: comparison.primary is {primary or 'not given'}, and it must be one of the "
            f"runs and recipes compared: {', '.join(dict.fromkeys([*runs, *recipes]))}."
        )
    if primary not in runs and len(recipes[primary]) == 1:
        primary = recipes[primary][0]
    return section.model_copy(update={"recipes": recipes, "primary": primary})


def require_verdict(path: Path, require: str) -> int:
    """Print the verdict of a comparison.json as a sentence.

    Args:
        path: the file.
        require: `improved`, or `not_regressed`.

    Returns:
        An `ExitCode`: OK when the requirement is met, NOT_MET, REGRESSED, or NOT_VALID when the
        evaluations could not be compared.

    Raises:
        UserError: `path` is not a comparison; one line says what is wrong with it.
    """
    result = record.read_any(path)
    click.echo(for_terminal(said(result) if isinstance(result, Comparison) else result.sentence))
    found = result.verdict
    if found is None:
        raise UserError(
            f"verdict: {path} compares groups and judges none; compare with --primary GROUP."
        )
    if found == "not_comparable":
        return int(ExitCode.NOT_VALID)
    if found == "regressed":
        return int(ExitCode.REGRESSED)
    met = found == "improved" or require == "not_regressed"
    return int(ExitCode.OK if met else ExitCode.NOT_MET)


def said(result: Comparison) -> str:
    """The sentence of a comparison, and the reasons where it cannot be made."""
    reasons = [
        f"{reason.what}: {reason.message} ({reason.baseline} / {reason.trained})"
        for reason in result.reasons
    ]
    return " ".join([result.sentence, *reasons])


def _sentence(
    judged: Verdict, line: OverallChange | None, before: Evaluation, alpha: float, aa: bool = False
) -> str:
    """The verdict of a run or a recipe in one sentence."""
    if judged == "not_comparable" or line is None:
        return answer.REFUSAL
    scope = f"a subset of {counted(len(before.keys), 'item')}" if before.subset else "BFCL v3"
    found = answer.verdict_sentence(
        judged,
        f"the official Overall on {scope}",
        (line.baseline, line.trained),
        line.delta,
        line.ci95,
        line.p,
        level=1 - alpha,
    )
    return found + (" Both are the same weights: this is an A/A comparison." if aa else "")


def compare(
    before: Evaluation, subjects: dict[str, Evaluation], section: ComparisonSection
) -> Comparison:
    """The comparison of evaluations that were read."""
    settings = Settings(section.draws, section.seed, section.alpha, section.margin)
    refusals = {
        name: comparability.reasons(before, after, section.max_error_share)
        for name, after in subjects.items()
    }
    pairs = {name: _pair(before, after) for name, after in subjects.items() if not refusals[name]}
    complete = before if before.valid else next((s for s in subjects.values() if s.valid), None)
    placed = complete.design if complete else None
    draws = verdict.resampling(placed, settings) if pairs and placed else None
    judged = _judged(pairs, settings, draws)
    # Mostly the same outcomes, and then the same numbers.
    strict = {name: _pair(before, subjects[name], strict=True) for name in pairs}
    apart = {name: pair for name, pair in strict.items() if not pair.equals(pairs[name])}
    strictly = judged | _judged(apart, settings, draws)
    runs = {
        name: _compared(before, after, judged[name], strictly[name])
        if name in judged
        else _refused(before, after, refusals[name])
        for name, after in subjects.items()
    }
    recipes = {
        name: _recipe(members, pairs, before, settings, draws)
        for name, members in section.recipes.items()
        if len(members) > 1
    }
    primary = section.primary or ""
    alone = runs.get(primary)
    head = alone or recipes[primary]
    members = [primary] if alone else section.recipes[primary]
    noise = [run.noise_floor for run in runs.values() if run.noise_floor]
    return Comparison(
        version=1,
        verdict=head.verdict,
        sentence=head.sentence,
        primary=primary,
        headline=head.overall,
        aa=any(run.aa for run in runs.values()),
        reasons=alone.reasons if alone else _tagged({run: runs[run] for run in members}),
        warnings=_warnings(before, subjects, runs),
        checks_impossible=comparability.impossible(before, *subjects.values()),
        subset=None if before.subset is None else dict(before.subset),
        n=len(before.keys),
        population=sum(POPULATION.values()),
        repeats=before.repeats,
        method=Method(
            interval=judged[next(iter(judged))].method if judged else None,
            draws=settings.draws,
            seed=settings.seed,
            alpha=settings.alpha,
            clusters=placed.clusters if placed else None,
            declared="one primary test, two-sided, of the official Overall; groups and "
            "categories are secondary families, corrected by Holm",
        ),
        detectable_change=_planned(placed, section) if placed else None,
        noise_floor=alone.noise_floor if alone else next(iter(noise), None),
        runs=runs,
        recipes=recipes,
        baseline=_origin(before),
        equal=next(iter(runs.values())).equal,
        anchors=anchors(),
    )


def anchors() -> list[dict[str, Condition]]:
    """Published BFCL v3 scores, each with what makes it not comparable."""
    found: list[dict[str, Condition]] = yaml.safe_load(ANCHORS.read_text(encoding="utf-8"))
    return found


def _named(found: list[Evaluation]) -> dict[str, Evaluation]:
    """Evaluations by subject; those of one name by the part of the path that tells them apart."""
    subjects = Counter(evaluation.subject for evaluation in found)
    found = [
        replace(one, subject=_apart(one, found)) if subjects[one.subject] > 1 else one
        for one in found
    ]
    named: dict[str, Evaluation] = {}
    for evaluation in found:
        name, number = evaluation.subject, 2
        while name in named:
            name, number = f"{evaluation.subject}-{number}", number + 1
        named[name] = replace(evaluation, subject=name)
    return named


def _apart(evaluation: Evaluation, found: list[Evaluation]) -> str:
    """The shortest end of the folder's path that no other evaluation's has."""
    own = evaluations.spelled(evaluation.folder).parts
    others = [evaluations.spelled(one.folder).parts for one in found if one is not evaluation]
    for length in range(1, len(own)):
        if all(other[-length:] != own[-length:] for other in others):
            return "/".join(own[-length:])
    return evaluation.subject


def _judged(
    pairs: dict[str, Pair], settings: Settings, draws: Resampling | None
) -> dict[str, Judged]:
    if draws is None:
        return {}
    found = verdict.judge_pairs(list(pairs.values()), settings, draws)
    return dict(zip(pairs, found, strict=True))


def _recipe(
    members: list[str],
    pairs: Mapping[str, Pair],
    before: Evaluation,
    settings: Settings,
    draws: Resampling | None,
) -> RecipeComparison:
    """The mean of a recipe's runs, if all of them can be compared."""
    known = [pairs[run] for run in members if run in pairs]
    if len(known) < len(members):
        return RecipeComparison(names=members, verdict="not_comparable", sentence=answer.REFUSAL)
    found = seeds.pooled(known, settings, draws)
    return RecipeComparison(
        names=members,
        sentence=_sentence(found.verdict, found.overall, before, settings.alpha),
        verdict=found.verdict,
        runs=found.runs,
        overall=found.overall,
        ci95_these_runs=found.ci95_these_runs,
        changes=found.changes,
        standard_deviation_of_runs=found.standard_deviation_of_runs,
        note=found.note,
    )


def _pair(before: Evaluation, after: Evaluation, strict: bool = False) -> Pair:
    """The two evaluations' outcomes in the baseline's order of items."""
    ours, theirs = (
        (before.strictly_right, after.strictly_right) if strict else (before.right, after.right)
    )
    if after.keys != before.keys:
        place = {key: number for number, key in enumerate(after.keys)}
        theirs = theirs[[place[key] for key in before.keys]]
    return Pair(before.design, ours, theirs)


def _compared(
    before: Evaluation, after: Evaluation, judged: Judged, strict: Judged
) -> RunComparison:
    line = verdict.overall_line(judged)
    aa, moves = comparability.same_weights(before, after), _moves(before, after)
    word = verdict.word(*line.ci95)
    return RunComparison(
        verdict=word,
        sentence=_sentence(word, line, before, judged.settings.alpha, aa),
        overall=line,
        groups=verdict.groups(judged),
        categories=verdict.category_family(judged),
        strict_overall=strict.line(0),
        noninferiority=verdict.single_turn_held(judged),
        pooled_items=verdict.pooled_items(judged),
        noise_floor=repeats.noise_floor(judged.pair, line.delta),
        aa=aa,
        reasons=[],
        equal=comparability.equal(before, after),
        trained=_origin(after),
        n=moves.n,
        flips=moves.flips,
        error_migration=moves.errors,
    )


def _refused(before: Evaluation, after: Evaluation, reasons: list[Reason]) -> RunComparison:
    moves = _moves(before, after)
    return RunComparison(
        verdict="not_comparable",
        sentence=answer.REFUSAL,
        aa=comparability.same_weights(before, after),
        reasons=reasons,
        equal=comparability.equal(before, after),
        trained=_origin(after),
        n=moves.n,
        flips=moves.flips,
        error_migration=moves.errors,
    )


@dataclass(frozen=True)
class _Moves:
    """How the items moved that both sides have: described, not judged."""

    n: int
    flips: Flips
    errors: dict[str, dict[str, int]]
    """How often an error type became which."""


def _moves(before: Evaluation, after: Evaluation) -> _Moves:
    place = {key: number for number, key in enumerate(after.keys)}
    ours = [number for number, key in enumerate(before.keys) if key in place]
    theirs = [place[before.keys[number]] for number in ours]
    change = after.right.mean(axis=1)[theirs] - before.right.mean(axis=1)[ours]
    errors = verdict.error_migration(
        [before.errors[item] for item in ours], [after.errors[item] for item in theirs]
    )
    return _Moves(len(ours), verdict.flips_of(change), errors)


def _origin(evaluation: Evaluation) -> Origin:
    return Origin(
        subject=evaluation.subject,
        path=str(evaluation.folder),
        digest=evaluation.digest,
        name=evaluation.weights.name if evaluation.weights else None,
        plain=evaluation.plain,
        scored_again=bool(evaluation.scored_again),
        behaviour=behaviour.measured(evaluation.answers),
    )


def _planned(placed: Design, section: ComparisonSection) -> Detectable:
    """What the design could show by what was assumed before the run."""
    return power.plan(
        placed,
        section.alpha,
        section.assumed_discordance.model_dump(),
        section.assumed_correlation,
    ).record()


def _tagged(runs: Mapping[str, RunComparison]) -> list[Reason]:
    """The reasons of all runs; each names its run."""
    return [
        reason.model_copy(update={"message": f"{name}: {reason.message}"})
        for name, run in runs.items()
        for reason in run.reasons
    ]


def _warnings(
    before: Evaluation, subjects: dict[str, Evaluation], runs: Mapping[str, RunComparison]
) -> list[str]:
    found = []
    if before.subset:
        found.append(
            f"Subset of {len(before.keys)} of {sum(POPULATION.values())} items: not comparable "
            "with published scores."
        )
    found += [
        f"{name}: the same weights as the baseline; this is an A/A comparison."
        for name, run in runs.items()
        if run.aa
    ]
    everyone = (before, *subjects.values())
    found += [one.scored_again for one in everyone if one.scored_again]
    found += [
        f"{evaluation.subject}: a plain harness folder; "
        f"{len(comparability.IMPOSSIBLE_WITHOUT_RECORD)} checks were impossible "
        "(checks_impossible)."
        for evaluation in (before, *subjects.values())
        if evaluation.plain
    ]
    found += [
        f"{evaluation.subject}: {100 * evaluation.share(flag):.2f} % of the questions {what}; "
        "they count as wrong."
        for evaluation in (before, *subjects.values())
        for flag, what in (
            (INFERENCE_ERROR, "got no answer"),
            (CONTEXT_OVERFLOW, "were longer than the server's context"),
        )
        if evaluation.share(flag)
    ]
    found += [
        f"{name}: pooled items change by {pooled.delta:+.2f} points, the official Overall by "
        f"{run.overall.delta:+.2f}; only the latter is the measure."
        for name, run in runs.items()
        if (pooled := run.pooled_items) and run.overall and pooled.sign_differs
    ]
    for name, run in runs.items():
        if (strict := run.strict_overall) and run.overall:
            other = verdict.word(*strict.ci95)
            if other != run.verdict:
                found.append(
                    f"{name}: the strict Overall, without credit for calls that nobody could read, "
                    f"cut and empty answers, changes by {strict.delta:+.2f} points "
                    f"({answer.TITLES[other].lower()}), the official one by "
                    f"{run.overall.delta:+.2f} ({answer.TITLES[run.verdict].lower()})."
                )
    return found
