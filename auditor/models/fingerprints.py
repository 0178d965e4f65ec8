"""What made a reference: written beside its file by ``audit reference``, held against its file by every audit.

References are the null of the verdict, so all of them have to be draws of one recipe: a mixture of two has the spread
of neither. A fingerprint guards against mixing by mistake. It is no proof of origin: whoever hands over a reference
could have written it.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, ValidationError, model_validator

from auditor.digests import digest_of
from auditor.errors import ModelError, SpecError
from auditor.records.base import Frozen
from auditor.records.plan import PlannedModel, json_text
from auditor.records.spec import RecipeSpec
from auditor.records.validation import first_fault

SUFFIX = ".fingerprint.json"
IN_A_FOLDER = "fingerprint.json"
# It comes with the reference, from a stranger; a real one is far smaller.
MOST_BYTES = 2**16
_SHOWN = 12
"""Characters of a digest that a message shows."""

Digest = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class Fingerprint(Frozen):
    """What references have to agree in before they may be pooled; the seed is what they may differ in."""

    recipe: RecipeSpec = Field(description="the original's recipe, as [recipe] states it")
    retain: Digest = Field(description="SHA-256 of the training examples, as training uses them")
    architecture: Digest = Field(description="SHA-256 of the source that the network's structure comes from")
    base: Digest | None = Field(
        default=None, description="SHA-256 of the weights training starts from; None where it starts from initial ones"
    )
    encoding: Digest | None = Field(
        default=None, description="language models: SHA-256 of tokenizer and template; None for others"
    )
    # Quoted in messages, and a stranger's text: short and plain.
    auditor_version: str = Field(pattern=r"^[0-9A-Za-z.+!_-]{1,64}$", description="of the code that trained it")

    @property
    def digest(self) -> str:
        """SHA-256 of its canonical JSON."""
        return digest_of(self.model_dump(mode="json"))


class Made(Frozen):
    """The file beside one reference."""

    fingerprint: Fingerprint
    digest: Digest = Field(description="of the fingerprint")
    trained_by: RecipeSpec = Field(description="this reference's own recipe: a perturbed reference has another")
    seed: int = Field(ge=0, description="of its initial weights and the order of its examples")
    file: Digest = Field(description="SHA-256 of its weights' file")

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        # An edit by mistake shows; whoever edits on purpose can write the digest, too.
        if self.digest != self.fingerprint.digest:
            raise ValueError("it was changed by hand: its digest is another")
        return self

    @property
    def perturbed(self) -> bool:
        """Whether it was trained by another recipe than the original's."""
        return self.trained_by != self.fingerprint.recipe


def place(model: Path) -> Path:
    """Where a reference's fingerprint lies: inside a transformers directory, beside any other file.

    >>> place(Path("references/reference-1.pt")).name
    'reference-1.fingerprint.json'
    """
    return model / IN_A_FOLDER if model.is_dir() else model.with_name(model.stem + SUFFIX)


def write(model: Path, made: Made) -> None:
    """Write a reference's fingerprint in one step."""
    path = place(model)
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(json_text(made), encoding="utf-8")
    partial.replace(path)


def read(model: Path) -> Made | None:
    """The fingerprint of a reference; None where there is none.

    Raises:
        ModelError: there is one, and it cannot be read.
    """
    path = place(model)
    if not path.is_file():
        return None
    fix = "train the reference again, or delete the fingerprint, after which its recipe is your word"
    if path.stat().st_size > MOST_BYTES:
        raise ModelError(f"{path} has more than {MOST_BYTES} bytes, more than any fingerprint; {fix}")
    try:
        return Made.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise ModelError(
            f"{path} is no fingerprint of this version of the auditor ({first_fault(error)}); {fix}"
        ) from None


def differences(before: Fingerprint, after: Fingerprint) -> list[str]:
    """Every field that differs, in words.

    >>> one = Fingerprint(recipe=RecipeSpec(), retain="0" * 64, architecture="1" * 64, auditor_version="1")
    >>> differences(one, one.model_copy(update={"recipe": RecipeSpec(epochs=30), "retain": "2" * 64}))
    ['recipe.epochs 20 → 30', 'retain 000000000000… → 222222222222…']
    """
    old, new = dict(_fields(before)), dict(_fields(after))
    return [f"{name} {old.get(name)} → {new.get(name)}" for name in {**old, **new} if old.get(name) != new.get(name)]


