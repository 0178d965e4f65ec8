"""Is the auditor right? Pairs of known truth, made by many mechanisms, audited and counted.

Every pair is written to the work folder as it is finished, so that an interrupted run goes on; `--part` runs one kind
of world, so that several processes may share a folder. `--tables` prints the tables of what is there and writes all
rows to one file. `--quick` makes the deletions and some suppressions of one world, `--mechanism` one
method alone, in the worlds of published methods and one more of language models. After the pairs come three further
kinds of row: `--kind altered` rounds and retrains some subjects of a few worlds (how robust is a measure?), `--kind
vectors` looks how far value vectors have moved in language models, and `--kind eight` audits every deletion again with
eight references.

    python benchmarks/validity --work bench-validity
"""

import argparse
import json
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import published
import robustness
import study
import vectors
from image_worlds import ImageWorld
from pairs import Row, read_rows, row_of, write_rows
from subjects import Maker, World, subjects
from worlds import CLASS_WORLDS, GPT2_SEEDS, LLAMA_SEEDS, digits_worlds, mnist_worlds, people_worlds

from auditor.run.settings import execution_settings

PARTS = ("digits", "people", "mnist")
# Every truth once, and suppression both by training and by a mask.
QUICK = ("retrain", "head_relabelling", "output_mask", "original", "random_initialisation")
# Worlds in which published methods, and units rescaled, are audited as well.
WITH_UNKNOWN = (CLASS_WORLDS[0][0], CLASS_WORLDS[4][0], LLAMA_SEEDS[0])
# And where a method that is named on the command line is: for those that came after the study.
WITH_NAMED = (*WITH_UNKNOWN, LLAMA_SEEDS[1])
WITH_RESCALED = (CLASS_WORLDS[0][0], CLASS_WORLDS[3][0], LLAMA_SEEDS[1])
# Worlds whose models are altered.
WITH_ALTERED = (CLASS_WORLDS[0][0], CLASS_WORLDS[4][0], LLAMA_SEEDS[0])
WITH_VECTORS = (LLAMA_SEEDS[0], LLAMA_SEEDS[1], GPT2_SEEDS[0])
FILES = {"pairs": "pairs.json", "altered": "altered.json", "vectors": "vectors.json", "eight": "eight.json"}
# What more references buy: five leave a quarter of true removals undecided (docs/validity.md).
EIGHT = 8


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("bench-validity"))
    parser.add_argument("--data", type=Path, default=Path("../shared/data/mnist"), help="folder of mnist.npz")
    parser.add_argument("--part", choices=PARTS, action="append", help="one kind of world, repeatable; else all")
    parser.add_argument("--tables", action="store_true", help="nothing is made; what is there is counted")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--mechanism", action="append", help="one method, repeatable; else all")
    parser.add_argument("--kind", choices=FILES, default="pairs", help="what is made")
    options = parser.parse_args()
    if not options.tables:
        makers = {"pairs": _pairs, "altered": _altered, "vectors": _edited, "eight": _deleted}[options.kind]
        audit: dict[str, object] = {"checks": vectors.CHECKS} if options.kind == "vectors" else {}
        if options.kind == "eight":
            audit = {"references": EIGHT}
        for world in _worlds(options):
            run(world, makers(world, options), options.work / options.kind, audit)
    rows = {kind: _gathered(options.work, kind) for kind in FILES}
    # Only once all rows are there: which half a pair is in depends on which mechanisms and seeds there are.
    study.mark_halves(rows["pairs"])
    for kind, found in rows.items():
        write_rows(found, options.work / FILES[kind])
    study.report(rows["pairs"], rows["altered"], rows["vectors"], rows["eight"])


def _gathered(work: Path, kind: str) -> list[Row]:
    return [row for path in sorted((work / kind).glob("*/*.json")) for row in read_rows(path)]


def _pairs(world: World, options: argparse.Namespace) -> Iterator[Maker]:
    # Methods as published have no label and are in no error rate, so that few worlds suffice.
    asked = options.mechanism or (QUICK if options.quick else ())
    unknown = world.seed in (WITH_NAMED if options.mechanism else WITH_UNKNOWN) and world.construction == "plain"
    for maker in subjects(world, rescaled=world.seed in WITH_RESCALED, unknown=unknown):
        if not asked or maker.mechanism in asked:
            yield maker


def _altered(world: World, options: argparse.Namespace) -> Iterator[Maker]:
    if world.seed in WITH_ALTERED and world.construction == "plain":
        yield from robustness.altered(world)


def _edited(world: World, options: argparse.Namespace) -> Iterator[Maker]:
    if world.seed in WITH_VECTORS:
        yield from vectors.edited(world)


def _deleted(world: World, options: argparse.Namespace) -> Iterator[Maker]:
    yield from (maker for maker in _pairs(world, options) if maker.label == "deleted")


def _worlds(options: argparse.Namespace) -> Iterator[World]:
    if options.quick:
        yield next(digits_worlds(options.work))
        return
    parts = options.part or PARTS
    if "digits" in parts:
        yield from digits_worlds(options.work)
    if "people" in parts:
        yield from people_worlds(options.work)
    if "mnist" in parts:
        yield from mnist_worlds(options.work, options.data)


def run(world: World, makers: Iterable[Maker], folder: Path, audit: dict[str, object]) -> None:
    """Make and audit every subject that has no row yet."""
    place = folder / world.about["original"].replace(" ", "-")
    # Two worlds may share an original and differ by what is forgotten.
    place = place.with_name(f"{place.name}-{world.about['request']}-{world.about['target']}")
    # Features of the original and its autoencoder take long: made for the first subject that is missing.
    bench = None
    for maker in makers:
        path = place / f"{maker.name}.json"
        if path.is_file():
            continue
        with execution_settings(threads=1):
            if bench is None and isinstance(world, ImageWorld):
                bench = _features(world)
            row = audited(world, maker, bench, audit)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_rows([row], path)
        print(place.name, maker.name, row["label"], row["outcome"], row["flags"], file=sys.stderr)


def _features(world: ImageWorld) -> published.FromFeatures:
    sets = {"train": world.sets.train, "forget": world.sets.forget, "holdout": world.sets.holdout}
    return published.FromFeatures(world.original, world.layout, sets, world.references[0])


def audited(world: World, maker: Maker, bench: published.FromFeatures | None, audit: dict[str, object]) -> Row:
    """The row of one subject."""
    started = time.monotonic()
    module = maker.make()
    made = time.monotonic()
    result = world.audit(module, **audit)
    metrics = published.from_readings(result)
    if bench is not None:
        metrics |= bench.of(module)
    about = {
        **world.about,
        "mechanism": maker.mechanism,
        "variant": maker.variant,
        "label": maker.label,
        "seconds": [round(made - started, 1), round(time.monotonic() - made, 1)],
    }
    row = {**row_of(about, result, metrics), "vectors": vectors.moved(result)}
    # Through JSON, so that a row just made and one read back are alike.
    return json.loads(json.dumps(row))


if __name__ == "__main__":
    main()
