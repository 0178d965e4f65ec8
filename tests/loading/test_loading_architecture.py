"""Networks built from loaded weights, and architectures from users."""

import importlib
import sys

import pytest
import torch
from torch import nn

from auditor.errors import ModelError, SpecError
from auditor.loading import checkpoints
from auditor.loading.architecture import load_architecture
from auditor.loading.checkpoints import build_module
from auditor.zoo.digits_net import DigitsNet
from tests.checkpoint_files import same


def weights_of(tensors: dict[str, torch.Tensor]) -> checkpoints.Weights:
    return checkpoints.Weights(tensors=tensors, file_digest="")


def test_a_network_is_built_in_eval_mode_without_touching_the_global_seed():
    weights = DigitsNet().state_dict()
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    module = build_module(DigitsNet, weights_of(weights), "original.pt")
    assert torch.equal(torch.rand(1), expected)
    assert same(module.state_dict(), weights)
    assert not module.training


def test_a_missing_step_counter_of_old_files_is_supplied():
    norm = nn.Sequential(nn.BatchNorm1d(3))
    weights = {k: v + 1 for k, v in norm.state_dict().items() if not k.endswith("num_batches_tracked")}
    built = build_module(lambda: nn.Sequential(nn.BatchNorm1d(3)), weights_of(weights), "m")
    assert torch.equal(built[0].running_mean, torch.ones(3))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda w: {k: v for k, v in w.items() if k != "head.bias"},
            r"m\.pt does not fit .* missing head\.bias",
        ),
        (
            lambda w: {**w, **{f"extra{i}": torch.ones(1) for i in range(5)}},
            "unexpected extra0, extra1, extra2 and 2 more",
        ),
        (
            lambda w: {**w, "head.bias": torch.ones(7)},
            r"head\.bias is float32 \[7\] instead of float32 \[10\].*number of classes",
        ),
        (
            lambda w: {**w, "head.bias": torch.ones(10, dtype=torch.int8)},
            r"head\.bias is int8 \[10\] instead of float32",
        ),
        (
            lambda w: {**w, "head.bias": torch.ones(10, dtype=torch.complex64)},
            r"head\.bias is complex64 \[10\] instead of float32",
        ),
        (
            lambda w: {**w, "head.bias": torch.full((10,), 1e300, dtype=torch.float64)},
            r"m\.pt holds values in 'head\.bias' that are beyond float32",
        ),
        (lambda w: {f"net.{k}": v for k, v in w.items()}, "names all start with 'net.'"),
    ],
)
def test_a_checkpoint_that_does_not_fit_says_how(change, message):
    with pytest.raises(ModelError, match=message):
        build_module(DigitsNet, weights_of(change(DigitsNet().state_dict())), "m.pt")


# --- architectures ---------------------------------------------------------------------------------------


def test_an_architecture_may_import_its_siblings_and_leaves_no_trace(tmp_path):
    for folder, width in (("one", 3), ("two", 4)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "sizes.py").write_text(f"WIDTH = {width}")
        (tmp_path / folder / "net.py").write_text(
            "from dataclasses import dataclass\nimport torch\nfrom sizes import WIDTH\n"
            "@dataclass\nclass Shape:\n    width: 'int' = WIDTH\n"
            "def build():\n    import sizes\n    return torch.nn.Linear(Shape().width, sizes.WIDTH)\n"
        )
    modules, path = set(sys.modules), list(sys.path)
    one = load_architecture("one/net.py:build", tmp_path)
    two = load_architecture("two/net.py:build", tmp_path)
    assert one.function().weight.shape == (3, 3)
    assert two.function().weight.shape == (4, 4)
    assert sys.path == path
    assert set(sys.modules) == modules
    assert one.source_digest != two.source_digest, "the files are equal, their siblings differ"
    assert one.source_digest == load_architecture("one/net.py:build", tmp_path).source_digest


def test_an_architectures_digest_does_not_know_who_else_is_loaded(tmp_path, monkeypatch):
    """Tests beside it are imported before it, and may have imported what it imports itself."""
    (tmp_path / "parts").mkdir()
    for name, text in {
        "parts/__init__.py": "",
        "parts/sizes.py": "from .units import UNIT\nWIDTH = 3 * UNIT",
        "parts/units.py": "UNIT = 1",
        "net.py": "import parts.sizes\nimport torch\ndef build(): return torch.nn.Linear(parts.sizes.WIDTH, 1)",
        "test_net.py": "from parts.sizes import WIDTH\ndef test_width(): assert WIDTH == 3",
    }.items():
        (tmp_path / name).write_text(text)
    alone = load_architecture("net.py:build", tmp_path).source_digest
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.import_module("test_net")
    try:
        assert load_architecture("net.py:build", tmp_path).source_digest == alone
        (tmp_path / "test_net.py").write_text("changed = True")
        assert load_architecture("net.py:build", tmp_path).source_digest == alone
        (tmp_path / "parts/units.py").write_text("UNIT = 2")
        assert load_architecture("net.py:build", tmp_path).source_digest != alone
    finally:
        for name in ("test_net", "parts", "parts.sizes", "parts.units"):
            sys.modules.pop(name, None)


@pytest.mark.parametrize(
    ("source", "text", "kind", "message"),
    [
        ("net.py", "", SpecError, "not of the form"),
        ("net.txt:build", "", SpecError, "not of the form"),
        ("absent.py:build", "", SpecError, r"absent\.py, which does not exist"),
        ("net.py:build", "x = 1", SpecError, "function build, which net.py does not define"),
        ("net.py:build", "build = 3", SpecError, "does not define"),
        ("net.py:build", "def build(:", ModelError, "raised SyntaxError"),
        (
            "net.py:build",
            "import no_such_thing",
            ModelError,
            "raised ModuleNotFoundError: No module named 'no_such",
        ),
        ("net.py:build", "def build():\n    return 1 / 0", ModelError, "raised ZeroDivisionError"),
        ("net.py:build", "def build(n):\n    pass", SpecError, "missing a required argument: .n."),
        (
            "net.py:build",
            "def build():\n    pass",
            ModelError,
            r"returned nothing; it should return a torch\.nn\.Module",
        ),
    ],
)
def test_architecture_mistakes(tmp_path, source, text, kind, message):
    (tmp_path / "net.py").write_text(text)
    (tmp_path / "net.txt").write_text(text)
    with pytest.raises(kind, match=message):
        load_architecture(source, tmp_path).function()
