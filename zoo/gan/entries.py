"""The methods for GANs, as the catalogue lists them."""

from auditor.tasks.gan.task import NAME
from auditor.zoo.catalogue import Entry, Truth

_CLASS = ("class",)


def _gan(
    name: str, truth: Truth, family: str, file: str = "", paper: str = "none", settings: str = "Settings"
) -> Entry:
    return Entry(
        name=name,
        task=NAME,
        truth=truth,
        family=family,
        module=f"auditor.zoo.gan.{file or name}",
        paper=paper,
        settings_type=settings,
        requests=_CLASS,
    )


ENTRIES: tuple[Entry, ...] = (
    _gan("retrain", "deleted", "retraining", paper="arXiv 1912.03817"),
    _gan("label_row", "suppressed", "label embedding"),
    _gan("new_discriminator", "suppressed", "label embedding", "label_row", settings="NewSettings"),
    _gan("retain_steps", "not forgotten", "fine-tuning"),
    _gan("text_to_unlearn", "unknown", "judge's direction", paper="arXiv 2504.01218"),
    _gan("gradient_ascent", "unknown", "ascent", paper="arXiv 2302.09880"),
)
