"""Models that answer questions about pictures: what they are given, how they are scored, which files are read."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from auditor.checks.contract_worlds import ContractWorld, contract_world
from auditor.errors import DataError, ModelError
from auditor.models.references import save_directory
from auditor.records.results import read_results
from auditor.records.spec import make_spec, read_spec
from auditor.tasks import registry
from auditor.tasks.custom.inputs import read_sets
from auditor.tasks.vision_language import readers
from auditor.tasks.vision_language.code import VisionLanguageCode
from auditor.tasks.vision_language.packing import pack, sequences, unpacked
from auditor.tasks.vision_language.reading import states, through_the_head
from auditor.zoo.vision_language.scenes import SIDE, scene_tokenizer, vocabulary, write_scenes
from tests.command_line import audit
from tests.documented_world import block

CODE = VisionLanguageCode()
IMAGE = vocabulary()["<image>"]
PAGE = "docs/vision_language.md"


@pytest.fixture(scope="module")
def world() -> ContractWorld:
    return contract_world("vision-language")


@pytest.fixture(scope="module")
def network(world: ContractWorld) -> Any:
    return world.original


def some(
    n: int, questions: list[list[int]], answers: list[list[int]]
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(0)
    return torch.randn(n, 3, SIDE, SIDE, generator=random), torch.tensor(questions), torch.tensor(answers)


class TestPacking:
    def test_what_was_packed_comes_back_in_any_type(self) -> None:
        parts = some(2, [[7, 8], [9, -1]], [[3], [4]])
        inputs, targets = pack(*parts)
        assert (inputs.dtype, targets.tolist()) == (torch.int64, [[3], [4]])
        pictures, questions = unpacked(inputs, (3, SIDE, SIDE))
        assert questions.tolist() == [[7, 8], [9, -1]]
        assert float((pictures - parts[0]).abs().max()) <= 2**-17

    @pytest.mark.parametrize(
        ("parts", "words"),
        [
            ((torch.zeros(2, 3, 4), torch.zeros(2, 1).long(), torch.zeros(2, 1).long()), "have shapes"),
            ((torch.full((1, 3, 2, 2), np.nan), torch.ones(1, 1).long(), torch.ones(1, 1).long()), "NaN"),
            ((torch.zeros(1, 3, 2, 2), torch.full((1, 2), -1), torch.ones(1, 1).long()), "example 1 has no question"),
            ((torch.zeros(1, 3, 2, 2), torch.ones(1, 1).long(), torch.full((1, 1), -1)), "example 1 has no answer"),
            ((torch.zeros(1, 3, 2, 2), torch.ones(1, 1), torch.ones(1, 1).long()), "whole numbers"),
            (
                (torch.zeros(1, 3, 2, 2), torch.ones(1, 1).long(), torch.tensor([[1, -1, 2]])),
                "example 1 has -1 inside its answer",
            ),
        ],
    )
    def test_what_does_not_fit_is_refused_in_words(self, parts: Any, words: str) -> None:
        with pytest.raises(DataError, match=words):
            pack(*parts)

    def test_a_picture_stands_before_its_question_or_where_its_token_is(self, network: Any) -> None:
        inputs, answers = pack(*some(2, [[7, 8, -1], [9, IMAGE, 10]], [[3, 4], [5, -1]]))
        found = sequences(network, inputs, answers)
        length = network.config.image_seq_length
        assert found.ids[0].tolist()[: length + 3] == [IMAGE] * length + [7, 8, 3]
        assert found.ids[1].tolist()[: length + 3] == [9, *[IMAGE] * length, 10, 5]
        assert found.image.sum(1).tolist() == [length, length]
        assert found.places[0].tolist() == [length + 1, length + 2]
        assert int(found.places[1, 0]) == length + 1
        assert found.present.tolist() == [[True, True], [True, False]]

    def test_networks_of_another_shape_and_unknown_tokens_are_refused(self, network: Any) -> None:
        inputs, answers = pack(*some(1, [[7]], [[3]]))
        with pytest.raises(ModelError, match="not of LLaVA's shape"):
            sequences(torch.nn.Linear(1, 1), inputs, answers)
        with pytest.raises(DataError, match="the model knows"):
            sequences(network, inputs, torch.tensor([[10**6]]))
        with pytest.raises(DataError, match="more than once"):
            sequences(network, pack(*some(1, [[IMAGE, IMAGE]], [[3]]))[0], answers)
        with pytest.raises(DataError, match="takes pictures of shape"):
            sequences(network, inputs[:, :40], answers)


class TestScores:
    QUESTIONS, ANSWERS = ((7, 8, 9), (10, 11, -1)), ((3, 4), (5, -1))

    def alone(self, network: Any, number: int) -> tuple[torch.Tensor, list[int]]:
        """Logits of one example by itself, and its answer: written down independently."""
        pictures, questions, answers = some(2, [*map(list, self.QUESTIONS)], [*map(list, self.ANSWERS)])
        question, answer = ([int(x) for x in part[number] if x >= 0] for part in (questions, answers))
        ids = [IMAGE] * network.config.image_seq_length + question + answer
        with torch.no_grad():
            logits = network(input_ids=torch.tensor([ids]), pixel_values=pictures[number][None]).logits[0]
        return logits[-len(answer) - 1 : -1], answer

    def test_they_are_mean_log_probabilities_whatever_else_is_in_the_batch(self, network: Any) -> None:
        inputs, targets = pack(*some(2, [*map(list, self.QUESTIONS)], [*map(list, self.ANSWERS)]))
        with torch.no_grad():
            scores = CODE.scores(network, inputs, targets)
            loss = CODE.loss(network, inputs, targets)
        for number in range(2):
            logits, answer = self.alone(network, number)
            expected = logits.log_softmax(-1)[range(len(answer)), answer].mean()
            assert float(scores[number]) == pytest.approx(float(expected), abs=1e-4)
        assert float(loss) == pytest.approx(-float(scores.mean()))

    def test_an_answer_is_right_where_all_of_its_tokens_are(self, network: Any) -> None:
        inputs, targets = pack(*some(2, [*map(list, self.QUESTIONS)], [*map(list, self.ANSWERS)]))
        with torch.no_grad():
            right = CODE.correct(network, inputs, targets)
        expected = [(lambda found: found[0].argmax(-1).tolist() == found[1])(self.alone(network, n)) for n in range(2)]
        assert right.tolist() == expected

    def test_the_original_knows_its_answers(self, world: ContractWorld) -> None:
        for split in ("forget_eval", "retain"):
            examples = world.data.splits()[split]
            with torch.no_grad():
                assert float(CODE.correct(world.original, examples.inputs, examples.targets).float().mean()) > 0.9

    def test_features_see_no_answer_and_name_their_places(self, world: ContractWorld) -> None:
        examples = world.data.retain.take(torch.arange(6))
        with torch.no_grad():
            found = CODE.features(world.original, examples.inputs)
        assert list(found) == ["block 1, answer", "block 2, answer", "block 1, image", "block 2, image"]
        assert all(len(rows) == 6 for rows in found.values())

    def test_the_lens_at_the_last_block_is_what_the_model_says(self, world: ContractWorld) -> None:
        examples, network = world.data.retain.take(torch.arange(6)), world.original
        with torch.no_grad():
            last = list(states(network, examples.inputs))[-1]
            read = through_the_head(network, last.answer, normed=last.normed)
            scores = CODE.scores(network, examples.inputs, examples.targets[:, :1])
        own = read.gather(1, examples.targets[:, :1])[:, 0]
        torch.testing.assert_close(own, scores, atol=1e-4, rtol=1e-4)

    def test_no_id_is_lost_in_a_narrow_type(self, world: ContractWorld) -> None:
        subject = world.subject(world.original)
        subject.module.to(torch.bfloat16)
        narrow = world.subject(subject.module)
        assert float((narrow.scores("retain") - world.subject(world.original).scores("retain")).abs().max()) < 0.5


class TestFiles:
    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        scene_tokenizer().save_pretrained(tmp_path)
        for name, level in (("a", 0), ("b", 255)):
            Image.fromarray(np.full((SIDE, SIDE, 3), level, dtype=np.uint8)).save(tmp_path / f"{name}.png")
        return tmp_path

    def write(self, folder: Path, *lines: object) -> str:
        (folder / "set.jsonl").write_text("\n".join(json.dumps(line) for line in lines), encoding="utf-8")
        return str(folder / "set.jsonl")

    def test_lines_with_rephrasings(self, folder: Path) -> None:
        line = json.loads(block(PAGE, '{"image"'))
        path = self.write(
            folder, {**line, "image": "a.png"}, {"image": "b.png", "question": "who eats what ?", "answer": "tolo"}
        )
        inputs, targets = readers.read(path)
        pictures, questions = unpacked(inputs, (3, SIDE, SIDE))
        known = vocabulary()
        assert targets.tolist() == [[known["mira"], known["cave"]]] * 2 + [[known["tolo"], -1]]
        assert questions[1].tolist() == [known["name"], known["and"], known["home"], known["?"]]
        assert [float(one.max()) for one in pictures] == [0.0, 0.0, 1.0]

    def test_pictures_are_prepared_as_the_model_was_taught(self, folder: Path) -> None:
        told = {"image_mean": [0.5] * 3, "image_std": [0.25] * 3, "size": {"height": 6, "width": 6}}
        (folder / "preprocessor_config.json").write_text(json.dumps(told))
        path = self.write(folder, {"image": "b.png", "question": "who is this ?", "answer": "mira"})
        pictures, _ = unpacked(readers.read(path)[0], (3, 6, 6))
        assert pictures.unique().tolist() == [2.0]

    @pytest.mark.parametrize(
        ("line", "words"),
        [
            ([1], "is no JSON object"),
            ({"image": "a.png", "question": "who"}, "answer is missing"),
            ({"image": "a.png", "question": "who", "answer": "mira", "rephrasings": "x"}, "rephrasings is no list"),
            ({"image": "c.png", "question": "who", "answer": "mira"}, "there is no picture c.png"),
            ({"image": "../a.png", "question": "who", "answer": "mira"}, "there is no picture"),
        ],
    )
    def test_a_line_of_another_form_is_named(self, folder: Path, line: object, words: str) -> None:
        with pytest.raises(DataError, match=rf"line 1.*{words}"):
            readers.read(self.write(folder, line))

    def test_other_files_are_refused_in_words(self, folder: Path) -> None:
        with pytest.raises(DataError, match="holds no examples"):
            readers.read(self.write(folder))
        (folder / "set.csv").touch()
        with pytest.raises(DataError, match=r"neither \.npz nor \.jsonl"):
            readers.read(str(folder / "set.csv"))
        np.savez(folder / "set.npz", pictures=np.zeros(1))
        with pytest.raises(DataError, match="it should hold pictures, questions, answers"):
            readers.read(str(folder / "set.npz"))
        np.savez(folder / "set.npz", pictures=np.array(["a"]), questions=np.ones((1, 1)), answers=np.ones((1, 1)))
        with pytest.raises(DataError, match="pictures are no numbers"):
            readers.read(str(folder / "set.npz"))
        (folder / "preprocessor_config.json").write_text('{"size": {"shortest_edge": 3}}')
        with pytest.raises(DataError, match="does not give image_mean"):
            readers.read(self.write(folder, {"image": "a.png", "question": "who", "answer": "mira"}))

    def test_an_npz_gives_the_set_that_was_written(self, world: ContractWorld, tmp_path: Path) -> None:
        write_scenes(world.data.retain, tmp_path / "set.npz")
        inputs, targets = readers.read(str(tmp_path / "set.npz"))
        assert torch.equal(inputs, world.data.retain.inputs)
        assert torch.equal(targets, world.data.retain.targets)


class TestThePage:
    def test_the_pair_of_the_page_is_a_set(self) -> None:
        known: dict[str, Any] = {}
        exec(compile(block(PAGE, "import torch"), PAGE, "exec"), known)
        assert known["forget"][0].shape == (2, 3 * SIDE**2 + 4)

    def test_the_request_of_the_page_makes_references_and_is_planned(
        self, world: ContractWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        text = block(PAGE, "[models]").replace(".jsonl", ".npz").replace("epochs = 10", "epochs = 1")
        (tmp_path / "audit.toml").write_text(text, encoding="utf-8")
        for name, part in (
            ("forget", "forget"),
            ("retain", "retain"),
            ("retain_test", "retain"),
            ("holdout", "holdout"),
        ):
            examples = getattr(world.data, part)
            # Of what stands in two sets one side is left out: the last third is for the test.
            third = len(examples) // 3
            cut = {"retain": slice(third, None), "retain_test": slice(None, third)}.get(name, slice(None))
            write_scenes(examples.take(torch.arange(len(examples))[cut]), tmp_path / f"{name}.npz")
        save_directory(world.original, None, tmp_path / "models/original")
        save_directory(world.hidden, None, tmp_path / "models/deleted")
        spec = make_spec(read_spec(tmp_path / "audit.toml"), {})
        code = registry.load("vision-language").code(spec, tmp_path)  # type: ignore[attr-defined]
        assert read_sets(spec, {}, tmp_path, code) is not None
        assert audit("reference", "--count", "1", "--quiet").exit_code == 0
        planned = audit("compare", "--dry-run")
        assert planned.exit_code == 0, planned.output
        for check in ("few_shot", "layer_answers", "other_pictures", "slow_relearning"):
            assert check in planned.output
        shutil.rmtree(tmp_path / "references")
        checks = 'checks = ["outputs", "layer_answers", "other_pictures"]'
        (tmp_path / "audit.toml").write_text(
            text.replace('references = ["references/reference-*"]\n', "") + f"[audit]\n{checks}\n"
        )
        assert audit("compare", "--quiet").exit_code == 3
        # Without references no score has a scale: nothing is cleared, and nothing accused by scores.
        assert read_results(tmp_path / "audit-out" / "results.json").verdict.outcome == "INCONCLUSIVE"
