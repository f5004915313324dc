"""Not comparable: why a comparison is refused. Every reason against it, with both values."""

from dataclasses import dataclass

from toolgain.bfcl.outcomes import INFERENCE_ERROR
from toolgain.bfcl.results import NATIVE, CallingMode
from toolgain.bfcl.revisions import NVIDIA, Recognised
from toolgain.common.amounts import counted
from toolgain.comparison.evaluations import Evaluation
from toolgain.records.comparison import EqualCondition, Reason

_ADVICE = {
    "items": "Evaluate both with the same subset, or both on the full set.",
    "scorer": "Evaluate both with the same version of nvidia-bfcl.",
    "harness": "Evaluate both with the same version of nemo-evaluator.",
    "formula": "Evaluate both with the same version of toolgain.",
    "alias": "Serve both under the same name; the harness reads meaning into it.",
    "chat_template": "Serve both with the same chat template; set model.chat_template.",
    "tool_parser": "Serve both with the same tool parser.",
    "sampling": "Ask both with the same sampling.",
    "context": "Serve both with the same context length.",
    "dtype": "Serve both with the same number type.",
    "server": "Serve both with the same server.",
    "server_version": "Serve both with the same version of the server.",
    "machine": "Evaluate both on the same kind of machine.",
}

_BY_THE_MODEL = frozenset(
    {
        "history_call_as_text",
        "history_one_call_each",
        "lone_surrogate",
        "unbounded_arguments",
        "empty_arguments",
    }
)
"""Normalisations that say something about what the model wrote, not about its server."""

IMPOSSIBLE_WITHOUT_RECORD = (
    "which weights were evaluated",
    "same chat template, tool parser, sampling, context length and number type",
    "same server, version and kind of machine",
    "canary before the start",
    "answers cut at the token limit, and hung or retried requests",
)
"""What a plain harness folder cannot tell."""


def refusal(what: str, baseline: object, trained: object, message: str, advice: str) -> Reason:
    """A reason against the comparison, with the value of either side."""
    return Reason(what=what, baseline=baseline, trained=trained, message=message, advice=advice)


def reasons(baseline: Evaluation, trained: Evaluation, max_error_share: float) -> list[Reason]:
    """Every reason against comparing the two; empty when they may be compared."""
    return [
        *_sources(baseline, trained),
        *_items(baseline, trained),
        *_errors(baseline, trained, max_error_share),
        *_validity(baseline, trained),
        *_conditions(baseline, trained),
    ]


def equal(baseline: Evaluation, trained: Evaluation) -> list[EqualCondition]:
    """Every condition of the two, side by side, with whether it is equal."""
    if baseline.plain or trained.plain:
        return []
    ours, theirs = baseline.comparable, trained.comparable
    return [
        EqualCondition(
            what=what,
            baseline=ours.get(what),
            trained=theirs.get(what),
            equal=ours.get(what) == theirs.get(what),
        )
        for what in dict.fromkeys([*ours, *theirs])
    ]


def different_normalisations(*evaluations: Evaluation) -> list[str]:
    """A sentence where the servers' answers had to be brought into the strict form in other ways.

    The answers are comparable, since each was read as what it says; that it was needed is said.
    """
    kinds = {
        one.subject: ", ".join(sorted(set(one.summary.normalised) - _BY_THE_MODEL))
        for one in evaluations
        if one.summary is not None
    }
    if len(set(kinds.values())) < 2:
        return []
    listed = "; ".join(f"{name}: {found or 'none'}" for name, found in kinds.items())
    return [f"same spelling of the servers' answers: normalised in different ways ({listed})"]


def impossible(*evaluations: Evaluation) -> list[str]:
    """Checks that could not be made, in words."""
    found = [
        f"{evaluation.subject}: {check}"
        for evaluation in evaluations
        if evaluation.plain
        for check in IMPOSSIBLE_WITHOUT_RECORD
    ]
    found += [
        f"{evaluation.subject}: canary before the start"
        for evaluation in evaluations
        if not evaluation.plain and not _has_canary(evaluation)
    ]
    found += [
        f"{evaluation.subject}: which weights were evaluated"
        for evaluation in evaluations
        if not evaluation.plain and evaluation.digest is None
    ]
    records = [evaluation for evaluation in evaluations if not evaluation.plain]
    unknown = [
        what
        for what in _ADVICE
        if records and all(one.comparable.get(what, "") is None for one in records)
    ]
    found += different_normalisations(*evaluations)
    return found + [f"same {what.replace('_', ' ')}: unknown on both sides" for what in unknown]


def same_weights(baseline: Evaluation, trained: Evaluation) -> bool:
    """Whether the same weights were evaluated twice: an A/A comparison."""
    if baseline.folder.resolve() == trained.folder.resolve():
        return True
    digest = baseline.digest
    return digest is not None and digest == trained.digest


