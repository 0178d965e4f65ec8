"""The zoo's methods for dual encoders, by name."""

from auditor.zoo.catalogue import Entry

_ROOM = "auditor.zoo.clip"
_CLASS = ("class",)

ENTRIES: tuple[Entry, ...] = (
    Entry(
        name="retrain",
        task="clip",
        truth="deleted",
        family="retraining",
        module=f"{_ROOM}.retrain",
        paper="arXiv 1912.03817",
    ),
    Entry(
        name="adu",
        task="clip",
        truth="suppressed",
        family="input prompts",
        module=f"{_ROOM}.adu",
        paper="arXiv 2510.08132",
        keeps_architecture=False,
        requests=_CLASS,
    ),
    Entry(
        name="null_space",
        task="clip",
        truth="suppressed",
        family="direction removed",
        module=f"{_ROOM}.null_space",
        paper="arXiv 2512.14137",
        requests=_CLASS,
    ),
    Entry(
        name="caption_tuning",
        task="clip",
        truth="suppressed",
        family="text encoder",
        module=f"{_ROOM}.gradient_difference",
    ),
    Entry(
        name="gradient_difference",
        task="clip",
        truth="unknown",
        family="ascent",
        module=f"{_ROOM}.gradient_difference",
        paper="arXiv 2401.06121",
    ),
    Entry(
        name="retain_steps", task="clip", truth="not forgotten", family="fine-tuning", module=f"{_ROOM}.not_forgotten"
    ),
    Entry(
        name="small_noise",
        task="clip",
        truth="not forgotten",
        family="noise",
        module=f"{_ROOM}.not_forgotten",
        settings_type="NoiseSettings",
    ),
)
