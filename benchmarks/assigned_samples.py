"""The road without retrained references, for listed samples: mislabelled images that chance taught or held out.

Of a pool of images under wrong labels, learnt by heart if at all, chance teaches some to the original and holds out
the rest: four for each, as the test of single items asks, and as many in one world. In each world models that were
never taught, every suppressed construction of the zoo, its adversaries and published methods, and unlearners who know
the holdout are audited without any reference; some also with one cheap model that saw neither side (trained half as
long). Models, scores and finished audits are kept in the work folder, so that an interrupted run goes on.

    python benchmarks/assigned_samples.py --work bench-assigned-samples
"""

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import nn

import auditor
from auditor.loading.preprocessing import Preprocessing
from auditor.models.training import train
from auditor.randomness import derive_seed
from auditor.records.spec import RecipeSpec
from auditor.run.settings import execution_settings
from auditor.tasks.classification.assignment import draw
from auditor.tasks.classification.decoys import head_relabelling
from auditor.tasks.classification.readers.files import read_examples
from auditor.tasks.classification.sets import Examples, joined
from auditor.zoo import catalogue, digits_net
from auditor.zoo.digits import digits_world

sys.path.insert(0, str(Path(__file__).parent / "validity"))
from image_worlds import ImageWorld, Sets
from pairs import Row, read_rows, row_of, write_rows

CHECKS = ("feature_membership", "membership", "quantization", "relearning", "slow_relearning")
# Fixed before any run: seed, images, architecture, samples that are taught, held out for each of them.
WORLDS = (
    *((801, "digits", "mlp", 40, 4), (802, "digits", "mlp", 60, 4), (805, "mnist", "mlp", 60, 4)),
    *((804, "digits", "mlp", 60, 4), (803, "digits", "mlp", 40, 1), (800, "digits", "cnn", 40, 4)),
)
NEVER_TAUGHT = 8
WITH_REFERENCE = tuple((801, f"never-taught-{i + 1}") for i in range(4))
RETAIN = {"digits": 800, "mnist": 2000}
# Long and without decay: wrong labels are learnt by heart last.
RECIPES = {
    "digits": RecipeSpec(epochs=60, weight_decay=0.0),
    "mnist": RecipeSpec(epochs=40, weight_decay=0.0),
}
LABELS = (("deleted", "suppressed"), ("adversary", "knows the holdout"), ("published method",))
# Goes around another method, whose truth it has.
ALONE = ("units_rescaled",)
ROWS = Path(__file__).parent / "validity" / "measured" / "assigned-samples" / "rows.json"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("bench-assigned-samples"))
    parser.add_argument("--mnist", type=Path, default=Path("data/mnist"), help="folder of mnist.npz")
    parser.add_argument("--worlds", type=int, nargs="*", help="seeds; default all")
    parser.add_argument("--labels", nargs="*", help="kinds of subjects; default all")
    parser.add_argument("--finished", action="store_true", help="keep the rows of what is finished, and run nothing")
    parser.add_argument("--tables", action="store_true", help="print the tables of the measured rows, and run nothing")
    options = parser.parse_args()
    if options.tables:
        report(read_rows(ROWS))
        return
    if not options.finished:
        asked = [about for about in WORLDS if not options.worlds or about[0] in options.worlds]
        # What the sizes and the power rest on comes first, for all worlds.
        for labels in LABELS:
            for about in asked:
                wanted = tuple(label for label in labels if not options.labels or label in options.labels)
                run(sample_world(options.work, options.mnist, *about), wanted)
    paths = sorted(options.work.glob("*/audits/*.json"))
    found = [json.loads(path.read_text()) for path in paths]
    ROWS.parent.mkdir(parents=True, exist_ok=True)
    write_rows(found, ROWS)
    report(found)


