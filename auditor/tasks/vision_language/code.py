"""What stands in place of a user's class: how answers about pictures are scored, read, trained and judged."""

from collections.abc import Mapping

from torch import Tensor, nn

from auditor.tasks.vision_language.reading import first_choices, mean_log_probability, states


class VisionLanguageCode:
    """See :class:`auditor.tasks.custom.user_code.UserTask`; inputs and targets are those of ``packing.pack``."""

    def scores(self, model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
        """Mean log-probability of the answer's tokens given picture and question, in nats, [n]."""
        return mean_log_probability(model, inputs, targets)

    def features(self, model: nn.Module, inputs: Tensor) -> Mapping[str, Tensor]:
        """Where the answer is about to be given, and the mean over the picture's tokens, after every block."""
        found = list(states(model, inputs))
        return {f"{one.name}, answer": one.answer for one in found} | {f"{one.name}, image": one.image for one in found}

    def loss(self, model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
        """Cross-entropy of the answers, each example counted alike."""
        return -mean_log_probability(model, inputs, targets).mean()

    def correct(self, model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
        """Whether every token of the answer is the first choice, bool [n]."""
        return first_choices(model, inputs, targets)

    def read(self, path: str) -> tuple[Tensor, Tensor]:
        """Inputs and targets of an ``.npz`` or a ``.jsonl``."""
        # Files are read once, and models often without any.
        from auditor.tasks.vision_language.readers import read

        return read(path)
