"""Import or export: equations (20) and (21) with binaries, where the sale price is the higher."""

from typing import NamedTuple

from services.ems.compile import Model
from services.ems.instance import Instance
from services.ems.solution import Values
from services.ems.terms.base import AT_ONCE_KW, Term
from services.ems.terms.exchange import EXPORT, IMPORT


class PccShape(NamedTuple):
    flagged: bool
    import_limit_kw: float
    export_limit_kw: float


class PccExclusion(Term[PccShape]):
    name = "pcc_exclusion"
    shape_type = PccShape

    def shape(self, instance: Instance) -> PccShape:
        problem = instance.problem
        return PccShape(bool(instance.required.pcc.any()), problem.import_limit_kw, problem.export_limit_kw)

    def covers(self, have: PccShape, want: PccShape) -> bool:
        return have[1:] == want[1:] and (have.flagged or not want.flagged)

    def variables(self, m: Model) -> None:
        if m.shape(self).flagged:
            for direction in (IMPORT, EXPORT):
                m.variable(direction.flag, upper=1.0, whole=lambda i: i.required.pcc)

    def constraints(self, m: Model) -> None:
        """Σ import bands ≤ flag_in·limit_in, Σ export bands ≤ flag_out·limit_out, flag_in + flag_out ≤ 1.

        What exceeds the limits is left out: at its price (tens of € per kWh) nobody buys to sell.
        """
        shape = m.shape(self)
        if not shape.flagged:
            return
        limits = ((IMPORT, shape.import_limit_kw), (EXPORT, shape.export_limit_kw))
        for direction, limit_kw in limits:
            left = m[direction.bands].sum() - m[direction.flag] * limit_kw
            m.rows(f"pcc-{direction.flag}", left, at_most=0.0)
        m.rows("pcc-one_flag", m[IMPORT.flag] + m[EXPORT.flag], at_most=1.0)

    def relaxation_is_exact(self, values: Values) -> bool:
        imports, exports = (values.of(direction.bands).sum(axis=0) for direction in (IMPORT, EXPORT))
        both = (imports > AT_ONCE_KW) & (exports > AT_ONCE_KW)
        return not bool((values.instance.required.pcc & both).any())
