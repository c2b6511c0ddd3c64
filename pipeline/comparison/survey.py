"""Metrics of the survey on knowledge editing (arXiv:2310.16218 eqs. 3-12) that need several edited
models. The functions take the accuracies of these models and edit nothing.

M(f; E) is the model f after the edits E, Acc its accuracy on them. For a single model, the survey's
accuracy is our `reliability`, its generality our `generality`, and 1 - its locality (eq. 4) our
agreement (`pipeline/evaluate/metrics/locality/agreement.py`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from statistics import fmean

from pipeline.evaluate.scoring.intervals import paired_bootstrap, paired_ratio
from pipeline.evaluate.scoring.metric import Measured, Metric, Protocol, difference, same_protocol


def retainability(curve: Sequence[float], protocol: Protocol) -> Metric:
    """Retainability: Ret = 1/(n - 1) Σ_i [Acc(M(f; e_1..e_{i+1})) - Acc(M(f; e_1..e_i))].

    `curve` has Acc after each step, i = 1..n. The sum equals (Acc_n - Acc_1)/(n - 1), which depends
    on the first and the last point only, so report the curve too. There is no interval, since the
    points are not of the same facts. `n` counts the points. NaN for fewer than two.
    """
    steps = [after - before for before, after in pairwise(curve)]
    value = fmean(steps) if steps else math.nan
    return Metric(value=value, n=len(curve), protocol=str(protocol))


def scalability(
    single: Measured, together: Measured, subjects: Mapping[str, str] | None = None
) -> Metric:
    """Scalability: Sca = 1/|E| Σ_e Acc(M(f; e)) - Acc(M(f; E)), the accuracy lost by editing all
    facts at once. Lower is better.

    `single` has the accuracy of each fact after its own edit alone, `together` after all edits. The
    metric is over the n facts in both, with a 95 % interval of the paired bootstrap. Facts of one
    subject are resampled together; `subjects` gives the subject by case id, None treats each fact
    as its own subject. NaN for no facts. Raises ProtocolError where the protocols differ.
    """
    return difference(single, together, subjects or {})


def relative_scalability(
    single: Measured, together: Measured, subjects: Mapping[str, str] | None = None
) -> Metric:
    """Relative scalability (eq. 12):
    RSca = (mean_e Acc(M(f; e)) - Acc(M(f; E))) / mean_e Acc(M(f; e)). 0 means no loss.

    Arguments and errors are those of `scalability`. NaN for no facts, and where no fact is right
    after its own edit, since the denominator is 0 then.
    """
    same_protocol(single.protocol, together.protocol)
    shared = [i for i in single.items if i in together.items]
    kept, (low, high) = paired_ratio(
        [together.items[i] for i in shared],
        [single.items[i] for i in shared],
        [(subjects or {}).get(i, i) for i in shared],
    )
    label = str(single.protocol)
    return Metric(value=1 - kept, n=len(shared), protocol=label, low=1 - high, high=1 - low)


def forgetting(
    curves: Mapping[str, Sequence[float]],
    protocol: Protocol,
    subjects: Mapping[str, str] | None = None,
) -> Metric:
    """Forgetting: F = mean_e (max_{t<T} a_{e,t} - a_{e,T}), from continual learning
    (arXiv:1801.10112); not in the survey.

    `curves` has the accuracies of each fact from its own edit to the last step T. F is negative
    where the last accuracy is greater than all earlier ones. Facts that are edited in the last step
    have no earlier point and are left out. The interval is a bootstrap's over `subjects`, as in
    `scalability`. NaN for no facts.
    """
    falls = {e: max(a[:-1]) - a[-1] for e, a in curves.items() if len(a) > 1}
    groups = [(subjects or {}).get(e, e) for e in falls]
    value, (low, high) = paired_bootstrap(list(falls.values()), groups)
    return Metric(value=value, n=len(falls), protocol=str(protocol), low=low, high=high)
