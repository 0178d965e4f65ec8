"""Example sets: preprocessing, halves, overlap."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from auditor.checks.sets import overlap
from auditor.loading.preprocessing import Preprocessing
from auditor.tasks.classification.sets import Examples, split_in_halves


def examples(contents: list[int], labels: list[int]) -> Examples:
    raw = torch.tensor(contents, dtype=torch.float32).reshape(-1, 1, 1, 1).expand(-1, 1, 2, 2).contiguous()
    return Examples(raw=raw, labels=torch.tensor(labels, dtype=torch.int64))


@given(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 2)), min_size=1, max_size=60), st.integers(0, 2**31 - 1))
def test_halves_share_no_content_and_lose_nothing(pairs: list[tuple[int, int]], seed: int) -> None:
    # One content under two labels would be the same image twice: it may not stand on both sides either.
    label_of = {content: label for content, label in reversed(pairs)}
    whole = examples([c for c, _ in pairs], [label_of[c] for c, _ in pairs])
    attack, evaluation = split_in_halves(whole, seed)
    assert len(attack) + len(evaluation) == len(whole)
    assert not set(attack.content_hashes) & set(evaluation.content_hashes)
    for label in set(label_of.values()):
        distinct = len({c for c, own in label_of.items() if own == label})
        own = attack.take(attack.labels == label)
        assert len(set(own.content_hashes)) == distinct // 2


def test_the_split_is_a_function_of_the_seed() -> None:
    whole = examples(list(range(40)), [0] * 40)
    first, again, other = (split_in_halves(whole, seed)[0].digest for seed in (1, 1, 2))
    assert first == again != other


def test_the_same_image_under_two_labels_stays_on_one_side() -> None:
    whole = examples([*range(20), *range(20)], [0] * 20 + [1] * 20)
    for seed in range(5):
        attack, evaluation = split_in_halves(whole, seed)
        assert not set(attack.content_hashes) & set(evaluation.content_hashes)


def test_overlap_names_positions_in_the_second_set() -> None:
    assert overlap(examples([1, 2], [0, 0]), examples([3, 2, 1], [5, 5, 5])) == [1, 2]


def test_preprocessing_by_hand() -> None:
    raw = torch.tensor([[[[0, 255]]]], dtype=torch.uint8)
    prepared = Preprocessing(mean=(0.5,), std=(0.25,))(raw)
    assert prepared.flatten().tolist() == [-2.0, 2.0]
    floats = torch.tensor([[[[0.5, 1.0]]]])
    assert Preprocessing()(floats).flatten().tolist() == [0.5, 1.0]


def test_resizing_is_that_of_a_reference_implementation() -> None:
    from PIL import Image

    pixels = np.random.default_rng(0).integers(0, 256, (12, 12), dtype=np.uint8)
    ours = Preprocessing(resize=(6, 6))(torch.tensor(pixels)[None, None].float())[0, 0].numpy()
    theirs = np.asarray(Image.fromarray(pixels).resize((6, 6), Image.Resampling.BILINEAR), dtype=np.float32)
    assert np.abs(ours - theirs).max() <= 1.0


def test_the_digest_covers_inputs_labels_and_preprocessing() -> None:
    base = examples([1, 2], [0, 1])
    changed = [
        examples([1, 3], [0, 1]),
        examples([1, 2], [1, 0]),
        Examples(raw=base.raw, labels=base.labels, preprocessing=Preprocessing(mean=(0.1,))),
    ]
    assert len({base.digest, *(c.digest for c in changed)}) == 4


def test_batches_cover_everything_in_order() -> None:
    whole = examples(list(range(7)), list(range(7)))
    labels = torch.cat([y for _, y in whole.batches(3)])
    assert labels.tolist() == list(range(7))
    with pytest.raises(ValueError, match="arg 3 must not be zero"):
        list(whole.batches(0))
