"""The zoo's methods for conditional diffusion models."""

from auditor.zoo.catalogue import Entry, Truth


def _entry(name: str, truth: Truth, family: str, paper: str = "none") -> Entry:
    return Entry(
        name=name,
        task="diffusion",
        truth=truth,
        family=family,
        module=f"auditor.zoo.diffusion.{name}",
        paper=paper,
        requests=("class",),
    )


ENTRIES = (
    _entry("retrain", "deleted", "retraining", "arXiv 1912.03817"),
    _entry("label_row", "suppressed", "label row"),
    _entry("retain_steps", "not forgotten", "fine-tuning"),
    _entry("esd", "unknown", "concept erasure", "arXiv 2303.07345"),
    _entry("advunlearn", "unknown", "concept erasure", "arXiv 2405.15234"),
)
