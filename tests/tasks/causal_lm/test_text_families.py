"""Every check of language models on tiny random networks of several architectures, and what padding may not change."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from auditor.checks import registry
from auditor.models.canonical import canonical
from auditor.records.score import Score
from auditor.tasks.causal_lm.encoding import Encoder, Tokens
from auditor.tasks.causal_lm.generation import continuations
from auditor.tasks.causal_lm.losses import answer_logits, logits_of_tokens
from auditor.tasks.causal_lm.recording import COLUMNS
from auditor.tasks.causal_lm.sets import Fact, Facts
from auditor.tasks.causal_lm.subject import CausalLM
from tests.tiny_families import FAMILIES, LONGEST, TinyFamily, random_network, tiny_family

CHECKS = registry.names("causal-lm")
SEED = 5
DRAWN = {"steps": (2, 2), "shots": (2, 2), "learning_rate": (1e-3, 1e-3), "forget_share": (0.2, 0.2)}
# Settings that make a check short; what it does stays the same.
QUICK: dict[str, dict[str, Any]] = {
    "direction_ablation": {"random_directions": 3},
    "relearning": {"drawn": DRAWN, "attacks": 1, "points": (0.5, 1.0), "batch": 4, "retain_batch": 4},
    "sae_restoration": {"n_seeds": 1, "null_draws": 9, "control_draws": 1},
    "slow_relearning": {"drawn": DRAWN, "points": (0.5, 1.0), "batch": 4, "retain_batch": 4},
    "name_embeddings": {"drawn": DRAWN, "points": (0.5, 1.0), "batch": 4, "retain_batch": 4},
    "soft_prompt": {"drawn": {**DRAWN, "length": (2, 2)}, "points": (0.5, 1.0), "batch": 4, "retain_batch": 4},
}


class LeftPadding(Encoder):
    """Pads on the left whatever it is asked."""

    def batch(self, facts: Sequence[Fact], left: bool = False) -> Tokens:
        return super().batch(facts, left=True)


@pytest.fixture(params=FAMILIES)
def family(request: pytest.FixtureRequest) -> TinyFamily:
    return tiny_family(request.param)


def left_padded(family: TinyFamily, dtype: torch.dtype = torch.float32, **given: Any) -> CausalLM:
    encoder = LeftPadding(family.encoder.tokenizer, longest=LONGEST)
    return family.subject("left", 1, family.module(1).to(dtype), encoder=encoder, **given)


def unequal(family: TinyFamily) -> Facts:
    """Facts of unequal length, so that a batch of them has padding."""
    long = [f.model_copy(update={"prompt": f"{f.prompt} {f.prompt}"}) for f in family.data.retain.items[:3]]
    return Facts(family.data.forget_eval.items + tuple(long))


@pytest.mark.parametrize("name", CHECKS)
@pytest.mark.slow
def test_each_check_gives_a_score(family: TinyFamily, name: str) -> None:
    check = registry.load(name, "causal-lm")
    settings = check.settings_type.model_validate(QUICK.get(name, {}))
    original = family.subject("original", 1)
    artefact = check.prepare(original, family.data, settings, SEED)
    scores = [check.score(s, artefact, family.data, settings, SEED) for s in (original, family.subject("unlearned", 2))]
    for score in scores:
        assert_a_score(score, name)
    assert list(scores[0].readings) == list(scores[1].readings)
    assert check.choose(scores[0], [])
    check.summarise({"original": scores[0], "unlearned": scores[1]}, ())


def test_freezing_its_layers_protects_no_model() -> None:
    family = tiny_family("llama")
    check = registry.load("relearning", "causal-lm")
    settings = check.settings_type.model_validate(QUICK["relearning"])
    frozen = family.module(1).requires_grad_(False)
    scores = [
        check.score(family.subject("original", 1, module), {}, family.data, settings, SEED)
        for module in (frozen, family.module(1))
    ]
    assert scores[0] == scores[1]


def assert_a_score(score: Score, name: str) -> None:
    assert score.check == name
    assert score.readings
    assert score.n_examples >= 1
    numbers = [reading.value for reading in score.readings.values()] + list(score.null) + list(score.controls.values())
    numbers += [x for reading in score.readings.values() for x in reading.examples]
    numbers += [value for row in score.rows for value in row.values() if isinstance(value, float)]
    assert all(math.isfinite(number) for number in numbers)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_recording_does_not_depend_on_padding(family: TinyFamily, dtype: torch.dtype) -> None:
    """Alone, among longer facts, padded left or right: the same numbers, up to the last bits of the type."""
    facts = unequal(family)
    alone = family.subject("alone", 1, family.module(1).to(dtype), batch_size=1).record(facts, family.layout.blocks)
    # A unit in the last place of bfloat16 is 2⁻⁸ of a logit; those of these networks are below four.
    close = {"rtol": 1e-4, "atol": 1e-5} if dtype == torch.float32 else {"rtol": 0.05, "atol": 0.2}
    for padded in (family.subject("right", 1, family.module(1).to(dtype)), left_padded(family, dtype)):
        found = padded.record(facts, family.layout.blocks)
        assert torch.equal(found.lengths, alone.lengths)
        for column in set(COLUMNS) - {"rank"}:
            assert torch.allclose(getattr(found, column), getattr(alone, column), **close), column
        for layer in padded.layers():
            assert torch.allclose(found.features[layer], alone.features[layer], **close), layer
            assert torch.allclose(found.lens[layer], alone.lens[layer], **close), layer
        assert all(bool(getattr(found, column).isfinite().all()) for column in COLUMNS)
    assert alone.log_probability.std() > 0.3, "networks that say the same to everything would pass this test"


def test_generations_and_losses_do_not_depend_on_padding(family: TinyFamily) -> None:
    facts = unequal(family)
    alone = family.subject("alone", 1, batch_size=1)
    for other in (family.subject("right", 1), left_padded(family)):
        assert other.generate(facts, 4) == alone.generate(facts, 4)
        assert torch.allclose(other.log_probabilities(facts), alone.log_probabilities(facts), atol=1e-5)


def test_padding_that_were_not_masked_would_be_seen(family: TinyFamily) -> None:
    tokens = left_padded(family).encoder.batch(unequal(family).items)
    seen = Tokens(ids=tokens.ids, mask=torch.ones_like(tokens.mask), answer=tokens.answer)
    subject = family.subject("original", 1)
    with torch.no_grad():
        assert not torch.allclose(subject.losses(seen), subject.losses(tokens), atol=1e-2)


def test_the_last_block_read_through_norm_and_head_is_the_output(family: TinyFamily) -> None:
    subject = family.subject("original", 1)
    recording = subject.recording("forget_eval")
    assert torch.allclose(recording.lens[subject.layers()[-1]], recording.mean_log_probability, atol=1e-4)


def test_layouts_name_two_blocks_a_norm_and_the_head(family: TinyFamily) -> None:
    assert len(family.layout.blocks) == 2
    assert family.layout.final_norm is not None
    assert "norm" in family.layout.final_norm or family.layout.final_norm.endswith("ln_f")


@pytest.mark.parametrize("name", ["llama", "opt"])
def test_canonical_units_do_not_depend_on_padding(name: str) -> None:
    family = tiny_family(name)
    tokens = family.encoder.batch(unequal(family).items)
    wider = [torch.nn.functional.pad(t, (0, 5)) for t in (tokens.ids, tokens.mask)]
    assert family.layout.pairs
    narrow, wide = (
        canonical(family.module(1), family.layout.pairs, [(ids, mask)]).state_dict()
        for ids, mask in ((tokens.ids, tokens.mask), wider)
    )
    assert all(torch.allclose(narrow[key], wide[key], rtol=1e-4) for key in narrow)
    assert any(not torch.allclose(narrow[key], weight) for key, weight in family.module(1).state_dict().items())


def test_random_networks_come_from_the_seed_alone(family: TinyFamily) -> None:
    first, again, other = (weights(family, seed) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def weights(family: TinyFamily, seed: int) -> Tensor:
    module = random_network(family.name, family.encoder.tokenizer, seed)
    return torch.cat([parameter.detach().flatten() for parameter in module.parameters()])


def test_logits_at_answers_are_those_of_the_whole_pass(family: TinyFamily) -> None:
    module, tokens = family.module(1), family.encoder.batch(unequal(family).items)
    with torch.no_grad():
        whole = logits_of_tokens(module, tokens)[tokens.predicting]
        assert torch.allclose(answer_logits(module, tokens), whole, atol=1e-4)
    assert not module.get_output_embeddings()._forward_pre_hooks


def test_the_head_is_given_the_positions_that_predict_an_answer_alone(family: TinyFamily) -> None:
    """And with a hook around the network, which may look at anything, every position."""
    tokens, seen = family.encoder.batch(unequal(family).items), []
    for hooked in (False, True):
        module = family.module(1)
        rows: list[int] = []
        if hooked:
            module.register_forward_hook(lambda _, __, output: output)
        with torch.no_grad(), counted_rows(rows):
            answer_logits(module, tokens)
        seen.append(rows[-1])
    assert seen == [int(tokens.answer.sum()), tokens.ids.numel()]


@contextmanager
def counted_rows(rows: list[int]) -> Iterator[None]:
    """While open, how many rows each linear map is given."""
    plain = nn.functional.linear

    def noting(x: Tensor, *rest: Any) -> Tensor:
        rows.append(x.numel() // x.shape[-1])
        return plain(x, *rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nn.functional, "linear", noting)
        yield


def test_a_network_with_something_around_it_says_the_same_as_the_bare_one(family: TinyFamily) -> None:
    """With a cache and without, padded left and right: the same loop of transformers."""
    facts = unequal(family)
    around = family.module(1)
    seen: list[int] = []
    around.register_forward_hook(lambda _, __, output: seen.append(output.logits.shape[1]))
    assert family.subject("around", 1, around).generate(facts, 4) == family.subject("bare", 1).generate(facts, 4)
    assert seen[0] > 1, "the whole text is shown at every step"


def test_a_model_that_ends_the_text_is_left_at_that(family: TinyFamily) -> None:
    module = family.module(1)
    end = family.encoder.tokenizer.eos_token_id
    prompts = [family.encoder.prompt_ids(fact) for fact in unequal(family).items]
    given = {"padding": family.encoder.padding, "device": "cpu"}
    free = continuations(module, prompts, 4, end=None, **given)
    assert all(len(said) == 4 for said in free)
    # Its own second word made the one that ends a text.
    stopped = continuations(module, prompts[:1], 4, end=free[0][1], **given)
    assert stopped == [free[0][: free[0].index(free[0][1])]]
    assert all(end not in said for said in continuations(module, prompts, 4, end=end, **given))
