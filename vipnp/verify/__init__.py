"""The audit: gradients held against a ladder of checks that share no code with them.

    from vipnp.verify import verify

    report = verify(my_op, [x, weight])      # y, pullback = my_op(xp, x, weight)
    assert report.ok, report

`verify` takes any function of that shape, not only those of this library; `vipnp audit` runs it over the whole library.
"""

from vipnp.verify.ladder import RUNGS, verify
from vipnp.verify.report import Report, Row, Verdict

__all__ = ["RUNGS", "Report", "Row", "Verdict", "verify"]
