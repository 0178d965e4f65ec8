"""``audit sign``."""

from pathlib import Path

import click

from auditor.cli.examples import examples
from auditor.digests import bytes_digest
from auditor.errors import DataError


@click.command(
    epilog=examples(
        "audit sign audit-out --key private.pem",
    )
)
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--key", type=click.Path(path_type=Path), required=True, help="Your private ed25519 key, a PEM file.")
def sign(folder: Path, key: Path) -> None:
    """Sign the audit in FOLDER: writes attestation.json, an in-toto statement in a DSSE envelope.

    Make a key with: openssl genpkey -algorithm ed25519 -out private.pem
    """
    from auditor.records.results import Results
    from auditor.review import attest
    from auditor.review.received import read_received, receive
    from auditor.review.verification import verify
    from auditor.run import audit_folder
    from auditor.run.store import write_atomically

    received = receive(folder)
    for finding in verify(received):
        # Unchecked counts too: a signature vouches for the whole.
        if finding.state in ("fails", "unchecked"):
            raise DataError(f"{folder} is not signed: {finding.subject} {finding.words}")
    results = read_received(received)
    assert isinstance(results, Results), "they were verified"
    digests = {name: bytes_digest(received.data[name]) for name in audit_folder.FILES}
    write_atomically(folder / audit_folder.ATTESTATION, attest.sign(results, digests, key))
    click.echo(f"wrote {folder / audit_folder.ATTESTATION}")
