"""What recording costs: a ResNet-20 recorded with `outputs`, `membership` and `cka`, against its bare forward passes.

Both see the same images in the same batches, preprocessed alike, in turns in one process, on one thread. The CIFAR-10
images and the published checkpoint are used where they are present, else random images and weights. CPU seconds are
compared, which other processes disturb less than wall seconds. The target is a ratio of at most 1.15.

    python benchmarks/recording_speed.py
"""

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import resnet20
import torch
from cifar_resnet20 import CHECKPOINT, CLASSES, PREPROCESSING, published_model
from torch import nn
from work_folder import DATA

from auditor.attacks.membership.images import Membership
from auditor.checks.check import Check
from auditor.probes.cka import Cka
from auditor.probes.outputs.images import Outputs
from auditor.randomness import torch_seed
from auditor.run.settings import execution_settings
from auditor.tasks.classification.readers.files import read_examples
from auditor.tasks.classification.sets import AuditData, Examples, split_in_halves
from auditor.tasks.classification.structure import Layout, find_layout
from auditor.tasks.classification.subject import Classifier

TARGET = 1.15  # the aim of the design for outputs, membership and cka together
BATCH_SIZE = 256  # the same on both sides: the ratio must not come from larger batches
SEED = 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA / "cifar10", help="folder of images.zip and the checkpoint")
    parser.add_argument("--examples", type=int, default=10_000)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    module, examples = inputs(options.data, options.examples)
    with execution_settings(threads=1):
        measure(module, examples, options.repeats)


def inputs(folder: Path, n: int) -> tuple[nn.Module, Examples]:
    """Network and images, real where they are present."""
    random = torch.Generator().manual_seed(SEED)
    if (folder / CHECKPOINT).is_file() and (folder / "images.zip").is_file():
        print("published ResNet-20, CIFAR-10 images")
        images = read_examples("images.zip:train", folder, PREPROCESSING, CLASSES)
        order = torch.randperm(len(images), generator=random)
        return published_model(folder / CHECKPOINT), images.take(order[torch.arange(n) % len(images)])
    print("untrained ResNet-20, random images")
    with torch_seed(SEED):
        module = resnet20.build().eval()
    raw = torch.randint(256, (n, 3, 32, 32), dtype=torch.uint8, generator=random)
    return module, Examples(raw=raw, labels=torch.arange(n) % len(CLASSES), preprocessing=PREPROCESSING)


class Bench:
    """One network and one set of images, cut up as in an audit."""

    def __init__(self, module: nn.Module, examples: Examples, layout: Layout) -> None:
        self._module, self._layout = module, layout
        self.data = _audit_data(examples)
        self._checks: tuple[Check, ...] = (Outputs(), Membership(), Cka())
        self._artefacts = [self._prepare(check) for check in self._checks]

    def bare(self) -> None:
        """The forward passes alone."""
        with torch.no_grad():
            # The same splits in the same batches, preprocessed in both.
            for examples in self.data.splits().values():
                for images, _ in examples.batches(BATCH_SIZE):
                    self._module(images)

    def audited(self) -> dict[str, float]:
        """The forward passes with everything that is read off them; CPU seconds by part."""
        # A new subject each time, since a recording is kept with its subject.
        subject = self._subject()
        seconds = {}
        started = time.process_time()
        for split in self.data.splits():
            subject.recording(split)
        seconds["recording"] = time.process_time() - started
        for check, artefact in zip(self._checks, self._artefacts, strict=True):
            started = time.process_time()
            check.score(subject, artefact, self.data, check.settings_type(), SEED)
            seconds[check.name] = time.process_time() - started
        return seconds

    def _prepare(self, check: Check) -> object:
        """Done once in an audit, on the original."""
        return check.prepare(self._subject(), self.data, check.settings_type(), SEED)

    def _subject(self) -> Classifier:
        return Classifier(
            self._module,
            role="unlearned",
            digest="",
            layout=self._layout,
            data=self.data,
            batch_size=BATCH_SIZE,
        )


def measure(module: nn.Module, examples: Examples, repeats: int) -> None:
    """Print ratios, parts and scaling."""
    layout = find_layout(module, examples.take(torch.arange(16)).inputs)
    bench = Bench(module, examples, layout)
    bare, audited = [], []
    for i in range(repeats):
        # Each goes first in every other run, so that a machine that slows down favours neither.
        if i % 2:
            audited.append(bench.audited())
        bare.append(_cpu_seconds(bench.bare))
        if i % 2 == 0:
            audited.append(bench.audited())
        ratio = sum(audited[-1].values()) / bare[-1]
        print(f"run {i + 1}: bare {bare[-1]:.1f} s, recorded {sum(audited[-1].values()):.1f} s, ratio {ratio:.3f}")
    totals = [sum(parts.values()) for parts in audited]
    # Ratio by run, then the median: both halves of a run met the same load.
    ratio = statistics.median(total / alone for total, alone in zip(totals, bare, strict=True))
    print(f"{len(examples)} images, {len(layout.layers)} layers: median ratio {ratio:.3f}, target {TARGET}")
    for part in audited[0]:
        seconds = statistics.median(parts[part] for parts in audited)
        print(f"  {part}: {seconds:.2f} s, {seconds / statistics.median(bare):.3f} of the bare passes")
    _show_scaling(module, examples, layout, statistics.median(totals))


def _show_scaling(module: nn.Module, examples: Examples, layout: Layout, whole: float) -> None:
    n = len(examples)
    half, quarter = (Bench(module, examples.take(torch.arange(n // k)), layout) for k in (2, 4))
    seconds = {n // 4: sum(quarter.audited().values()), n // 2: sum(half.audited().values()), n: whole}
    print("twice the images, times the seconds:")
    for few, many in ((n // 4, n // 2), (n // 2, n)):
        print(f"  {few} to {many}: {seconds[many] / seconds[few]:.2f}")


def _audit_data(examples: Examples) -> AuditData:
    """Half of class 0 to forget, half of it as holdout, the rest to retain."""
    first = torch.nonzero(examples.labels == 0)[:, 0]
    forget, holdout = first[: len(first) // 2], first[len(first) // 2 :]
    attack, evaluation = split_in_halves(examples.take(forget), SEED)
    return AuditData(
        request="class",
        classes=(0,),
        n_classes=len(CLASSES),
        forget_attack=attack,
        forget_eval=evaluation,
        retain=examples.take(examples.labels != 0),
        holdout=examples.take(holdout),
    )


def _cpu_seconds(run: Callable[[], None]) -> float:
    started = time.process_time()
    run()
    return time.process_time() - started


if __name__ == "__main__":
    main()
