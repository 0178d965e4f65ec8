"""The methods for recommenders, by name."""

from auditor.zoo.catalogue import Entry, Truth


def _entry(
    name: str,
    truth: Truth,
    family: str,
    file: str,
    paper: str = "none",
    settings_type: str = "Settings",
    requests: tuple[str, ...] = ("class", "sample"),
) -> Entry:
    return Entry(
        name=name,
        task="recommender",
        truth=truth,
        family=family,
        module=f"auditor.zoo.recommender.{file}",
        paper=paper,
        settings_type=settings_type,
        requests=requests,
    )


_CLASS = ("class",)
ENTRIES: tuple[Entry, ...] = (
    _entry("retrain", "deleted", "retraining", "retrain", paper="arXiv 1912.03817"),
    _entry("edges_removed", "not forgotten", "graph edited", "rows"),
    # Of listed interactions the users stay, and so do their rows.
    _entry("rows_deleted", "suppressed", "rows drawn again", "rows", requests=_CLASS),
    _entry("rows_blurred", "suppressed", "rows drawn again", "rows", settings_type="BlurSettings", requests=_CLASS),
    _entry("users_pushed", "suppressed", "rows trained", "rows", settings_type="PushSettings", requests=_CLASS),
    _entry("retain_steps", "not forgotten", "fine-tuning", "steps", settings_type="FewSettings"),
    _entry("bpr_ascent", "unknown", "ascent", "steps", paper="arXiv 2302.09880", settings_type="AscentSettings"),
    _entry("unlearn_rec", "unknown", "influence learnt", "unlearn_rec", paper="arXiv 2505.22649"),
)
