"""Dual encoders: scores, loss and features by formulas of their own, and sets from arrays and tables."""

import copy
import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from auditor.errors import AuditError, DataError
from auditor.loading.transformers_directory import load_directory, task_of
from auditor.models.lineup import load_original
from auditor.records.spec import make_spec
from auditor.tasks.clip.code import MOST_CAPTIONS, DualEncoderCode, captions_of, line_up
from auditor.tasks.clip.pictures import preparation, read_table
from auditor.tasks.clip.task import Clip
from auditor.tasks.custom.sets import CustomExamples
from auditor.zoo.clip.drawn_digits import CLASSES, DOMAINS, caption, drawn_digits, small_clip, tokenizer
from tests.clip_worlds import ClipWorld

FIXED = torch.tensor([[0, 2, 5, 1], [0, 2, 6, 1], [0, 3, 5, 1]])


@pytest.fixture(scope="module")
def network() -> nn.Module:
    torch.manual_seed(0)
    return small_clip().eval()


def some(n: int) -> CustomExamples:
    random = torch.Generator().manual_seed(3)
    return CustomExamples(
        inputs=torch.randn(n, 1, 8, 8, generator=random), targets=FIXED[torch.randint(3, (n,), generator=random)]
    )


class TestScores:
    def test_is_the_log_probability_of_the_own_caption_among_those_of_the_audit(self, network: nn.Module) -> None:
        examples = some(6)
        with torch.no_grad():
            logits = network(input_ids=FIXED, pixel_values=examples.inputs).logits_per_image
        own = [FIXED.tolist().index(row) for row in examples.targets.tolist()]
        expected = [float(row[i] - row.logsumexp(0)) for row, i in zip(logits, own, strict=True)]
        code = DualEncoderCode(FIXED)
        found = code.scores(network, examples.inputs, examples.targets)
        assert found.tolist() == pytest.approx(expected, abs=1e-5)
        right = code.correct(network, examples.inputs, examples.targets)
        assert right.tolist() == [int(row.argmax()) == i for row, i in zip(logits, own, strict=True)]

    def test_what_else_stands_in_the_batch_changes_nothing(self, network: nn.Module) -> None:
        """Not even captions that are none of the audit's: each counts for its own image alone."""
        examples, other = some(5), torch.tensor([[0, 4, 9, 1], [0, 4, 8, 1], [0, 4, 9, 1]])
        mixed = CustomExamples(
            inputs=torch.cat([examples.inputs, examples.inputs[:3]]), targets=torch.cat([examples.targets, other])
        )
        code = DualEncoderCode(FIXED)
        with torch.no_grad():
            whole = code.scores(network, mixed.inputs, mixed.targets)
            one = torch.cat([code.scores(network, b.inputs, b.targets) for b in mixed.batches(1)])
        torch.testing.assert_close(whole, one, atol=1e-5, rtol=0)
        held = line_up(FIXED, mixed.targets)
        assert held.tokens.tolist() == [*FIXED.tolist(), [0, 4, 8, 1], [0, 4, 9, 1]]
        assert held.allowed[:5].tolist() == [[True] * 3 + [False] * 2] * 5
        assert held.allowed[5].tolist() == [True] * 3 + [False, True]

    def test_a_network_that_embeds_everything_as_nothing_tells_no_captions_apart(self, network: nn.Module) -> None:
        wreck, examples = copy.deepcopy(network), some(4)
        with torch.no_grad():
            wreck.text_projection.weight.zero_()
        found = DualEncoderCode(FIXED).scores(wreck, examples.inputs, examples.targets)
        assert found.tolist() == pytest.approx([-math.log(3)] * 4)

    def test_of_very_many_captions_an_even_part_is_held_against(self) -> None:
        many = torch.arange(1000)[:, None].repeat(1, 4)
        found = captions_of([many, many[:7]])
        assert len(found) <= MOST_CAPTIONS
        assert found[:, 0].diff().unique().tolist() == [8]


class TestLoss:
    def test_is_the_symmetric_contrastive_loss_over_fixed_captions(self, network: nn.Module) -> None:
        examples = some(7)
        with torch.no_grad():
            logits = network(input_ids=FIXED, pixel_values=examples.inputs).logits_per_image.double().numpy()
        own = [FIXED.tolist().index(row) for row in examples.targets.tolist()]
        to_text = np.mean([math.log(np.exp(logits[i]).sum()) - logits[i, c] for i, c in enumerate(own)])
        to_image = np.mean(
            [
                math.log(np.exp(logits[:, c]).sum())
                - math.log(sum(math.exp(logits[j, c]) for j in range(7) if own[j] == c))
                for c in own
            ]
        )
        loss = DualEncoderCode(FIXED).loss(network, examples.inputs, examples.targets)
        assert float(loss.detach()) == pytest.approx((to_text + to_image) / 2, rel=1e-5)
        assert loss.requires_grad

    def test_a_batch_of_one_caption_teaches_what_it_is_not(self, network: nn.Module) -> None:
        examples = some(9)
        same = examples.take(torch.arange(9)[(examples.targets == FIXED[1]).all(1)])
        code = DualEncoderCode(FIXED)
        loss = code.loss(network, same.inputs, same.targets)
        scores = code.scores(network, same.inputs, same.targets)
        assert float(loss.detach()) == pytest.approx(-float(scores.mean().detach()) / 2, rel=1e-5)


