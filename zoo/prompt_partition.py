"""LMEraser: prompts and heads by partition on a frozen public backbone (Xu et al. 2024, arXiv 2404.11056).

Each partition of the private data has a prompt of its own, here an image that is added to the input, and a head of its
own. To forget, the affected partitions are retrained. Which partition an example is in is decided by the nearest of
some public anchors, so that nothing private decides it. The heads are the blocks of one linear map, which reads the
features in the slot of their partition.
"""

import torch
from pydantic import Field
from torch import Tensor, nn

from auditor.errors import ModelError
from auditor.models.training import continue_from, train
from auditor.randomness import derive_seed
from auditor.records.spec import RecipeSpec
from auditor.tasks.classification.editing import copy_of, head_of
from auditor.tasks.classification.sets import Examples
from auditor.zoo.surgery import without_head


class Settings(RecipeSpec):
    """The recipe of each partition, and how many there are."""

    partitions: int = Field(default=3, ge=1)


class Prompted(nn.Module):
    """A frozen backbone with a prompt and a head per partition.

    Args:
        body: returns features [n, features]; frozen.
        anchors: float32 [partitions, ...], in the shape of an input.
        features: how many.
        classes: how many.
    """

    anchors: Tensor

    def __init__(self, body: nn.Module, anchors: Tensor, features: int, classes: int) -> None:
        super().__init__()
        self.body = body.requires_grad_(False)
        self.register_buffer("anchors", anchors)
        # At 0 an untrained partition shows the backbone the image as it is.
        self.prompts = nn.Parameter(torch.zeros_like(anchors))
        # A named place: the auditor opens the network at the input of its last linear map.
        self.slots = nn.Identity()
        # No bias: one for all partitions would carry what other partitions' examples taught.
        self.head = nn.Linear(len(anchors) * features, classes, bias=False)
        nn.init.zeros_(self.head.weight)

    def forward(self, images: Tensor) -> Tensor:
        """Logits [n, classes]."""
        partition = self.partition_of(images)
        features = self.body(images + self.prompts[partition])
        # Zeros in all other slots: a head reads its own partition's features and nothing else.
        mine = nn.functional.one_hot(partition, len(self.anchors)).to(features)
        logits: Tensor = self.head(self.slots((mine[:, :, None] * features[:, None]).flatten(1)))
        return logits

    def partition_of(self, images: Tensor) -> Tensor:
        """The partition of each image, int64 [n]."""
        return torch.cdist(images.flatten(1), self.anchors.flatten(1)).argmin(1)

    def put(self, partition: int, prompt: Tensor, weight: Tensor) -> None:
        """Write one partition's prompt [...] and head [classes, features]."""
        width = weight.shape[1]
        with torch.no_grad():
            self.prompts[partition] = prompt
            self.head.weight[:, partition * width : (partition + 1) * width] = weight


class _Partition(nn.Module):
    """What one partition trains."""

    def __init__(self, body: nn.Module, prompt: Tensor, features: int, classes: int) -> None:
        super().__init__()
        self.body = body.requires_grad_(False)
        self.prompt = nn.Parameter(prompt)
        self.head = nn.Linear(features, classes, bias=False)
        nn.init.zeros_(self.head.weight)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.head(self.body(images + self.prompt))
        return logits

    def train(self, mode: bool = True) -> "_Partition":
        super().train(mode)
        # Batch statistics of the frozen backbone must not move either.
        self.body.eval()
        return self


def anchors_of(public: Examples, partitions: int, seed: int) -> Tensor:
    """Centres of k-means on public inputs, float32 [partitions, ...]."""
    # Loaded here alone, so that opening such a network does not import scikit-learn.
    from sklearn.cluster import KMeans

    found = KMeans(partitions, n_init=1, random_state=seed).fit(public.inputs.flatten(1).numpy())
    return torch.tensor(found.cluster_centers_, dtype=torch.float32).reshape(-1, *public.inputs.shape[1:])


def train_prompted(backbone: nn.Module, anchors: Tensor, examples: Examples, settings: Settings, seed: int) -> Prompted:
    """An original made by the mechanism, or, trained without the forget set, a reference for it.

    Args:
        backbone: a public classifier that ends in a linear map and never saw ``examples``.
        anchors: from public data, by :func:`anchors_of`.
        examples: the private data.
        settings: of each partition's training.
        seed: of its order.
    """
    head = head_of(backbone, examples)
    module = Prompted(without_head(backbone, examples), anchors, head.in_features, head.out_features)
    for partition in range(len(anchors)):
        _retrain(module, partition, examples, settings, seed)
    return module.eval()


def prompt_partition(
    original: nn.Module, forget: Examples, retain: Examples, settings: Settings, seed: int
) -> nn.Module:
    """The subject: the partitions that held a forget example retrained without, the others as they were.

    Raises:
        ModelError: the original was not made by :func:`train_prompted`.
    """
    module = copy_of(original)
    if not isinstance(module, Prompted):
        raise ModelError("prompt_partition needs an original made by train_prompted")
    for partition in module.partition_of(forget.inputs).unique().tolist():
        _retrain(module, int(partition), retain, settings, seed)
    return module.eval()


def _retrain(module: Prompted, partition: int, examples: Examples, settings: Settings, seed: int) -> None:
    mine = examples.take(module.partition_of(examples.inputs) == partition)
    features, classes = module.head.in_features // len(module.anchors), module.head.out_features
    start = _Partition(module.body, torch.zeros_like(module.anchors[partition]), features, classes)
    # Nothing can be trained on an empty partition: it keeps a prompt and a head of zeros.
    if len(mine):
        trained = train(continue_from(start), mine, settings, derive_seed(seed, partition))
        assert isinstance(trained, _Partition)
        start = trained
    module.put(partition, start.prompt, start.head.weight)
