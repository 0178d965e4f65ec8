"""What differs between two plans."""

from typing import Any

import pytest

from auditor.records.plan import Plan
from auditor.review.plan_diff import content_changes, plan_changes
from tests.made_records import model, plan


def fields(before: Plan, after: Plan) -> list[str]:
    return [change.field for change in plan_changes(before, after)]


def with_model(name: str, **changes: Any) -> Plan:
    base = with_decoy("1" * 64)
    return base.model_copy(
        update={"models": tuple(m.model_copy(update=changes) if m.name == name else m for m in base.models)}
    )


def with_decoy(digest: str) -> Plan:
    base = plan()
    decoy = model("head_row_zeroed", "decoy").model_copy(update={"digest": digest, "source": None})
    return base.model_copy(update={"models": (*base.models, decoy)})


def test_equal_plans_have_no_changes() -> None:
    assert plan_changes(plan(), plan()) == []


def test_another_model_is_named_once_and_not_what_follows_from_it() -> None:
    before = with_decoy("1" * 64)
    after = with_model("original", file_digest="a" * 64, digest="b" * 64)
    decoys = tuple(m.model_copy(update={"digest": "c" * 64}) if m.role == "decoy" else m for m in after.models)
    after = after.model_copy(update={"models": decoys})
    [change] = plan_changes(before, after)
    assert str(change) == f"models.original.file_digest was {'0' * 12}…, is {'a' * 12}…"


def test_weights_in_memory_or_examples_in_a_folder_are_named_by_their_content() -> None:
    assert fields(with_decoy("1" * 64), with_model("unlearned", digest="b" * 64)) == ["models.unlearned.digest"]


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"seed": 1}, ["seed"]),
        ({"checks": plan().checks[:1]}, ["checks.relearning", "checks.slow_relearning"]),
        ({"models": plan().models[:-1]}, ["models.reference 5"]),
        ({"data": plan().data[:-1]}, ["data.holdout"]),
        ({"notes": ("leak",)}, ["notes"]),
    ],
)
def test_the_field_is_named(changes: dict[str, Any], named: list[str]) -> None:
    found = {".".join(field.split(".")[:2]) for field in fields(plan(), plan(**changes))}
    assert found == set(named)


def test_a_threshold_is_named() -> None:
    policy = plan().policy
    other = policy.model_copy(update={"thresholds": policy.thresholds.model_copy(update={"deleted": 0.6})})
    assert list(map(str, plan_changes(plan(), plan(policy=other)))) == ["policy.thresholds.deleted was 0.5, is 0.6"]


def test_where_files_lie_is_no_change_of_content() -> None:
    moved = with_model("original", source="elsewhere/original.pt")
    assert fields(with_decoy("1" * 64), moved) == ["models.original.source"]
    assert content_changes(with_decoy("1" * 64), moved) == []
    assert content_changes(plan(), plan(seed=1)) != []