class TestFeatures:
    def test_layers_are_the_image_encoders_and_no_hook_stays(self, network: nn.Module) -> None:
        examples = some(4)
        with torch.no_grad():
            found = DualEncoderCode(FIXED).features(network, examples.inputs)
            images = network.vision_model(pixel_values=examples.inputs)
            out = network(input_ids=FIXED, pixel_values=examples.inputs)
        assert list(found) == ["pooled", "embedding"]
        assert torch.equal(found["pooled"], images.pooler_output)
        unit = nn.functional.normalize(found["embedding"], dim=1)
        torch.testing.assert_close(unit, out.image_embeds, atol=1e-5, rtol=0)
        assert not any(m._forward_hooks or m._forward_pre_hooks for m in network.modules())

    def test_another_dual_encoder_is_run_alike(self) -> None:
        from transformers import SiglipConfig, SiglipModel

        torch.manual_seed(0)
        shared = {"hidden_size": 16, "intermediate_size": 32, "num_attention_heads": 2, "num_hidden_layers": 4}
        text = shared | {"vocab_size": 15, "max_position_embeddings": 4, "projection_size": 16}
        vision = shared | {"image_size": 8, "patch_size": 4, "num_channels": 1}
        network, examples = SiglipModel(SiglipConfig(text_config=text, vision_config=vision)).eval(), some(4)
        code = DualEncoderCode(FIXED)
        assert bool(code.scores(network, examples.inputs, examples.targets).isfinite().all())
        assert list(code.features(network, examples.inputs)) == ["block 2", "pooled", "embedding"]
        assert not any(m._forward_hooks for m in network.modules())
        code.loss(network, examples.inputs, examples.targets).backward()


class TestDrawnDigits:
    def test_captions_name_domain_and_class_and_sets_hold_what_they_should(self) -> None:
        for forgotten in ("sketched", "three"):
            sets = drawn_digits(forgotten, 5).sets
            for name, examples in sets.items():
                said = [caption(row) for row in examples.targets]
                assert {(forgotten in words.split()) for words in said} == {name in ("forget", "holdout")}
        assert {caption(row) for row in drawn_digits("zero", 1).everything.targets} == {
            f"{domain} {name}" for domain in DOMAINS for name in CLASSES
        }
        tokens = tokenizer()(["sketched three"])["input_ids"][0]
        assert caption(torch.tensor(tokens)) == "sketched three"
        assert len(tokens) == 4


@pytest.fixture
def folder(clip_world: ClipWorld, tmp_path: Path) -> Path:
    """An original beside tables of its pictures."""
    shutil.copytree(clip_world.folder / "original", tmp_path / "original")
    (tmp_path / "original" / "preprocessor_config.json").write_text(
        json.dumps({"image_mean": [0.5], "image_std": [0.5]})
    )
    (tmp_path / "pictures").mkdir()
    rows = []
    for name in ("forget", "retain"):
        examples = clip_world.drawn.sets[name].take(torch.arange(12))
        for i, (image, tokens) in enumerate(zip(examples.inputs, examples.targets, strict=True)):
            pixels = (255 * (image[0] + 1) / 2).round().numpy().astype(np.uint8)
            Image.fromarray(pixels).save(tmp_path / f"pictures/{name}-{i}.png")
            rows.append({"image": f"pictures/{name}-{i}.png", "caption": caption(tokens)})
        lines = [f"{row['image']},{row['caption']}" for row in rows[-12:]]
        (tmp_path / f"{name}.csv").write_text("\n".join(["image,caption", *lines]) + "\n")
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows[-12:]))
    return tmp_path


def spec_of(suffix: str = "csv", **models: object):
    sets = {name: f"{name}.{suffix}" for name in ("forget", "retain")}
    given = {"models": {"original": "original", "task": "clip", **models}, "data": sets, "request": {"kind": "class"}}
    return make_spec(given, {})


