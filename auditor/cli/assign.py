"""``audit assign`` and ``audit canary``."""

import secrets
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from auditor.errors import SpecError

if TYPE_CHECKING:
    from auditor.tasks.causal_lm.sets import Facts


@click.command()
@click.argument("pool")
@click.option(
    "--out", type=click.Path(path_type=Path), default=Path("assigned"), show_default=True, help="Folder to write into."
)
@click.option(
    "--share",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=0.5,
    show_default=True,
    help="Of the subjects that are held out.",
)
@click.option("--seed", type=click.IntRange(0), help="Of the draw; default one that nobody can guess.")
def assign(pool: str, out: Path, share: float, seed: int | None) -> None:
    """Let chance divide the facts in POOL, subject by subject, before the original is trained.

    Writes forget.jsonl (train on it, later unlearn it), holdout.jsonl (train no model on it) and assignment.json.
    Publish the commitment that is printed; keep all of it from whoever will unlearn, the forget set apart.
    """
    from auditor.tasks.causal_lm.readers import read_facts

    _draw(lambda seed: read_facts(pool, Path()), out, share, seed)


@click.command()
@click.argument("facts")
@click.option("--count", type=click.IntRange(4), default=40, show_default=True, help="Canaries, both sides together.")
@click.option(
    "--out", type=click.Path(path_type=Path), default=Path("canaries"), show_default=True, help="Folder to write into."
)
@click.option("--seed", type=click.IntRange(0), help="Of every draw; default one that nobody can guess.")
def canary(facts: str, count: int, out: Path, seed: int | None) -> None:
    """Make subjects that do not exist in the form of FACTS, and let chance hold half of them out.

    For models whose own facts can no longer be assigned: train forget.jsonl along with everything else, as often as the
    facts that it stands for, unlearn it with them, and audit the canaries. Writes what `audit assign` writes.
    """
    from auditor.tasks.causal_lm.canaries import canaries
    from auditor.tasks.causal_lm.readers import read_facts

    _draw(lambda seed: canaries(read_facts(facts, Path()), count, seed), out, 0.5, seed)


def _draw(pool: Callable[[int], "Facts"], out: Path, share: float, given: int | None) -> None:
    """Divide a pool that is made from the seed, and write both sides and the record."""
    from auditor.records.assignment import FILE_NAME
    from auditor.records.plan import json_text
    from auditor.run.store import write_atomically
    from auditor.tasks.causal_lm.assignment import draw
    from auditor.tasks.causal_lm.readers import write_facts

    if (out / FILE_NAME).exists():
        raise SpecError(f"{out / FILE_NAME} exists already, and a draw is not repeated; give another --out")
    # Drawn here and kept in the record, so that it can be repeated by whoever is shown the record.
    seed = secrets.randbits(31) if given is None else given
    forget, holdout, record = draw(pool(seed), share, seed, secrets.token_hex(32))
    out.mkdir(parents=True, exist_ok=True)
    write_facts(forget, out / "forget.jsonl")
    write_facts(holdout, out / "holdout.jsonl")
    write_atomically(out / FILE_NAME, json_text(record))
    click.echo(f"forget: {record.n_forget} subjects, {len(forget)} facts; train the original on {out / 'forget.jsonl'}")
    click.echo(f"holdout: {record.n_holdout} subjects, {len(holdout)} facts; no model may see {out / 'holdout.jsonl'}")
    click.echo(f"commitment, to publish now: {record.commitment}")
    click.echo(f'in audit.toml: [assignment] kind = "random", record = "{out / FILE_NAME}"')
