"""Compare BFCL folders group by group, where there is no official Overall of v3 to compare.

So it is with single-turn parts alone, with BFCL v4, which has groups of its own, and where the
verdict is asked of one group (`--primary non_live`). A group is compared where both folders hold
all of its categories, with its official weights (`statistics.weighted`); groups and categories are
families, each corrected by Holm.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from toolgain.bfcl import v4
from toolgain.bfcl.categories import CATEGORIES, GROUPS, group_of, in_group
from toolgain.bfcl.folders import Version
from toolgain.bfcl.overall import GROUP_WEIGHTS
from toolgain.common.errors import NotValidError, UserError
from toolgain.common.files import write_text
from toolgain.comparison import comparability
from toolgain.comparison.evaluations import Evaluation
from toolgain.comparison.tables import change_of, corrected
from toolgain.config.sections import ComparisonSection
from toolgain.records.tables import GroupComparison, TableChange
from toolgain.statistics import answer
from toolgain.statistics.intervals import FEW_CHANGED
from toolgain.statistics.pairs import Design
from toolgain.statistics.verdict import word
from toolgain.statistics.weighted import Floats, group_changes, mean_change

OVERALL = "overall"
Weights = Mapping[str, float]


def wanted(read: Sequence[Evaluation], primary: str | None) -> bool:
    """Whether these evaluations are compared by group.

    Raises:
        NotValidError: they are of two versions of BFCL.
    """
    versions = {one.version: one.folder for one in read}
    if len(versions) > 1:
        raise NotValidError(
            f"Not comparable. {versions['v3']} is of BFCL v3 and {versions['v4']} of v4: their "
            "data, categories and Overall are others. Evaluate both with the same version."
        )
    partial = any(one.valid and one.missing for one in read)
    return primary is not None or partial or "v4" in versions


def compare_groups(
    read: Sequence[Evaluation],
    primary: str | None,
    section: ComparisonSection,
    out: Path,
) -> GroupComparison:
    """Compare two evaluations by group and write the result to `out`.

    Raises:
        UserError: there are not two, or `primary` is not a group that both hold in full.
        NotValidError: they cannot be compared.
    """
    if len(read) != 2:
        raise UserError(
            f"compare: {len(read)} folders; groups are compared of two at a time, since not all "
            "folders hold the 17 categories of the official Overall."
        )
    found = compare_read_groups(read[0], read[1], primary, section)
    write_text(out, found.model_dump_json(indent=1, by_alias=True) + "\n")
    return found


def compare_read_groups(
    before: Evaluation,
    after: Evaluation,
    primary: str | None,
    section: ComparisonSection,
) -> GroupComparison:
    """The comparison of two evaluations that were read; errors as in `compare_groups`."""
    version = before.version
    names = before.subject, after.subject
    present = [dict.fromkeys(category for category, _, _ in one.keys) for one in (before, after)]
    both = [category for category in present[0] if category in present[1]]
    ours, theirs = (one.where(lambda key: key[0] in both) for one in (before, after))
    if reasons := comparability.reasons(ours, theirs, section.max_error_share):
        said = "; ".join(
            f"{one.what}: {one.message} ({one.baseline} / {one.trained})" for one in reasons
        )
        raise NotValidError(f"Not comparable. {said} {reasons[0].advice}")
    items = _Items.of(ours, theirs, version)
    sizes = dict(Counter(category for category, _, _ in ours.keys))
    known = weights_of(version, sizes)
    complete = {name: weights for name, weights in known.items() if set(weights) <= set(both)}
    overall = complete.pop(OVERALL, None)
    if not both or (not complete and primary):
        raise NotValidError(
            f"Not comparable. No group is complete in both: {names[0]} holds "
            f"{', '.join(present[0])}, {names[1]} holds {', '.join(present[1])}."
        )
    if primary is None and overall is not None:
        primary = OVERALL
    scores = {**complete, OVERALL: overall} if overall is not None else complete
    lines = items.changes(scores, section)
    whole = lines.pop(OVERALL, None)
    alone = items.categories(section.alpha)
    asked = whole if primary == OVERALL else lines.get(primary or "")
    if primary is not None and asked is None:
        allowed = [*lines, *([OVERALL] if whole else [])]
        raise UserError(
            f"compare: --primary is {primary!r}; groups that both hold in full: "
            f"{', '.join(allowed)}."
        )
    lacking = no_overall(version, both)
    verdict = word(*asked.ci95) if asked else None
    return GroupComparison(
        schema_=1,
        benchmark="BFCL v3" if version == "v3" else "BFCL v4",
        verdict=verdict,
        primary=primary,
        sentence=_sentence(verdict, primary, asked, lines, names, lacking, section.alpha),
        baseline=names[0],
        trained=names[1],
        alpha=section.alpha,
        overall=whole,
        no_overall=lacking,
        groups=corrected(lines),
        categories=corrected({name: alone[name] for name in both}),
        warnings=_warnings(before, after, present),
        checks_impossible=comparability.impossible(before, after),
    )


def weights_of(version: Version, sizes: Mapping[str, int]) -> dict[str, Weights]:
    """The categories of each group and their weights; v4's with its Overall."""
    if version == "v4":
        return {**v4.group_weights(sizes), OVERALL: v4.overall_weights(sizes)}
    return {group: {name: GROUP_WEIGHTS[name] for name in in_group(group)} for group in GROUPS}


