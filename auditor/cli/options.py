"""Options that stand for fields of audit.toml, and the request that both make together."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import TypedDict, TypeVar

import click

from auditor.records.access import LEVELS
from auditor.records.spec import FILE_NAME, AuditSpec, make_spec, read_spec
from auditor.sources import HUB, named_values, names_hub, names_library

_Wrapped = TypeVar("_Wrapped", bound=Callable[..., object])


class Options(TypedDict, total=False):
    """What click hands to commands that read audit.toml: None, or an empty tuple, where an option is not given."""

    original: str | None
    unlearned: str | None
    config: Path | None
    forget: str | None
    retain: str | None
    retain_test: str | None
    holdout: str | None
    control: str | None
    classes: tuple[int, ...]
    references: tuple[str, ...]
    neither: tuple[str, ...]
    architecture: str | None
    arguments: tuple[str, ...]
    task: str | None
    request: str | None
    goal: str | None
    checks: str | None
    access: str | None
    policy: str | None
    seed: int | None
    device: str | None
    dtype: str | None
    threads: int | None
    batch_size: int | None
    gradient_checkpointing: bool | None
    time_limit: int | None
    base: str | None
    guard: str | None
    show_text: bool | None
    allow_download: bool | None
    expect: str | None


class CompareOptions(Options, total=False):
    """What `audit compare` takes beside them."""

    out: str | None
    executor: str | None
    write_canonical: bool | None


_RUN_OPTIONS = (
    *("seed", "device", "dtype", "threads", "batch_size", "time_limit", "expect", "out", "show_text"),
    *("access", "executor", "write_canonical", "gradient_checkpointing"),
)


_OPTIONS: dict[str, Callable[[_Wrapped], _Wrapped]] = {
    "config": click.option("--config", type=click.Path(path_type=Path), help=f"Default: {FILE_NAME}, if there is one."),
    "forget": click.option(
        "--forget", help="What is to be forgotten: .npz, image folder, zip, .jsonl, .csv, .parquet, module.py:function."
    ),
    "retain": click.option("--retain", help="Examples to be kept."),
    "retain_test": click.option("--retain-test", help="Distributed like retain, never trained on."),
    "holdout": click.option("--holdout", help="Distributed like forget, never trained on."),
    "control": click.option("--control", help="Concepts no model was trained on."),
    "classes": click.option("--class", "classes", type=int, multiple=True, help="Forgotten class; repeatable."),
    "references": click.option(
        "--reference", "references", multiple=True, help="Model trained without forget; repeatable."
    ),
    "neither": click.option("--neither", multiple=True, help="Model that saw neither forget nor holdout; repeatable."),
    "architecture": click.option(
        "--architecture",
        help="What makes the network: your module.py:function, which is run, or timm:NAME or torchvision:NAME.",
    ),
    "arguments": click.option(
        "--argument", "arguments", multiple=True, help="NAME=VALUE that the architecture is called with; repeatable."
    ),
    "task": click.option(
        "--task", help="Models of any other kind: your class that scores them, task.py:MyTask. It is run."
    ),
    "request": click.option(
        "--request", type=click.Choice(["class", "sample", "facts"]), help="What is to be forgotten."
    ),
    "goal": click.option("--goal", type=click.Choice(["data", "concept"]), help="Influence, or the capability itself."),
    "checks": click.option("--checks", help="Checks by name, separated by commas; default all."),
    "access": click.option(
        "--access",
        type=click.Choice(LEVELS),
        help="What of the unlearned model may be used; default training, which is all.",
    ),
    "policy": click.option("--policy", help="default, strict, or a .toml file."),
    "seed": click.option("--seed", type=int, help="Every random choice derives from it."),
    "device": click.option("--device", help="cpu, cuda or mps."),
    "dtype": click.option("--dtype", type=click.Choice(["float32", "bfloat16"]), help="Of the weights."),
    "threads": click.option("--threads", type=int, help="Of torch; part of the plan."),
    "batch_size": click.option("--batch-size", type=int, help="Examples per forward pass; part of the plan."),
    "gradient_checkpointing": click.option(
        "--gradient-checkpointing",
        is_flag=True,
        default=None,
        help="Language models: train with less memory and more time.",
    ),
    "time_limit": click.option("--time-limit", type=int, help="Seconds that one check may take on one model."),
    "base": click.option("--base", help="Language models: directory that adapters are put on."),
    "guard": click.option(
        "--guard", help="Your code around the unlearned language model: module.py:function. It is run."
    ),
    "show_text": click.option(
        "--show-text", is_flag=True, default=None, help="Let prompts and generations stand in the results."
    ),
    "allow_download": click.option(
        "--allow-download", is_flag=True, default=None, help="Fetch what is named hf:… from the Hugging Face hub."
    ),
}
MODELS_AND_DATA = (
    *("forget", "retain", "retain_test", "holdout", "control", "classes", "references", "neither", "architecture"),
    *("arguments", "task", "request", "goal", "base", "guard"),
    *("allow_download",),
)
"""What an audit is about; all others say how it runs."""


def spec_options(*names: str) -> Callable[[_Wrapped], _Wrapped]:
    """Options that override audit.toml, by the names of :class:`Options`; without names every one of them."""

    def put_on(command: _Wrapped) -> _Wrapped:
        # Decorators are applied from the last on: so help lists them in this order.
        for name in reversed(names or tuple(_OPTIONS)):
            command = _OPTIONS[name](command)
        return command

    return put_on


def spec_from_options(options: Options) -> tuple[AuditSpec, Path]:
    """The validated request, and the folder its paths are relative to.

    Paths in audit.toml are relative to the file; paths on the command line to the working directory, so the two
    are the same folder unless ``--config`` names a file elsewhere.
    """
    config = _config(options)
    base = base_folder(options)
    overrides = by_section(options, base)
    spec = make_spec(read_spec(config) if config else {}, overrides, str(config or FILE_NAME))
    return at_hand(spec, base, options), base


def at_hand(spec: AuditSpec, base: Path, options: Options) -> AuditSpec:
    """The request with what it names on the hub fetched and pinned, if that is allowed."""
    # Most requests name nothing there, and then nothing heavy is loaded.
    if f'"{HUB}' not in spec.model_dump_json():
        return spec
    from auditor.loading.hub import pinned

    return pinned(spec, base, allowed=bool(options.get("allow_download")))


def base_folder(options: Options) -> Path:
    """The folder of audit.toml, or the working directory where there is none."""
    config = _config(options)
    return config.parent if config is not None else Path()


def _config(options: Options) -> Path | None:
    config = options.get("config")
    # None where there is no such file: two paths alone are a request, too.
    return Path(FILE_NAME) if config is None and Path(FILE_NAME).is_file() else config


def by_section(options: Options, base: Path) -> dict[str, dict[str, object]]:
    """The options given, by section and field of audit.toml, paths as seen from ``base``."""
    checks = options.get("checks")
    return {
        "models": {
            "original": _relative(options.get("original"), base),
            "unlearned": _relative(options.get("unlearned"), base),
            "references": tuple(_relative(path, base) for path in options.get("references", ())),
            "neither": tuple(_relative(path, base) for path in options.get("neither", ())),
            "architecture": _architecture(options.get("architecture"), base),
            "arguments": named_values(options.get("arguments", ()), "--argument") or None,
            "task": _relative(options.get("task"), base),
            "base": _relative(options.get("base"), base),
            "guard": _relative(options.get("guard"), base),
        },
        "data": {
            "forget": _relative(options.get("forget"), base),
            "retain": _relative(options.get("retain"), base),
            "retain_test": _relative(options.get("retain_test"), base),
            "holdout": _relative(options.get("holdout"), base),
            "control": _relative(options.get("control"), base),
        },
        "request": {
            "kind": options.get("request"),
            "goal": options.get("goal"),
            "classes": tuple(options.get("classes", ())),
        },
        "audit": {
            "checks": tuple(name.strip() for name in checks.split(",")) if checks else None,
            **{name: options.get(name) for name in _RUN_OPTIONS},
            "policy": _policy(options.get("policy"), base),
        },
    }


def _architecture(source: str | None, base: Path) -> str | None:
    """A name that a package knows as it is, code as any other path."""
    return source if source is not None and names_library(source) else _relative(source, base)


def _policy(name: str | None, base: Path) -> str | None:
    """A policy's name as it is, a file's path as any other."""
    return _relative(name, base) if name is not None and name.endswith(".toml") else name


def _relative(path: str | None, base: Path) -> str | None:
    """A path typed in the working directory, as seen from the folder of audit.toml."""
    # As typed where the two folders are one, so that plans name it in the same way; on the hub there are no folders.
    if path is None or base == Path() or names_hub(path):
        return path
    # With os.path, since the folder may lie beside the working directory.
    return os.path.relpath(path, base)
