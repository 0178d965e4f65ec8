"""``audit sequence``."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

import click

from auditor.cli.compare import compare, exit_of, request, run_options, show_plan
from auditor.cli.examples import examples
from auditor.cli.options import CompareOptions, spec_options
from auditor.cli.typed import arguments_for, valued_options
from auditor.errors import SpecError

if TYPE_CHECKING:
    from auditor.records.spec import AuditSpec
    from auditor.run.executors.forked import Tell
    from auditor.run.preparing import Prepared

    Request = tuple[Callable[[Tell], Prepared], AuditSpec, Path]


@click.command(
    epilog=examples(
        "audit sequence original.pt after-1.pt=forget-1.npz after-2.pt=forget-2.npz --retain retain.npz",
        "audit sequence original.pt after-1.pt=forget-1.npz after-2.pt=forget-2.npz --dry-run",
    )
)
@click.argument("original")
@click.argument("steps", metavar="CHECKPOINT=FORGET...", nargs=-1, required=True)
@spec_options()
@run_options
@click.pass_obj
def sequence(
    arguments: list[str],
    /,
    steps: tuple[str, ...],
    dry_run: bool,
    quiet: bool,
    **options: Unpack[CompareOptions],
) -> int:
    """Audit requests that came one after the other: each CHECKPOINT for its own FORGET set and for all before it.

    Shows whether what an earlier request deleted is still gone after later ones. References have to be models that saw
    none of the forget sets. overview.html has a row for each checkpoint, chain.csv and chain.json hold the numbers.
    """
    from auditor.review.chain import folder_of, pairs, refuse_short

    checkpoints, forgets = _divided(steps, options)
    refuse_short(len(steps))

    def asked(number: int, after: int) -> "Request":
        checkpoint, forget = checkpoints[after - 1], forgets[number - 1]
        # Each report prints the command of its own audit.
        one = arguments_for(steps[after - 1], steps, ["compare", *arguments[1:]], valued_options(compare))
        own = [checkpoint if argument == steps[after - 1] else argument for argument in one]
        return request([*own, "--forget", forget], {**options, "unlearned": checkpoint, "forget": forget}, None)

    if dry_run:
        return max(show_plan(asked(*place)[0], quiet) for place in pairs(len(steps)))
    return _audited(options["original"] or "", checkpoints, forgets, asked, folder_of, quiet=quiet)


def _divided(steps: tuple[str, ...], options: CompareOptions) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Checkpoints and forget sets, in order."""
    if options.get("forget"):
        raise SpecError("--forget is for one request; write each forget set behind its checkpoint: after-1.pt=f-1.npz")
    found = [step.rpartition("=") for step in steps]
    for step, (checkpoint, _, forget) in zip(steps, found, strict=True):
        if not checkpoint or not forget:
            raise SpecError(f"{step} is no checkpoint with its forget set; write after-1.pt=forget-1.npz")
    return tuple(checkpoint for checkpoint, _, _ in found), tuple(forget for _, _, forget in found)


def _audited(
    original: str,
    checkpoints: tuple[str, ...],
    forgets: tuple[str, ...],
    asked: "Callable[[int, int], Request]",
    folder_of: Callable[[int, int], str],
    *,
    quiet: bool,
) -> int:
    from auditor.cli import show
    from auditor.cli.candidates import audited_candidate, code_of_all
    from auditor.records.chain import Chain, ChainAudit
    from auditor.review.chain import pairs, write_chain

    codes, found, top = set[int](), list[ChainAudit](), Path()
    for number, after in pairs(len(forgets)):
        prepared, spec, top = asked(number, after)
        click.echo(f"request {number}, ", nl=False)
        where = (checkpoints[after - 1], folder_of(number, after), top / folder_of(number, after))
        one, code = audited_candidate(prepared, spec, where, exit_of, quiet=quiet)
        found.append(ChainAudit(request=number, after=after, found=one))
        codes.add(code)
    chain = Chain(original=original, requests=forgets, checkpoints=checkpoints, audits=tuple(found))
    show.chain(chain, write_chain(top, chain))
    return code_of_all(codes)
