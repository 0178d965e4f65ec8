"""Architectures that timm and torchvision know by name: untrained networks, ``timm:NAME?ARGUMENT=VALUE``."""

import difflib
import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from urllib.parse import parse_qsl

from auditor.digests import digest_of
from auditor.errors import ModelError, SpecError, UsageError
from auditor.loading.tensors import plain
from auditor.sources import named_values

# What would fetch weights, or open a file of them: those of an audit are the models given, and nothing else.
_LOADING = ("pretrained", "checkpoint", "weights", "cache_dir")


def library_network(source: str, arguments: Mapping[str, object]) -> tuple[Callable[[], object], str]:
    """What makes the network, and the digest of what decides its structure.

    Args:
        source: package, colon, the name by which the package knows the network, and behind a question mark arguments
            as in a query: ``timm:resnet18?num_classes=10``.
        arguments: further ones, by name.

    Returns:
        (function without arguments, SHA-256 of package, version, name and arguments).

    Raises:
        SpecError: the package knows no such network, or an argument is given twice or asks for weights.
        UsageError: the package is not installed, or cannot be imported.
    """
    package, _, rest = source.partition(":")
    name, _, query = rest.partition("?")
    named = _together(_of_query(query, source), arguments, source)
    module = _imported(package)
    library = _LIBRARIES[package](module)
    if not library.knows(name):
        close = difflib.get_close_matches(name, library.names(), 3)
        guess = f"; did you mean {' or '.join(close)}?" if close else "; look the name up in its list_models()"
        raise SpecError(f"{package} has no network called {plain(name)!r}{guess}")

    def call() -> object:
        try:
            return library.make(name, named)
        except Exception as error:  # the package may raise anything; the cause stays attached
            raise ModelError(
                f"architecture {source} raised {type(error).__name__}: {plain(error)}; correct its arguments"
            ) from error

    return call, digest_of([package, str(module.__version__), name, named])


def _of_query(query: str, source: str) -> dict[str, object]:
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query))
    except ValueError:
        raise SpecError(
            f"architecture is {source!r}, whose arguments are not of the form ?num_classes=10&in_chans=1; write them so"
        ) from None
    return named_values((f"{name}={value}" for name, value in pairs), f"architecture {source}")


def _together(queried: Mapping[str, object], arguments: Mapping[str, object], source: str) -> dict[str, object]:
    twice = sorted(queried.keys() & arguments.keys())
    if twice:
        raise SpecError(f"{twice[0]} stands in architecture {source} and in models.arguments; give it once")
    loading = [name for name in (*queried, *arguments) if name.startswith(_LOADING)]
    if loading:
        raise SpecError(
            f"architecture {source} is given {loading[0]}, and no weights but those of the models given are loaded; "
            f"leave {loading[0]} out"
        )
    return {**queried, **arguments}


def _imported(package: str) -> ModuleType:
    try:
        return importlib.import_module(package)
    except ModuleNotFoundError as error:
        if error.name != package:
            raise _broken(package, error) from error
        raise UsageError(
            f"architecture {package}:… needs {package}; pip install 'unlearning-auditor[{package}]'"
        ) from None
    except (ImportError, RuntimeError, OSError) as error:
        raise _broken(package, error) from error


def _broken(package: str, error: Exception) -> UsageError:
    return UsageError(
        f"{package} is installed and cannot be imported ({plain(error)}); install the build that fits your torch"
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Library:
    """How a package is asked.

    Attributes:
        knows: whether it has a network of a name.
        names: all of them.
        make: from name and arguments to an untrained network.
    """

    knows: Callable[[str], bool]
    names: Callable[[], Sequence[str]]
    make: Callable[[str, Mapping[str, object]], object]


def _timm(timm: ModuleType) -> _Library:
    return _Library(
        knows=timm.is_model,
        names=timm.list_models,
        make=lambda name, named: timm.create_model(name, pretrained=False, **named),
    )


def _torchvision(_: ModuleType) -> _Library:
    models = importlib.import_module("torchvision.models")
    # Its classifiers alone: detectors and the like fetch the weights of their backbone unless told otherwise.
    names = models.list_models(module=models)
    return _Library(
        knows=names.__contains__,
        names=lambda: names,
        make=lambda name, named: models.get_model(name, weights=None, **named),
    )


_LIBRARIES: Mapping[str, Callable[[ModuleType], _Library]] = {"timm": _timm, "torchvision": _torchvision}
