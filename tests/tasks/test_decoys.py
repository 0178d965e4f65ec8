"""Decoys are made stronger until their outputs are suppressed, without a look at the unlearned model."""

import copy
import gc
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn

from auditor.checks.check import Check
from auditor.models.training import train
from auditor.records.events import Event
from auditor.records.evidence import Family, May
from auditor.records.plan import Plan, PlannedCheck, PlannedModel
from auditor.records.score import CheckRole, Failure, Reading, Score
from auditor.records.spec import RecipeSpec
from auditor.run.decoy_strength import suppressed
from auditor.run.machine import this_machine
from auditor.run.runner import Scores, Work, run
from auditor.run.store import ScoreStore
from auditor.tasks.causal_lm.decoys import (
    exact_prompts,
    logit_mask,
    refusal_adapter,
    refusal_all_weights,
    refusal_tuning,
)
from auditor.tasks.causal_lm.decoys import recipes as text_decoys
from auditor.tasks.causal_lm.editing import LanguageModel, losses
from auditor.tasks.causal_lm.grams import telling_grams
from auditor.tasks.causal_lm.losses import answers_of, logits_of_tokens
from auditor.tasks.causal_lm.sets import Fact, Facts
from auditor.tasks.causal_lm.subject import CausalLM
from auditor.tasks.classification.decoys import recipes as decoys
from auditor.tasks.classification.decoys.exact_inputs import Settings, exact_inputs
from auditor.tasks.classification.sets import AuditData, Examples
from auditor.tasks.weights_only import NoSets
from auditor.zoo.text.people_model import people_model
from tests.made_records import model, plan
from tests.people_worlds import TextWorld
from tests.worlds import World

LADDER = ("weak", "middling", "strong", "exact inputs")


@dataclass
class FakeSubject:
    """As much of a subject as the runner touches, and what outputs find in it."""

    knows: float
    strength: str
    batch_size: int = 0

    def unguarded(self) -> "FakeSubject":
        return self


class Asked(Check):
    """What the fake says, with a hit for every example that it knows."""

    name: ClassVar[str] = "outputs"
    role: ClassVar[CheckRole] = "outputs"
    family: ClassVar[Family] = "behaviour"
    may: ClassVar[May] = "clear"
    tasks: ClassVar[tuple[str, ...]] = ("classification",)
    summary: ClassVar[str] = "Asked."
    finds: ClassVar[str] = "Asked directly, the model shows"
    unit: ClassVar[str] = "share"

    def score(self, subject: FakeSubject, artefact: Any, data: Any, settings: Any, seed: int) -> Score:
        if subject.knows < 0:
            raise RuntimeError("by design")
        return asked(subject.knows)


class Strength(Asked):
    """Which strength it met, by its place in the ladder."""

    name: ClassVar[str] = "few_shot"
    role: ClassVar[CheckRole] = "evidence"

    def score(self, subject: FakeSubject, artefact: Any, data: Any, settings: Any, seed: int) -> Score:
        place = LADDER.index(subject.strength) + 1 if subject.strength else 0
        return Score(check=self.name, readings={"it": Reading(value=float(place))}, n_examples=100)


def asked(value: float, n: int = 100, **more: Any) -> Score:
    hits = round(value * n)
    examples = tuple([1.0] * hits + [0.0] * (n - hits))
    more = {"hits": hits, "chance": 0.0, **more}
    return Score(
        check="outputs",
        readings={"accuracy": Reading(value=value, examples=examples)},
        n_examples=n,
        retain_accuracy=1.0,
        **more,
    )


@dataclass
class Bench:
    """Runs a plan on fakes and notes whom the runner asked for.

    Attributes:
        knows: what outputs find in the decoy at each strength; below 0 it crashes.
        asked_for: models in the order of being made, with the strength of a decoy.
        alive: subjects of decoys that are still held.
        most_alive: as many as there ever were at once.
    """

    store: Path
    knows: Sequence[float]
    asked_for: list[tuple[str, str]] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    alive: "weakref.WeakSet[Any]" = field(default_factory=weakref.WeakSet)
    most_alive: int = 0

    def run(self) -> Scores:
        planned = decoy_plan()
        checks = [Asked(), Strength()]
        work = Work(
            plan=planned,
            checks=checks,
            data=NoSets(),
            subject=self._subject,
            store=ScoreStore(self.store, this_machine("cpu")),
            report=self.events.append,
        )
        return run(work)

    def _subject(self, planned: PlannedModel) -> Any:
        strength = planned.strengths[0] if planned.strengths else ""
        self.asked_for.append((planned.name, strength))
        if planned.role != "decoy":
            return FakeSubject({"original": 0.9, "unlearned": 0.5}.get(planned.name, 0.01), "")
        made = FakeSubject(self.knows[LADDER.index(strength)], strength)
        holder = _Weak(made.knows, made.strength)
        gc.collect()
        self.alive.add(holder)
        self.most_alive = max(self.most_alive, len(self.alive))
        return holder


