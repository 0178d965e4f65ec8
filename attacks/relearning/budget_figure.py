"""The figure of recovery by effort, which both relearning checks have for either task."""

from auditor.records.figure import Figure

_BUDGET_CAPTION = (
    "Recovery as a function of the attacker’s budget: ρ (1 the original, 0 the references’ mean) after so many "
    "training steps times forget examples in each, and out of domain times retain examples. Only where the original "
    "still stands clear of the references. Drawn, not counted; what the check says holds up to the effort shown."
)
BUDGET = Figure(
    x="effort",
    y="rho",
    panels=("domain",),
    where={"figure": ("budget",)},
    categories=True,
    rises=True,
    x_label="effort: steps × examples",
    y_label="ρ",
    caption=_BUDGET_CAPTION,
)