class TestTables:
    @pytest.mark.parametrize("suffix", ["csv", "jsonl"])
    def test_pictures_and_captions_become_what_arrays_hold(
        self, folder: Path, clip_world: ClipWorld, suffix: str
    ) -> None:
        code = Clip().code(spec_of(suffix), folder)
        inputs, targets = code.read(folder / f"forget.{suffix}")
        expected = clip_world.drawn.sets["forget"].take(torch.arange(12))
        torch.testing.assert_close(inputs, expected.inputs, atol=0.005, rtol=0)
        assert torch.equal(targets, expected.targets)
        retain = clip_world.drawn.sets["retain"].targets[:12]
        assert torch.equal(code.made.captions, captions_of([expected.targets, retain]))

    def test_an_audit_plans_with_them(self, folder: Path) -> None:
        spec = spec_of()
        material = Clip().material(spec, load_lineup(spec, folder), {}, folder)
        assert material is not None
        assert {item.name: item.n_examples for item in material.planned} == {"forget": 12, "retain": 12}

    def test_a_larger_picture_is_shrunk_and_its_middle_cut_out(self, folder: Path) -> None:
        wide = np.zeros((32, 64, 3), dtype=np.uint8)
        wide[:, 16:48] = 255
        Image.fromarray(wide).save(folder / "pictures/wide.png")
        (folder / "forget.csv").write_text("image,caption\npictures/wide.png,sketched one\n")
        pixels, _ = read_table(folder / "forget.csv", preparation(spec_of(), folder))
        assert pixels.shape == (1, 1, 8, 8)
        assert float(pixels[0, 0, :, 1:7].min()) == pytest.approx(1, abs=0.15)

    @pytest.mark.parametrize(
        ("row", "words"),
        [
            ("pictures/none.png,sketched one", "row 2: there is no image pictures/none.png in the folder of the table"),
            ("../outside.png,sketched one", "there is no image ../outside.png in the folder of the table"),
            ("pictures/forget-0.png,", "row 2: there is no text under caption"),
        ],
    )
    def test_a_row_that_cannot_be_read_is_named(self, folder: Path, row: str, words: str) -> None:
        (folder / "forget.csv").write_text(f"image,caption\n{row}\n")
        with pytest.raises(DataError, match=words):
            Clip().code(spec_of(), folder)

    def test_without_a_directory_or_its_processor_it_says_what_to_give(self, folder: Path) -> None:
        with pytest.raises(DataError, match=r"models\.original is none; save pixel values and token ids as an \.npz"):
            Clip().code(spec_of(original="weights.pt"), folder)
        (folder / "original/preprocessor_config.json").write_text('{"image_mean": [0.5]}')
        with pytest.raises(DataError, match="should hold image_mean and image_std, a number for each of 1 channels"):
            Clip().code(spec_of(), folder)
        (folder / "original/preprocessor_config.json").write_text('{"do_normalize": false}')
        with pytest.raises(DataError, match="does not scale pixels by 1/255 and normalise them"):
            Clip().code(spec_of(), folder)
        (folder / "original/preprocessor_config.json").unlink()
        with pytest.raises(DataError, match=r"has no preprocessor_config\.json, which says how images are normalised"):
            Clip().code(spec_of(), folder)


def load_lineup(spec, folder: Path):
    from auditor.models.lineup import Lineup

    entry = load_original(spec, folder, folder / "cache")
    return Lineup(
        entries={"original": entry},
        architecture=None,
        architecture_digest=entry.source_digest,
        made={},
        declared="clip",
    )


@pytest.mark.parametrize(
    ("targets", "words"),
    [
        (np.zeros(12, dtype=np.int64), "targets are int64 of shape"),
        (np.zeros((12, 4)), "give the token ids of each image's caption, padded to one length"),
    ],
)
def test_targets_that_are_no_captions_are_refused(clip_world: ClipWorld, targets: np.ndarray, words: str) -> None:
    task, retain = Clip(), clip_world.drawn.sets["retain"]
    task._given = {"forget": (np.zeros((12, 1, 8, 8)), targets), "retain": retain}
    with pytest.raises(AuditError, match=words):
        task.code(spec_of(), clip_world.folder)


def test_captions_of_two_lengths_are_refused(clip_world: ClipWorld) -> None:
    task, retain = Clip(), clip_world.drawn.sets["retain"]
    task._given = {"forget": (np.zeros((12, 1, 8, 8)), np.zeros((12, 5), dtype=np.int64)), "retain": retain}
    with pytest.raises(DataError, match="captions have several lengths; pad all targets to one length"):
        task.code(spec_of(), clip_world.folder)


def test_a_directory_of_a_dual_encoder_is_loaded_as_one(clip_world: ClipWorld, tmp_path: Path) -> None:
    """transformers has a classifier of images of the same type, which such a directory holds no head for."""
    loaded = load_directory(clip_world.folder / "original")
    assert loaded.task is None
    assert type(loaded.module).__name__ == "CLIPModel"
    with pytest.raises(AuditError, match=r"name the task that it is of in models\.task"):
        task_of(clip_world.folder / "original")
