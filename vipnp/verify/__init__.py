"""The audit: gradients held against a ladder of checks that share no code with them.

    from vipnp.verify import check_pullback

    check_pullback(my_op, [x, weight])       # y, pullback = my_op(xp, x, weight)

It takes any function of that shape, not only those of this library, and raises AssertionError with the report; `verify`
returns the report. `vipnp audit` runs it over the whole library.
"""

from vipnp.verify.ladder import RUNGS, check_pullback, verify
from vipnp.verify.report import Report, Row, Verdict

__all__ = ["RUNGS", "Report", "Row", "Verdict", "check_pullback", "verify"]
