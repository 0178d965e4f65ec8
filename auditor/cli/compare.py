"""``audit compare``."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar, Unpack

import click

from auditor.cli.examples import examples
from auditor.cli.frozen import frozen_request, refuse_changes
from auditor.cli.options import CompareOptions, at_hand, base_folder, spec_from_options, spec_options
from auditor.cli.typed import arguments_for, command_line, valued_options
from auditor.errors import SpecError
from auditor.records.spec import AuditSpec
from auditor.records.verdict import EXPECTATIONS

if TYPE_CHECKING:
    from auditor.records.plan import Plan
    from auditor.records.results import Results
    from auditor.run.executors.forked import Tell
    from auditor.run.preparing import Prepared

_Wrapped = TypeVar("_Wrapped", bound=Callable[..., object])


def run_options(command: _Wrapped) -> _Wrapped:
    """The options that `compare`, `sweep` and `sequence` have beside those of the request."""
    for option in (
        click.option("--quiet", "-q", is_flag=True, help="Print the verdict alone."),
        click.option("--dry-run", is_flag=True, help="Print the plan and what it will cost, and stop."),
        click.option(
            "--write-canonical",
            is_flag=True,
            default=None,
            help="Also write the canonical form of what is audited, which the verdict is about, into the folder.",
        ),
        click.option(
            "--executor", help="Where scores are computed: in-process (default), ray, or one of a package of yours."
        ),
        click.option("--out", help="Folder for results.json and report.html; default audit-out."),
        click.option(
            "--expect", type=click.Choice(list(EXPECTATIONS)), help="Outcome that exits with 0; default deleted."
        ),
    ):
        command = option(command)
    return command


@click.command(
    epilog=examples(
        "audit compare original.pt unlearned.pt --dry-run",
        "audit compare original.pt unlearned.pt --forget f.npz --retain r.npz --architecture net.py:build",
        "audit compare original.pt a.pt b.pt c.pt --sort bound",
    )
)
@click.argument("original", required=False)
@click.argument("candidates", metavar="[UNLEARNED]...", nargs=-1)
@spec_options()
@run_options
@click.option(
    "--plan", "frozen", type=click.Path(path_type=Path), help="Carry out exactly this plan, made by `audit plan`."
)
@click.option(
    "--sort",
    "by",
    help="Order of several candidates: outcome (default), bound, utility, step, or a check's name, by its ρ.",
)
@click.pass_obj
def compare(
    arguments: list[str],
    /,
    candidates: tuple[str, ...],
    frozen: Path | None,
    by: str | None,
    dry_run: bool,
    quiet: bool,
    **options: Unpack[CompareOptions],
) -> int:
    """Audit UNLEARNED against ORIGINAL and write results.json and report.html.

    What is audited is the canonical form of each model; the verdict names its digest. Several candidates get an audit
    each, over shared scores, and a ranking: overview.html, ranking.csv and ranking.json.
    """
    if len(candidates) > 1:
        if frozen is not None:
            raise SpecError("--plan is the plan of one candidate; name that one alone")
        return compare_candidates(arguments, candidates, options, by=by, dry_run=dry_run, quiet=quiet)
    if by is not None:
        raise SpecError("--sort is for several candidates; leave it out, or name more than one")
    options["unlearned"] = candidates[0] if candidates else None
    prepared, spec, folder = request(arguments, options, frozen)
    if dry_run:
        return show_plan(prepared, quiet)
    from auditor.cli import show
    from auditor.cli.supervised import audited

    results = audited(prepared, spec.audit.time_limit, folder, quiet)
    show.results(results, folder, quiet)
    return exit_of(results, spec)


def compare_candidates(
    arguments: list[str],
    candidates: tuple[str, ...],
    options: CompareOptions,
    *,
    by: str | None,
    dry_run: bool,
    quiet: bool,
) -> int:
    """Audit each candidate, or print its plan.

    Args:
        arguments: what would be typed to compare all of them.
        candidates: their names, as typed.
        options: of every audit.
        by: what the ranking is sorted by; None for its outcome.
        dry_run: print the plans alone.
        quiet: print verdicts and ranking alone.
    """
    from auditor.cli.candidates import audit_candidates

    def asked(name: str) -> "tuple[Callable[[Tell], Prepared], AuditSpec, Path]":
        # Each report prints the command of its own audit.
        own = arguments_for(name, candidates, arguments, valued_options(compare))
        return request(own, {**options, "unlearned": name}, None)

    if dry_run:
        return max(show_plan(asked(name)[0], quiet) for name in candidates)
    return audit_candidates(candidates, asked, exit_of, by=by, quiet=quiet)


def exit_of(results: "Results", spec: AuditSpec) -> int:
    """The exit code of one audit, by what was expected of it."""
    verdict = results.verdict
    return exit_code(verdict.outcome, bool(verdict.flags), results.coverage.complete, spec.audit.expect)


def request(
    arguments: list[str], options: CompareOptions, frozen: Path | None
) -> "tuple[Callable[[Tell], Prepared], AuditSpec, Path]":
    """What makes the plan, the request it is made from, and the folder for what is found."""
    planned = frozen_request(frozen, options) if frozen is not None else None
    if planned is None:
        spec, base = spec_from_options(options)
    else:
        base = base_folder(options)
        spec = at_hand(_as_planned(planned, options), base, options)
    command = command_line(arguments) if planned is None else planned.command

    # An audit calls it in the child: this process loads nothing heavy, so that it can be forked again.
    def prepared(tell: "Tell") -> "Prepared":
        from auditor.run.preparing import prepare

        made = prepare(spec, base, {}, report=tell, command=command, frozen=planned)
        if planned is not None:
            # Before anything is scored: a frozen plan counts for nothing if it may still move.
            refuse_changes(frozen, planned, made.plan)
        return made

    return prepared, spec, output_folder(options, spec, base)


def output_folder(options: CompareOptions, spec: AuditSpec, base: Path) -> Path:
    """Where the files go: as seen from the working directory if typed, from audit.toml's folder if it stands there."""
    out = options.get("out")
    return Path(out) if out else base / spec.audit.out


def _as_planned(planned: "Plan", options: CompareOptions) -> AuditSpec:
    """The plan's request; what is written beside the results is no part of a plan."""
    asked = planned.asked
    beside = {"executor": options.get("executor"), "write_canonical": options.get("write_canonical")}
    run = asked.audit.model_copy(update={name: value for name, value in beside.items() if value is not None})
    return asked.model_copy(update={"audit": run})


def show_plan(prepared: "Callable[[Tell], Prepared]", quiet: bool) -> int:
    """Print the plan and what it will cost."""
    from auditor.cli import show
    from auditor.cli.progress import live_progress
    from auditor.run import roads
    from auditor.run.estimate import estimate
    from auditor.run.execution import check_inputs
    from auditor.run.prospects import prospects

    with live_progress(quiet) as progress:
        made = prepared(progress.hear)
        # Wrong inputs stop it here as they would stop the audit.
        check_inputs(made)
    show.plan(made.plan, estimate(made), roads.stored(made.work), prospects(made.plan))
    return 0


def exit_code(outcome: str, flagged: bool, complete: bool, expect: str) -> int:
    """1: another decided outcome, or a flag, whatever could not run; else 3: inconclusive or incomplete; else 0."""
    expected = outcome == EXPECTATIONS[expect]
    # A flag comes first: it holds whatever could not run.
    if flagged or (outcome != "INCONCLUSIVE" and not expected):
        return 1
    return 0 if expected and complete else 3
