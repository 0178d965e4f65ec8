"""``audit doctor``."""

from typing import Unpack

import click

from auditor.cli.examples import examples
from auditor.cli.options import Options, spec_from_options, spec_options
from auditor.errors import UsageError

_STATES = {"holds": "ok", "fails": "LACKING", "note": "note"}


@click.command(
    epilog=examples(
        "audit doctor",
        "audit doctor original.pt unlearned.pt",
    )
)
@click.argument("original", required=False)
@click.argument("unlearned", required=False)
@spec_options()
def doctor(**options: Unpack[Options]) -> int:
    """Tell whether this machine can run an audit: the one in audit.toml, if there is one."""
    spec, base = spec_from_options(options)
    from auditor import doctor as examination
    from auditor.reports.formats import clean
    from auditor.review.received import Finding
    from auditor.run.execution import check_inputs
    from auditor.run.preparing import prepare

    findings = list(examination.machine())
    if spec.models.original is None and spec.models.unlearned is None:
        findings.append(Finding(subject="plan", state="note", words="none given: memory and disk cannot be judged"))
    else:
        try:
            prepared = prepare(spec, base, {})
            findings += examination.plan(prepared, base / spec.audit.store)
            findings += [Finding(subject="inputs", state="note", words=note) for note in prepared.plan.notes]
            check_inputs(prepared)
        # That the plan cannot be made is what this command was asked to find out.
        except UsageError as error:
            findings.append(Finding(subject="plan", state="fails", words=str(error)))
    for finding in findings:
        click.echo(f"{_STATES[finding.state]:<7}  {clean(finding.subject)}: {clean(finding.words)}")
    lacking = [clean(finding.subject) for finding in findings if finding.state == "fails"]
    click.echo(f"\nLacking: {', '.join(lacking)}" if lacking else "\nThis machine can run it.")
    return 1 if lacking else 0