def no_overall(version: Version, categories: Sequence[str]) -> str | None:
    """Why two folders that share these categories have no Overall; None where v4's is there."""
    if version == "v4":
        missing = [name for name in v4.overall_weights({}) if name not in categories]
        parts = [name for name in missing if name not in v4.AGENTIC]
        parts += [
            part
            for part, needed in (("web_search", v4.WEB_SEARCH), ("memory", v4.MEMORY))
            if set(needed) & set(missing)
        ]
        return f"The Overall of BFCL v4 needs {', '.join(parts)}." if parts else None
    missing = [name for name in CATEGORIES if name not in categories]
    if not missing:
        return "The verdict was asked of a group; leave out --primary for the Overall's."
    return f"The official Overall needs all 17 categories; missing: {', '.join(missing)}."


@dataclass(frozen=True)
class _Items:
    """The n items that both have."""

    names: Sequence[str]
    """The categories, which the design numbers."""
    design: Design
    before: Floats
    after: Floats

    @staticmethod
    def of(before: Evaluation, after: Evaluation, version: Version) -> "_Items":
        """The items of two evaluations that hold the same ones, in the order of `before`."""
        place = {key: number for number, key in enumerate(after.keys)}
        order = [place[key] for key in before.keys]
        of_item = [category for category, _, _ in before.keys]
        names, category = np.unique(of_item, return_inverse=True)
        strata = [_stratum(version, name) for name in of_item]
        pairs = [f"{s}\0{c}" for s, c in zip(strata, before.clusters, strict=True)]
        clusters, cluster = np.unique(pairs, return_inverse=True)
        _, stratum = np.unique(
            [name.split("\0")[0] for name in clusters.tolist()], return_inverse=True
        )
        return _Items(
            names.tolist(),
            Design(category.astype(np.intp), cluster.astype(np.intp), stratum.astype(np.intp)),
            before.right.mean(axis=1),
            after.right.mean(axis=1)[order],
        )

    def changes(
        self, scores: Mapping[str, Weights], section: ComparisonSection
    ) -> dict[str, TableChange]:
        """The changes of the scores that weigh the categories' accuracies so."""
        if not scores:
            return {}
        rows = np.array([[one.get(name, 0.0) for name in self.names] for one in scores.values()])
        few = [FEW_CHANGED[name != OVERALL] for name in scores]
        moved = self.after - self.before
        found = group_changes(
            moved, self.design, rows, few, section.alpha, section.draws, section.seed
        )
        weight = (rows / np.bincount(self.design.category))[:, self.design.category]
        return {
            name: change_of(self.before[kept], self.after[kept], own[kept], line)
            for name, own, line in zip(scores, weight, found, strict=True)
            for kept in [own > 0]
        }

    def categories(self, alpha: float) -> dict[str, TableChange]:
        """The change of each category, by a score interval."""
        found = {}
        for number, name in enumerate(self.names):
            kept = self.design.category == number
            _, cluster = np.unique(self.design.cluster[kept], return_inverse=True)
            old, new = self.before[kept], self.after[kept]
            weight = np.ones(len(old))
            found[name] = change_of(
                old, new, weight, mean_change(new - old, cluster.astype(np.intp), weight, alpha)
            )
        return found


def _stratum(version: Version, category: str) -> str:
    if version == "v4":
        return v4.stratum_of(category)
    group = group_of(category)
    return category if group == "non_live" else group


def _sentence(
    verdict: str | None,
    primary: str | None,
    asked: TableChange | None,
    lines: Mapping[str, TableChange],
    names: tuple[str, str],
    lacking: str | None,
    alpha: float,
) -> str:
    if verdict is not None and asked is not None:
        return f"{answer.TITLES[verdict]}: {_moved(primary or '', asked, alpha, names)}."
    said = (
        "; ".join(_moved(name, line, alpha) for name, line in lines.items())
        or "no group is complete"
    )
    hint = " A verdict on one group: --primary GROUP." if lines else ""
    return f"No verdict. {lacking} {said}.{hint}"


def _moved(
    name: str, change: TableChange, alpha: float, names: tuple[str, str] | None = None
) -> str:
    sides = change.baseline, change.trained
    return answer.moved(name, sides, change.delta, change.ci95, change.p, names, 1 - alpha)


def _warnings(
    before: Evaluation, after: Evaluation, present: Sequence[Mapping[str, None]]
) -> list[str]:
    sides = ((before, present[0], present[1]), (after, present[1], present[0]))
    found = [
        f"{one.subject}: {', '.join(only)} only here; left out."
        for one, mine, other in sides
        if (only := [category for category in mine if category not in other])
    ]
    return found + [one.scored_again for one in (before, after) if one.scored_again]
