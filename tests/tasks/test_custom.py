"""Models that a class of the user's runs: what is read, what is refused and in which words, what a subject gives."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from auditor.errors import DataError, ModelError, SpecError, UsageError
from auditor.loading.architecture import load_architecture
from auditor.loading.checkpoints import load_weights
from auditor.models.canonical import rescaled
from auditor.records.spec import make_spec
from auditor.run.preparing import Prepared, prepare
from auditor.tasks.custom.readers import read_custom
from auditor.tasks.custom.scale import Scale, halfway
from auditor.tasks.custom.structure import find_layout
from auditor.tasks.custom.subject import CustomModel
from auditor.tasks.custom.user_code import UserTask, load_user_task
from auditor.tasks.custom.utility import Judge, prefers_own_targets
from tests.documented_world import block

SCORES = "    def scores(self, model, inputs, targets):\n        return -(model(inputs)[:, 0] - targets).square()\n"
LOSS = "    def loss(self, model, inputs, targets):\n        return -self.scores(model, inputs, targets).mean()\n"
FEATURES = "    def features(self, model, inputs):\n        return model[:2](inputs)\n"
NETWORK = (
    "from torch import nn\n\n\ndef build():\n    return nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 1))\n"
)


def written(folder: Path, *methods: str) -> Path:
    """A file with a class of these methods, and a network."""
    (folder / "task.py").write_text("import torch\n\n\nclass MyTask:\n" + "\n".join(methods or ("    x = 1\n",)))
    (folder / "network.py").write_text(NETWORK)
    return folder


def task_of(folder: Path, *methods: str) -> UserTask:
    return load_user_task("task.py:MyTask", written(folder, *methods))


def network(seed: int = 0) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 1)).eval()


def sums(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    inputs = np.random.default_rng(seed).normal(size=(n, 3)).astype(np.float32)
    return inputs, inputs.sum(axis=1)


def adder(noise: float = 0.0) -> nn.Module:
    """A network that knows the sums."""
    net = nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 1)).eval()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.zero_()
        net[0].weight[0], net[0].weight[1] = 1.0, -1.0
        net[2].weight[0, :2] = torch.tensor([1.0, -1.0 + noise])
    return net


def prepared(folder: Path, request: str | None = "class", checks: tuple[str, ...] | None = None, **given) -> Prepared:
    sets = {"forget": sums(20, 1), "retain": sums(60, 2), "original": adder(), "unlearned": adder(0.1), **given}
    spec = make_spec(
        {}, {"models": {"task": "task.py:MyTask"}, "request": {"kind": request}, "audit": {"checks": checks}}
    )
    return prepare(spec, folder, sets)


class TestClass:
    def test_says_what_its_methods_offer(self, tmp_path: Path) -> None:
        assert task_of(tmp_path, SCORES).offers == ("scores", "weights")
        assert task_of(tmp_path, SCORES, LOSS, FEATURES).offers == ("scores", "features", "loss", "weights")

    @pytest.mark.parametrize(
        ("source", "words"),
        [
            ("task.py:Mytask", "names the function Mytask, which task.py does not define"),
            ("tsk.py:MyTask", r"names the file tsk\.py, which does not exist in .*did you mean task\.py"),
            ("task.py", "not of the form"),
            ("network.py:build", "which is no class"),
        ],
    )
    def test_that_is_not_there_is_named(self, tmp_path: Path, source: str, words: str) -> None:
        written(tmp_path, SCORES)
        with pytest.raises(SpecError, match=rf"models\.task.*{words}"):
            load_user_task(source, tmp_path)

    def test_without_scores_is_refused_with_what_may_have_been_meant(self, tmp_path: Path) -> None:
        with pytest.raises(SpecError, match=r"has no method scores.*did you mean score"):
            task_of(tmp_path, SCORES.replace("scores", "score"))

    def test_that_cannot_be_made_is_blamed(self, tmp_path: Path) -> None:
        with pytest.raises(ModelError, match=r"task.py:MyTask raised KeyError"):
            task_of(tmp_path, SCORES, "    def __init__(self):\n        {}['x']\n")

    @pytest.mark.parametrize(
        ("body", "words"),
        [
            (
                "model(inputs).expand(-1, 3)",
                r"scores gave shape \[4, 3\] for 4 examples; return one number each, \[4\]",
            ),
            ("model(inputs).mean()", r"scores gave shape \[\] for 4 examples"),
            ("None", "scores gave a NoneType; return a torch tensor"),
            ("inputs @ inputs", "scores raised RuntimeError.*run it by itself to see why"),
        ],
    )
    def test_scores_of_another_shape_are_refused(self, tmp_path: Path, body: str, words: str) -> None:
        code = task_of(tmp_path, f"    def scores(self, model, inputs, targets):\n        return {body}\n")
        with pytest.raises(ModelError, match=words):
            code.scores(network(), torch.ones(4, 3), torch.ones(4))

    def test_features_and_loss_of_another_shape_are_refused(self, tmp_path: Path) -> None:
        few = torch.ones(4, 3)
        flat = FEATURES.replace("model[:2](inputs)", "{'a': inputs[:, 0]}")
        with pytest.raises(ModelError, match=r"features gave shape \[4\] at a for 4 examples"):
            task_of(tmp_path, SCORES, flat).features(network(), few)
        with pytest.raises(ModelError, match=r"loss gave shape \[4\]; return the mean loss"):
            task_of(tmp_path, SCORES, LOSS.replace(".mean()", "")).loss(network(), few, torch.ones(4))
        with pytest.raises(ModelError, match="without gradients"):
            task_of(tmp_path, SCORES, LOSS.replace(".mean()", ".mean().detach()")).loss(network(), few, torch.ones(4))
        share = "    def correct(self, model, inputs, targets):\n        return targets * 2\n"
        with pytest.raises(ModelError, match="correct gave numbers outside 0 to 1"):
            task_of(tmp_path, SCORES, share).correct(network(), few, torch.ones(4))

    def test_draws_are_the_same_for_every_model(self, tmp_path: Path) -> None:
        noisy = SCORES.replace("- targets)", "- targets + torch.randn(len(targets)))")
        code, few = task_of(tmp_path, noisy), (torch.ones(4, 3), torch.ones(4))
        before = torch.get_rng_state()
        assert torch.equal(code.scores(network(), *few), code.scores(network(), *few))
        assert torch.equal(torch.get_rng_state(), before)

    def test_what_is_drawn_follows_from_the_plans_seed(self, tmp_path: Path) -> None:
        """An unlearner who knew it could train against just that."""
        noisy = SCORES.replace("- targets)", "- targets + torch.randn(len(targets)))")
        code, (x, y) = task_of(tmp_path, noisy), map(torch.tensor, sums(8))
        one, same, other = (replace(code, seed=seed).scores(network(), x, y) for seed in (1, 1, 2))
        assert torch.equal(one, same)
        assert not torch.equal(one, other)


class TestReading:
    @pytest.fixture
    def code(self, tmp_path: Path) -> UserTask:
        return task_of(tmp_path, SCORES)

    def test_arrays_of_any_shape(self, tmp_path: Path, code: UserTask) -> None:
        np.savez(tmp_path / "a.npz", inputs=np.ones((5, 2, 3)), targets=np.zeros((5, 4, 4), dtype=np.int8))
        found = read_custom("a.npz", "forget", tmp_path, code)
        assert (found.inputs.dtype, tuple(found.inputs.shape)) == (torch.float32, (5, 2, 3))
        assert (found.targets.dtype, tuple(found.targets.shape)) == (torch.int64, (5, 4, 4))
        assert not found.labelled
        np.savez(tmp_path / "b.npz", x_train=np.ones((5, 2)), y_train=np.arange(5))
        assert read_custom("b.npz:train", "forget", tmp_path, code).labels.tolist() == [0, 1, 2, 3, 4]

    def test_code_and_the_classes_own_reader(self, tmp_path: Path, code: UserTask) -> None:
        (tmp_path / "data.py").write_text(
            "import numpy as np\n\n\ndef pair():\n    return np.ones((3, 2)), np.ones(3)\n"
        )
        assert len(read_custom("data.py:pair", "forget", tmp_path, code)) == 3
        (tmp_path / "rows.txt").write_text("1 2 3\n4 5 6\n")
        own = "    def read(self, path):\n        t = torch.from_numpy(__import__('numpy').loadtxt(path))\n"
        reading = task_of(tmp_path, SCORES, own + "        return t[:, :2], t[:, 2]\n")
        assert read_custom("rows.txt", "forget", tmp_path, reading).targets.tolist() == [3.0, 6.0]
        with pytest.raises(DataError, match=r"read gave a Tensor for rows.txt"):
            read_custom("rows.txt", "forget", tmp_path, task_of(tmp_path, SCORES, own + "        return t\n"))

    @pytest.mark.parametrize(
        ("arrays", "words"),
        [
            ({"inputs": np.ones((4, 2)), "targets": np.ones(3)}, "4 inputs and 3 targets"),
            ({"inputs": np.array([[1.0], [np.nan]]), "targets": np.ones(2)}, "inputs hold NaN .* in row 1"),
            (
                {"inputs": np.ones((2, 1)), "targets": np.array([1.0, np.inf])},
                "targets hold NaN or infinite values in row 1",
            ),
            ({"inputs": np.ones((0, 1)), "targets": np.ones(0)}, "holds no examples"),
            ({"inputs": np.ones((2, 1)), "targets": np.array(["a", "b"])}, "targets are <U1"),
            (
                {"inputs": np.ones((2, 1)), "target": np.ones(2)},
                "holds the arrays inputs, target; it should hold inputs",
            ),
            ({"inputs": np.ones((2, 1)), "targets": np.array([{}, {}])}, "holds Python objects"),
        ],
    )
    def test_what_is_wrong_is_named(self, tmp_path: Path, code: UserTask, arrays: dict, words: str) -> None:
        np.savez(tmp_path / "a.npz", **arrays)
        with pytest.raises(DataError, match=words):
            read_custom("a.npz", "forget", tmp_path, code)

    def test_files_that_are_missing_or_of_another_kind(self, tmp_path: Path, code: UserTask) -> None:
        (tmp_path / "forget.npz").write_bytes(b"x")
        (tmp_path / "forget.csv").write_text("1,2\n")
        with pytest.raises(DataError, match=r"forgot\.npz does not exist.*did you mean forget\.npz"):
            read_custom("forgot.npz", "forget", tmp_path, code)
        with pytest.raises(DataError, match=r"is no readable .npz file"):
            read_custom("forget.npz", "forget", tmp_path, code)
        with pytest.raises(DataError, match=r"is no \.npz file; .* add read\(path\) to task.py:MyTask"):
            read_custom("forget.csv", "forget", tmp_path, code)
        with pytest.raises(DataError, match="a dict is no set of examples"):
            read_custom({}, "forget", tmp_path, code)


class TestPlan:
    def test_names_each_check_and_the_method_it_lacks(self, tmp_path: Path) -> None:
        plan = prepared(written(tmp_path, SCORES)).plan
        assert (plan.task, plan.request, plan.layers) == ("custom", "class", ())
        assert plan.offers == ("scores", "weights")
        assert [check.name for check in plan.checks] == ["outputs", "weight_delta"]
        assert not plan.answers_only
        assert "task.py:MyTask does not give features and loss: checks that need it are left out" in plan.notes
        assert not plan.models_of("decoy")
        said = " ".join(plan.feasibility.obstacles)
        assert "the primary check few_shot or depth needs features, which task.py:MyTask does not give" in said
        assert "the primary check relearning needs loss, which task.py:MyTask does not give: add the method" in said

    def test_of_listed_samples_says_that_it_never_clears(self, tmp_path: Path) -> None:
        plan = prepared(written(tmp_path, SCORES, LOSS, FEATURES), "sample", holdout=sums(80, 3)).plan
        assert {check.name for check in plan.checks} == {
            *("outputs", "cka", "membership", "relearning", "slow_relearning", "weight_delta")
        }
        assert any("feature_membership, which the task custom does not have" in o for o in plan.feasibility.obstacles)

    def test_a_check_asked_for_by_name_is_refused_with_what_it_lacks(self, tmp_path: Path) -> None:
        with pytest.raises(
            SpecError, match=r"few_shot needs features, which task.py:MyTask does not give; add the method"
        ):
            prepared(written(tmp_path, SCORES, LOSS), checks=("few_shot",))

    def test_scores_are_stored_under_the_digest_of_the_code(self, tmp_path: Path) -> None:
        before = prepared(written(tmp_path, SCORES)).work
        after = prepared(written(tmp_path, SCORES.replace("-(", "-2 * ("))).work
        keys = [w.unit(w.plan.models[0], w.plan.checks[0]).key for w in (before, after)]
        assert keys[0] != keys[1]

    @pytest.mark.parametrize(
        ("given", "request_kind", "words"),
        [
            ({}, None, "the targets are no classes to read it off: set request.kind"),
            ({"control": sums(5)}, "class", "have no use for data.control"),
            (
                {"retain": (np.ones((9, 4), dtype=np.float32), np.ones(9, dtype=np.float32))},
                "class",
                "inputs are float32 of shape",
            ),
            ({"forget": sums(3)}, "class", "forget: 3 examples; an audit needs at least 4"),
            ({"retain": sums(20, 1)}, "class", "retain holds the same examples as forget"),
        ],
    )
    def test_requests_that_cannot_be_carried_out(
        self, tmp_path: Path, given: dict, request_kind: str | None, words: str
    ) -> None:
        with pytest.raises(UsageError, match=words):
            prepared(written(tmp_path, SCORES), request_kind, **given)

    def test_an_original_that_prefers_no_targets_of_its_own_is_refused(self, tmp_path: Path) -> None:
        # Turned round: the better a model is, the lower it scores.
        with pytest.raises(UsageError, match=r"in \d+ % of cases \(chance is 50 %\): check the checkpoint"):
            prepared(written(tmp_path, SCORES.replace("return -", "return ")))

    def test_an_original_that_gives_nan_is_refused_in_words(self, tmp_path: Path) -> None:
        broken = adder()
        with torch.no_grad():
            broken[2].bias.fill_(torch.nan)
        with pytest.raises(UsageError, match="NaN"):
            prepared(written(tmp_path, SCORES), original=broken)

    def test_classes_are_read_off_whole_numbers(self, tmp_path: Path) -> None:
        inputs, labels = np.random.default_rng(0).normal(size=(80, 3)).astype(np.float32), np.arange(80) % 4
        own = "    def scores(self, model, inputs, targets):\n        return inputs[:, 0] * (targets == targets)\n"
        sets = {"forget": (inputs[labels == 1], labels[labels == 1]), "retain": (inputs, labels)}
        made = prepare(
            make_spec({}, {"models": {"task": "task.py:MyTask"}, "request": {"kind": "class", "classes": (1,)}}),
            written(tmp_path, own),
            {**sets, "original": adder(), "unlearned": adder(0.1)},
        )
        assert (made.plan.request, made.plan.classes) == ("class", (1,))
        assert "retain: 20 examples of the forgotten classes were left out" in made.plan.notes
        assert any("scores do not depend on the targets" in note for note in made.plan.notes)


class TestScale:
    def test_a_known_answer(self) -> None:
        scale = Scale.between([10.0, 10.0, 0.0], [[0.0, 2.0, 5.0], [2.0, 4.0, 5.0]])
        assert scale is not None
        # 10 − 1 and 10 − 3 lie above; the third example teaches nothing.
        assert scale.delta == 8.0
        found = scale.of(np.array([8.0, -100.0, 9.0]))
        assert found.tolist() == pytest.approx([np.exp(-1.0), np.exp(-8.0), np.exp(-4.0)])
        assert scale.of(np.array([100.0, 11.0, 13.0])).tolist() == [1.0, 1.0, 1.0]

    def test_the_unit_of_scores_does_not_matter(self) -> None:
        random = np.random.default_rng(0)
        original, references, own = random.normal(3, 1, 30), random.normal(0, 1, (4, 30)), random.normal(1, 1, 30)
        one = Scale.between(original.tolist(), references.tolist())
        other = Scale.between((100 * original - 7).tolist(), (100 * references - 7).tolist())
        assert one is not None
        assert other is not None
        assert other.of(100 * own - 7) == pytest.approx(one.of(own), abs=1e-9)
        assert other.of_references() == pytest.approx(one.of_references(), abs=1e-9)

    def test_a_further_model_like_the_references_lies_with_them(self) -> None:
        """Held against a mean that they are no part of, as it is: else retrains would seem to know something."""
        random = np.random.default_rng(1)
        gaps = []
        for _ in range(300):
            models = random.normal(0, 1, (5, 40)) + random.normal(0, 0.5, (5, 1))
            scale = Scale.between([4.0] * 40, models[:4].tolist())
            assert scale is not None
            gaps.append(float(scale.of(models[4]).mean() - scale.of_references().mean()))
        assert abs(np.mean(gaps)) < 3 * np.std(gaps) / 300**0.5 + 0.01

    def test_a_model_two_thirds_of_the_way_counts_for_little_and_is_not_cleared(self) -> None:
        """x is steep: what a forecaster at .4 of the original's error still knows would pass for forgotten."""
        found = Scale.between([-0.1] * 40, [[-1.0] * 40, [-1.02] * 40, [-0.98] * 40])
        assert found is not None
        subject, references = np.full(40, -0.4), list(found.references)
        assert float(found.of(subject).mean()) < 0.1
        words = halfway(found, subject, references)
        assert words is not None
        assert words.startswith("its scores lie 0.6")
        assert halfway(found, np.full(40, -0.97), references) is None

    def test_there_is_none_without_two_references_or_where_the_original_is_nowhere_above(self) -> None:
        assert Scale.between([1.0], [[0.0]]) is None
        assert Scale.between([0.0, 0.0], [[1.0, 1.0], [2.0, 0.5]]) is None