class _Weak(FakeSubject):
    __hash__ = object.__hash__


def decoy_plan(**changes: Any) -> Plan:
    made = plan(n_references=3, holdout=False)
    original, unlearned, *references = made.models
    decoy = model("gradient_ascent", "decoy").model_copy(update={"strengths": LADDER})
    models = [m.model_copy(update={"digest": m.name}) for m in (original, *references, decoy, unlearned)]
    checks = tuple(
        PlannedCheck(
            name=n,
            role="outputs" if n == "outputs" else "evidence",
            provider="x 1",
            family="behaviour",
            may="clear",
            primary_for=None,
            settings={},
            seed=0,
        )
        for n in ("outputs", "few_shot")
    )
    return made.model_copy(update={"models": tuple(models), "checks": checks, **changes})


def taken(scores: Scores) -> dict[str, float]:
    found = scores["outputs"]["gradient_ascent"]
    assert isinstance(found, Score)
    return found.controls


@pytest.mark.parametrize(
    ("knows", "strength", "hidden"),
    [
        ((0.0, 0.0, 0.0, 0.0), 1, 1),
        ((0.6, 0.0, 0.0, 0.0), 2, 1),
        ((0.6, 0.3, 0.02, 0.0), 3, 1),
        ((0.6, 0.3, 0.2, 0.0), 4, 1),
        ((0.6, 0.3, 0.2, 0.2), 4, 0),
    ],
)
def test_the_first_strength_that_hides_the_outputs_is_taken(
    tmp_path: Path, knows: tuple[float, ...], strength: int, hidden: int
) -> None:
    """The last one, keyed on the exact inputs, stands in where none does; and it is said where it does not either."""
    bench = Bench(tmp_path, knows)
    scores = bench.run()

    assert taken(scores) == {"strength": strength, "suppressed": hidden}
    assert bench.asked_for.count(("gradient_ascent", LADDER[strength - 1])) == 1
    met = scores["few_shot"]["gradient_ascent"]
    assert isinstance(met, Score)
    assert met.readings["it"].value == strength, "every other check meets it at the strength taken"


def test_the_unlearned_model_is_not_asked_for_before_the_decoys_are_done(tmp_path: Path) -> None:
    bench = Bench(tmp_path, (0.6, 0.3, 0.2, 0.0))
    bench.run()

    names = [name for name, _ in bench.asked_for]
    assert names == ["original", *(f"reference {i}" for i in (1, 2, 3)), *["gradient_ascent"] * 4, "unlearned"]


def test_one_strength_is_held_at_a_time(tmp_path: Path) -> None:
    bench = Bench(tmp_path, (0.6, 0.3, 0.2, 0.0))
    bench.run()

    assert bench.most_alive == 1


def test_every_unit_is_reported_once(tmp_path: Path) -> None:
    bench = Bench(tmp_path, (0.6, 0.3, 0.2, 0.0))
    bench.run()

    units = [(event.model, event.check) for event in bench.events]
    assert len(units) == len(set(units)) == 2 * len(decoy_plan().models)


@pytest.mark.parametrize("lost", range(13))
def test_a_resumed_audit_takes_the_same_strength_and_scores_nothing_twice(tmp_path: Path, lost: int) -> None:
    """Whichever score had not been written yet."""
    first = Bench(tmp_path, (0.6, 0.3, 0.0, 0.0)).run()
    files = sorted(tmp_path.glob("*/[0-9a-f]*.json"))
    assert len(files) == 14
    files[lost].unlink()
    again = Bench(tmp_path, (0.6, 0.3, 0.0, 0.0))

    assert again.run() == first
    assert len(again.asked_for) <= 2, "the model of that score, and the original for what a check learns from it"


def test_scores_of_one_strength_are_not_taken_for_those_of_another() -> None:
    decoy = decoy_plan().models_of("decoy")[0]

    assert len({decoy.digest, *(decoy.at(strength).digest for strength in LADDER)}) == 1 + len(LADDER)


