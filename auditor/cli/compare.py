"""``audit compare``."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict, TypeVar, Unpack

import click

from auditor.cli.frozen import frozen_request, refuse_changes
from auditor.cli.typed import arguments_for, command_line, valued_options
from auditor.errors import SpecError
from auditor.records.spec import FILE_NAME, AuditSpec, make_spec, read_spec
from auditor.records.verdict import EXPECTATIONS

if TYPE_CHECKING:
    from auditor.records.plan import Plan
    from auditor.records.results import Results
    from auditor.run.executors.forked import Tell
    from auditor.run.preparing import Prepared

_Wrapped = TypeVar("_Wrapped", bound=Callable[..., object])


class Options(TypedDict, total=False):
    """What click hands to commands that read audit.toml: None, or an empty tuple, where an option is not given."""

    original: str | None
    unlearned: str | None
    config: Path | None
    forget: str | None
    retain: str | None
    retain_test: str | None
    holdout: str | None
    control: str | None
    classes: tuple[int, ...]
    references: tuple[str, ...]
    neither: tuple[str, ...]
    architecture: str | None
    request: str | None
    goal: str | None
    checks: str | None
    policy: str | None
    seed: int | None
    device: str | None
    dtype: str | None
    threads: int | None
    batch_size: int | None
    time_limit: int | None
    base: str | None
    guard: str | None
    show_text: bool | None
    expect: str | None


class CompareOptions(Options, total=False):
    """What `audit compare` takes beside them."""

    out: str | None
    write_canonical: bool | None


_RUN_OPTIONS = (
    *("seed", "device", "dtype", "threads", "batch_size", "time_limit", "expect", "out", "show_text"),
    "write_canonical",
)


def spec_options(command: _Wrapped) -> _Wrapped:
    """The options that override audit.toml, shared by commands that read it."""
    # Decorators are applied from the last on: so help lists them in this order.
    for option in reversed(
        (
            click.option("--config", type=click.Path(path_type=Path), help=f"Default: {FILE_NAME}, if there is one."),
            click.option("--forget", help="Examples to be forgotten: .npz, image folder, zip, module.py:function."),
            click.option("--retain", help="Examples to be kept."),
            click.option("--retain-test", help="Distributed like retain, never trained on."),
            click.option("--holdout", help="Distributed like forget, never trained on."),
            click.option("--control", help="Concepts no model was trained on."),
            click.option("--class", "classes", type=int, multiple=True, help="Forgotten class; repeatable."),
            click.option("--reference", "references", multiple=True, help="Model trained without forget; repeatable."),
            click.option("--neither", multiple=True, help="Model that saw neither forget nor holdout; repeatable."),
            click.option("--architecture", help="Your code that makes the network: module.py:function. It is run."),
            click.option("--request", type=click.Choice(["class", "sample", "facts"]), help="What is to be forgotten."),
            click.option("--goal", type=click.Choice(["data", "concept"]), help="Influence, or the capability itself."),
            click.option("--checks", help="Checks by name, separated by commas; default all."),
            click.option("--policy", help="default, strict, or a .toml file."),
            click.option("--seed", type=int, help="Every random choice derives from it."),
            click.option("--device", help="cpu or cuda."),
            click.option("--dtype", type=click.Choice(["float32", "bfloat16"]), help="Of the weights."),
            click.option("--threads", type=int, help="Of torch; part of the plan."),
            click.option("--batch-size", type=int, help="Examples per forward pass; part of the plan."),
            click.option("--time-limit", type=int, help="Seconds that one check may take on one model."),
            click.option("--base", help="Language models: directory that adapters are put on."),
            click.option(
                "--guard", help="Your code around the unlearned language model: module.py:function. It is run."
            ),
            click.option(
                "--show-text", is_flag=True, default=None, help="Let prompts and generations stand in the results."
            ),
        )
    ):
        command = option(command)
    return command


def spec_from_options(options: Options) -> tuple[AuditSpec, Path]:
    """The validated request, and the folder its paths are relative to.

    Paths in audit.toml are relative to the file; paths on the command line to the working directory, so the two
    are the same folder unless ``--config`` names a file elsewhere.
    """
    config = _config(options)
    base = base_folder(options)
    overrides = _by_section(options, base)
    return make_spec(read_spec(config) if config else {}, overrides, str(config or FILE_NAME)), base


def base_folder(options: Options) -> Path:
    """The folder of audit.toml, or the working directory where there is none."""
    config = _config(options)
    return config.parent if config is not None else Path()


def _config(options: Options) -> Path | None:
    config = options.get("config")
    # None where there is no such file: two paths alone are a request, too.
    return Path(FILE_NAME) if config is None and Path(FILE_NAME).is_file() else config


def _by_section(options: Options, base: Path) -> dict[str, dict[str, object]]:
    checks = options.get("checks")
    return {
        "models": {
            "original": _relative(options.get("original"), base),
            "unlearned": _relative(options.get("unlearned"), base),
            "references": tuple(_relative(path, base) for path in options.get("references", ())),
            "neither": tuple(_relative(path, base) for path in options.get("neither", ())),
            "architecture": _relative(options.get("architecture"), base),
            "base": _relative(options.get("base"), base),
            "guard": _relative(options.get("guard"), base),
        },
        "data": {
            "forget": _relative(options.get("forget"), base),
            "retain": _relative(options.get("retain"), base),
            "retain_test": _relative(options.get("retain_test"), base),
            "holdout": _relative(options.get("holdout"), base),
            "control": _relative(options.get("control"), base),
        },
        "request": {
            "kind": options.get("request"),
            "goal": options.get("goal"),
            "classes": tuple(options.get("classes", ())),
        },
        "audit": {
            "checks": tuple(name.strip() for name in checks.split(",")) if checks else None,
            **{name: options.get(name) for name in _RUN_OPTIONS},
            "policy": _policy(options.get("policy"), base),
        },
    }


def _policy(name: str | None, base: Path) -> str | None:
    """A policy's name as it is, a file's path as any other."""
    return _relative(name, base) if name is not None and name.endswith(".toml") else name


def _relative(path: str | None, base: Path) -> str | None:
    """A path typed in the working directory, as seen from the folder of audit.toml."""
    # As typed where the two folders are one, so that plans name it in the same way.
    if path is None or base == Path():
        return path
    # With os.path, since the folder may lie beside the working directory.
    return os.path.relpath(path, base)


@click.command()
@click.argument("original", required=False)
@click.argument("candidates", metavar="[UNLEARNED]...", nargs=-1)
@spec_options
@click.option("--expect", type=click.Choice(list(EXPECTATIONS)), help="Outcome that exits with 0; default deleted.")
@click.option("--out", help="Folder for results.json and report.html; default audit-out.")
@click.option(
    "--plan", "frozen", type=click.Path(path_type=Path), help="Carry out exactly this plan, made by `audit plan`."
)
@click.option(
    "--write-canonical",
    is_flag=True,
    default=None,
    help="Also write the canonical form of UNLEARNED, which the verdict is about, into the folder.",
)
@click.option(
    "--sort", "by", help="Order of several candidates: outcome (default), bound, utility, or a check's name, by its ρ."
)
@click.option("--dry-run", is_flag=True, help="Print the plan and what it will cost, and stop.")
@click.option("--quiet", "-q", is_flag=True, help="Print the verdict alone.")
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
        return _compare_many(arguments, candidates, options, frozen, by, dry_run=dry_run, quiet=quiet)
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
    return _code(results, spec)


def _compare_many(
    arguments: list[str],
    candidates: tuple[str, ...],
    options: CompareOptions,
    frozen: Path | None,
    by: str | None,
    *,
    dry_run: bool,
    quiet: bool,
) -> int:
    if frozen is not None:
        raise SpecError("--plan is the plan of one candidate; name that one alone")
    from auditor.cli.candidates import audit_candidates

    def asked(name: str) -> "tuple[Callable[[Tell], Prepared], AuditSpec, Path]":
        # Each report prints the command of its own audit.
        own = arguments_for(name, candidates, arguments, valued_options(compare))
        return request(own, {**options, "unlearned": name}, None)

    if dry_run:
        return max(show_plan(asked(name)[0], quiet) for name in candidates)
    return audit_candidates(candidates, asked, _code, by=by, quiet=quiet)


def _code(results: "Results", spec: AuditSpec) -> int:
    verdict = results.verdict
    return exit_code(verdict.outcome, bool(verdict.flags), results.coverage.complete, spec.audit.expect)


def request(
    arguments: list[str], options: CompareOptions, frozen: Path | None
) -> "tuple[Callable[[Tell], Prepared], AuditSpec, Path]":
    """What makes the plan, the request it is made from, and the folder for what is found."""
    planned = frozen_request(frozen, options) if frozen is not None else None
    spec, base = (
        spec_from_options(options) if planned is None else (_as_planned(planned, options), base_folder(options))
    )
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
    run = asked.audit.model_copy(update={"write_canonical": bool(options.get("write_canonical"))})
    return asked.model_copy(update={"audit": run})


def show_plan(prepared: "Callable[[Tell], Prepared]", quiet: bool) -> int:
    """Print the plan and what it will cost."""
    from auditor.cli import show
    from auditor.cli.progress import live_progress
    from auditor.run import roads
    from auditor.run.estimate import estimate
    from auditor.run.execution import check_inputs

    with live_progress(quiet) as progress:
        made = prepared(progress.hear)
        # Wrong inputs stop it here as they would stop the audit.
        check_inputs(made)
    show.plan(made.plan, estimate(made), roads.stored(made.work))
    return 0


def exit_code(outcome: str, flagged: bool, complete: bool, expect: str) -> int:
    """1: another decided outcome, or a flag, whatever could not run; else 3: inconclusive or incomplete; else 0."""
    expected = outcome == EXPECTATIONS[expect]
    # A flag comes first: it holds whatever could not run.
    if flagged or (outcome != "INCONCLUSIVE" and not expected):
        return 1
    return 0 if expected and complete else 3
