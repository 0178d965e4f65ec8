"""What the benchmarks on real input share: models made once, audits timed by unit of work, verdicts printed."""

import json
import os
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from torch import nn

import auditor
from auditor.models import references
from auditor.records.events import Event
from auditor.records.evidence import Evidence, Utility

DATA = Path("../shared/data")
Seconds = dict[str, dict[str, float]]


def missing(paths: list[Path]) -> bool:
    """Say what is absent, if anything is; the benchmark then ends without failing."""
    absent = [path for path in paths if not path.is_file()]
    if absent:
        print(f"skipped: {absent[0]} does not exist; give its folder by --data")
    return bool(absent)


@dataclass(frozen=True)
class WorkFolder:
    """Models, audits and their seconds, kept so that an interrupted run goes on.

    Attributes:
        path: the folder; audit.toml and the architecture's file stand in it.
    """

    path: Path

    def lay_out(self, architecture: Path, spec: str) -> None:
        """Write what an audit needs beside models and data."""
        self.path.mkdir(parents=True, exist_ok=True)
        # Copied: an audit reads the architecture from a file beside audit.toml, as a user's own.
        shutil.copyfile(architecture, self.path / architecture.name)
        (self.path / "audit.toml").write_text(spec, encoding="utf-8")

    def relative(self, path: Path) -> str:
        """As written in audit.toml."""
        return Path(os.path.relpath(path, self.path)).as_posix()

    def make(self, name: str, how: Callable[[], nn.Module]) -> Path:
        """The checkpoint of a model, made where it does not exist yet."""
        path = self.path / f"{name}.pt"
        if not path.is_file():
            # Wall seconds by a clock that no one sets back.
            started = time.monotonic()
            references.save(how(), path)
            self._note("models", name, time.monotonic() - started)
            print(f"made {name} in {self._seconds('models')[name]:.0f} s", file=sys.stderr)
        return path

    def making_seconds(self, name: str) -> float:
        """How long one model took."""
        return self._seconds("models")[name]

    def audit(self, name: str, unlearned: str) -> auditor.AuditResult:
        """Audit one subject by the folder's audit.toml; finished scores are read back, not computed again.

        Args:
            name: of the subject; results.json and report.html go to the folder of this name.
            unlearned: its checkpoint, relative to the work folder.
        """
        last = time.monotonic()

        def note(event: Event) -> None:
            nonlocal last
            now = time.monotonic()
            # A score that was read back took no time worth noting, and would overwrite the seconds of its making.
            if not event.reused:
                # Every audit of the folder has an unlearned model of its own; all other models are shared.
                whose = name if event.model == "unlearned" else event.model
                self._note(f"audit {event.check}", whose, now - last)
            last = now

        return auditor.compare(unlearned=unlearned, config=self.path / "audit.toml", out=self.path / name, report=note)

    def audit_seconds(self) -> pd.DataFrame:
        """Seconds of every unit of work, checks by models; what was read back is not in it."""
        kinds = json.loads((self.path / "seconds.json").read_text())
        return pd.DataFrame({k.removeprefix("audit "): v for k, v in kinds.items() if k != "models"}).T

    def _seconds(self, kind: str) -> dict[str, float]:
        path = self.path / "seconds.json"
        kinds: Seconds = json.loads(path.read_text()) if path.is_file() else {}
        return kinds.get(kind, {})

    def _note(self, kind: str, name: str, seconds: float) -> None:
        path = self.path / "seconds.json"
        kinds: Seconds = json.loads(path.read_text()) if path.is_file() else {}
        kinds.setdefault(kind, {})[name] = round(seconds, 2)
        path.write_text(json.dumps(kinds, indent=1))


def show(name: str, result: auditor.AuditResult) -> None:
    """Verdict with its reasons, and a line for each check."""
    verdict = result.results.verdict
    flags = "".join(f" {flag}" for flag in verdict.flags)
    print(f"\n{name}: {verdict.outcome}{flags} at {verdict.assurance}")
    for reason in verdict.sentences:
        print(f"  {reason}")
    for wish in verdict.to_decide:
        print(f"  to settle: {wish}")
    for e in result.results.evidence:
        if e.utility is not None:
            print("  " + _retain_accuracies(e.utility))
    print(pd.DataFrame([_row(e) for e in result.results.evidence]).to_string(index=False, na_rep=""))


def _retain_accuracies(utility: Utility) -> str:
    text = f"retain accuracy: unlearned {utility.unlearned:.1%}, original {utility.original:.1%}"
    if not utility.references:
        return text
    return f"{text}, references {min(utility.references.values()):.1%} to {max(utility.references.values()):.1%}"


def _row(e: Evidence) -> dict[str, object]:
    if e.failure is not None:
        return {"check": e.check, "why no power": f"could not run: {e.failure.reason}"}
    return {
        "check": e.check + (" *" if e.primary else ""),
        "ρ": f"{e.rho.value:.2f} [{e.rho.low:.2f}, {e.rho.high:.2f}]" if e.rho else "",
        "w": f"{e.resolution:.2f}" if e.resolution is not None else "",
        "p": f"{e.p_value:.2g}" if e.p_value is not None else "",
        "T original": _figure(e.scores.original) if e.scores else "",
        "T null": _figure(e.scores.null) if e.scores else "",
        "T unlearned": _figure(e.scores.unlearned) if e.scores else "",
        "decoys seen": f"{sum(d.detected for d in e.decoys.values())}/{len(e.decoys)}" if e.decoys else "",
        "why no power": e.powerless_because or "",
    }


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}"