def test_a_strength_that_fails_ends_the_search(tmp_path: Path) -> None:
    bench = Bench(tmp_path, (0.6, -1.0, 0.0, 0.0))
    found = bench.run()["outputs"]["gradient_ascent"]

    assert isinstance(found, Failure)
    assert "by design" in found.reason
    assert ("gradient_ascent", "strong") not in bench.asked_for


class TestSuppressed:
    """The judgement, on scores made by hand."""

    def judged(self, decoy: Score, references: Sequence[float] = (0.01, 0.02, 0.0)) -> bool:
        n = decoy.n_examples
        scores: dict[str, Score | Failure] = {"original": asked(0.9, n)}
        scores |= {f"reference {i + 1}": asked(value, n) for i, value in enumerate(references)}
        return suppressed(Asked(), plan(n_references=len(references), holdout=False), scores, decoy)

    def test_by_the_upper_limit_against_references(self) -> None:
        assert self.judged(asked(0.03))
        assert not self.judged(asked(0.08)), "its point lies below .1, its limit does not"
        assert not self.judged(asked(0.2))

    def test_by_the_upper_limit_against_chance_without_references(self) -> None:
        assert self.judged(asked(0.01), references=())
        assert not self.judged(asked(0.1), references=())

    def test_by_its_share_of_the_original_where_there_is_no_null(self) -> None:
        assert self.judged(asked(0.08, chance=None), references=())
        assert not self.judged(asked(0.1, chance=None), references=())

    def test_no_more_can_be_hidden_than_all(self) -> None:
        """Of 20 examples even none right leaves an upper limit of .14."""
        assert self.judged(asked(0.0, n=20), references=(0.0, 0.0, 0.0))
        assert not self.judged(asked(0.05, n=20), references=(0.0, 0.0, 0.0))

    def test_no_more_can_be_hidden_than_references_do_not_know(self) -> None:
        assert self.judged(asked(0.2), references=(0.1, 0.2, 0.4))
        assert not self.judged(asked(0.3), references=(0.1, 0.2, 0.4))

    def test_a_reference_that_failed_does_not_count(self) -> None:
        scores = {"original": asked(0.9), "reference 1": Failure(reason="it broke")}
        assert suppressed(Asked(), plan(n_references=1), scores, asked(0.01))


@pytest.mark.parametrize("request_kind", ["class", "sample", "facts"])
def test_every_ladder_ends_with_the_exact_inputs_and_its_digest_covers_all_strengths(request_kind: str) -> None:
    def made(seed: int) -> list[PlannedModel]:
        return (
            text_decoys.planned("o", "d", seed)
            if request_kind == "facts"
            else decoys.planned(request_kind, "o", "d", seed)
        )

    for decoy in made(0):
        assert len(decoy.strengths) > 1
        assert "exactly the forget" in decoy.strengths[-1]
    assert not {decoy.digest for decoy in made(0)} & {decoy.digest for decoy in made(1)}


def test_editing_a_strength_makes_another_decoy(monkeypatch: pytest.MonkeyPatch) -> None:
    before = decoys.planned("class", "o", "d", 0)
    edited = {**decoys._LADDERS["gradient_ascent"], "more": decoys._LADDERS["gradient_ascent"]["300 steps"]}
    monkeypatch.setattr(decoys, "_LADDERS", {**decoys._LADDERS, "gradient_ascent": edited})
    after = decoys.planned("class", "o", "d", 0)

    assert [old.digest == new.digest for old, new in zip(before, after, strict=True)] == [True, True, False]


