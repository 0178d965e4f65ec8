"""A published ResNet-20 made to forget a class, audited at the assurance that the available data allow.

The original is the published CIFAR-10 checkpoint. The subject is made from it by NegGrad+, which alters every layer;
batch statistics stay as they are. Nobody published models trained without the class by the original's recipe, and
200 epochs are beyond a small machine, so there are no references: the null is the holdout, test images of the class
(assurance A1). Models, scores and seconds are kept in the work folder.

    python benchmarks/cifar_resnet20.py --work bench-cifar
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from resnet20 import build
from torch import nn
from work_folder import DATA, WorkFolder, missing, show

from auditor.loading.preprocessing import Preprocessing
from auditor.run.settings import execution_settings
from auditor.tasks.classification.decoys import neg_grad_plus
from auditor.tasks.classification.editing import accuracy
from auditor.tasks.classification.readers.files import read_examples
from auditor.tasks.classification.sets import Examples

ARCHITECTURE = Path(__file__).parent / "resnet20.py"
CHECKPOINT = "resnet20-12fca82f.th"
CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
PREPROCESSING = Preprocessing(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
FORGET_CLASS = CLASSES.index("ship")
SEED = 300
# The subject is made with all training images there are; the audit measures a part of them, to last minutes.
N_FORGET = 200
N_RETAIN_EACH = 150
# A tenth of the zoo's learning rate: this network took 200 epochs to train and is not to be damaged.
METHOD = neg_grad_plus.Settings(learning_rate=1e-4)
SPEC = """\
[models]
original = "{checkpoint}"
architecture = "resnet20.py:build"

[data]
forget = "forget.npz"
retain = "retain.npz"
holdout = "holdout.npz"
mean = [0.485, 0.456, 0.406]
std = [0.229, 0.224, 0.225]
class_names = {classes}

[request]
kind = "class"

[audit]
seed = {seed}
"""
CAVEAT = """
What can be said without references: the outputs are held against chance; membership, feature_membership and
sae_restoration have nulls of their own; weight_delta says where the weights changed. few_shot, relearning, depth,
quantization and concept_vectors have measured every model, but nothing says what a never-trained ResNet-20 would score,
so they neither clear nor accuse. DELETED is out of reach by design. The images are JPEG copies of what the original was
trained on, which weakens membership. References by the original's recipe would settle it."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA / "cifar10", help="folder of images.zip and the checkpoint")
    parser.add_argument("--work", type=Path, default=Path("bench-cifar"))
    options = parser.parse_args()
    checkpoint = options.data / CHECKPOINT
    if missing([checkpoint, options.data / "images.zip"]):
        return
    work = WorkFolder(options.work)
    text = SPEC.format(checkpoint=work.relative(checkpoint), classes=list(CLASSES), seed=SEED)
    work.lay_out(ARCHITECTURE, text.replace("'", '"'))
    train, test = (images(options.data, part) for part in ("train", "test"))
    write_sets(work.path, train, test)
    subject = make_subject(work, checkpoint, train)
    describe(work, {"original": published_model(checkpoint), "NegGrad+": loaded(work.path / subject)}, train, test)
    show("NegGrad+ (truth: suppressed)", work.audit("NegGrad+", subject))
    print(CAVEAT)
    report_times(work)


def images(folder: Path, part: str) -> Examples:
    """The images of ``train`` or ``test``."""
    return read_examples(f"images.zip:{part}", folder, PREPROCESSING, CLASSES)


def published_model(path: Path) -> nn.Module:
    """The published checkpoint in our architecture, in eval mode."""
    # The checkpoint was saved from a DataParallel wrapper, which puts module. before every name.
    tensors = torch.load(path, weights_only=True, map_location="cpu")["state_dict"]
    module = build()
    module.load_state_dict({name.removeprefix("module."): tensor for name, tensor in tensors.items()})
    return module.eval()


def loaded(path: Path) -> nn.Module:
    """A checkpoint of ours, in eval mode."""
    module = build()
    module.load_state_dict(torch.load(path, weights_only=True))
    return module.eval()


def make_subject(work: WorkFolder, checkpoint: Path, train: Examples) -> str:
    """NegGrad+ on all training images; returns its file, relative to the work folder."""
    forgotten = train.labels == FORGET_CLASS
    with execution_settings(threads=1):
        made = work.make(
            "subject",
            lambda: neg_grad_plus.neg_grad_plus(
                published_model(checkpoint), train.take(forgotten), train.take(~forgotten), METHOD, SEED
            ),
        )
    return made.name


def write_sets(folder: Path, train: Examples, test: Examples) -> None:
    """What the audit measures: the first images of each class, and all test images of the forgotten one."""
    others = [c for c in range(len(CLASSES)) if c != FORGET_CLASS]
    sets = {
        "forget": train.take(_first(train, FORGET_CLASS, N_FORGET)),
        "retain": train.take(torch.cat([_first(train, c, N_RETAIN_EACH) for c in others])),
        # All test images of the class: without references they are the null.
        "holdout": test.take(test.labels == FORGET_CLASS),
    }
    for name, examples in sets.items():
        np.savez(folder / f"{name}.npz", images=examples.raw.numpy(), labels=examples.labels.numpy())


def _first(examples: Examples, label: int, n: int) -> torch.Tensor:
    return torch.nonzero(examples.labels == label)[:n, 0]


def describe(work: WorkFolder, models: dict[str, nn.Module], train: Examples, test: Examples) -> None:
    """Accuracies by model, on what was trained on and what was not."""
    print(f"class to forget: {CLASSES[FORGET_CLASS]}; subject made in {work.making_seconds('subject'):.0f} s")
    for name, module in models.items():
        # On test images: on training images accuracy saturates and hides damage.
        kept = accuracy(module, test.take(test.labels != FORGET_CLASS))
        trained, unseen = (
            accuracy(module, examples.take(examples.labels == FORGET_CLASS)) for examples in (train, test)
        )
        print(f"{name}: forget {trained:.1%} (its test images {unseen:.1%}), test images of other classes {kept:.1%}")


def report_times(work: WorkFolder) -> None:
    """Wall seconds of the audit by check and model."""
    seconds = work.audit_seconds()
    # Units that were read back from an earlier run have no seconds.
    together = float(np.nansum(seconds.to_numpy()))
    seconds.loc["all checks"] = seconds.sum()
    print("\nwall seconds by model and check (outputs includes the recording)")
    print(seconds.T.round(1).to_string(na_rep=""))
    making = work.making_seconds("subject")
    print(f"everything together: {together:.0f} s, {together / making:.1f} times NegGrad+ itself")


if __name__ == "__main__":
    main()