def _fields(fingerprint: Fingerprint) -> Iterator[tuple[str, str]]:
    values = fingerprint.model_dump(mode="json")
    yield from ((f"recipe.{name}", str(value)) for name, value in values.pop("recipe").items())
    yield from ((name, _short(value)) for name, value in values.items())


def _short(value: str | None) -> str:
    """A digest cut short; anything else as it is."""
    text = "none" if value is None else value
    return f"{text[:_SHOWN]}…" if len(text) == 64 else text


def of_models(models: Sequence[PlannedModel], base: Path) -> dict[str, Made]:
    """The fingerprints of the references that were given by path and have one, by name; all of them agree.

    Args:
        models: of the line-up.
        base: folder that paths are relative to.

    Raises:
        ModelError: a fingerprint cannot be read, or was made for another file.
        SpecError: two references were made differently, or a perturbed one is counted as a reference.
    """
    found = {}
    for model in models:
        if model.role in ("reference", "perturbed") and model.source is not None:
            made = read(base / model.source)
            if made is not None:
                _check(model, made, base)
                found[model.name] = made
    _check_alike({model.name: str(model.source) for model in models}, found)
    return found


def _check(model: PlannedModel, made: Made, base: Path) -> None:
    # A file that was put in a reference's place has not been made as the fingerprint says.
    if made.file != model.file_digest:
        raise ModelError(
            f"{model.source} is not the file that {place(base / str(model.source)).name} was written for; train it "
            "again, or delete the fingerprint, after which its recipe is your word"
        )
    if made.perturbed and model.role == "reference":
        raise SpecError(
            f"{model.source} was trained by a perturbed recipe, so it is no draw of the original's; name it in "
            "models.perturbed instead of models.references"
        )


def _check_alike(sources: Mapping[str, str], found: Mapping[str, Made]) -> None:
    """Refuse references of several fingerprints."""
    first = next(iter(found), None)
    for name, made in found.items():
        assert first is not None, "there is one"
        # All equal to the first is all equal.
        changed = differences(found[first].fingerprint, made.fingerprint)
        if changed:
            raise SpecError(
                f"{sources[first]} and {sources[name]} were made differently ({'; '.join(changed)}) and cannot be "
                "pooled: leave those of one kind out of models.references and models.perturbed, or train them again"
            )


def notes(models: Sequence[PlannedModel], found: Mapping[str, Made], retain: str | None) -> tuple[str, ...]:
    """What has to be taken on trust about the references.

    Args:
        models: of the line-up.
        found: from :func:`of_models`.
        retain: digest of the audit's retain set; None where there is none.
    """
    words = []
    without = [m.name for m in models if m.role in ("reference", "perturbed") and m.name not in found]
    if without:
        words.append(
            f"without a fingerprint: {_listed(without)}. By what recipe they were trained, and that they never saw the "
            "forget set, is your word"
        )
    elsewhere = [name for name, made in found.items() if retain is not None and made.fingerprint.retain != retain]
    if elsewhere:
        words.append(
            f"trained on another set than data.retain: {_listed(elsewhere)}. That this set holds nothing of the forget "
            "set is your word"
        )
    return tuple(words)


def _listed(names: Sequence[str]) -> str:
    """Names of the line-up, runs drawn together.

    >>> _listed(["reference 1", "reference 2", "reference 3", "perturbed 2"])
    'references 1-3, perturbed 2'
    """
    runs: list[tuple[str, int, int]] = []
    for name in names:
        kind, _, number = name.rpartition(" ")
        if runs and runs[-1][0] == kind and runs[-1][2] == int(number) - 1:
            runs[-1] = (kind, runs[-1][1], int(number))
        else:
            runs.append((kind, int(number), int(number)))
    return ", ".join(f"{kind} {a}" if a == b else f"{_plural(kind)} {a}-{b}" for kind, a, b in runs)


def _plural(kind: str) -> str:
    return "references" if kind == "reference" else kind