def _sources(baseline: Evaluation, trained: Evaluation) -> list[Reason]:
    """Data revision, scorer and calling mode, as far as the folders tell them."""
    ours, theirs = _origin(baseline), _origin(trained)
    found = []
    if not ours.revision.may_equal(theirs.revision):
        found.append(
            refusal(
                "data_revision",
                ours.revision.name,
                theirs.revision.name,
                "the same answers score differently with two revisions of the questions and "
                "expected answers.",
                "Score both with the same version of the harness.",
            )
        )
    if apart := _repeated_differently(baseline, trained):
        found.append(
            refusal(
                "data_revision",
                "another",
                "another",
                f"{len(apart)} items that both got wrong have another question or expected answer, "
                f"such as {apart[0]}.",
                "Score both with the same version of the harness.",
            )
        )
    if len({ours.scorer, theirs.scorer} - {"unknown"}) > 1:
        message = "the scorers are of two families; only the weights may differ."
        found.append(refusal("scorer", ours.scorer, theirs.scorer, message, _ADVICE["scorer"]))
    if ours.mode != theirs.mode:
        found.append(
            refusal(
                "calling_mode",
                ours.mode,
                theirs.mode,
                "one model was given tools, the other was asked for calls as text.",
                "Evaluate both in the same mode.",
            )
        )
    return found


def _repeated_differently(baseline: Evaluation, trained: Evaluation) -> list[str]:
    """The items of which the score files of BFCL v4 repeat other data."""
    if baseline.source is None or trained.source is None:
        return []
    ours, theirs = baseline.source.repeated, trained.source.repeated
    return sorted(key[1] for key in ours.keys() & theirs.keys() if ours[key] != theirs[key])


@dataclass(frozen=True)
class _Origin:
    revision: Recognised
    scorer: str
    mode: CallingMode


def _origin(evaluation: Evaluation) -> _Origin:
    source = evaluation.source
    if source is None:
        return _Origin(Recognised((NVIDIA,), 0), "nvidia-bfcl", NATIVE)
    return _Origin(source.revision, source.scorer, source.mode)


def _items(baseline: Evaluation, trained: Evaluation) -> list[Reason]:
    cut_short = not (baseline.valid and trained.valid)
    if cut_short or baseline.keys == trained.keys:
        return []
    ours, theirs = set(baseline.keys), set(trained.keys)
    if ours == theirs:
        return []
    only = sorted(ours - theirs) or sorted(theirs - ours)
    return [
        refusal(
            "items",
            len(ours),
            len(theirs),
            f"{counted(len(ours - theirs), 'item')} only in the baseline, "
            f"{len(theirs - ours)} only in "
            f"{trained.subject}, such as {only[0][1]}.",
            _ADVICE["items"],
        )
    ]


def _errors(baseline: Evaluation, trained: Evaluation, limit: float) -> list[Reason]:
    shares = baseline.share(INFERENCE_ERROR), trained.share(INFERENCE_ERROR)
    if max(shares) <= limit:
        return []
    return [
        refusal(
            "errors",
            shares[0],
            shares[1],
            f"{100 * max(shares):.1f} % of the questions got no answer; {100 * limit:g} % is "
            "the limit. The harness counts them as wrong, or as right where no call is expected.",
            "See errors in summary.json for the kinds, then run the evaluation again: only "
            "failed items are retried.",
        )
    ]


def _validity(baseline: Evaluation, trained: Evaluation) -> list[Reason]:
    """Reasons of evaluations that call themselves not valid; the canary's are apart."""
    found = []
    for what, canary, advice in (
        ("canary", True, "Check the chat template and the tool parser of the server."),
        ("validity", False, "Run the evaluation again; only what failed is retried."),
    ):
        said = [
            [why for why in _own_reasons(evaluation) if why.startswith("canary") == canary]
            for evaluation in (baseline, trained)
        ]
        if any(said):
            messages = [
                f"{evaluation.subject}: {'; '.join(why)}."
                for evaluation, why in zip((baseline, trained), said, strict=True)
                if why
            ]
            states = ["failed" if why else "passed" for why in said]
            found.append(refusal(what, states[0], states[1], " ".join(messages), advice))
    return found


def _own_reasons(evaluation: Evaluation) -> list[str]:
    if evaluation.valid or evaluation.summary is None:
        return []
    return evaluation.summary.reasons or ["no reason is given"]


def _has_canary(evaluation: Evaluation) -> bool:
    return evaluation.summary is not None and evaluation.summary.canary is not None


def _conditions(baseline: Evaluation, trained: Evaluation) -> list[Reason]:
    return [
        refusal(
            pair.what,
            pair.baseline,
            pair.trained,
            f"{pair.what.replace('_', ' ')} differs; only the weights may.",
            _ADVICE.get(pair.what, "Evaluate both under the same conditions."),
        )
        for pair in equal(baseline, trained)
        if not pair.equal
    ]
