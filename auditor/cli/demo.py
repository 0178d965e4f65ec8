"""``audit demo``."""

from pathlib import Path

import click


@click.command()
@click.option("--out", type=click.Path(path_type=Path), default=Path("audit-demo"), show_default=True, help="Folder.")
@click.option(
    "--seed", type=click.IntRange(0), default=0, show_default=True, help="Every random choice derives from it."
)
def demo(out: Path, seed: int) -> int:
    """Train a small world on real handwritten digits and audit a suppressed and a deleted model."""
    from auditor import demo as world

    world.make_world(out, seed, lambda line: click.echo(line))
    audits = []
    for name in world.EXPECTED:
        click.echo(f"\naudit of {name}.pt")
        audits.append(world.run_audit(name, out))
    for audit in audits:
        verdict = audit.results.verdict
        click.echo(f"\n{audit.name}.pt: {verdict.outcome} (expected {world.EXPECTED[audit.name]})")
        for reason in verdict.reasons:
            click.echo(f"  {reason}")
        click.echo(f"  typed in {out}: {audit.command}")
        click.echo(f"  report: {out / audit.name / 'report.html'}")
    return 0 if all(audit.as_expected for audit in audits) else 1
