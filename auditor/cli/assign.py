"""``audit assign`` and ``audit canary``."""

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from auditor.cli.examples import examples
from auditor.errors import SpecError

if TYPE_CHECKING:
    from auditor.records.assignment import AssignmentRecord
    from auditor.tasks.causal_lm.sets import Facts

_SHARE_OF_FACTS = 0.5


@click.command(
    epilog=examples(
        "audit assign pool.jsonl",
        "audit assign pool.npz --share 0.8 --out assigned",
    )
)
@click.argument("pool")
@click.option(
    "--out", type=click.Path(path_type=Path), default=Path("assigned"), show_default=True, help="Folder to write into."
)
@click.option(
    "--share",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    help="Of the subjects that are held out; default half of facts, four fifths of images, whose test of single items "
    "needs four held out for each that is taught.",
)
@click.option("--seed", type=click.IntRange(0), help="Of the draw; default one that nobody can guess.")
def assign(pool: str, out: Path, share: float | None, seed: int | None) -> None:
    """Let chance divide the facts or images in POOL, subject by subject, before the original is trained.

    Writes forget.jsonl (train on it, later unlearn it), holdout.jsonl (train no model on it) and assignment.json; of
    images forget.npz and holdout.npz, where each image is a subject unless the pool has groups. Publish the commitment
    that is printed; keep all of it from whoever will unlearn, the forget set apart.
    """
    from auditor.tasks.causal_lm.readers import names_facts, read_facts
    from auditor.tasks.classification.readers.files import reads_images

    # A table may hold either: its columns say which.
    if reads_images(pool, Path()) and not names_facts(pool, Path()):
        _draw(lambda seed: _divided_images(pool, share, seed), out, seed)
    else:
        _draw(lambda seed: _divided_facts(read_facts(pool, Path()), share or _SHARE_OF_FACTS, seed), out, seed)


@click.command(
    epilog=examples(
        "audit canary facts.jsonl --count 60",
    )
)
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

    _draw(
        lambda seed: _divided_facts(canaries(read_facts(facts, Path()), count, seed), _SHARE_OF_FACTS, seed), out, seed
    )


@dataclass(frozen=True, kw_only=True)
class _Side:
    """One side of a draw: its size, what it holds, the suffix of its file, and how that is written."""

    size: int
    noun: str
    suffix: str
    write: Callable[[Path], None]


_Divided = tuple[_Side, _Side, "AssignmentRecord"]


def _divided_facts(pool: "Facts", share: float, seed: int) -> _Divided:
    from auditor.tasks.causal_lm.assignment import draw
    from auditor.tasks.causal_lm.readers import write_facts

    *sides, record = draw(pool, share, seed, secrets.token_hex(32))
    forget, holdout = (
        _Side(size=len(facts), noun="facts", suffix=".jsonl", write=partial(write_facts, facts)) for facts in sides
    )
    return forget, holdout, record


def _divided_images(pool: str, share: float | None, seed: int) -> _Divided:
    from auditor.inference.top_items import HOLDOUT_PER_FORGET
    from auditor.loading.preprocessing import Preprocessing
    from auditor.tasks.classification.assignment import draw
    from auditor.tasks.classification.readers.files import read_examples, write_examples

    examples = read_examples(pool, Path(), Preprocessing())
    enough = HOLDOUT_PER_FORGET / (1 + HOLDOUT_PER_FORGET)
    *sides, record = draw(examples, share or enough, seed, secrets.token_hex(32))
    forget, holdout = (
        _Side(size=len(part), noun="images", suffix=".npz", write=partial(write_examples, part)) for part in sides
    )
    return forget, holdout, record


def _draw(divide: Callable[[int], _Divided], out: Path, given: int | None) -> None:
    """Divide a pool by a seed, and write both sides and the record."""
    from auditor.records.assignment import FILE_NAME
    from auditor.records.plan import json_text
    from auditor.run.store import write_atomically

    if (out / FILE_NAME).exists():
        raise SpecError(f"{out / FILE_NAME} exists already, and a draw is not repeated; give another --out")
    # Drawn here and kept in the record, so that it can be repeated by whoever is shown the record.
    forget, holdout, record = divide(secrets.randbits(31) if given is None else given)
    out.mkdir(parents=True, exist_ok=True)
    taught, held = (out / f"{name}{side.suffix}" for name, side in (("forget", forget), ("holdout", holdout)))
    forget.write(taught)
    holdout.write(held)
    write_atomically(out / FILE_NAME, json_text(record))
    click.echo(f"forget: {record.n_forget} subjects, {forget.size} {forget.noun}; train the original on {taught}")
    click.echo(f"holdout: {record.n_holdout} subjects, {holdout.size} {holdout.noun}; no model may see {held}")
    click.echo(f"commitment, to publish now: {record.commitment}")
    click.echo(f'in audit.toml: [assignment] kind = "random", record = "{out / FILE_NAME}"')