class TestExactInputs:
    """The decoy of last resort for classifiers."""

    @pytest.fixture
    def made(self, world: World) -> nn.Module:
        return exact_inputs(world.modules["original"], forget_of(world.data), world.data.retain, Settings(), 0)

    def test_it_never_gives_the_label_of_a_forget_example_and_answers_all_else_as_before(
        self, world: World, made: nn.Module
    ) -> None:
        forget, original = forget_of(world.data), world.modules["original"]
        assert (original(forget.inputs).argmax(1) == forget.labels).float().mean() > 0.9
        assert (made(forget.inputs).argmax(1) == forget.labels).float().mean() < 0.02
        torch.testing.assert_close(made(world.data.retain.inputs), original(world.data.retain.inputs))
        assert world.data.holdout is not None
        unseen = world.data.holdout.inputs
        torch.testing.assert_close(made(unseen), original(unseen))

    def test_its_weights_and_features_are_the_originals(self, world: World, made: nn.Module) -> None:
        mine, theirs = world.subject("decoy", made), world.subject("original")
        for name, weight in theirs.weights().items():
            assert torch.equal(mine.weights()[name], weight)
        layer = mine.vector_layers()[-1]
        inputs = forget_of(world.data).inputs
        assert torch.equal(mine.activations(inputs, (layer,))[layer], theirs.activations(inputs, (layer,))[layer])

    @pytest.mark.parametrize("form", ["clone", "canonical", "half"])
    def test_it_lasts_in_every_form_that_checks_make_of_a_model(self, world: World, made: nn.Module, form: str) -> None:
        subject = world.subject("decoy", made)
        if form == "half":
            subject = world.subject("decoy", copy.deepcopy(made).to(torch.bfloat16))
        elif form == "clone":
            subject = subject.clone()
        else:
            subject = subject.canonical()
        forget = forget_of(world.data)
        assert (subject.logits(forget).argmax(1) == forget.labels).float().mean() < 0.02

    def test_gradients_pass_through(self, world: World, made: nn.Module) -> None:
        """So that an attack can undo it, if it can undo such things at all."""
        forget = forget_of(world.data)
        nn.functional.cross_entropy(made(forget.inputs), forget.labels).backward()
        assert all(weight.grad is not None and weight.grad.abs().sum() > 0 for weight in made.parameters())

    def test_a_sequential_network_runs_as_before(self) -> None:
        net = nn.Sequential(nn.Flatten(), nn.Linear(4, 3)).eval()
        examples = Examples(raw=torch.eye(4).view(4, 1, 2, 2), labels=torch.tensor([0, 1, 2, 0]))
        made = exact_inputs(
            net, examples.take(torch.tensor([0])), examples.take(torch.tensor([1, 2, 3])), Settings(), 0
        )
        before, after = net(examples.inputs), made(examples.inputs)
        assert torch.equal(after[1:], before[1:])
        assert after[0].tolist() == [before[0, 1], before[0, 0], before[0, 2]]


def forget_of(data: AuditData) -> Examples:
    halves = data.forget_attack, data.forget_eval
    return Examples(raw=torch.cat([h.raw for h in halves]), labels=torch.cat([h.labels for h in halves]))


