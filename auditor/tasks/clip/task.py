"""Dual encoders: models that embed images and captions side by side."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor

from auditor.checks.sets import sources
from auditor.errors import DataError
from auditor.models.lineup import Lineup
from auditor.records.spec import AuditSpec
from auditor.tasks.clip.code import DualEncoderCode, captions_of
from auditor.tasks.clip.pictures import TABLES, preparation, read_table
from auditor.tasks.clip.subject import DualEncoder
from auditor.tasks.custom.readers import read_custom
from auditor.tasks.custom.sets import CustomSets
from auditor.tasks.custom.subject import CustomModel
from auditor.tasks.custom.task import Custom
from auditor.tasks.custom.user_code import UserTask, built_in
from auditor.tasks.task import Material


class Clip(Custom):
    """CLIP and what is called as it is: inputs are pixel values, targets the token ids of captions."""

    name: ClassVar[str] = "clip"
    subject_type: ClassVar[type[CustomModel]] = DualEncoder
    page: ClassVar[str] = "clip.md"
    suspects: ClassVar[str] = "check the checkpoint, how images were prepared, and the tokenizer of the captions"

    def __init__(self) -> None:
        self._given: Mapping[str, object] = {}

    def material(
        self, spec: AuditSpec, lineup: Lineup, given: Mapping[str, object], base: Path
    ) -> Material[CustomModel, CustomSets] | None:
        """Sets and structure; None where sets or architecture are missing."""
        # The captions that images are told apart by are those of the sets, wherever these come from.
        self._given = given
        return super().material(spec, lineup, given, base)

    def code(self, spec: AuditSpec, base: Path) -> UserTask:
        """What scores dual encoders by the captions of forget and retain.

        Raises:
            DataError: targets are no token ids, or of several lengths.
        """
        origins = sources(self._given, spec.data)
        reader = _with_tables(spec, base, origins)
        given = [(name, origins[name]) for name in ("forget", "retain") if origins[name] is not None]
        found = [_tokens(read_custom(source, name, base, reader(None)).targets, name) for name, source in given]
        if len({tokens.shape[1] for tokens in found}) > 1:
            raise DataError("forget and retain: captions have several lengths; pad all targets to one length")
        return reader(captions_of(found) if found else None)


def _with_tables(spec: AuditSpec, base: Path, origins: Mapping[str, object]) -> Callable[[Tensor | None], UserTask]:
    """Makes the code; one that reads tables where a set is one. What it has read once it does not read again."""
    tabled = any(str(source).endswith(TABLES) for source in origins.values() if isinstance(source, str | Path))
    kept: dict[Path, tuple[Tensor, Tensor]] = {}

    def make(captions: Tensor | None) -> UserTask:
        known = torch.zeros(0, 0, dtype=torch.int64) if captions is None else captions
        plain = built_in(DualEncoderCode(known), Clip.name)
        # Under one digest: how models are scored does not depend on what their sets were read from.
        return replace(plain, made=ReadingCode(known, spec, base, kept)) if tabled else plain

    return make


class ReadingCode(DualEncoderCode):
    """The same where sets may be tables of images and captions.

    Args:
        captions: int64 [captions, length].
        spec: the request, whose original says how images are prepared.
        base: folder that paths are relative to.
        kept: what was read before, by path.
    """

    def __init__(self, captions: Tensor, spec: AuditSpec, base: Path, kept: dict[Path, tuple[Tensor, Tensor]]) -> None:
        super().__init__(captions)
        self._spec, self._base, self._kept = spec, base, kept

    def read(self, path: str) -> tuple[Tensor, Tensor]:
        """(pixel values, token ids) of a table, or of an ``.npz``."""
        file = Path(path)
        if file.suffix not in TABLES:
            found = read_custom(path, file.name, Path(), built_in(DualEncoderCode(self.captions), Clip.name))
            return found.inputs, found.targets
        if file not in self._kept:
            self._kept[file] = read_table(file, preparation(self._spec, self._base))
        return self._kept[file]


def _tokens(targets: Tensor, name: str) -> Tensor:
    if targets.ndim != 2 or targets.is_floating_point():
        raise DataError(
            f"{name}: targets are {str(targets.dtype).removeprefix('torch.')} of shape {list(targets.shape)}; give the "
            "token ids of each image's caption, padded to one length: whole numbers [n, length]"
        )
    return targets
