"""An audit, or a part of it, carried out in a child process, so that this one can end a check that hangs."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from auditor.errors import UsageError
from auditor.run.executors.forked import Lost, Tell, supervise

if TYPE_CHECKING:
    from auditor.records.results import Results
    from auditor.run.preparing import Prepared
    from auditor.run.shards import Shard


def audited(prepared: "Callable[[Tell], Prepared]", seconds: int, folder: Path, quiet: bool) -> "Results":
    """What an audit found, once it has written it.

    Args:
        prepared: makes the plan; called in the child, which alone loads torch.
        seconds: that one check may take on one model.
        folder: for the files.
        quiet: show no progress.

    Raises:
        UsageError: as the audit does, or where it hangs or dies outside of a check.
    """
    from auditor.cli.progress import live_progress
    from auditor.records.results import read_results
    from auditor.run.audit_folder import RESULTS

    def job(tell: Tell, lost: Lost) -> None:
        # In the child alone: it loads torch, and the watching process has to stay light to be forked from.
        from auditor.run.execution import execute

        made = prepared(tell)
        tell(made.work.planned())
        execute(made.watched(tell, lost), folder)

    with live_progress(quiet) as progress:
        supervise(job, seconds=seconds, hear=progress.hear)
    # Read from disk: the child's memory is gone, and what was written is what counts.
    return read_results(folder / RESULTS)


def worked_on(prepared: "Callable[[Tell], Prepared]", shard: "Shard", seconds: int, quiet: bool) -> None:
    """Do one part of a plan; what cannot be done is told.

    Args:
        prepared: makes the plan; called in the child, which alone loads torch.
        shard: which part.
        seconds: that one check may take on one model.
        quiet: show no progress.

    Raises:
        UsageError: some of it could not be done, or it hangs or dies outside of a check.
    """
    from auditor.cli.progress import live_progress

    def job(tell: Tell, lost: Lost) -> None:
        from auditor.run.shards import work_on

        made = prepared(tell)
        part = shard.part(made.plan)
        tell(made.work.planned(part.models))
        failed = work_on(made.watched(tell, lost), part)
        if failed:
            unit, failure = next(iter(failed.items()))
            more = f", and {len(failed) - 1} more units" if len(failed) > 1 else ""
            raise UsageError(f"not done: {unit}: {failure.reason}{more}; `audit compare --plan` tries them again")

    with live_progress(quiet) as progress:
        supervise(job, seconds=seconds, hear=progress.hear)