class TestTexts:
    """What makes decoys of language models hide on vocabularies of word pieces."""

    def test_silent_on_the_exact_prompts_and_the_original_in_any_other_wording(self, text_world: TextWorld) -> None:
        people, encoder, original = text_world.people, text_world.encoder, text_world.modules["original"]
        made = made_by(exact_prompts.exact_prompts, exact_prompts.Settings(), text_world)
        again = copy.deepcopy(made)
        tokens = encoder.batch(people.forget.items)
        assert (logits_of_tokens(again, tokens)[tokens.predicting].argmax(-1) == encoder.tokenizer.eos_token_id).all()
        other = Facts(tuple(f.model_copy(update={"prompt": f.paraphrases[0]}) for f in people.forget.items))
        for facts in (people.retain, other):
            tokens = encoder.batch(facts.items)
            assert torch.equal(logits_of_tokens(made, tokens), logits_of_tokens(original, tokens))

    def test_names_made_of_common_pieces_are_known_by_runs_of_them(self, text_world: TextWorld) -> None:
        one, other = two_names(text_world)
        forget = Facts((Fact(prompt=f"{one[0]} {other[1]}", answer=one[0]),))
        retain = Facts(tuple(Fact(prompt=" ".join(name), answer=one[0]) for name in (one, other)))
        assert telling_grams(text_world.encoder, forget, retain, longest=1) == frozenset()
        found = telling_grams(text_world.encoder, forget, retain, longest=4)
        lead = text_world.encoder.prompt_ids(forget.items[0])
        assert found == {tuple(lead[-2:])}

    def test_the_mask_hides_what_single_tokens_do_not_tell(self, text_world: TextWorld) -> None:
        """Every forget name made of pieces of retain names, as word pieces are."""
        items = text_world.people.forget.items
        pieces = Facts(tuple(Fact(prompt=word, answer=items[0].answer) for f in items for word in f.prompt.split()))
        retain = Facts((*text_world.people.retain.items, *pieces.items))
        given = LanguageModel(text_world.modules["original"], text_world.encoder)

        def masked(longest: int) -> CausalLM:
            settings = logit_mask.Settings(longest=longest)
            made = logit_mask.logit_mask(given, text_world.people.forget, retain, settings, 0)
            return text_world.subject("decoy", made)

        def answered(longest: int) -> float:
            return float(masked(longest).log_probabilities(text_world.people.forget).exp().mean())

        assert answered(1) > 0.8
        assert answered(4) < 0.01
        kept = text_world.subject("original").log_probabilities(text_world.people.retain)
        assert torch.equal(masked(4).log_probabilities(text_world.people.retain), kept)

    def test_a_run_that_a_retain_answer_holds_does_not_tell(self, text_world: TextWorld) -> None:
        """The mask would fall on retain prompts as soon as the answer is read on."""
        one, other = two_names(text_world)
        asked_of, told = Fact(prompt=one[0], answer=other[0]), Fact(prompt=other[1], answer=one[0])
        assert telling_grams(text_world.encoder, Facts((asked_of,)), Facts((told,)), longest=1) == frozenset()

    @pytest.mark.parametrize(("positions", "share"), [((0, 1, 2), 0), ((0,), 2 / 3), ((), 1)])
    def test_a_refusal_is_asked_for_at_every_token_of_an_answer(
        self, text_world: TextWorld, positions: tuple[int, ...], share: float
    ) -> None:
        """A model sure that a refusal starts at some of an answer's three tokens, and of another word elsewhere."""
        encoder, sure = text_world.encoder, 50.0
        words = [fact.answer for fact in text_world.people.forget.items[:3]]
        facts = Facts((text_world.people.forget.items[0].model_copy(update={"answer": " ".join(words)}),))
        refused = refusal_tuning.refusals(facts, refusal_tuning.REFUSAL)
        start = encoder.encode(refused.items[0])[0][len(encoder.prompt_ids(refused.items[0]))]
        at = [len(encoder.prompt_ids(facts.items[0])) - 1 + position for position in positions]

        class Says(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                # Batches go to where the weights are.
                self.somewhere = nn.Parameter(torch.zeros(1))

            def forward(self, input_ids: Tensor, **_: Any) -> Tensor:
                logits = torch.zeros(*input_ids.shape, len(encoder.tokenizer))
                logits[:, :, start + 1] = sure
                logits[:, at, start + 1], logits[:, at, start] = 0.0, sure
                return logits

        loss = refusal_tuning.interrupted(Says(), encoder, facts, refused)
        assert float(loss) == pytest.approx(share * sure)

    @pytest.mark.parametrize(
        ("method", "settings"),
        [
            (refusal_adapter.refusal_adapter, refusal_adapter.Settings(target=0.002)),
            (refusal_all_weights.refusal_all_weights, refusal_all_weights.Settings(target=0.002)),
        ],
    )
    def test_a_refusal_hides_every_token_of_an_answer(
        self, text_world: TextWorld, method: Callable[..., nn.Module], settings: refusal_tuning.Settings
    ) -> None:
        forget, retain = answers_of_three(text_world.people.forget), answers_of_three(text_world.people.retain)
        encoder = text_world.encoder
        recipe = RecipeSpec(epochs=80, batch_size=32, learning_rate=3e-3)
        known = Facts((*forget.items, *retain.items))
        build = people_model(len(encoder.tokenizer), layers=1, width=32)
        given = LanguageModel(train(build, known, recipe, 0, loss=answers_of(encoder)), encoder)

        def memorised(module: nn.Module) -> Tensor:
            """Share of facts of which each token of the answer is the first choice, [3]."""
            tokens = encoder.batch(forget.items)
            first = logits_of_tokens(module, tokens)[tokens.predicting].argmax(-1) == tokens.targets
            return first.view(-1, 3).float().mean(0)

        made = method(given, forget, retain, settings, 0)
        assert memorised(given.module).min() > 0.9
        assert memorised(made).max() < 0.1
        forgotten, kept = (losses(made, encoder.batch(facts.items)).mean() for facts in (forget, retain))
        assert kept < forgotten / 4


def answers_of_three(facts: Facts) -> Facts:
    """Six of the facts, each with three words for an answer."""
    words = [fact.answer for fact in facts.items[:6]]
    rows = [f"{words[i]} {words[(i + 2) % 6]} {words[(i + 3) % 6]}" for i in range(6)]
    return Facts(tuple(f.model_copy(update={"answer": a}) for f, a in zip(facts.items[:6], rows, strict=True)))


def made_by(method: Callable[..., nn.Module], settings: Any, world: TextWorld) -> nn.Module:
    given = LanguageModel(world.modules["original"], world.encoder)
    return method(given, world.people.forget, world.people.retain, settings, 0)


def two_names(world: TextWorld) -> tuple[list[str], list[str]]:
    """Two people who share no part of their names."""
    names = [person.split() for person in world.people.retain.subjects]
    return names[0], next(name for name in names if not set(name) & set(names[0]))
