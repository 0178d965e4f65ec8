"""Runs a plan from its first score to its files."""

import time
from pathlib import Path

from auditor.models.canonical_file import sums
from auditor.records.results import RecordedScores, Results
from auditor.run import audit_folder
from auditor.run.concluding import conclude
from auditor.run.executors import registry as executors
from auditor.run.lock import alone_in
from auditor.run.preflight import preflight
from auditor.run.preparing import Prepared
from auditor.run.runner import run
from auditor.run.settings import execution_settings
from auditor.run.store import write_atomically
from auditor.run.timings import Stopwatch, Timings


def check_inputs(prepared: Prepared) -> None:
    """Judge the inputs by the models' accuracies, as :func:`execute` does before the first score.

    Raises:
        UsageError: the original cannot do its job, or the accuracies do not fit the request.
    """
    with execution_settings(prepared.plan.execution.threads):
        preflight(prepared.work)


def execute(prepared: Prepared, folder: Path | None) -> Results:
    """Run a plan, decide, and write what was found.

    Args:
        prepared: from :func:`~auditor.run.preparing.prepare`.
        folder: where the files of :mod:`auditor.run.audit_folder`, timings.json and, where asked for, the canonical
            form of the unlearned model go; None writes nothing.

    Raises:
        UsageError: the inputs do not fit the request, or another audit is at work in the folder.
    """
    if folder is None:
        return measured(prepared)[0]
    with alone_in(folder):
        # Before the first score: what was going to be done is fixed before anything is known.
        write_atomically(folder / audit_folder.PLAN, prepared.plan.to_json())
        # A wall clock may be set meanwhile.
        started = time.monotonic()
        watch = Stopwatch(prepared.plan, prepared.timings)
        ready = _done_ahead(prepared, folder / audit_folder.PLAN)
        results, scores = measured(ready.heard_by(watch.hear))
        audit_folder.write(folder, results, scores, _deployable(prepared, folder))
        # Apart from the results, and under no digest: an audit repeated takes other times.
        took = Timings(seconds=round(time.monotonic() - started, 3), units=tuple(watch.units))
        write_atomically(folder / "timings.json", took.model_dump_json(indent=2) + "\n")
        watch.remember()
    return results


def _done_ahead(prepared: Prepared, plan: Path) -> Prepared:
    """The same once an executor has done what it does before the loop asks for single units."""
    ahead = executors.ahead(prepared.spec.audit.executor)
    if ahead is None:
        return prepared
    # A wrong input is said before a cluster is set to work.
    check_inputs(prepared)
    return prepared.watched(prepared.work.begin, {**prepared.work.lost, **ahead(prepared, plan)})


def _deployable(prepared: Prepared, folder: Path) -> dict[str, str]:
    """Digests of the files of the canonical form, where it was asked for and has been written."""
    if not prepared.spec.audit.write_canonical or prepared.canonical is None:
        return {}
    with execution_settings(prepared.plan.execution.threads):
        prepared.canonical.write(prepared.plan.models_of("unlearned")[0], folder / prepared.canonical.name)
    return sums(folder, prepared.canonical.name)


def measured(prepared: Prepared) -> tuple[Results, RecordedScores]:
    """Run a plan and decide, without writing anything but scores to the store.

    Raises:
        UsageError: the inputs do not fit the request.
    """
    with execution_settings(prepared.plan.execution.threads):
        preflight(prepared.work)
        scores = run(prepared.work, executors.load(prepared.spec.audit.executor))
        return conclude(prepared.plan, prepared.work.checks, scores), RecordedScores(scores=scores)
