"""Architectures, most of all the user's own code: ``module.py:function``, imported and called without a sandbox."""

import ast
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from importlib.util import resolve_name
from inspect import signature
from itertools import accumulate
from pathlib import Path
from types import ModuleType

from torch import nn

from auditor.digests import bytes_digest, parts_digest
from auditor.errors import ModelError, SpecError, UsageError, near_paths
from auditor.loading.library import library_network
from auditor.sources import names_library, split_code


@dataclass(frozen=True, kw_only=True, slots=True)
class UserFunction:
    """A function out of a file of the user's.

    Attributes:
        function: as the file defines it.
        call: runs it with what it takes; an exception in it becomes an error that names it.
        source_digest: SHA-256 over the file and its siblings that it imported.
        name: ``module.py:function`` as given.
    """

    function: Callable[..., object]
    call: Callable[..., object]
    source_digest: str
    name: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Architecture:
    """How to make the network that checkpoints fit.

    Attributes:
        function: makes a fresh network.
        source_digest: SHA-256 over its source, and over what it is called with, if anything.
        name: where it came from, as given.
    """

    function: Callable[[], nn.Module]
    source_digest: str
    name: str


def load_architecture(source: str, base_dir: Path, arguments: Mapping[str, object] | None = None) -> Architecture:
    """Load an architecture.

    Args:
        source: path relative to ``base_dir``, colon, name of a function or class; or a network that a package knows
            by name, see :func:`auditor.loading.library.library_network`.
        base_dir: folder of ``audit.toml``.
        arguments: what it is called with, by name; values that JSON has.

    Raises:
        SpecError: no such file or function, it does not take these arguments, or the source is not of that form.
        ModelError: the file or the function raises, or what it returns is no ``nn.Module``.
        UsageError: the package is not installed.
    """
    named = dict(arguments or {})
    make, digest = library_network(source, named) if names_library(source) else _own(source, base_dir, named)

    def build() -> nn.Module:
        module = make()
        if not isinstance(module, nn.Module):
            raise ModelError(f"architecture {source} returned {_article(module)}; it should return a torch.nn.Module")
        return module

    return Architecture(function=build, source_digest=digest, name=source)


def _own(source: str, base_dir: Path, named: Mapping[str, object]) -> tuple[Callable[[], object], str]:
    """What calls the user's code, and the digest of code and arguments."""
    found = load_function(source, base_dir, "architecture", ModelError)
    _check_takes(found, named)
    # A copy: a list that the function empties is whole again when the next network is made.
    return lambda: found.call(**deepcopy(dict(named))), _called_with(found.source_digest, named)


def _check_takes(found: UserFunction, named: Mapping[str, object]) -> None:
    try:
        signature(found.function).bind(**named)
    except TypeError as error:
        given = ", ".join(named) or "nothing"
        raise SpecError(
            f"architecture {found.name} cannot be called with {given}: {error}; correct models.arguments, such as "
            "{num_classes = 10}"
        ) from None
    except ValueError:
        # Some classes that are not written in Python do not say what they take; the call will.
        return


def _called_with(source_digest: str, named: Mapping[str, object]) -> str:
    """The digest of code and arguments; without any that of the code alone, as it has always been."""
    if not named:
        return source_digest
    return parts_digest((source_digest.encode(), json.dumps(named, sort_keys=True).encode()))


def load_function(source: str, base_dir: Path, field: str, failure: type[UsageError]) -> UserFunction:
    """Load the function at ``module.py:function``; running it is running the user's code.

    Args:
        source: see :func:`load_architecture`.
        base_dir: folder that relative paths start from.
        field: field of the spec, named in errors.
        failure: the error raised when the user's code raises.
    """
    location, name = split_code(source) or ("", "")
    if not name.isidentifier():
        raise SpecError(f"{field} is {source!r}, which is not of the form module.py:function; write it so")
    path = (base_dir / location).resolve()
    if not path.is_file():
        raise SpecError(
            f"{field} names the file {location}, which does not exist in {base_dir}{near_paths(location, base_dir)}"
        )
    text = path.read_bytes()
    before = set(sys.modules)
    with _importing_from(path.parent), _blaming(source, field, failure):
        module = _run(path, text)
        # Inside the block, at whose end the folder's modules are forgotten.
        siblings = _siblings(path.parent, text, set(sys.modules) - before)
    function = getattr(module, name, None)
    if not callable(function):
        raise SpecError(f"{field} names the function {name}, which {location} does not define; correct the name")

    def call(*arguments: object, **named: object) -> object:
        with _importing_from(path.parent), _blaming(source, field, failure):
            return function(*arguments, **named)

    return UserFunction(function=function, call=call, source_digest=parts_digest((text, *siblings)), name=source)


def _run(path: Path, text: bytes) -> ModuleType:
    """Execute exactly the bytes that are digested; a compiled copy lying about is not consulted."""
    # Named by path and text, so that two files that are loaded never share a place in sys.modules.
    module = ModuleType(f"_audited_{bytes_digest(bytes(path) + text)[:16]}")
    module.__file__ = str(path)
    # Registered while it runs: dataclasses look their module up. _importing_from takes it out again.
    sys.modules[module.__name__] = module
    exec(compile(text, path, "exec"), module.__dict__)
    return module


@contextmanager
def _importing_from(folder: Path) -> Iterator[None]:
    """While open, ``folder`` leads the search path; after, path and modules are as they were.

    Only modules out of the folder are forgotten, so that two architectures may each have a ``layers.py``;
    what they imported from elsewhere stays.
    """
    before, path = set(sys.modules), list(sys.path)
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path[:] = path
        for name in set(sys.modules) - before:
            if name.startswith("_audited_") or _lies_in(folder, name):
                del sys.modules[name]


def _lies_in(folder: Path, name: str) -> bool:
    file = getattr(sys.modules[name], "__file__", None)
    stem = folder.joinpath(*name.split("."))
    return file is not None and Path(file).resolve() in (stem.with_suffix(".py"), stem / "__init__.py")


def _siblings(folder: Path, text: bytes, new: set[str]) -> list[bytes]:
    """Read the sources of the folder's modules that the file imported, directly or through each other, by name.

    Tests beside the file may have imported some before, which count, and others, which do not: the digest is the
    same in whatever process it is taken.
    """
    found: dict[str, bytes] = {}
    pending = [*new, *_imports(ast.parse(text), "")]
    while pending:
        name = pending.pop()
        if name in sys.modules and name not in found and _lies_in(folder, name):
            found[name] = Path(str(sys.modules[name].__file__)).read_bytes()
            pending += _imports(ast.parse(found[name]), sys.modules[name].__package__ or "")
    return [found[name] for name in sorted(found)]


def _imports(node: ast.AST, package: str) -> Iterator[str]:
    """Modules that code names in imports that run with it; those inside functions run later, if at all."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            # Importing a.b runs a first.
            yield from (part for alias in child.names for part in accumulate(alias.name.split("."), "{}.{}".format))
        elif isinstance(child, ast.ImportFrom):
            module = resolve_name("." * child.level + (child.module or ""), package)
            yield from accumulate(module.split("."), "{}.{}".format)
            # What is imported from a package may be a module of its own.
            yield from (f"{module}.{alias.name}" for alias in child.names)
        elif not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield from _imports(child, package)


@contextmanager
def _blaming(source: str, field: str, failure: type[UsageError]) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # code of the user's may raise anything; the cause stays attached
        raise failure(
            f"{field} {source} raised {type(error).__name__}: {error}; run it by itself to see why"
        ) from error


def _article(value: object) -> str:
    return "nothing" if value is None else f"a {type(value).__name__}"
