import importlib
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

from auditor.randomness import torch_seed
from auditor.tasks.classification.editing import accuracy
from auditor.tasks.classification.structure import Layout, find_layout

ROOT = Path(__file__).parents[2]
BENCHMARKS = ROOT / "benchmarks"
DATA = ROOT.parent / "shared" / "data"
SCRIPTS = sorted(path.stem for path in BENCHMARKS.glob("*.py") if '"__main__"' in path.read_text(encoding="utf-8"))
NEED_DATA = ("mnist_lenet", "cifar_resnet20", "stories")

needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="the data folder is absent")


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch):
    """Imports a benchmark as running it would, and forgets it after."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    before = set(sys.modules)
    yield importlib.import_module
    for name in set(sys.modules) - before:
        if str(BENCHMARKS) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


@pytest.mark.parametrize("script", SCRIPTS)
def test_every_script_says_what_it_does(
    script: str, load, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(sys, "argv", [f"{script}.py", "--help"])
    with pytest.raises(SystemExit) as end:
        load(script).main()
    assert end.value.code == 0
    shown = capsys.readouterr().out
    assert f"usage: {script}.py" in shown
    assert f"python benchmarks/{script}.py" in shown


@pytest.mark.parametrize("script", NEED_DATA)
def test_without_data_it_is_skipped_and_nothing_is_written(
    script: str, load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [f"{script}.py", "--data", "nowhere", "--work", "made"])
    load(script).main()
    assert capsys.readouterr().out.startswith("skipped: nowhere/")
    assert list(tmp_path.iterdir()) == []


def test_the_readme_names_every_script():
    text = (BENCHMARKS / "README.md").read_text(encoding="utf-8")
    assert [name for name in SCRIPTS if f"{name}.py" not in text] == []


def test_resnet20_is_the_published_architecture(load):
    net = load("resnet20").build()
    # He et al. 2016, table 6: 0.27 million parameters, twenty layers with weights of two or more dimensions.
    assert sum(p.numel() for p in net.parameters()) == 269_722
    assert sum(p.ndim >= 2 for p in net.parameters()) == 20


def test_the_shortcut_of_a_wider_block_pads_both_sides_with_zeros(load):
    block = load("resnet20").BasicBlock(2, 4, 2)
    x = torch.arange(2 * 4 * 4.0).reshape(1, 2, 4, 4) + 1
    shortcut = block._shortcut(x)
    assert torch.equal(shortcut[:, 1:3], x[:, :, ::2, ::2])
    assert not shortcut[:, [0, 3]].any()


def test_resnet20_is_cut_behind_its_convolutions(load):
    with torch_seed(0):
        net = load("resnet20").build().eval()
        layout = find_layout(net, torch.randn(8, 3, 32, 32))
    assert layout.head == "linear"
    assert len(layout.layers) == 6


@needs_data
def test_the_published_lenet_has_forgotten_zero(load):
    module = load("mnist_lenet")
    test = module.read_examples("mnist.npz:test", DATA / "mnist", module.PREPROCESSING)
    forget, retain = module.parts(test)
    net = module.published_model(DATA / "mnist" / module.PUBLISHED)
    # Below a guess among ten classes, while what is kept is read as a working LeNet-5 reads it.
    assert accuracy(net, forget) < 0.1
    assert accuracy(net, retain) > 0.97


@needs_data
def test_the_published_resnet_reads_the_images(load):
    module: ModuleType = load("cifar_resnet20")
    few = module.images(DATA / "cifar10", "test").take(torch.arange(0, 5000, 20))
    net = module.published_model(DATA / "cifar10" / module.CHECKPOINT)
    # 81 % on all of them; three standard errors of 250 images are 7.5 %.
    assert accuracy(net, few) == pytest.approx(0.81, abs=0.075)


def test_a_model_is_made_once_and_its_seconds_are_kept(load, tmp_path: Path):
    work_folder = load("work_folder")
    work = work_folder.WorkFolder(tmp_path)
    made = []

    def how() -> torch.nn.Module:
        made.append(1)
        return torch.nn.Linear(2, 2)

    first = work.make("net", how)
    again = work_folder.WorkFolder(tmp_path).make("net", how)
    assert first == again
    assert made == [1]
    assert work.making_seconds("net") >= 0


def test_recording_costs_the_bare_passes_and_no_more_examples(load):
    speed = load("recording_speed")
    module, examples = speed.inputs(Path("nowhere"), 160)
    seen = []
    module.register_forward_hook(lambda _, arguments, __: seen.append(len(arguments[0])))
    layout = Layout(
        n_classes=10, layers=("layer2", "linear:input"), vector_layers=("linear:input",), head="linear", pairs=()
    )
    bench = speed.Bench(module, examples, layout)
    seen.clear()
    bench.bare()
    bare = list(seen)
    seen.clear()
    parts = bench.audited()
    assert sum(bare) == 160
    assert seen == bare
    assert list(parts) == ["recording", "outputs", "membership", "cka"]


@pytest.mark.slow
def test_audits_in_a_row_leave_nothing_behind(load):
    """A model that is kept per audit would show among the modules that are alive, to the last one."""
    soak = load("soak")
    with soak.temporary_files() as temporary:
        soak.audit(0, ("cka",), width=16)
        before = soak.left_behind(temporary)
        for seed in range(1, 5):
            soak.audit(seed, ("cka",), width=16)
        left = soak.left_behind(temporary).minus(before)
        assert (left.modules, left.children, left.files, left.handles) == (0, 0, 0, 0)
        kept = torch.nn.Linear(2, 2)
        assert soak.left_behind(temporary).minus(before).modules == 1, "the count sees what is kept"
        del kept
