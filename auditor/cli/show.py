"""Tables for a person at a terminal."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from auditor.cli.terminal import Terminal
from auditor.records.chain import Chain
from auditor.records.evidence import Evidence
from auditor.records.plan import Plan
from auditor.records.prospect import Prospects
from auditor.records.ranking import Candidate, Ranking
from auditor.records.results import Results
from auditor.records.road import NO_REFERENCE, Road
from auditor.reports import roads
from auditor.reports.formats import upper_percent
from auditor.reports.text import deploy, disagreement

if TYPE_CHECKING:
    from auditor.run.estimate import Estimate

_UNDRAWN = (
    "the road of the holdout is closed: no [assignment] says that chance divided forget and holdout, or who declares "
    "them alike (docs/what-do-i-need.md); holdout subjects below are as if a draw had kept so many out of training"
)
_FORMS = {"low rank": "a low-rank change of every matrix, which beyond a width of 192 may accuse and not clear"}
"""What an attack trains, in words, where the setting says it shorter."""


def results(found: Results, folder: Path, quiet: bool) -> None:
    """The verdict, what decided it, and where the report is."""
    console = Terminal()
    verdict = found.verdict
    flags = f" [{', '.join(verdict.flags)}]" if verdict.flags else ""
    bound = f", at most {upper_percent(verdict.bound)} remains" if verdict.bound is not None else ""
    console.say(f"{verdict.outcome}{flags} (assurance {verdict.assurance}{bound})", style="bold")
    # The verdict is never left out.
    if quiet:
        return
    for note in found.plan.notes:
        console.say(f"  note: {note}")
    _roads(found.plan, found.roads, console)
    for reason in verdict.sentences:
        console.say(f"  {reason}")
    for wish in verdict.to_decide:
        console.say(f"  to settle it: {wish}")
    console.table(("check", "may", "ρ", "limits (each 95 %)", "resolution", "note"), map(_row, found.evidence))
    _weaknesses(found, console)
    for line in deploy(found.canonical, verdict.outcome):
        console.say(line)
    console.say(f"report   {folder / 'report.html'}")
    console.say(f"results  {folder / 'results.json'}")


def ranking(found: Ranking, page: Path) -> None:
    """Candidates in their order, and where the overview is."""
    console = Terminal()
    # Here: it brings the template engine along, which a process that is forked should not hold.
    from auditor.reports.overview import cells

    by_step = found.sorted_by == "step"
    rows = [
        (str(c.step if by_step else place), c.name, *cells(c), _highest(c))
        for place, c in enumerate(found.candidates, 1)
    ]
    first = "step" if by_step else ""
    console.table((first, "candidate", "outcome", "may remain", "retain accuracy", "highest ρ"), rows)
    for c in found.candidates:
        if c.refused is not None:
            console.say(f"{c.name}: {c.refused}")
    console.say(f"overview {page}")


def chain(found: Chain, page: Path) -> None:
    """What of each request is left at every checkpoint from its own on."""
    console = Terminal()
    from auditor.reports.chain import came_back
    from auditor.reports.overview import cells

    rows = [
        (f"{audit.request}: {found.requests[audit.request - 1]}", audit.found.name, *cells(audit.found))
        for audit in found.audits
    ]
    console.table(("request", "checkpoint", "outcome", "may remain", "retain accuracy"), rows)
    for audit in found.audits:
        if audit.found.refused is not None:
            console.say(f"{audit.found.name}: {audit.found.refused}")
    for first, again in found.came_back():
        console.say(came_back(first, again))
    console.say(f"overview {page}")


def _highest(c: Candidate) -> str:
    """The check that recovers most, with how much."""
    known = {name: rho for name, rho in c.rho.items() if rho is not None}
    name = max(known, key=lambda check: known[check].value, default=None)
    return "" if name is None else f"{name} {known[name]}"


def _weaknesses(found: Results, console: Terminal) -> None:
    """What weakens the finding."""
    if found.plan.domain is None:
        console.say(f"policy {found.plan.policy.name}: its error rates were not measured on audits like this")
    if found.canonical is not None and (words := disagreement(found.canonical)) is not None:
        console.say(f"note: {words}")
    for item in found.coverage.failed:
        console.say(f"could not run: {item.check}: {item.reason}")
    for e in found.evidence:
        for model, words in e.deviations.items():
            console.say(f"not as planned: {e.check} on {model} {words}")


def _row(e: Evidence) -> tuple[str, ...]:
    value, low, high = e.rho.shown if e.rho is not None else (0.0, 0.0, 0.0)
    rho = ("", "") if e.rho is None else (f"{value:.2f}", f"{low:.2f} to {high:.2f}")
    note = e.failure.reason if e.failure else (e.powerless_because or "")
    resolution = "" if e.resolution is None else f"{e.resolution:.2f}"
    return f"{e.check}{' (primary)' if e.primary else ''}", e.may, *rho, resolution, note


def _roads(planned: Plan, found: Sequence[Road], console: Terminal) -> None:
    """Which roads are open, and what each was to bring before the unlearned model was scored."""
    if planned.assignment is not None:
        for each in found:
            console.say(f"  beforehand: {roads.words(each, planned.assignment)}")


def _checks(planned: Plan, console: Terminal) -> None:
    names = [f"{item.name}{'*' if item.primary_for else ''}" for item in planned.checks]
    console.say(f"checks (* may be primary): {', '.join(names)}")
    if (access := planned.asked.audit.access) != "training":
        console.say(f"held to {access}: checks that need more of the unlearned model are left out")
    for form, attacks in _forms(planned).items():
        console.say(f"{', '.join(attacks)}: attack by training {form}, which is fixed in the plan")


def _forms(planned: Plan) -> dict[str, list[str]]:
    """Attacks by what they train, where a setting says so."""
    found: dict[str, list[str]] = {}
    for item in planned.checks:
        if isinstance(form := item.settings.get("attack"), str):
            found.setdefault(_FORMS.get(form, form), []).append(item.name)
    return found


def _division(planned: Plan, expected: Prospects | None, console: Terminal) -> None:
    """How forget and holdout came about, and so whether the road of the holdout is open."""
    divided = planned.assignment
    if divided is None:
        # Said of requests alone that could take it.
        if expected is not None:
            console.say(_UNDRAWN)
        return
    subjects = f"{divided.n_forget} forget and {divided.n_holdout} holdout subjects"
    if divided.by_chance:
        known = "committed" if divided.commitment else "on your word"
        console.say(f"chance divided {subjects}: holdout is the null, and no references are needed ({known})")
    else:
        console.say(f"{divided.declared_by} declares {subjects} alike, which nobody drew: {NO_REFERENCE}")


def plan(planned: Plan, cost: "Estimate", measured: Sequence[Road], expected: Prospects | None = None) -> None:
    """The plan, its price and its prospects.

    Args:
        planned: the plan.
        cost: of what is left to score.
        measured: the roads as earlier scores of the original show them; empty where there are none.
        expected: what they brought on other originals; None where that is not known.
    """
    console = Terminal()
    console.say(f"plan {planned.digest[:16]}  request {planned.request}  goal {planned.goal}")
    rows = [(model.name, model.role, model.source or "made by the auditor") for model in planned.models]
    console.table(("model", "role", "from"), rows)
    for item in planned.data:
        console.say(f"{item.name}: {item.n_examples} examples")
    for note in planned.notes:
        console.say(f"note: {note}")
    _checks(planned, console)
    console.say(
        f"estimate: {cost.seconds:.0f} s on this machine, {cost.memory_bytes / 2**20:.0f} MiB of memory, "
        f"{cost.disk_bytes / 2**20:.0f} MiB of disk"
    )
    _division(planned, expected, console)
    # What was measured on this very original stands above what others showed.
    if expected is not None and not measured:
        for line in roads.expected(expected):
            console.say(f"  expected: {line}")
    feasibility = planned.feasibility
    _roads(planned, measured or feasibility.roads, console)
    if feasibility.smallest_residue is not None:
        console.say(f"smallest residue these inputs can resolve: ρ = {feasibility.smallest_residue:.3f}")
    for gap, chance in feasibility.pass_probability.items():
        console.say(
            f"a true retrain is called DELETED with probability {chance:.2f} if original and references lie "
            f"{gap} standard deviations apart"
        )
    if feasibility.deleted_in_reach:
        console.say("DELETED is within reach of this plan")
    for obstacle in feasibility.obstacles:
        console.say(f"DELETED is out of reach: {obstacle}")
