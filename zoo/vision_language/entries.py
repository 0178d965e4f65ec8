"""The methods for models that answer questions about pictures, as the catalogue lists them."""

from auditor.zoo.catalogue import Entry, Truth

_CLASS = ("class",)


def _entry(name: str, truth: Truth, family: str, file: str = "", **more: str) -> Entry:
    module = f"auditor.zoo.vision_language.{file or name}"
    return Entry(
        name=name,
        task="vision-language",
        truth=truth,
        family=family,
        module=module,
        requests=_CLASS,
        # A checkpoint cannot hold an autoencoder around the projector.
        keeps_architecture=name != "sauce",
        paper=more.get("paper", "none"),
        settings_type=more.get("settings_type", "Settings"),
    )


ENTRIES: tuple[Entry, ...] = (
    _entry("retrain", "deleted", "retraining", paper="arXiv 1912.03817"),
    _entry("obliviate", "suppressed", "head training", paper="arXiv 2508.04567"),
    _entry("sauce", "suppressed", "features steered", paper="arXiv 2503.14530"),
    _entry("small_noise", "not forgotten", "noise", "not_forgotten", settings_type="NoiseSettings"),
    _entry("retain_steps", "not forgotten", "fine-tuning", "not_forgotten", settings_type="StepSettings"),
    # Methods as published: what they leave is the auditor's question, so that none has a truth here.
    _entry("siu", "unknown", "relabelling", paper="arXiv 2405.12523"),
    _entry("gradient_difference", "unknown", "ascent", paper="arXiv 2401.06121"),
)
