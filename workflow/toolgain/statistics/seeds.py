"""Several runs against one baseline: the mean change, and what a further run would do."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.special import stdtr, stdtrit

from toolgain.statistics.judgement import Judged, Settings, resampling, word
from toolgain.statistics.pairs import Pair

Json = dict[str, Any]


def pooled(pairs: Sequence[Pair], settings: Settings) -> Json:
    """The mean over runs that share the baseline's items.

    Two sources of uncertainty: other items, and other runs. The items' part is the cluster
    bootstrap of each item's mean over the runs, which also holds what single items do differently
    from run to run. The runs' part is the variance of the runs' changes, less what their items
    explain, over the number of runs. `ci95` adds both, by Student's t with degrees of freedom
    after Satterthwaite (1946): it speaks of the recipe. `ci95_these_runs` holds only the first:
    it speaks of these very runs.
    """
    runs = len(pairs)
    mean = Pair(
        pairs[0].design,
        pairs[0].baseline,
        np.mean([pair.after for pair in pairs], axis=0)[:, None],
    )
    draws = resampling(mean.design, settings)
    judged = Judged(mean, settings, draws)
    line = judged.line(0)
    deltas = np.array([Judged(pair, settings, draws).rows for pair in pairs])
    changes = deltas[:, 1, 0] - deltas[:, 0, 0]
    between = float(changes.var(ddof=1))
    # What a run's change would vary by if runs differed only item by item.
    apart = [
        Judged(Pair(mean.design, mean.trained, pair.after[:, None]), settings, draws)
        for pair in pairs
    ]
    by_items = sum((100 * float(j.change.error[0, 0])) ** 2 for j in apart) / (runs - 1)
    of_runs = max(0.0, between - by_items) / runs
    low, high = line["ci95"]
    freedom_items = 1000.0
    reach = (high - low) / 2
    of_items = (reach / float(stdtrit(freedom_items, 1 - settings.alpha / 2))) ** 2
    total = of_items + of_runs
    spread = of_items**2 / freedom_items + (of_runs + min(between, by_items) / runs) ** 2 * (
        of_runs / max(total, 1e-30)
    ) / (runs - 1)
    freedom = total**2 / spread if spread else freedom_items
    error = float(np.sqrt(total))
    delta = line["delta"]
    reach = float(stdtrit(freedom, 1 - settings.alpha / 2)) * error
    p = 2 * float(stdtr(freedom, -abs(delta) / error)) if error else 1.0
    return {
        "verdict": word(delta - reach, delta + reach),
        "runs": runs,
        "overall": {**line, "ci95": [delta - reach, delta + reach], "p": p},
        "ci95_these_runs": [low, high],
        "changes": [float(value) for value in changes],
        "standard_deviation_of_runs": float(np.sqrt(between)),
        "degrees_of_freedom": freedom,
        "sentence": (
            f"mean of {runs} runs; the interval speaks of a further run of the same recipe, "
            "ci95_these_runs of these runs alone"
        ),
    }