class TestSubject:
    @pytest.fixture(scope="class")
    @classmethod
    def made(cls, meters_folder: Path) -> Prepared:
        spec = make_spec(
            {}, {"models": {"original": "original.pt", "unlearned": "unlearned.pt", "architecture": "task.py:Network"}}
        )
        models = spec.models.model_copy(update={"task": "task.py:MyTask"})
        data = {name: f"{name}.npz" for name in ("forget", "retain", "retain_test", "holdout")}
        asked = spec.model_copy(
            update={
                "models": models,
                "data": spec.data.model_copy(update=data),
                "request": spec.request.model_copy(update={"kind": "class"}),
            }
        )
        return prepare(asked, meters_folder, {})

    def subject(self, made: Prepared) -> CustomModel:
        found = made.work.subject(made.plan.models[0])
        assert isinstance(found, CustomModel)
        return found

    def test_units_of_a_convolution_and_of_maps_are_found_and_rescaling_them_changes_no_score(
        self, made: Prepared, meters_folder: Path
    ) -> None:
        code = load_user_task("task.py:MyTask", meters_folder)
        module = self.subject(made).module
        few = made.work.data.retain.take(torch.arange(16))
        layout = find_layout(code, module, few)
        assert (layout.last_map, layout.layers) == ("forecast", ("hidden", "state"))
        assert {(pair.producer, pair.consumer) for pair in layout.pairs} == {
            ("filters.0", "hidden.0"),
            ("hidden.0", "state.0"),
            ("state.0", "forecast"),
        }
        units = [len(module.get_submodule(pair.producer).weight) for pair in layout.pairs]
        factors = [2.0 ** (torch.arange(n) % 7 - 3) for n in units]
        moved = rescaled(module, layout.pairs, factors)
        before, after = (code.scores(net, few.inputs, few.targets) for net in (module, moved))
        assert torch.allclose(before, after, atol=1e-4)
        # Brought to one scale again, both are one network.
        one, other = (self._canonical(made, net) for net in (module, moved))
        for name, tensor in one.weights().items():
            assert torch.allclose(tensor, other.weights()[name], rtol=1e-3, atol=1e-5), name

    def _canonical(self, made: Prepared, module: nn.Module) -> CustomModel:
        return self.subject(made)._like(module).canonical()

    def test_scores_are_those_of_the_class_example_by_example(self, made: Prepared, meters_folder: Path) -> None:
        subject = self.subject(made)
        forget = made.work.data.forget_eval
        expected = -(subject.module(forget.inputs) - forget.targets).square().mean(1)
        assert torch.allclose(subject.scores("forget_eval"), expected.double(), atol=1e-6)
        assert subject.scores("forget_eval").dtype == torch.float64
        assert tuple(subject.features("forget_eval")) == subject.layers()

    def test_the_original_reaches_its_own_bar_nine_times_in_ten(self, made: Prepared) -> None:
        assert float(self.subject(made).recording("retain_test").right.mean()) == pytest.approx(0.9, abs=0.03)

    def test_decoys_are_suppressed_and_the_first_leaves_all_but_one_layer(self, made: Prepared) -> None:
        original = self.subject(made)
        known = float(original.scores("forget_eval").mean())
        for decoy in made.plan.models_of("decoy"):
            subject = made.work.subject(decoy.at(decoy.strengths[-1]))
            assert float(subject.scores("forget_eval").mean()) < known - 1.0
            if decoy.name == "last_layer":
                # Below the last layer only the canonical form may have moved anything, by powers of two.
                features = [m.features("retain")["state"] for m in (original, subject)]
                ratio = features[1] / features[0]
                assert torch.allclose(ratio[features[0] > 0].log2().round(), ratio[features[0] > 0].log2(), atol=1e-3)


def test_an_original_prefers_its_own_targets_and_another_does_not(tmp_path: Path) -> None:
    code = task_of(tmp_path, SCORES)
    kept = read_custom(sums(100), "retain", tmp_path, code)
    assert prefers_own_targets(code, adder(), kept) == 1.0
    random = prefers_own_targets(code, network(), kept)
    assert random is not None
    assert 0.2 < random < 0.8
    assert Judge.by(code, adder(), kept).bar == pytest.approx(0.0, abs=1e-9)


def test_the_page_shows_what_the_tests_run(tables_folder: Path, meters_folder: Path) -> None:
    for folder, start in ((tables_folder, '"""How rows of a table'), (meters_folder, '"""How the next six hours')):
        assert (folder / "task.py").read_text() == block("docs/custom.md", start)
        build = load_architecture("task.py:Network", folder).function
        build().load_state_dict(load_weights(folder / "original.pt", folder / ".converted").tensors)
    shutil.rmtree(tables_folder / ".converted", ignore_errors=True)
