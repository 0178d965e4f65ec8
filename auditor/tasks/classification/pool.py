"""Images of which nobody says which class was to be forgotten."""

from pathlib import Path

import torch
from torch import Tensor

from auditor.loading.preprocessing import Preprocessing
from auditor.records.spec import AuditSpec
from auditor.tasks.classification.readers.files import read_examples, write_examples
from auditor.tasks.classification.sets import Examples
from auditor.tasks.classification.subject import Classifier
from auditor.tasks.pool import Pool


def pool(spec: AuditSpec, source: str, base: Path, preprocessing: Preprocessing) -> Pool:
    """A pool whose groups are its classes, called as the request calls them or else by number.

    Raises:
        DataError: unreadable, or not images.
    """
    names = spec.data.class_names
    examples = read_examples(source, base, preprocessing, names)
    groups = [names[label] if names and label < len(names) else str(label) for label in examples.labels.tolist()]
    return Pool(
        examples=examples,
        groups=tuple(groups),
        noun="classes",
        # So that either half may hold every class.
        request="sample",
        log_probability=_log_probability,
        write=write_examples,
        suffix=".npz",
    )


@torch.no_grad()
def _log_probability(model: Classifier, examples: Examples) -> Tensor:
    logits = model.logits(examples).double()
    return logits.log_softmax(1).gather(1, examples.labels[:, None])[:, 0]
