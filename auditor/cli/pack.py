"""``audit pack``."""

from pathlib import Path

import click

from auditor.cli.examples import examples
from auditor.errors import DataError


@click.command(
    epilog=examples(
        "audit pack audit-out --out for-review.zip",
    )
)
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="File; default FOLDER.zip.")
def pack(folder: Path, out: Path | None) -> None:
    """Pack the audit in FOLDER into one file to send: the same bytes wherever it is packed.

    It holds plan, scores, results, report, their digests, the signature if there is one, and a README for whoever
    receives it. `audit verify` takes it as it is.
    """
    from auditor.records.results import Results
    from auditor.review.packed import pack as packed
    from auditor.review.received import read_received, receive
    from auditor.run import audit_folder
    from auditor.run.store import write_atomically

    received = receive(folder)
    wrong = [name for name in audit_folder.FILES if received.altered(name)]
    # What goes out under the auditor's name is what it wrote.
    if not received.whole or wrong:
        named = ", ".join(wrong) or audit_folder.SUMS
        raise DataError(f"{folder} is not packed: {named} is missing or was changed after the audit; run it again")
    results = read_received(received)
    if not isinstance(results, Results):
        raise DataError(f"{folder} is not packed: {results.subject} {results.words}")
    target = out if out is not None else folder.with_name(f"{folder.resolve().name}.zip")
    [audited] = results.plan.models_of("unlearned")
    sums = (folder / audit_folder.SUMS).read_bytes()
    write_atomically(target, packed(received.data, sums, audited.source or audited.name, results.plan.auditor_version))
    click.echo(f"wrote {target}")
