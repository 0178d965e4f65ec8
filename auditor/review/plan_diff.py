"""What differs between two plans, field by field."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from auditor.records.plan import Plan

_ABSENT = "absent"
_DIGEST = re.compile(r"\b([0-9a-f]{12})[0-9a-f]{52}\b")
# What follows from other fields: named only where nothing else differs.
_FOLLOWS = re.compile(r"^(feasibility|notes|asked\.(models|data|request|audit)|command)\b|\.n_examples$")
# Names of files and the wording of the request: a reviewer may keep the same content elsewhere.
_NAMES = re.compile(r"\.source$|^(architecture|command|notes)$|^asked\b|^feasibility\b")


@dataclass(frozen=True, kw_only=True)
class Change:
    """One field that differs.

    Attributes:
        field: its path, such as ``models.unlearned.file_digest``.
        before: its value in the first plan.
        after: its value in the second.
    """

    field: str
    before: str
    after: str

    def __str__(self) -> str:
        before, after = (_DIGEST.sub(r"\1…", value) for value in (self.before, self.after))
        return f"{self.field} was {before}, is {after}"


def plan_changes(before: Plan, after: Plan) -> list[Change]:
    """Every field that differs; what merely follows from others only where nothing else does."""
    found = _differing(before, after)
    fields = {change.field for change in found}
    # Decoys are made from the original and differ wherever it does.
    made = {f"models.{model.name}." for plan in (before, after) for model in plan.models_of("decoy")}

    def follows(field: str) -> bool:
        # A file that differs says it all; that its content differs follows.
        beside = field.removesuffix(".digest") + ".file_digest"
        return bool(_FOLLOWS.search(field)) or field.startswith(tuple(made)) or (beside != field and beside in fields)

    return [change for change in found if not follows(change.field)] or found


def content_changes(before: Plan, after: Plan) -> list[Change]:
    """The same without the names of files and how the request was worded: only what numbers depend on.

    Nor does a number depend on whether a reference's fingerprint is at hand; two that differ are two references.
    """
    found = plan_changes(before, after)
    return [change for change in found if not (_NAMES.search(change.field) or _lacks_a_fingerprint(change))]


def _lacks_a_fingerprint(change: Change) -> bool:
    return change.field.endswith(".fingerprint") and "None" in (change.before, change.after)


def _differing(before: Plan, after: Plan) -> list[Change]:
    old, new = (dict(_fields(plan.model_dump(mode="json"))) for plan in (before, after))
    return [
        Change(field=field, before=old.get(field, _ABSENT), after=new.get(field, _ABSENT))
        for field in dict.fromkeys([*old, *new])
        if old.get(field) != new.get(field)
    ]


def _fields(value: object, path: str = "") -> Iterator[tuple[str, str]]:
    """Leaves by dotted path; records in a list go by their names."""
    if isinstance(value, list) and value and all(isinstance(item, dict) and "name" in item for item in value):
        value = {item["name"]: {k: v for k, v in item.items() if k != "name"} for item in value}
    # An empty record is a leaf, or it could not be told from an absent one.
    if isinstance(value, dict) and value:
        for name, item in value.items():
            yield from _fields(item, f"{path}.{name}" if path else name)
    else:
        yield path, str(value)
