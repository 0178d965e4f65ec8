"""What the rules of the verdict look at, and the sentences they speak in."""

from collections.abc import Mapping
from dataclasses import dataclass

from auditor.inference.statistics import holm
from auditor.records.evidence import Evidence, Interval
from auditor.records.plan import Plan
from auditor.records.policy import Policy
from auditor.records.verdict import Assurance, Reason, ReasonKind


@dataclass(frozen=True)
class Case:
    """Everything the rules look at.

    Attributes:
        plan: with policy and line-up.
        evidence: of every planned check, its primaries marked.
        assurance: what the null was.
        recipe_mismatch: why the references do not count, where they do not.
        damaged: what the model lost of what it should have kept, in one sentence; None where nothing.
    """

    plan: Plan
    evidence: tuple[Evidence, ...]
    assurance: Assurance
    recipe_mismatch: str | None
    damaged: str | None

    @property
    def policy(self) -> Policy:
        """Its thresholds and levels."""
        return self.plan.policy

    @property
    def outputs(self) -> Evidence | None:
        """The evidence of what the model says."""
        return next((e for e in self.evidence if e.role == "outputs"), None)

    @property
    def able(self) -> list[Evidence]:
        """What may accuse, the outputs apart: they have a rule of their own."""
        return [e for e in self.evidence if e.may != "inform" and e.role != "outputs"]

    @property
    def primaries(self) -> list[Evidence]:
        """The checks that have to clear."""
        return [e for e in self.evidence if e.primary]

    @property
    def bounding(self) -> list[Evidence]:
        """The checks whose upper limit has to lie below τ_deleted: primaries, and all others that resolve well."""
        # What resolves well saw well, so what it saw counts: adaptive subjects had been cleared while `depth`, no
        # primary there, read far above 0 (docs/verdict.md, rule 4b).
        fine = self.policy.thresholds.sharp_resolution
        # By w as it is: counted by what decoys show, fewer checks would be held to the bar.
        others = [e for e in self.able if not e.primary and e.resolution is not None and e.resolution <= fine]
        return [*self.primaries, *others]

    @property
    def wrecked(self) -> bool:
        """Whether the subject is no longer a working model, by the bar the original has to pass.

        The references say what a *trained* model without the knowledge would score; they are no null for a wreck
        (``docs/verdict.md``, rule 2, where it is measured).
        """
        # A subject within tolerance of its references is as good as they are, however little that is.
        if not self.damaged or self.outputs is None or self.outputs.utility is None:
            return False
        return self.outputs.utility.unlearned < self.policy.thresholds.working_accuracy(self.plan.n_classes)

    @property
    def conclusive(self) -> dict[str, Reason]:
        """By check, findings that accuse by themselves, such as unchanged weights."""
        return {e.check: reason("finding", e, e.conclusive) for e in self.evidence if e.conclusive}

    def rejecting(self, p_values: Mapping[str, float | None], *, outputs: bool = False) -> set[str]:
        """Checks whose p-value survives Holm, over the primaries and over all others apart.

        A check without a p-value stays in its family: it was planned, and leaving it out would raise the level.

        Args:
            p_values: by check.
            outputs: whether the outputs are among the others.
        """
        alpha = self.policy.alpha
        family = [*self.able, *([self.outputs] if outputs and self.outputs is not None else [])]
        rejected: set[str] = set()
        # Two families, so that a further check or plug-in takes nothing from the level of the primaries.
        for primary, level, weights in ((True, alpha.primaries, {}), (False, alpha.others, alpha.weights)):
            names = [e.check for e in family if e.primary == primary]
            rejected |= holm({name: _one_if_none(p_values[name]) for name in names}, level, weights)
        return rejected


def _one_if_none(p: float | None) -> float:
    return 1.0 if p is None else p


def reason(kind: ReasonKind, e: Evidence, words: str) -> Reason:
    """A reason about one check, which its sentence names first."""
    return Reason(kind=kind, check=e.check, sentence=f"{e.check}: {words}")


def measured(kind: ReasonKind, e: Evidence, ending: str) -> Reason:
    """What one check measured and what follows."""
    return reason(kind, e, f"ρ = {show(e.rho)}, {ending}")


def of_shown(e: Evidence) -> str:
    """What a bar is a share of, where that is less than the whole original; to follow the bar's number."""
    return "" if e.shows == 1 else f", by what it reads of a fully suppressed copy, {e.shows:.2f}"


def could_not_run(e: Evidence, ending: str = "") -> Reason:
    """A check that failed."""
    assert e.failure is not None, "asked before"
    return reason("could not run", e, f"could not run ({e.failure.reason}){ending}")


def show(rho: Interval | None) -> str:
    """ρ with its limits."""
    return "not measured" if rho is None else str(rho)


def percent(share: float) -> str:
    """A share in [0, 1] as a percentage."""
    return f"{100 * share:.1f} %"
