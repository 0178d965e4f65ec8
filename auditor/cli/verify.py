"""``audit verify``."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict, Unpack

import click

from auditor.cli.examples import examples
from auditor.errors import SpecError

if TYPE_CHECKING:
    from auditor.records.results import Results
    from auditor.review.received import Finding

_STATES = {"holds": "holds", "fails": "DOES NOT HOLD", "unchecked": "not checked", "note": "note"}


class _Options(TypedDict):
    """What click hands over beside PATH and the files held against it: None where an option is not given."""

    files: Path | None
    model_key: Path | None
    rerun: bool
    architecture: str | None
    guard: str | None
    task: str | None
    forget: str | None
    retain: str | None
    retain_test: str | None
    holdout: str | None
    control: str | None


@click.command(
    epilog=examples(
        "audit verify received.zip",
        "audit verify audit-out --files models --rerun --architecture network.py:build",
    )
)
@click.argument("paths", metavar="PATH...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--key", type=click.Path(path_type=Path), help="Public ed25519 key of who should have signed it.")
@click.option("--plan", "frozen", type=click.Path(path_type=Path), help="A plan you received before the audit ran.")
@click.option(
    "--assignment", type=click.Path(path_type=Path), help="The assignment.json behind the commitment in the plan."
)
@click.option("--files", type=click.Path(path_type=Path), help="Folder of models and data, laid out as the plan says.")
@click.option("--model-key", type=click.Path(path_type=Path), help="Public key of OpenSSF signatures beside models.")
@click.option("--rerun", is_flag=True, help="Repeat the whole audit with --files and compare every number.")
@click.option("--architecture", help="For --rerun: FILE.py:FUNCTION that you have read. It is run.")
@click.option("--guard", help="For --rerun: FILE.py:FUNCTION around a language model, that you have read. It is run.")
@click.option("--task", help="For --rerun: FILE.py:CLASS that scores the models, that you have read. It is run.")
@click.option("--forget", help="For --rerun: this set instead of the planned one.")
@click.option("--retain", help="For --rerun: this set instead of the planned one.")
@click.option("--retain-test", help="For --rerun: this set instead of the planned one.")
@click.option("--holdout", help="For --rerun: this set instead of the planned one.")
@click.option("--control", help="For --rerun: this set instead of the planned one.")
def verify(
    paths: tuple[Path, ...], key: Path | None, frozen: Path | None, assignment: Path | None, **options: Unpack[_Options]
) -> int:
    """Check whatever of an audit someone sent you: what holds, what does not, and what could not be checked.

    PATH is a folder, an archive by `audit pack`, or single files of an audit. Without models: schema, digests,
    signature, and that verdict and report follow from the scores. Nothing that was received is executed.
    """
    # An option without effect would leave a reviewer believing that something was checked.
    _refuse_half_a_request(options)
    from auditor.records.results import Results
    from auditor.reports.formats import clean
    from auditor.review.received import read_received, receive
    from auditor.review.verification import verify as check

    received = receive(paths)
    results = read_received(received)
    findings: list[Finding] = []
    steps = [check(received, key, frozen, assignment)]
    if isinstance(results, Results) and options["files"] is not None:
        steps.append(_with_files(results, options["files"], options))
    for step in steps:
        for finding in step:
            findings.append(finding)
            # Printed as it is found: a rerun takes as long as the audit did.
            click.echo(f"{_STATES[finding.state]:<13}  {clean(finding.subject)}: {clean(finding.words)}")
    click.echo(_summary(findings, options["rerun"]))
    return _exit_code(findings)


def _refuse_half_a_request(options: Mapping[str, object]) -> None:
    for name in ("rerun", "model_key"):
        if options[name] and options["files"] is None:
            raise SpecError(f"--{name.replace('_', '-')} needs --files, the folder of models and data")
    for name in ("architecture", "guard", "task", "forget", "retain", "retain_test", "holdout", "control"):
        if options[name] is not None and not options["rerun"]:
            option = f"--{name.replace('_', '-')}"
            raise SpecError(f"{option} is for --rerun; add it, or leave {option} out")


def _with_files(results: "Results", files: Path, options: _Options) -> "Iterator[Finding]":
    from auditor.cli.progress import live_progress
    from auditor.review.rerun import files_at_hand, repeat

    yield from files_at_hand(results.plan, files)
    if options["model_key"] is not None:
        from auditor.review.model_signatures import check_model_signatures

        yield from check_model_signatures(results.plan, files, options["model_key"])
    if options["rerun"]:
        with live_progress(quiet=False) as progress:
            progress.start(len(results.plan.models) * len(results.plan.checks))
            yield from repeat(
                results,
                files,
                architecture=options["architecture"],
                guard=options["guard"],
                task=options["task"],
                data={
                    "forget": options["forget"],
                    "retain": options["retain"],
                    "retain_test": options["retain_test"],
                    "holdout": options["holdout"],
                    "control": options["control"],
                },
                report=progress.finished,
            )


def _summary(findings: "list[Finding]", rerun: bool) -> str:
    from auditor.reports.formats import clean

    failed = dict.fromkeys(clean(f.subject) for f in findings if f.state == "fails")
    if failed:
        return f"\nDoes not hold: {', '.join(failed)}"
    open_points = dict.fromkeys(clean(f.subject) for f in findings if f.state == "unchecked")
    if open_points:
        return f"\nNothing is wrong so far; not checked: {', '.join(open_points)}"
    shown = "" if rerun else " That the scores are those of the models only --rerun can show."
    return f"\nEverything that was checked holds.{shown}"


def _exit_code(findings: "list[Finding]") -> int:
    states = {finding.state for finding in findings}
    # What is wrong weighs more than what is open.
    return 1 if "fails" in states else 3 if "unchecked" in states else 0
