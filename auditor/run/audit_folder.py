"""The folder an audit leaves behind: which files belong to it, and the list of their digests.

The list is in the format of ``sha256sum``, so that a reviewer can check it without this program.
"""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from auditor.digests import text_digest
from auditor.errors import DataError
from auditor.records.results import RecordedScores, Results
from auditor.run.store import write_together

PLAN = "plan.json"
RESULTS = "results.json"
SCORES = "scores.json"
REPORT = "report.html"
FILES = (PLAN, RESULTS, SCORES, REPORT)
SUMS = "SHA256SUMS"
ATTESTATION = "attestation.json"
_NONE: Mapping[str, str] = MappingProxyType({})


def write(folder: Path, results: Results, scores: RecordedScores, others: Mapping[str, str] = _NONE) -> None:
    """Write everything an audit found. A signature of what lay there before is removed with it.

    Args:
        folder: made if absent.
        results: what was found.
        scores: what it was found from.
        others: SHA-256 of further files that were written beside these, by name: the canonical form.
    """
    from auditor.reports.html import render

    texts = {
        PLAN: results.plan.to_json(),
        RESULTS: results.to_json(),
        SCORES: scores.to_json(),
        REPORT: render(results),
    }
    texts[SUMS] = _listed({name: text_digest(text) for name, text in texts.items()} | dict(others))
    write_together({folder / name: text for name, text in texts.items()})
    # After the files are replaced: until then it is the signature of what lies there.
    (folder / ATTESTATION).unlink(missing_ok=True)


def parse_sums(data: bytes, folder: Path) -> dict[str, str]:
    """Digests by file name, as a folder's list gives them.

    Raises:
        DataError: not in the format of ``sha256sum``.
    """
    path = folder / SUMS
    try:
        lines = data.decode("ascii").splitlines()
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not a list of digests; write it again with sha256sum") from error
    pairs = [line.split("  ", 1) for line in lines]
    if not lines or not all(len(pair) == 2 for pair in pairs):
        raise DataError(f"{path} is not a list of digests; write it again with sha256sum")
    return {name: digest for digest, name in pairs}


def _listed(digests: Mapping[str, str]) -> str:
    return "".join(f"{digest}  {name}\n" for name, digest in digests.items())
