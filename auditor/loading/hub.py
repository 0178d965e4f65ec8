"""Names on the Hugging Face hub: fetched where that was allowed, pinned to a commit, and linked beside audit.toml.

Once fetched, ``hf:org/model@COMMIT`` is a path like any other: a link of that name in the folder of audit.toml leads to
the hub's own cache. Plans name it, and nothing that reads models or sets knows of the hub.
"""

import re
from collections.abc import Mapping
from pathlib import Path

from auditor.errors import DataError, ModelError, SpecError, UsageError
from auditor.loading.tensors import plain
from auditor.records.spec import AuditSpec
from auditor.sources import HUB, names_hub

_MODEL = re.compile(rf"{HUB}(?P<repo>[\w.-]+/[\w.-]+?)(?:@(?P<revision>[\w.-]+))?")
_DATA = re.compile(
    rf"{HUB}(?P<repo>[\w.-]+/[\w.-]+?)(?:@(?P<revision>[\w.-]+))?(?::(?P<split>[\w./-]+)|/(?P<file>[\w./-]+))"
    r"(?P<columns>\[[^\[\]]+\])?"
)
# Weights that are no pickles, configurations and the tokenizer. Never code.
_OF_MODELS = ("*.safetensors", "*.json", "*.jinja")
_OF_DATA = ("parquet", "jsonl", "json", "csv")
_MODELS = ("original", "unlearned", "base", "tokenizer")
_SEVERAL = ("references", "perturbed", "neither")


def pinned(spec: AuditSpec, base: Path, *, allowed: bool) -> AuditSpec:
    """The request with every name on the hub pinned to a commit, and what it names at hand.

    Args:
        spec: the request.
        base: folder of audit.toml, in which the links are made.
        allowed: whether anything may be fetched.

    Raises:
        SpecError: something would have to be fetched and may not be, or a name is not of that form.
        ModelError: the hub has no such model.
        DataError: the hub has no such data set, or no single file of that split.
    """
    models: dict[str, object] = {name: _model(name, getattr(spec.models, name), base, allowed) for name in _MODELS}
    models |= {
        name: tuple(_model(name, source, base, allowed) for source in getattr(spec.models, name)) for name in _SEVERAL
    }
    sets = ("forget", "retain", "retain_test", "holdout", "control")
    data = {name: _data(name, getattr(spec.data, name), base, allowed) for name in sets}
    return spec.model_copy(
        update={"models": spec.models.model_copy(update=models), "data": spec.data.model_copy(update=data)}
    )


def _model(field: str, source: str | None, base: Path, allowed: bool) -> str | None:
    if source is None or not names_hub(source) or (base / source).exists():
        return source
    found = _parsed(_MODEL, f"models.{field}", source, "hf:org/model or hf:org/model@revision", allowed)
    folder = _fetched(found, "model", list(_OF_MODELS), ModelError)
    return _linked(found["repo"], folder, base)


def _data(field: str, source: str | None, base: Path, allowed: bool) -> str | None:
    if source is None or not names_hub(source) or (base / source.partition("[")[0]).exists():
        return source
    forms = "hf:org/dataset:split or hf:org/dataset@revision/file.parquet"
    found = _parsed(_DATA, f"data.{field}", source, forms, allowed)
    folder = _fetched(found, "dataset", _patterns(found), DataError)
    # Before the link is made: what is no data set leaves none behind.
    file = _file(found, folder, source)
    return f"{_linked(found['repo'], folder, base)}/{file}{found['columns']}"


def _parsed(form: re.Pattern[str], field: str, source: str, forms: str, allowed: bool) -> Mapping[str, str]:
    match = form.fullmatch(source)
    if match is None:
        raise SpecError(f"{field} = {plain(source)!r} is not of the form {forms}; write it so")
    if not allowed:
        raise SpecError(
            f"{field} = {source!r} is to be fetched from the Hugging Face hub, and nothing is fetched unless you say "
            "so: add --allow-download, or give a local copy"
        )
    return {name: value or "" for name, value in match.groupdict().items()}


def _fetched(found: Mapping[str, str], kind: str, patterns: list[str], failure: type[UsageError]) -> Path:
    """The hub's own folder of one commit, which is called by it."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(
            snapshot_download(
                found["repo"],
                repo_type=kind,
                revision=found["revision"] or None,
                allow_patterns=patterns,
                # A model lies at the top; folders below it hold other formats of the same weights.
                ignore_patterns=["*/*"] if kind == "model" else None,
            )
        )
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        at = f"@{found['revision']}" if found["revision"] else ""
        reason = plain(" ".join(str(error).split()), 200)
        raise failure(
            f"the {kind} {found['repo']}{at} cannot be fetched from the hub ({reason}); check its name, your rights "
            "and the network, or give a local copy"
        ) from None


def _linked(repo: str, folder: Path, base: Path) -> str:
    """The name of a commit's link beside audit.toml."""
    name = f"{HUB}{repo}@{folder.name}"
    link = base / name
    link.parent.mkdir(parents=True, exist_ok=True)
    # A link that leads nowhere is of a cache that was emptied.
    if link.is_symlink() and not link.exists():
        link.unlink()
    if not link.exists():
        link.symlink_to(folder.absolute(), target_is_directory=True)
    return name


def _patterns(found: Mapping[str, str]) -> list[str]:
    if found["file"]:
        return [found["file"]]
    split = found["split"]
    shapes = (f"{split}.{{}}", f"*/{split}.{{}}", f"{split}-*-of-*.{{}}", f"*/{split}-*-of-*.{{}}")
    return [shape.format(suffix) for shape in shapes for suffix in _OF_DATA]


def _file(found: Mapping[str, str], folder: Path, source: str) -> str:
    """The one file of a split, as the hub's own conventions name it."""
    files = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    wanted = re.escape(found["file"]) or rf"(.*/)?{re.escape(found['split'])}(-\d+-of-\d+)?\.({'|'.join(_OF_DATA)})"
    matches = [file for file in files if re.fullmatch(wanted, file)]
    if len(matches) != 1:
        there = f"{len(matches)} files, {', '.join(matches[:4])}" if matches else f"none of .{', .'.join(_OF_DATA)}"
        raise DataError(
            f"{source} should be one file of {found['repo']}, and there are {there}; name the file, as in "
            f"hf:{found['repo']}/data/FILE.parquet"
        )
    return matches[0]
