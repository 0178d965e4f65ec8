"""What picklescan says of a file, where it is installed. Advice: nothing is let in or kept out by it.

Run as ``python -P -m auditor.loading.picklescan_report FILE`` under the limits of every process
that looks at a stranger's file: picklescan runs no pickle, but it unpacks archives without a bound of its own.
"""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

from auditor.loading.limits import cpu_seconds, limit_this_process

_LISTED_GLOBALS = 3


def picklescan_report(path: Path) -> str | None:
    """What picklescan says of one file, in words; None where it is not installed."""
    if importlib.util.find_spec("picklescan") is None:
        return None
    # Imported where the child is started: they bring torch, of which the child itself has no use.
    from auditor.loading.child import last_reply, run_module
    from auditor.loading.tensors import plain

    try:
        child = run_module("auditor.loading.picklescan_report", [path], 2 * cpu_seconds(path.stat().st_size))
    except subprocess.TimeoutExpired:
        return "picklescan came to no end"
    said = last_reply(child).get("said")
    return plain(said, 300) if isinstance(said, str) else "picklescan could not read it"


def main(source: str) -> int:
    """Scan one file under limits and print what was found as a JSON line."""
    # Before the limits, under which no module could be opened.
    from picklescan.scanner import SafetyLevel, scan_bytes

    with Path(source).open("rb") as file:
        limit_this_process(file.seek(0, 2))
        file.seek(0)
        # A suffix of ours: by the file's own it would choose how to look.
        result = scan_bytes(file, source, ".pt")
    named = {level: [f"{g.module}.{g.name}" for g in result.globals if g.safety == level] for level in SafetyLevel}
    dangerous, suspicious = (sorted(set(named[level])) for level in (SafetyLevel.Dangerous, SafetyLevel.Suspicious))
    print(json.dumps({"said": _in_words(dangerous, suspicious, bool(result.scan_err))}))
    return 0


def _in_words(dangerous: list[str], suspicious: list[str], failed: bool) -> str:
    if dangerous:
        return f"picklescan calls dangerous: {', '.join(dangerous[:_LISTED_GLOBALS])}"
    # After what is dangerous: a file that breaks off may have shown enough by then.
    if failed:
        return "picklescan could not read it to the end"
    if suspicious:
        return f"picklescan calls suspicious: {', '.join(suspicious[:_LISTED_GLOBALS])}"
    return "picklescan found nothing"


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
