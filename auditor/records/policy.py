"""Policies: the thresholds a verdict is held against, versioned and fixed before an audit runs."""

import tomllib
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError, field_validator

from auditor.errors import SpecError
from auditor.records.base import Frozen
from auditor.records.validation import first_fault


class Thresholds(Frozen):
    """Bars in units of ρ unless said otherwise."""

    suppressed: float = Field(gt=0, lt=1, description="τ_suppressed: ρ above it is residue")
    deleted: float = Field(gt=0, lt=1, description="τ_deleted: the upper limit must lie below it")
    # May exceed 1: below the references ρ has no bound.
    over: float = Field(gt=0, description="τ_over: the lower limit must lie above −τ_over")
    output: float = Field(gt=0, lt=1, description="τ_output: outputs whose ρ lies below it are forgotten")
    retain: float = Field(ge=0, lt=1, description="τ_retain: tolerated loss of retain accuracy, absolute")
    sharp_share: float = Field(
        gt=0, le=1, description="every check with w at most this share of τ_deleted has to lie below τ_deleted"
    )
    gate: float = Field(ge=0, lt=1, description="share of the way from chance to 1 the original must reach")

    tolerance: float = Field(ge=0, lt=0.1, description="ρ may differ by this between machines")

    def working_accuracy(self, n_classes: int) -> float:
        """Retain accuracy below which a model does not work: the gate's share of the way from chance.

        Args:
            n_classes: how many the model tells apart; 0 for text, where chance is next to nothing.
        """
        # From chance on, since with few classes a model that knows nothing is often right.
        chance = 1.0 / n_classes if n_classes else 0.0
        return chance + self.gate * (1 - chance)

    @property
    def sharp_resolution(self) -> float:
        """Largest w of a check whose upper limit counts though it is no primary."""
        return self.sharp_share * self.deleted


class Alpha(Frozen):
    """Family-wise error rates."""

    primaries: float = Field(gt=0, lt=0.5, description="over the primaries, of an accusation and of a trace")
    others: float = Field(gt=0, lt=0.5, description="over all other checks together, of the same")
    deficit: float = Field(gt=0, lt=0.5, description="over the candidates for a primary, of less than nothing")
    items: float = Field(gt=0, lt=0.5, description="below it, single items count as kept and DELETED is not given")
    # By equal shares a single check would have to read far above 0 to accuse, so most of the level goes to those
    # that look inside (policies/default.toml).
    weights: dict[str, Annotated[float, Field(gt=0)]] = Field(
        default_factory=dict, description="of single checks in the family of the others; 1 where none is given"
    )


class PriorSpread(Frozen):
    """What calibration knows of the references' spread for one check."""

    s0: float = Field(gt=0, description="spread, in the check's unit")
    d0: float = Field(gt=0, description="its weight in degrees of freedom")


class ErrorRate(Frozen):
    """How often a verdict was wrong, or not given, on pairs of known truth."""

    count: int = Field(ge=0, description="pairs on which it happened")
    pairs: int = Field(ge=1, description="pairs in all")
    # By originals: pairs of one original share its weights and references and are no independent trials.
    upper: float = Field(ge=0, le=1, description="exact 95 % upper limit of the rate, by originals")


class Domain(Frozen):
    """A kind of audit on which error rates were measured; a spread may be borrowed only inside it, if it has one."""

    name: str = Field(description="by which a request declares that its data are of this kind")
    task: str
    request: str
    most_parameters: int = Field(ge=1, description="of the largest original measured")
    fewest_forget: int = Field(ge=1, description="examples in the smallest forget set measured")
    null_kind: Literal["references", "holdout"] = Field(
        default="references", description="what the pairs were held against"
    )
    worlds: str = Field(description="what the pairs were made of, in words")
    # A rate holds for the rules that it was measured under; a report says where they have changed since.
    rules: str = Field(description="version of the policy under whose rules the rates were measured")
    false_deleted: ErrorRate = Field(description="suppressed or not forgotten, called DELETED")
    false_suppressed: ErrorRate = Field(description="deleted, called SUPPRESSED, NOT_DELETED or NOT_FORGOTTEN")
    undecided: ErrorRate = Field(description="deleted, INCONCLUSIVE")
    spread: dict[str, PriorSpread] = Field(default_factory=dict, description="(s₀, d₀) by check")

    def misfit(
        self, task: str, request: str, goal: str, n_parameters: int, n_forget: int, null_kind: str
    ) -> str | None:
        """Why an audit lies outside, in one clause; None where it lies inside."""
        if null_kind != self.null_kind:
            return f"is about audits held against {self.null_kind}, and this one is held against {null_kind}"
        # Error rates are measured for goal data alone.
        if (self.task, self.request, "data") != (task, request, goal):
            return f"is about {self.task}, request {self.request}, goal data, and this is {task}, {request}, {goal}"
        if n_parameters > self.most_parameters:
            return f"holds up to {self.most_parameters:,} weights, and the original has {n_parameters:,}"
        if n_forget < self.fewest_forget:
            return f"takes {self.fewest_forget} forget examples or more, and there are {n_forget}"
        return None


