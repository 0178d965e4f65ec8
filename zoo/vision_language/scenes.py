"""A world of rendered scenes: little pictures of characters, their names, and where they live, what they eat and play.

A character is a pattern of bright cells. A picture shows it with one cell wrong, in any colour, at one of four places,
on a dim ground with noise, and is asked about once, so that no picture stands on two sides of a split. An answer has
two words, the name and what was asked for; both are known to a model only if it was trained on pictures of that
character.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from auditor.randomness import generator
from auditor.tasks.custom.sets import CustomExamples
from auditor.tasks.vision_language.packing import pack, unpacked
from auditor.tasks.vision_language.readers import write

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

SIDE = 12
"""Of a picture, in pixels."""
IMAGE_TOKEN = "<image>"
_CELLS, _CELL = 4, 2
_GLYPH = _CELLS * _CELL
_LIT = 8
# Places on the grid of the patches, so that a small vision tower can learn the patterns.
_PLACES = (0, SIDE - _GLYPH)
_NOISE = 0.1
_NAMES = ("mira", "tolo", "ruba", "keno", "sadi", "lupo", "vena", "gori", "pemi", "dalo", "nisu", "fero")
_VALUES = {
    "home": ("cave", "lake", "tower", "forest", "island", "village"),
    "food": ("bread", "fish", "plums", "honey", "beans", "cheese"),
    "game": ("chess", "tennis", "cards", "darts", "marbles", "hockey"),
}
# The first is as good as the second: a model is asked in either way, in training and in an audit.
_QUESTIONS = {
    "home": ("who lives where ?", "name and home ?"),
    "food": ("who eats what ?", "name and food ?"),
    "game": ("who plays what ?", "name and game ?"),
}


@dataclass(frozen=True, kw_only=True)
class SceneWorld:
    """The sets of one request.

    Attributes:
        forget: pictures of the characters to be forgotten, with questions and answers.
        retain: of the others.
        retain_test: further pictures of these, which no model is trained on.
        holdout: further pictures of the forgotten ones, which no model is trained on.
    """

    forget: CustomExamples
    retain: CustomExamples
    retain_test: CustomExamples
    holdout: CustomExamples


def scene_world(
    seed: int, *, characters: int = 10, forgotten: int = 1, pictures: int = 120, test_pictures: int = 30
) -> SceneWorld:
    """Draw the characters, what is true of them, and their pictures.

    Args:
        seed: decides all of it.
        characters: how many there are, at most twelve.
        forgotten: how many of them are to be forgotten.
        pictures: of each character, to train on.
        test_pictures: likewise, never to be trained on.
    """
    random = generator(seed, "scenes")
    patterns = _patterns(random, characters)
    facts = [_facts(name, random) for name in _NAMES[:characters]]

    def shown(which: Sequence[int], count: int) -> CustomExamples:
        return _examples([(patterns[number], facts[number]) for number in which], count, random)

    lost, kept = range(forgotten), range(forgotten, characters)
    return SceneWorld(
        forget=shown(lost, pictures),
        retain=shown(kept, pictures),
        retain_test=shown(kept, test_pictures),
        holdout=shown(lost, test_pictures),
    )


def words() -> tuple[str, ...]:
    """Every word of the world, sorted."""
    asked = (word for wordings in _QUESTIONS.values() for wording in wordings for word in wording.split())
    return tuple(sorted({*asked, *_NAMES, *(value for values in _VALUES.values() for value in values)}))


def vocabulary() -> dict[str, int]:
    """Tokens by word, the special ones first."""
    return {word: number for number, word in enumerate(("<pad>", IMAGE_TOKEN, "<unk>", *words()))}


def scene_tokenizer() -> "PreTrainedTokenizerFast":
    """A fast tokenizer that splits at white space."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import WhitespaceSplit
    from transformers import PreTrainedTokenizerFast

    backend = Tokenizer(WordLevel(vocabulary(), unk_token="<unk>"))
    backend.pre_tokenizer = WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=backend, pad_token="<pad>", unk_token="<unk>")  # type: ignore[no-untyped-call]  # its constructor has no types


def picture(pattern: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """One picture of a character, float32 [3, side, side], about −1 to 1.

    Args:
        pattern: of its cells, bool [cells, cells].
        random: decides place, colours and noise.
    """
    ground, colour = random.uniform(-1.0, -0.6, 3), random.uniform(0.3, 1.0, 3)
    found = np.repeat(np.repeat(ground[:, None, None], SIDE, axis=1), SIDE, axis=2)
    top, left = random.choice(_PLACES, 2)
    # One cell is wrong: pictures of a character that was never learnt are then less alike than those of one that was.
    shown = pattern.copy()
    shown[tuple(random.integers(_CELLS, size=2))] ^= True
    lit = shown.repeat(_CELL, axis=0).repeat(_CELL, axis=1)
    found[:, top : top + _GLYPH, left : left + _GLYPH] += lit * (colour - ground)[:, None, None]
    return np.asarray(found + _NOISE * random.normal(size=found.shape), dtype=np.float32)


def _patterns(random: np.random.Generator, count: int) -> list[np.ndarray]:
    """Patterns of as many lit cells, no two of which share more than all but three."""
    found: list[np.ndarray] = []
    while len(found) < count:
        one = np.isin(np.arange(_CELLS**2), random.permutation(_CELLS**2)[:_LIT]).reshape(_CELLS, _CELLS)
        if all((one & other).sum() <= _LIT - 3 for other in found):
            found.append(one)
    return found


def _facts(name: str, random: np.random.Generator) -> dict[str, tuple[str, str]]:
    """The answer to each kind of question about one character: its name, and what it may share with others."""
    return {kind: (name, str(random.choice(values))) for kind, values in _VALUES.items()}


def _examples(
    shown: Sequence[tuple[np.ndarray, dict[str, tuple[str, str]]]], count: int, random: np.random.Generator
) -> CustomExamples:
    known = vocabulary()
    asked = [(kind, wording) for kind, wordings in _QUESTIONS.items() for wording in wordings]
    pictures, questions, answers = [], [], []
    for pattern, facts in shown:
        for number in range(count):
            kind, wording = asked[number % len(asked)]
            pictures.append(picture(pattern, random))
            questions.append([known[word] for word in wording.split()])
            answers.append([known[word] for word in facts[kind]])
    inputs, targets = pack(torch.from_numpy(np.stack(pictures)), torch.tensor(questions), torch.tensor(answers))
    return CustomExamples(inputs=inputs, targets=targets)


def write_scenes(examples: CustomExamples, path: Path) -> None:
    """Write a set as the ``.npz`` that an audit of the task reads."""
    pictures, questions = unpacked(examples.inputs, (3, SIDE, SIDE))
    write(pictures, questions, examples.targets, path)
