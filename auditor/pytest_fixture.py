"""The ``audit`` fixture: audits a pair once for all tests, and asserts what was found."""

import os
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeGuard, TypeVarTuple

import pytest

from auditor import assertions
from auditor.errors import UnsafeInputError, UsageError

if TYPE_CHECKING:
    from auditor.audit import AuditResult
    from auditor.records.plan import Plan
    from auditor.records.spec import AuditSpec

_CONFIG = "audit.toml"
_CALL = "auditor.compare(...)"
_SETS = ("forget", "retain", "retain_test", "holdout", "control")
_GIVEN = (*_SETS, "references", "perturbed", "neither", "architecture", "task", "tokenizer")
_SHOWN_OF_DIGEST = 12

_Arguments = TypeVarTuple("_Arguments")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Options and ini keys of a test run.

    Attributes:
        root: pytest's root directory.
        config: an audit.toml, relative to the root; None takes the root's own, if there is one.
        out: folder of the reports, relative to the root; None leaves it to audit.toml.
        inconclusive: ``fail``, ``skip`` or ``xfail``.
    """

    root: Path
    config: str | None
    out: str | None
    inconclusive: str


class Audit:
    """Runs audits and asserts their results.

    Args:
        settings: of the test run.
        finished: results of this process, by the folder that carries the digest of their plan.
        record: told of every result that a test asks for.
    """

    def __init__(
        self, settings: Settings, finished: "dict[Path, AuditResult]", record: "Callable[[AuditResult], None]"
    ) -> None:
        self._settings, self._finished, self._record = settings, finished, record

    def compare(
        self,
        original: object = None,
        unlearned: object = None,
        *,
        config: str | Path | None = None,
        options: Mapping[str, Mapping[str, object]] | None = None,
        **given: object,
    ) -> "AuditResult":
        """Audit a pair, or take what this test run has found of the same models, data and settings already.

        Args:
            original: path relative to the folder of audit.toml (without one, to pytest's root), or a torch module.
            unlearned: likewise.
            config: an audit.toml, relative to pytest's root; default as ``audit_config`` says.
            options: further fields of audit.toml by section, such as ``{"audit": {"seed": 1}}``.
            given: ``forget``, ``retain``, ``retain_test``, ``holdout``, ``control``, ``references``,
                ``perturbed``, ``architecture``, ``task`` and ``tokenizer``, as :func:`auditor.compare` takes them.

        Raises:
            UsageError: the request cannot be carried out as asked.
            UnsafeInputError: a file was refused.
        """
        __tracebackhide__ = True
        unknown = [name for name in given if name not in _GIVEN]
        if unknown:
            raise TypeError(f"audit.compare takes no {unknown[0]!r}; it takes {', '.join(_GIVEN)}, config and options")
        try:
            result = self._compare({"original": original, "unlearned": unlearned, **given}, config, options or {})
        except (UsageError, UnsafeInputError) as error:
            # The sentence says it all; frames of the auditor would only hide the line of the test.
            raise error.with_traceback(None) from None
        self._record(result)
        return result

    def assert_outcome(self, result: "AuditResult", expect: str) -> None:
        """See :func:`auditor.assertions.assert_outcome`."""
        __tracebackhide__ = True
        self._claim(assertions.assert_outcome, result, expect)

    def assert_deleted(self, result: "AuditResult") -> None:
        """See :func:`auditor.assertions.assert_deleted`."""
        __tracebackhide__ = True
        self._claim(assertions.assert_deleted, result)

    def assert_not_suppressed(self, result: "AuditResult") -> None:
        """See :func:`auditor.assertions.assert_not_suppressed`."""
        __tracebackhide__ = True
        self._claim(assertions.assert_not_suppressed, result)

    def assert_residual_below(self, result: "AuditResult", limit: float, check: str | None = None) -> None:
        """See :func:`auditor.assertions.assert_residual_below`."""
        __tracebackhide__ = True
        self._claim(assertions.assert_residual_below, result, limit, check)

    def assert_utility_kept(self, result: "AuditResult", loss: float) -> None:
        """See :func:`auditor.assertions.assert_utility_kept`."""
        __tracebackhide__ = True
        self._claim(assertions.assert_utility_kept, result, loss)

    def assert_marked(
        self,
        original: object = None,
        unlearned: object = None,
        *,
        config: str | Path | None = None,
        expect: str | None = None,
    ) -> None:
        """What ``@pytest.mark.audit(...)`` asks for: an audit, and that it ends as expected.

        Args:
            original: as in :meth:`compare`.
            unlearned: likewise.
            config: likewise.
            expect: the outcome; default what audit.toml expects.
        """
        result = self.compare(original, unlearned, config=config, options={"audit": {"expect": expect}})
        self.assert_outcome(result, result.results.plan.expect)

    def _claim(self, claim: Callable[[*_Arguments], None], *arguments: *_Arguments) -> None:
        __tracebackhide__ = True
        try:
            claim(*arguments)
        except assertions.Inconclusive as error:
            if self._settings.inconclusive == "skip":
                pytest.skip(str(error))
            if self._settings.inconclusive == "xfail":
                pytest.xfail(str(error))
            raise

    def _compare(
        self, given: dict[str, object], config: str | Path | None, options: Mapping[str, Mapping[str, object]]
    ) -> "AuditResult":
        from filelock import FileLock

        from auditor.audit import AuditResult
        from auditor.run.execution import execute
        from auditor.run.preparing import prepare

        named, in_memory = _paths_apart(given)
        spec, file = self._request(config, _laid_over(options, named))
        store = file.parent / spec.audit.store
        store.mkdir(parents=True, exist_ok=True)
        # One audit at a time: a second worker finds the scores of the first, also of models that two pairs share.
        with FileLock(store / "pytest.lock"):
            command = _command(spec, file.name, set(given), options) if not in_memory else _CALL
            # For every request, since only the plan's digest tells whether two of them are one audit.
            prepared = prepare(spec, file.parent, in_memory, command=command)
            folder = self._folder(file.parent / spec.audit.out, prepared.plan)
            # By the folder that carries the digest: in another process the store of scores does this service.
            if folder not in self._finished:
                results = execute(prepared, self._settings.root / folder)
                self._finished[folder] = AuditResult(results=results, folder=folder)
        return self._finished[folder]

    def _request(self, config: str | Path | None, overrides: dict[str, dict[str, object]]) -> "tuple[AuditSpec, Path]":
        """The validated request, and the audit.toml that it comes from, which need not exist if nobody named it."""
        from auditor.records.spec import make_spec, read_spec

        named = config if config is not None else self._settings.config
        file = self._settings.root / (named if named is not None else _CONFIG)
        tables = read_spec(file) if named is not None or file.is_file() else {}
        return make_spec(tables, overrides, _from(self._settings.root, file).as_posix()), file

    def _folder(self, out: Path, plan: "Plan") -> Path:
        """Of one audit's files: named after the model, and by the digest of everything it depends on."""
        (model,) = plan.models_of("unlearned")
        name = "in-memory" if model.source is None else Path(model.source).stem
        root = self._settings.root
        return _from(root, root / (self._settings.out or out)) / f"{name}-{plan.digest[:_SHOWN_OF_DIGEST]}"


def _from(root: Path, path: Path) -> Path:
    """As seen from the root, where it lies inside: then messages are the same in every checkout."""
    return path.relative_to(root) if path.is_relative_to(root) else path


def _paths_apart(given: Mapping[str, object]) -> tuple[dict[str, str | tuple[str, ...]], dict[str, object]]:
    """Paths, which belong in the request so that it can be repeated from its plan, and what is in memory."""
    named: dict[str, str | tuple[str, ...]] = {}
    in_memory: dict[str, object] = {}
    for name, value in given.items():
        if _is_path(value):
            named[name] = os.fspath(value)
        elif isinstance(value, list | tuple) and all(map(_is_path, value)):
            named[name] = tuple(map(os.fspath, value))
        elif value is not None:
            in_memory[name] = value
    return named, in_memory


def _is_path(value: object) -> TypeGuard[str | os.PathLike[str]]:
    return isinstance(value, str | os.PathLike)


def _laid_over(
    options: Mapping[str, Mapping[str, object]], named: Mapping[str, object]
) -> dict[str, dict[str, object]]:
    merged = {section: dict(fields) for section, fields in options.items()}
    for name, path in named.items():
        merged.setdefault("data" if name in _SETS else "models", {})[name] = path
    return merged


def _command(spec: "AuditSpec", config: str, asked: set[str], options: Mapping[str, Mapping[str, object]]) -> str:
    """What to type beside audit.toml to repeat the audit; the Python call where a command line cannot say it.

    The pair is named also where audit.toml names it, so that both ways to ask are one plan.
    """
    pair = [spec.models.original, spec.models.unlearned]
    expect = options.get("audit", {}).get("expect")
    if asked - {"original", "unlearned"} or options not in ({}, {"audit": {"expect": expect}}) or None in pair:
        return _CALL
    named = ["--config", config] if config != _CONFIG else []
    return shlex.join(
        ["audit", "compare", *map(str, pair), *named, *(["--expect", spec.audit.expect] if expect else [])]
    )
