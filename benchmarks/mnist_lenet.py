"""A model that someone else unlearned: the published LeNet-5 without the digit 0, against references of ours.

Its author published no original, so one is trained here, with five references without the digit and two by a
perturbed recipe. For comparison three subjects of known truth are audited as well. Models, scores and seconds are kept
in the work folder, so that an interrupted run goes on.

    python benchmarks/mnist_lenet.py --work bench-mnist
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from lenet5 import build
from torch import nn
from work_folder import DATA, WorkFolder, missing, show

from auditor.loading.preprocessing import Preprocessing
from auditor.models import references
from auditor.models.training import train
from auditor.randomness import derive_seed
from auditor.records.spec import RecipeSpec
from auditor.run.settings import execution_settings
from auditor.tasks.classification.decoys import neg_grad_plus
from auditor.tasks.classification.readers.files import read_examples
from auditor.tasks.classification.sets import Examples

ARCHITECTURE = Path(__file__).parent / "lenet5.py"
PUBLISHED = "lenet5-unlearned-class0.pth"
FORGET_CLASS = 0
SEED = 200
N_REFERENCES = 5
# Mean and spread of MNIST's training pixels.
PREPROCESSING = Preprocessing(mean=(0.1307,), std=(0.3081,))
# Two passes over all 60,000 images reach the published model's accuracy on the other digits, 99.0 %.
RECIPE = RecipeSpec(epochs=2)
# Another optimiser, rate, batch and schedule: how far does a foreign recipe alone move ρ? The author's is unknown.
OTHER_RECIPE = RecipeSpec(
    epochs=2, optimizer="sgd", learning_rate=0.01, weight_decay=5e-4, batch_size=32, schedule="constant"
)
TRUTH = {
    "published": "unknown",
    "retrain": "deleted",
    "retrain by another recipe": "deleted",
    "NegGrad+": "suppressed",
}
SPEC = """\
[models]
original = "original.pt"
references = ["reference-*.pt"]
perturbed = ["perturbed-*.pt"]
architecture = "lenet5.py:build"

[data]
forget = "{npz}:train"
retain = "{npz}:train"
holdout = "{npz}:test"
mean = [0.1307]
std = [0.3081]

[request]
kind = "class"
classes = [0]

[audit]
seed = {seed}
batch_size = 256
"""
CAVEAT = """
The original is ours, not the one its author unlearned, so the published model was never derived from it. Then
- outputs, few_shot, relearning, quantization, membership read each model by itself: they compare as always, and the
  original only sets the scale, what a model that knows the digit scores;
- depth, concept_vectors, sae_restoration carry features into the original by a map fitted on retain data. References
  are as foreign to it as the subject is, so the null is fair, but a share of what was kept is lost on the way: weaker;
- cka and weight_delta compare with the original itself and are meaningless here (they only inform);
- the references' recipe is ours too, and the author's is unknown: the spread is what our recipe and its two
  perturbations differ by, and "retrain by another recipe" shows how far a foreign recipe alone moves each ρ.
The verdict says whether the model looks like one that never saw the digit, not what was done to it."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA / "mnist", help="folder of mnist.npz and the checkpoint")
    parser.add_argument("--work", type=Path, default=Path("bench-mnist"))
    parser.add_argument("--train-only", action="store_true")
    options = parser.parse_args()
    npz, published = options.data / "mnist.npz", options.data / PUBLISHED
    if missing([npz, published]):
        return
    work = WorkFolder(options.work)
    work.lay_out(ARCHITECTURE, SPEC.format(npz=work.relative(npz), seed=SEED))
    # The published file is audited where it lies; the others are made here.
    subjects = {"published": work.relative(published), **make_models(work, npz)}
    if options.train_only:
        return
    for name, checkpoint in subjects.items():
        show(f"{name} (truth: {TRUTH[name]})", work.audit(name.replace(" ", "-"), checkpoint))
    print(CAVEAT)
    report_times(work)


def published_model(path: Path) -> nn.Module:
    """The checkpoint in our architecture, in eval mode."""
    module = build()
    module.load_state_dict(torch.load(path, weights_only=True))
    return module.eval()


def make_models(work: WorkFolder, npz: Path) -> dict[str, str]:
    """Every model; returns the file of each subject of known truth, relative to the work folder."""
    everything = read_examples(f"{npz.name}:train", npz.parent, PREPROCESSING)
    forget, retain = parts(everything)
    seed = derive_seed(SEED, "models")
    with execution_settings(threads=1):
        work.make("original", lambda: train(build, everything, RECIPE, derive_seed(seed, "original")))
        # The two of a perturbed recipe too: their spread stands in for what is unknown of the author's.
        for job in references.jobs(RECIPE, N_REFERENCES, seed):
            work.make(job.name, lambda job=job: references.train_job(job, build, retain, "cpu"))
        makers = {
            "retrain": lambda: train(build, retain, RECIPE, derive_seed(seed, "retrain")),
            "retrain by another recipe": lambda: train(build, retain, OTHER_RECIPE, derive_seed(seed, "other")),
            "NegGrad+": lambda: neg_grad_plus.neg_grad_plus(
                published_model(work.path / "original.pt"), forget, retain, neg_grad_plus.Settings(), seed
            ),
        }
        return {name: work.make(f"subject-{name.replace(' ', '-')}", how).name for name, how in makers.items()}


def parts(examples: Examples) -> tuple[Examples, Examples]:
    """(forget, retain)."""
    forgotten = examples.labels == FORGET_CLASS
    return examples.take(forgotten), examples.take(~forgotten)


def report_times(work: WorkFolder) -> None:
    """Wall seconds of the audits against those of one training."""
    # In units of one training: seconds would tell of the machine.
    training = work.making_seconds("original")
    ratios = work.audit_seconds() / training
    together = float(np.nansum(ratios.to_numpy()))
    ratios.loc["all checks"] = ratios.sum()
    print(f"\none training: {training:.0f} s; audits in units of it (outputs includes the recording)")
    print(ratios.T.round(2).to_string(na_rep=""))
    print(f"everything together: {together:.1f} trainings")


if __name__ == "__main__":
    main()
