"""``audit demo``."""

from pathlib import Path

import click

from auditor.cli.examples import examples


@click.command(
    epilog=examples(
        "audit demo",
        "audit demo --task causal-lm --no-references --out people",
    )
)
@click.option("--out", type=click.Path(path_type=Path), default=Path("audit-demo"), show_default=True, help="Folder.")
@click.option(
    "--task",
    metavar="NAME",
    default="classification",
    show_default=True,
    help="classification: handwritten digits; causal-lm: a small language model of fictional people; or another of "
    "`audit list --extensions`.",
)
@click.option(
    "--seed", type=click.IntRange(0), default=0, show_default=True, help="Every random choice derives from it."
)
@click.option(
    "--no-references",
    "without",
    is_flag=True,
    help="Language models: train no references; chance decides which people are held out.",
)
def demo(out: Path, task: str, seed: int, without: bool) -> int:
    """Train a small world of known truth and audit a suppressed and a deleted model."""
    from auditor.demo import run as worlds

    world = worlds.world_of(task, seed, with_references=not without)
    worlds.make_world(world, out, lambda line: click.echo(line))
    audits = []
    for name, source in world.subjects.items():
        click.echo(f"\naudit of {source}")
        audits.append(worlds.run_audit(world, name, out))
    for audit in audits:
        verdict = audit.results.verdict
        click.echo(f"\n{world.subjects[audit.name]}: {verdict.outcome} (expected {audit.expected})")
        for reason in verdict.sentences:
            click.echo(f"  {reason}")
        click.echo(f"  typed in {out}: {audit.command}")
        click.echo(f"  report: {out / audit.name / 'report.html'}")
    return 0 if all(audit.as_expected for audit in audits) else 1
