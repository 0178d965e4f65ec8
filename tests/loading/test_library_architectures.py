"""``timm:NAME`` and ``torchvision:NAME`` as architecture: with packages that are made up, and with the real ones."""

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from torch import nn

import auditor
from auditor.errors import ModelError, SpecError, UsageError
from auditor.loading.architecture import load_architecture
from auditor.records.results import read_results
from auditor.review.rerun import repeat
from tests.command_line import audit

NAME = "timm:tiny?width=8"
SETS = ("--forget", "forget.npz", "--retain", "retain.npz")
MODELS = ("original.safetensors", "unlearned.safetensors")


def tiny(width: int = 4, n_classes: int = 3) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(16, width), nn.ReLU(), nn.Linear(width, n_classes))


def made_up(name: str, **parts: object) -> ModuleType:
    module = ModuleType(name)
    module.__dict__.update({"__version__": "1.0", "list_models": lambda **kind: ["tiny"], **parts})
    return module


@pytest.fixture
def timm(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A timm that knows one network and cannot be asked for weights."""

    def create_model(name: str, pretrained: bool = False, **arguments: Any) -> nn.Module:
        assert not pretrained
        return tiny(**arguments)

    found = made_up("timm", is_model=lambda name: name == "tiny", create_model=create_model)
    monkeypatch.setitem(sys.modules, "timm", found)
    return found


@pytest.fixture
def torchvision(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A torchvision whose classifiers are one network; of its detectors nothing may be made."""
    models = made_up("torchvision.models")

    def get_model(name: str, weights: object = "from the network", **arguments: Any) -> nn.Module:
        assert (name, weights) == ("tiny", None)
        return tiny(**arguments)

    def list_models(module: object = None) -> list[str]:
        return ["tiny"] if module is models else ["tiny", "detector"]

    models.__dict__.update(get_model=get_model, list_models=list_models)
    monkeypatch.setitem(sys.modules, "torchvision", made_up("torchvision", models=models))
    monkeypatch.setitem(sys.modules, "torchvision.models", models)
    return models


@pytest.mark.usefixtures("timm", "no_report")
def test_a_whole_audit_and_its_rerun(fresh: Path) -> None:
    config = fresh / "audit.toml"
    config.write_text(config.read_text().replace("network.py:build", NAME))
    auditor.compare(config=config, out=fresh / "audit-out", command="audit compare")
    results = read_results(fresh / "audit-out" / "results.json")
    assert results.plan.architecture == NAME
    # Nothing of it came with the audit, so that nobody has to read and name it.
    found = list(repeat(results, fresh, architecture=None, data={}, report=lambda event: None))
    assert {finding.state for finding in found} == {"holds"}
    again = list(repeat(results, fresh, architecture=NAME, data={}, report=lambda event: None))
    assert {finding.state for finding in again} == {"holds"}


@pytest.mark.usefixtures("timm")
def test_init_and_doctor_take_it(fresh: Path) -> None:
    done = audit("init", *MODELS, *SETS, "--architecture", NAME, "--force")
    assert done.exit_code == 0, done.output
    assert (
        f'architecture = "{NAME}"  # every model given fits it; takes 1x4x4 and knows 3 classes'
        in (fresh / "audit.toml").read_text()
    )
    examined = audit("doctor", *MODELS, *SETS, "--architecture", NAME)
    assert examined.exit_code == 0, examined.output
    assert "extra torchvision: " in examined.stdout


@pytest.mark.usefixtures("timm")
def test_a_name_is_no_path(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(fresh.parent)
    done = audit("compare", "--config", "world/audit.toml", "--architecture", NAME, "--dry-run")
    assert done.exit_code == 0, done.output


@pytest.mark.usefixtures("torchvision")
def test_torchvision_makes_classifiers_alone(tmp_path: Path) -> None:
    made = load_architecture("torchvision:tiny", tmp_path, {"width": 5}).function()
    assert made.state_dict()["1.weight"].shape == (5, 16)
    with pytest.raises(SpecError, match="torchvision has no network called 'detector'"):
        load_architecture("torchvision:detector", tmp_path)


def test_the_digest_is_of_version_name_and_arguments_however_these_are_given(timm: ModuleType, tmp_path: Path) -> None:
    def digest(source: str, **arguments: object) -> str:
        return load_architecture(source, tmp_path, arguments).source_digest

    assert digest(NAME) == digest("timm:tiny", width=8)
    assert digest("timm:tiny?width=8&n_classes=2") == digest("timm:tiny?n_classes=2&width=8")
    before = {digest(NAME), digest("timm:tiny"), digest("timm:tiny?width=9")}
    assert len(before) == 3
    timm.__version__ = "1.1"  # type: ignore[attr-defined]
    assert digest(NAME) not in before


@pytest.mark.usefixtures("timm")
@pytest.mark.parametrize(
    ("source", "arguments", "message"),
    [
        ("timm:tinny", {}, "timm has no network called 'tinny'; did you mean tiny"),
        ("timm:", {}, "timm has no network called ''"),
        ("timm:hf-hub:someone/tiny", {}, "timm has no network called 'hf-hub:someone/tiny'"),
        ("timm:tiny?width", {}, "whose arguments are not of the form"),
        ("timm:tiny?width=8&width=9", {}, "width is given twice"),
        (NAME, {"width": 8}, "width stands in architecture timm:tiny.width=8 and in models.arguments"),
        ("timm:tiny?pretrained=true", {}, "is given pretrained, and no weights but those of the models given"),
        ("timm:tiny", {"checkpoint_path": "evil.pth"}, "leave checkpoint_path out"),
        ("timm:tiny", {"pretrained_cfg": {"file": "evil.pth"}}, "leave pretrained_cfg out"),
    ],
)
def test_mistakes(tmp_path: Path, source: str, arguments: dict[str, object], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        load_architecture(source, tmp_path, arguments)


@pytest.mark.usefixtures("timm")
def test_arguments_that_the_network_does_not_take(tmp_path: Path) -> None:
    made = load_architecture("timm:tiny?heads=3", tmp_path)
    with pytest.raises(ModelError, match=r"architecture timm:tiny.heads=3 raised TypeError: .*'heads'"):
        made.function()


@pytest.mark.parametrize("package", ["timm", "torchvision"])
def test_the_extra_is_named_where_it_is_missing(package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(UsageError, match=rf"pip install 'unlearning-auditor\[{package}\]'"):
        load_architecture(f"{package}:resnet18", tmp_path)


def test_a_package_that_does_not_fit_the_torch_beside_it_is_called_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "torchvision").mkdir()
    (tmp_path / "torchvision" / "__init__.py").write_text(
        "raise RuntimeError('operator torchvision::nms is not there')"
    )
    monkeypatch.delitem(sys.modules, "torchvision", raising=False)
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(
        UsageError, match=r"torchvision is installed and cannot be imported \(operator torchvision::nms"
    ):
        load_architecture("torchvision:resnet18", tmp_path)


@pytest.mark.parametrize(("package", "weight"), [("timm", "fc.weight"), ("torchvision", "fc.weight")])
def test_the_real_packages(package: str, weight: str, tmp_path: Path) -> None:
    # A build for another torch breaks with other errors than ImportError.
    pytest.importorskip(package, exc_type=(ImportError, RuntimeError))  # type: ignore[arg-type]
    made = load_architecture(f"{package}:resnet18?num_classes=10", tmp_path).function()
    assert made.state_dict()[weight].shape == (10, 512)
    with pytest.raises(SpecError, match="did you mean resnet18"):
        load_architecture(f"{package}:resnet_18", tmp_path)