class Policy(Frozen):
    """Everything the verdict needs beside the evidence."""

    name: str
    version: str
    thresholds: Thresholds
    alpha: Alpha
    primaries: dict[str, dict[str, tuple[str, ...]]] = Field(
        description="by kind of request and required family: the checks of which one is the primary"
    )
    domains: tuple[Domain, ...] = Field(default=(), description="where its error rates were measured")

    @field_validator("primaries")
    @classmethod
    def _in_order(cls, primaries: dict[str, dict[str, tuple[str, ...]]]) -> dict[str, dict[str, tuple[str, ...]]]:
        """Families by name, as files of results hold them: a verdict read back gives its reasons in the same order."""
        return {request: dict(sorted(families.items())) for request, families in primaries.items()}

    @property
    def alpha_each(self) -> float:
        """The level of one primary when no other rejects: the hardest step of Holm's ladder."""
        # By the request with most families: a decoy is seen at one level, whatever is asked (docs/verdict.md, decoys).
        return self.alpha.primaries / max(len(families) for families in self.primaries.values())

    def domain_of(
        self,
        declared: str | None,
        task: str,
        request: str,
        goal: str,
        n_parameters: int,
        n_forget: int,
        null_kind: str = "references",
    ) -> Domain | None:
        """The domain that an audit is declared to lie in; None where none is: size and task say nothing of the data.

        Args:
            declared: its name.
            task: of the audit.
            request: kind of request.
            goal: error rates are measured for goal ``data`` alone.
            n_parameters: of the original.
            n_forget: examples in the forget set.
            null_kind: what it is held against, ``references`` or ``holdout``.

        Raises:
            SpecError: the policy has no such domain, or the audit does not fit its bounds.
        """
        # Size and task say nothing of the data: whether they are of the kind measured only the user knows.
        if declared is None:
            return None
        known = "; ".join(f"{domain.name} ({domain.worlds})" for domain in self.domains) or "none"
        domain = next((domain for domain in self.domains if domain.name == declared), None)
        fault = (
            "is none of its domains"
            if domain is None
            else domain.misfit(task, request, goal, n_parameters, n_forget, null_kind)
        )
        if fault is not None:
            raise SpecError(f'audit.domain = "{declared}" {fault}; leave it out, or name one of {self.name}: {known}')
        return domain


@cache
def shipped() -> tuple[str, ...]:
    """Names of the policies that come with the auditor."""
    folder = files("auditor") / "policies"
    return tuple(sorted(entry.name.removesuffix(".toml") for entry in folder.iterdir()))


def load_policy(name: str, base: Path = Path()) -> Policy:
    """A shipped policy by name, or a file that ends in ``.toml``.

    Raises:
        SpecError: no such policy, or a field of it is wrong.
    """
    # Told apart by the suffix, so that no file in the folder stands in for a shipped policy.
    if name.endswith(".toml"):
        path = base / name
        if not path.is_file():
            raise SpecError(f"policy file {name} does not exist; shipped are {', '.join(shipped())}, without .toml")
        data = path.read_bytes()
    elif name in shipped():
        data = (files("auditor") / "policies" / f"{name}.toml").read_bytes()
    else:
        raise SpecError(f"there is no policy {name!r}; shipped are {', '.join(shipped())}, or give a .toml file")
    try:
        return Policy.model_validate(tomllib.loads(data.decode("utf-8")))
    except (ValueError, RecursionError) as error:
        # Not only TOMLDecodeError: bytes of another encoding, and what tomllib lets through to Python.
        fault = first_fault(error) if isinstance(error, ValidationError) else f"is not valid TOML: {error}"
        raise SpecError(f"policy {name}: {fault}; compare with auditor/policies/default.toml") from error
