"""The numbers of the survey on knowledge editing (arXiv:2310.16218 eqs. 3-12) that need several
edited models; whoever edited them hands in what each is worth.

M(f; E) is the model f after the edits E, Acc its accuracy on them. Of one model, the survey's
accuracy is `reliability`, its generality `generality`, and its locality (eq. 4, of which it prints
the complement) the agreements of `pipeline/evaluate/metrics/locality/agreement.py`.
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

    `curve`: Acc after every edit, i = 1..n. The sum telescopes to (Acc_n - Acc_1)/(n - 1): it sees
    the ends alone, so print the curve beside it. n points, no interval (they are not of the same
    facts); NaN of less than two.
    """
    steps = [after - before for before, after in pairwise(curve)]
    value = fmean(steps) if steps else math.nan
    return Metric(value=value, n=len(curve), protocol=str(protocol))


def scalability(
    single: Measured, together: Measured, subjects: Mapping[str, str] | None = None
) -> Metric:
    """Scalability: Sca = 1/|E| Σ_e Acc(M(f; e)) - Acc(M(f; E)), what is lost by editing all at
    once; lower is better.

    `single`: each fact after its own edit alone; `together`: after all. n facts in both, paired
    bootstrap over `subjects` (each fact by itself where unset); NaN of none. Raises ProtocolError
    for two protocols.
    """
    return difference(single, together, subjects or {})


def relative_scalability(
    single: Measured, together: Measured, subjects: Mapping[str, str] | None = None
) -> Metric:
    """Eq. 12: RSca = (mean_e Acc(M(f; e)) - Acc(M(f; E))) / mean_e Acc(M(f; e)); 0 is no loss.

    As `scalability`; NaN of no facts, and where no single edit is right, for then there is nothing
    to lose.
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
    """Forgetting: F = mean_e (max_{t<T} a_{e,t} - a_{e,T}), as continual learning has it
    (arXiv:1801.10112); not in the survey.

    `curves`: each fact's accuracy from its own edit on, T last. Below 0 where the end is better
    than all before. n facts that have an earlier point (those edited last have none), bootstrap
    over `subjects`; NaN of none.
    """
    falls = {e: max(a[:-1]) - a[-1] for e, a in curves.items() if len(a) > 1}
    groups = [(subjects or {}).get(e, e) for e in falls]
    value, (low, high) = paired_bootstrap(list(falls.values()), groups)
    return Metric(value=value, n=len(falls), protocol=str(protocol), low=low, high=high)
