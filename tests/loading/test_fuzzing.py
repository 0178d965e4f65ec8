"""Every reader of a stranger's file, on mutated files: read, or refused in a sentence. benchmarks/fuzz.py does more."""

import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from auditor.errors import DataError, ModelError, SpecError
from auditor.loading.image_processor import preprocessing_of
from auditor.records.spec import read_spec
from tests import fuzz_targets

TARGETS = fuzz_targets.targets()


@pytest.mark.parametrize("name", TARGETS)
def test_mutated_files_are_read_or_refused(name: str) -> None:
    cases = 8 if name in fuzz_targets.SLOW else 60

    @settings(max_examples=cases, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
    @given(TARGETS[name].cases)
    def attempt(case: bytes) -> None:
        assert fuzz_targets.fault_of(TARGETS[name], case) is None

    attempt()


# --- what fuzzing found, kept --------------------------------------------------------------------------------------


@pytest.mark.parametrize("fields", [{"rescale_factor": "x"}, {"rescale_factor": []}, {"rescale_factor": None}])
def test_a_preprocessor_whose_factor_is_no_number(tmp_path: Path, fields: dict[str, object]) -> None:
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(fields))
    with pytest.raises(ModelError, match="does not scale pixels by 1/255"):
        preprocessing_of(tmp_path)


@pytest.mark.parametrize("text", [f"seed = {'9' * 5000}", f"a = {'[' * 3000}"], ids=["digits", "depth"])
def test_a_toml_file_that_python_cannot_hold(tmp_path: Path, text: str) -> None:
    (tmp_path / "audit.toml").write_text(text)
    with pytest.raises(SpecError, match="is not valid TOML"):
        read_spec(tmp_path / "audit.toml")


@settings(max_examples=20)
@given(st.sampled_from((zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2)), st.floats(0, 1, exclude_max=True))
def test_a_compressed_array_that_is_damaged(method: int, where: float) -> None:
    array, archive = io.BytesIO(), io.BytesIO()
    np.save(array, np.random.default_rng(0).integers(0, 255, (50, 3, 3), np.uint8))
    with zipfile.ZipFile(archive, "w", method) as file:
        file.writestr("images.npy", array.getvalue())
        file.writestr("labels.npy", array.getvalue())
    data = bytearray(archive.getvalue())
    at = 60 + int(where * 300)
    data[at : at + 8] = b"\xff" * 8
    with pytest.raises(DataError, match=r"no readable \.npz|is damaged"):
        TARGETS["npz"].read(bytes(data))