@dataclass(frozen=True, kw_only=True)
class SampleWorld(ImageWorld):
    """Mislabelled images of which chance decided which a model was taught.

    Attributes:
        retain_test: like retain, never trained on.
    """

    retain_test: Examples

    def cheap(self) -> nn.Module:
        """A model that saw neither side, trained half as long."""
        recipe = self.recipe.model_copy(update={"epochs": self.recipe.epochs // 2})
        seed = derive_seed(self.seed, "cheap")
        return self._kept("cheap", lambda: train(self.build, self.sets.retain, recipe, seed))

    def never_taught(self, name: str) -> nn.Module:
        """Retrained without the samples."""
        return self._kept(name, lambda: self.exact(name))

    @cached_property
    def original(self) -> nn.Module:
        """Taught the samples, too."""
        return self._kept("original", lambda: self._trained(derive_seed(self.seed, "original"), with_forget=True))

    def assigned(self, module: nn.Module, references: int) -> auditor.AuditResult:
        """Audit one subject against what chance left out."""
        return auditor.compare(
            self.original,
            module,
            forget=self.sets.forget,
            retain=self.sets.retain,
            retain_test=self.retain_test,
            holdout=self.sets.holdout,
            references=[self.cheap()][:references],
            options={
                "request": {"kind": "sample"},
                "assignment": {"kind": "random"},
                "audit": {"seed": self.seed, "store": str(self.folder / "store"), "checks": CHECKS},
            },
        )

    def taught_of_either(self, share: float, seed: int) -> nn.Module:
        """Retrained on a share of the forget samples and as large a share of the holdout: both sides known alike."""
        forget, holdout = self.sets.forget, self.sets.holdout
        some = [part.take(torch.arange(round(share * len(part)))) for part in (forget, holdout)]
        return train(self.build, joined(self.sets.retain, joined(*some)), self.recipe, seed)


def sample_world(work: Path, mnist: Path, seed: int, images: str, architecture: str, n: int, times: int) -> SampleWorld:
    """Divide the images into pool, retain and test; wrong labels for the pool; and let chance divide that."""
    everything = _everything(images, mnist)
    random = np.random.default_rng(seed)
    order = torch.from_numpy(random.permutation(len(everything)))
    size, kept = n * (1 + times), RETAIN[images]
    pool, retain = everything.take(order[:size]), everything.take(order[size : size + kept])
    # From 1 to 9, so that no label stays right.
    shift = torch.from_numpy(random.integers(1, 10, size))
    pool = Examples(raw=pool.raw, labels=(pool.labels + shift) % 10, preprocessing=pool.preprocessing)
    forget, holdout, _ = draw(pool, times / (1 + times), seed, "0" * 64)
    return SampleWorld(
        world=images,
        architecture=architecture,
        construction="plain",
        request="sample",
        seed=seed,
        target=0,
        sets=Sets(train=joined(retain, forget), forget=forget, retain=retain, holdout=holdout),
        retain_test=everything.take(order[size + kept : size + 2 * kept]),
        build=digits_net.build if architecture == "cnn" else partial(Perceptron, everything.raw[0].numel()),
        recipe=RECIPES[images],
        folder=work / f"{seed}",
    )


class Perceptron(nn.Sequential):
    """Three layers of ReLU and a head; what the zoo hangs onto it is no layer of it."""

    def __init__(self, n_inputs: int) -> None:
        widths = (n_inputs, 256, 128, 64)
        hidden = [part for pair in pairwise(widths) for part in (nn.Linear(*pair), nn.ReLU())]
        super().__init__(nn.Flatten(), *hidden, nn.Linear(widths[-1], 10))
        self._own = len(self)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits [n, 10]."""
        for layer in list(self)[: self._own]:
            images = layer(images)
        return images


def _everything(images: str, mnist: Path) -> Examples:
    if images == "mnist":
        return read_examples("mnist.npz:train", mnist, Preprocessing(mean=(0.1307,), std=(0.3081,)))
    found = digits_world(0, 0)
    return joined(found.train, found.test)


def run(world: SampleWorld, labels: tuple[str, ...]) -> None:
    """Audit a world's subjects of these labels; finished audits are left alone."""
    n, m = len(world.sets.forget), len(world.sets.holdout)
    for name, label, make in (subject for subject in _subjects(world) if subject[1] in labels):
        for references in (0, 1) if (world.seed, name) in WITH_REFERENCE else (0,):
            path = world.folder / "audits" / f"{name}-{references}.json"
            if not path.is_file():
                about = {**world.about, "mechanism": name, "label": label, "references": references, "n": n, "m": m}
                with execution_settings(threads=1):
                    row = _short(row_of(about, world.assigned(make(), references), {}))
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(json.dumps(row))
                print(world.seed, name, references, row["outcome"], row["bound"] or "", "; ".join(row["reasons"][:2]))


def _short(row: Row) -> Row:
    """What the tables need, in few digits: the file is under version control."""
    keep = ("rho", "low", "high", "w", "p", "p trace", "p deficit", "p items", "primary", "powered")
    checks = {
        name: {key: round(value, 4) if isinstance(value := values[key], float) else value for key in keep}
        for name, values in row["checks"].items()
        if values["rho"] is not None
    }
    dropped = ("published", "request", "task", "construction", "target", "original")
    return {**{key: value for key, value in row.items() if key not in dropped}, "checks": checks}


def _subjects(world: SampleWorld) -> Iterator[tuple[str, str, Callable[[], nn.Module]]]:
    """Name, label and maker of every subject."""
    given, seed = world.sets, world.request_seed
    for i in range(NEVER_TAUGHT):
        name = f"never-taught-{i + 1}"
        yield name, "deleted", lambda name=name: world.never_taught(name)
    for entry in catalogue.entries():
        # Those with an original of their own have another one to hide.
        asked = entry.task == "vision" and "sample" in entry.requests and not entry.original
        if not asked or entry.truth not in ("suppressed", "unknown") or entry.name in ALONE:
            continue

        def make(entry: catalogue.Entry = entry) -> nn.Module:
            return entry.make(world.original, given.forget, given.retain, entry.settings(), seed)

        label = "adversary" if entry.adversary else "suppressed" if entry.truth == "suppressed" else "published method"
        yield entry.name, label, make
    yield from _who_know_the_holdout(world)


def _who_know_the_holdout(world: SampleWorld) -> Iterator[tuple[str, str, Callable[[], nn.Module]]]:
    """Unlearners to whom someone gave what was to stay secret."""
    given, seed = world.sets, world.request_seed
    both = joined(given.forget, given.holdout)

    def hidden(start: nn.Module) -> nn.Module:
        return head_relabelling.head_relabelling(start, both, given.retain, head_relabelling.Settings(), seed)

    label = "knows the holdout"
    yield "both sides relabelled at the head", label, lambda: hidden(world.original)
    yield (
        "both sides taught, then relabelled",
        label,
        lambda: hidden(train(world.build, joined(given.retain, both), world.recipe, seed)),
    )
    for share in (0.1, 0.25, 0.5):
        yield f"{share:g} of either side kept", label, lambda share=share: world.taught_of_either(share, seed)


def report(rows: list[Row]) -> None:
    """Outcomes by label, size and coverage of the checks on never-taught models, and what was not expected."""
    table = pd.DataFrame(rows)
    place = [table.world, table.architecture, table.n, table.m, table.references]
    print(pd.crosstab([*place, table.label], table.outcome).to_string())
    for (references, m_per_n), some in table[table.label == "deleted"].groupby(["references", table.m // table.n]):
        checks = pd.DataFrame([{"check": name, **values} for row in some.checks for name, values in row.items()])
        found = checks.groupby("check").agg(
            n=("rho", "size"),
            w=("w", "median"),
            lowest=("rho", "min"),
            highest=("rho", "max"),
            upper=("high", "max"),
            covered=("high", lambda high: (high >= 0).mean()),
            traces=("p trace", lambda p: (p < 0.02).mean()),
            deficits=("p deficit", lambda p: (p < 0.02).mean()),
            items=("p items", lambda p: (p < 0.02).mean()),
        )
        print(f"\nnever taught, {references} references, {m_per_n} held out for each\n{found.round(3).to_string()}")
    others = table[table.label != "deleted"]
    rho = pd.DataFrame([{name: values["rho"] for name, values in row.items()} for row in others.checks])
    shown = pd.concat([others[["seed", "mechanism", "references", "outcome"]].reset_index(drop=True), rho], axis=1)
    print("\n" + shown.round(2).to_string(index=False))
    for row in rows:
        expected = {"deleted": ("DELETED",), "suppressed": ("SUPPRESSED", "NOT_DELETED", "NOT_FORGOTTEN")}
        if row["outcome"] not in expected.get(row["label"], (row["outcome"],)):
            why = "; ".join(row["reasons"])
            print(f"\n{row['seed']} {row['mechanism']}, {row['references']} references: {row['outcome']}: {why}")


if __name__ == "__main__":
    main()
