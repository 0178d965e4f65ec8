"""Which worlds the study is made of. Seeds and targets are fixed here; nothing was developed on them."""

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from image_worlds import ImageWorld, Sets, without_classes
from text_worlds import TextWorld

sys.path.insert(0, str(Path(__file__).parent.parent))
import lenet5

from auditor.inference.top_items import HOLDOUT_PER_FORGET
from auditor.loading.preprocessing import Preprocessing
from auditor.records.spec import RecipeSpec
from auditor.tasks.classification.readers.files import read_examples
from auditor.tasks.classification.sets import Examples
from auditor.zoo import digits_net, digits_nets
from auditor.zoo.digits import digits_world

RECIPE = RecipeSpec()
BUILDS = digits_nets.ARCHITECTURES
# The first seeds are those of benchmarks/digits.py, whose originals and references are used again.
CLASS_WORLDS = ((100, 0), (101, 2), (102, 4), (103, 6), (104, 8))
OTHER_ARCHITECTURES = ((300, 1), (301, 5))
CONSTRUCTIONS = ("pretrained", "sharded", "prompted", "analytic")
CONSTRUCTION_WORLDS = ((310, 3), (311, 7))
SAMPLE_SEEDS = (320, 321)
LLAMA_SEEDS, GPT2_SEEDS, TUNED_SEEDS, PRIVATE_SEEDS = (200, 201, 202), (210, 211), (220,), (230,)
MNIST_WORLDS = ((330, 3), (331, 8))
N_MISLABELLED = 60  # few enough to be learnt by heart beside 1,100 right labels
MNIST_IMAGES = 12_000  # a fifth of the training set, for time
MNIST_RECIPE = RecipeSpec(epochs=4)


def digits_worlds(work: Path) -> Iterator[ImageWorld]:
    """Class requests on three networks and four further constructions, then mislabelled samples; variety first."""
    for seed, target in CLASS_WORLDS[:2]:
        yield class_world(work, "cnn", "plain", seed, target)
    for seed, target in CONSTRUCTION_WORLDS:
        for construction in CONSTRUCTIONS:
            yield class_world(work, "cnn", construction, seed, target)
    for seed, target in OTHER_ARCHITECTURES:
        for architecture in ("resnet", "vit"):
            yield class_world(work, architecture, "plain", seed, target)
    for seed, target in CLASS_WORLDS[2:]:
        yield class_world(work, "cnn", "plain", seed, target)
    for seed in SAMPLE_SEEDS:
        yield mislabelled_world(work, seed)


def people_worlds(work: Path) -> Iterator[TextWorld]:
    """Two language models, one that was trained on other people first, and one that learnt some people privately."""
    for architecture, construction, seeds in (
        ("llama", "plain", LLAMA_SEEDS),
        ("gpt2", "plain", GPT2_SEEDS),
        ("llama", "pretrained", TUNED_SEEDS),
        ("llama", "private", PRIVATE_SEEDS),
    ):
        for seed in seeds:
            folder = work / "people" / f"{architecture}-{construction}" / f"seed-{seed}"
            yield TextWorld(architecture=architecture, construction=construction, seed=seed, folder=folder)


def mnist_worlds(work: Path, data: Path) -> Iterator[ImageWorld]:
    """Class requests on real images; none where the data are absent."""
    if not (data / "mnist.npz").is_file():
        return
    shape = Preprocessing(mean=(0.1307,), std=(0.3081,))
    train, test = (read_examples(f"mnist.npz:{part}", data, shape) for part in ("train", "test"))
    for seed, target in MNIST_WORLDS:
        picks = torch.from_numpy(np.random.default_rng(seed).permutation(len(train))[:MNIST_IMAGES])
        yield ImageWorld(
            world="mnist",
            architecture="lenet",
            construction="plain",
            request="class",
            seed=seed,
            target=target,
            sets=_of_class(train.take(picks), test, target),
            build=lenet5.build,
            recipe=MNIST_RECIPE,
            folder=work / "mnist" / f"seed-{seed}" / f"class-{target}",
        )


def class_world(work: Path, architecture: str, construction: str, seed: int, target: int) -> ImageWorld:
    found = digits_world(target, seed)
    sets = Sets(train=found.train, forget=found.forget, retain=found.retain, holdout=found.holdout)
    if construction in ("pretrained", "prompted", "analytic"):
        # Only these constructions need public data; the others keep the whole retain set.
        sets = _with_public(sets, target)
    return ImageWorld(
        world="digits",
        architecture=architecture,
        construction=construction,
        request="class",
        seed=seed,
        target=target,
        sets=sets,
        build=BUILDS[architecture],
        recipe=RECIPE,
        folder=work / _folder(architecture, construction) / f"seed-{seed}" / f"class-{target}",
    )


def _folder(architecture: str, construction: str) -> str:
    # The plain network shares models and scores with benchmarks/digits.py.
    return "digits" if (architecture, construction) == ("cnn", "plain") else f"digits-{architecture}-{construction}"


def _with_public(sets: Sets, target: int) -> Sets:
    """Half of the retain set becomes public: a backbone learns from it, and nobody's original does."""
    # Every other one: both halves have all classes, whatever the order.
    half = torch.arange(len(sets.retain)) % 2 == 0
    public, private = sets.retain.take(half), sets.retain.take(~half)
    train = Examples(
        raw=torch.cat([private.raw, sets.forget.raw]),
        labels=torch.cat([private.labels, sets.forget.labels]),
        preprocessing=private.preprocessing,
    )
    return Sets(
        train=train,
        forget=sets.forget,
        retain=private,
        holdout=sets.holdout,
        public=without_classes(public, [target]),
    )


def _of_class(train: Examples, test: Examples, target: int) -> Sets:
    return Sets(
        train=train,
        forget=train.take(train.labels == target),
        retain=train.take(train.labels != target),
        holdout=test.take(test.labels == target),
    )


def mislabelled_world(work: Path, seed: int) -> ImageWorld:
    """Digits under wrong labels, learnt by heart; as many of the test set, as wrongly labelled, are the holdout."""
    found = digits_world(0, seed)
    random = np.random.default_rng(seed)
    picks = torch.from_numpy(random.permutation(len(found.train))[:N_MISLABELLED])
    forget = _wrong(found.train.take(picks), random)
    chosen = torch.isin(torch.arange(len(found.train)), picks)
    retain = found.train.take(~chosen)
    train = Examples(raw=torch.cat([retain.raw, forget.raw]), labels=torch.cat([retain.labels, forget.labels]))
    # As many as the test of single items asks for.
    held = torch.from_numpy(random.permutation(len(found.test))[: HOLDOUT_PER_FORGET * N_MISLABELLED])
    return ImageWorld(
        world="digits",
        architecture="cnn",
        construction="plain",
        request="sample",
        seed=seed,
        target=0,
        sets=Sets(train=train, forget=forget, retain=retain, holdout=_wrong(found.test.take(held), random)),
        build=digits_net.build,
        # Long and without decay: wrong labels are learnt by heart last.
        recipe=RecipeSpec(epochs=60, weight_decay=0.0),
        folder=work / "digits-samples" / f"seed-{seed}",
    )


def _wrong(examples: Examples, random: np.random.Generator) -> Examples:
    # From 1 to 9, so that no label stays right.
    shift = torch.from_numpy(random.integers(1, 10, len(examples)))
    return Examples(raw=examples.raw, labels=(examples.labels + shift) % 10)
