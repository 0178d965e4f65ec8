"""Carrying out a plan that was frozen beforehand: nothing else may be asked, and nothing may have changed."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from auditor.errors import SpecError, UsageError

if TYPE_CHECKING:
    from auditor.records.plan import Plan

# Where things lie and what is written besides: none of it changes a result.
_BESIDE_A_PLAN = ("allow_download", "config", "executor", "out", "write_canonical")


def frozen_request(path: Path, options: Mapping[str, object]) -> "Plan":
    """The plan in a file.

    Args:
        path: of plan.json.
        options: of the command, as click gives them.

    Raises:
        SpecError: something is asked beside the plan.
        DataError: the file is no plan.
    """
    from auditor.records.plan import read_plan

    # Not by truth: a seed of 0 is given, too.
    given = [name for name, value in options.items() if value not in (None, ()) and name not in _BESIDE_A_PLAN]
    if given:
        names = {p.name: p.opts[0] for p in click.get_current_context().command.params}
        raise SpecError(f"--plan fixes everything; leave out {', '.join(names[name] for name in given)}")
    return read_plan(path)


def refuse_changes(path: Path | None, frozen: "Plan", now: "Plan") -> None:
    """Stop where carrying it out would not be carrying out this plan.

    Raises:
        UsageError: naming what changed since.
    """
    from auditor.review.plan_diff import plan_changes

    if frozen.digest != now.digest:
        changes = "; ".join(map(str, plan_changes(frozen, now)))
        raise UsageError(f"{path} cannot be carried out as frozen: {changes}; restore it, or make a new plan")
