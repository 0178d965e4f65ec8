"""Steering language models along sparse latents: exact at α = 0, silent on retrains, held against random latents."""

import copy
import hashlib
import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from auditor.checks import registry
from auditor.errors import SpecError, UsageError
from auditor.inference.statistics import Spread, p_above, pooled_spread
from auditor.models.canonical import rescaled
from auditor.models.saved_autoencoder import SavedAutoencoder
from auditor.probes.sae_restoration import sparse_autoencoder
from auditor.probes.sae_restoration.latent_steering import (
    BlockArtefact,
    LatentSteering,
    token_owners,
    token_states,
)
from auditor.probes.sae_restoration.sparse_autoencoder import TrainingSettings
from auditor.probes.sae_restoration.text import SaeRestoration, Settings, _labels
from auditor.records.score import Score
from auditor.records.spec import make_spec
from auditor.run.preparing import prepare
from auditor.tasks.causal_lm.sets import Fact, Facts
from tests import made_records
from tests.people_worlds import TextWorld
from tests.tiny_families import FAMILIES, tiny_family

CHECK = SaeRestoration()
SETTINGS = Settings(null_draws=40, control_draws=2, training=TrainingSettings(expansion=4, steps=150))
QUICK = Settings(null_draws=20, control_draws=1, n_seeds=1, training=TrainingSettings(k=4, steps=10))
REFERENCES = ("reference 0", "reference 1", "reference 2")
T = ("own",)


def aliased(world: TextWorld) -> nn.Module:
    """The original with the name of each forgotten person blended with that of a retained one, half and half."""
    net = copy.deepcopy(world.modules["original"])
    rows = net.get_input_embeddings().weight
    people = zip(world.people.forget.subjects, world.people.retain.subjects, strict=False)
    with torch.no_grad():
        for forgotten, other in people:
            a, b = (world.encoder.tokenizer(name, add_special_tokens=False)["input_ids"] for name in (forgotten, other))
            rows[a] = (rows[a] + rows[b]) / 2
    return net


@pytest.fixture(scope="module")
def artefact(text_world: TextWorld) -> BlockArtefact:
    return CHECK.prepare(text_world.subject("original"), text_world.data, SETTINGS, seed=0)


@pytest.fixture(scope="module")
def scores(text_world: TextWorld, artefact: BlockArtefact) -> dict[str, Score]:
    names = ("original", "retrain", "own initial weights", "refusal", *REFERENCES)
    subjects = {name: text_world.subject(name) for name in names}
    subjects["aliased"] = text_world.subject("aliased", aliased(text_world))
    return {name: CHECK.score(s, artefact, text_world.data, SETTINGS, seed=0) for name, s in subjects.items()}


@pytest.fixture(scope="module")
def steering(text_world: TextWorld, artefact: BlockArtefact) -> LatentSteering:
    return LatentSteering(text_world.subject("retrain"), artefact)


def expert_change(steering: LatentSteering, mode: Any = "own") -> Tensor:
    dictionary = steering.part.dictionaries[0]
    return steering.change(mode, 0, dictionary.experts, dictionary.sae.decoder[dictionary.experts])


# Steering


def test_nothing_is_changed_at_strength_0(text_world: TextWorld, steering: LatentSteering) -> None:
    subject, part = text_world.subject("retrain"), steering.part
    plain = subject.log_probabilities(part.measured).exp()
    assert torch.equal(steering.plain, plain)
    zero = steering.restored(expert_change(steering), (0.0,))[0]
    assert torch.equal(zero, plain[: part.n_forget])


def test_what_returns_is_less_what_changes_on_retain(text_world: TextWorld, steering: LatentSteering) -> None:
    subject, part = text_world.subject("retrain"), steering.part
    change, at, steered = expert_change(steering), 0, []
    for tokens in subject.batches(part.measured):
        added = torch.zeros(*tokens.ids.shape, subject.width)
        for i, row in enumerate(tokens.mask.tolist()):
            for j in range(1, sum(row)):
                added[i, j] = 3 * change[at]
                at += 1
        with torch.no_grad(), subject.intervene(part.block, lambda states, added=added: states + added):
            steered.append((-subject.losses(tokens).double()).exp())
    assert at == len(change)
    after, n = torch.cat(steered), part.n_forget
    harm = abs(float(after[n:].mean() - steering.plain[n:].mean()))
    assert torch.allclose(steering.restored(change, (3.0,))[0], after[:n] - harm, atol=1e-6)


def test_random_changes_are_as_large_as_the_experts(text_world: TextWorld, artefact: BlockArtefact) -> None:
    original = LatentSteering(text_world.subject("original"), artefact)
    dictionary = artefact.dictionaries[0]
    random = nn.functional.normalize(torch.randn(dictionary.sae.decoder.shape, generator=torch.Generator()), dim=1)
    changes = [
        expert_change(original),
        original.change("own", 0, dictionary.experts, random[: len(dictionary.experts)]),
        original.change("own", 0, dictionary.rest, dictionary.sae.decoder[dictionary.rest]),
    ]
    forget = artefact.measured.take(range(artefact.n_forget))
    n_rows = len(token_owners(text_world.subject("original"), forget))
    # Between the original and itself the maps only undo the z-score.
    sizes = [float((c / artefact.scaling.std)[:n_rows].square().sum(1).mean().sqrt()) for c in changes]
    assert sizes[0] > 0
    assert sizes[1:] == pytest.approx([sizes[0]] * 2, rel=0.05)


def test_inject_adds_nothing_to_the_original(text_world: TextWorld, artefact: BlockArtefact) -> None:
    original = LatentSteering(text_world.subject("original"), artefact)
    own, inject = expert_change(original), expert_change(original, "inject")
    assert float(inject.norm()) < 0.05 * float(own.norm())


def test_the_first_token_and_padding_have_no_row(text_world: TextWorld, artefact: BlockArtefact) -> None:
    subject, facts = text_world.subject("original"), text_world.data.forget_eval
    lengths = [len(subject.encoder.encode(fact)[0]) - 1 for fact in facts.items]
    assert len(set(lengths)) > 1
    assert len(token_states(subject, artefact.block, facts)) == sum(lengths)
    assert torch.bincount(token_owners(subject, facts)).tolist() == lengths


# Experts


def test_subjects_are_told_apart_and_by_set() -> None:
    facts = Facts(tuple(Fact(prompt="p", answer="a", subject=s) for s in ("b", "a", "b", "c", "a")))
    labels, n_kept = _labels(facts, n_retain=3)
    assert labels.tolist() == [1, 0, 1, 3, 2]
    assert n_kept == 2


def test_experts_fire_more_on_the_forgotten_subjects(text_world: TextWorld, artefact: BlockArtefact) -> None:
    subject, data = text_world.subject("original"), text_world.data
    rates = []
    for facts in (data.forget_eval, data.holdout):
        assert facts is not None
        states = artefact.scaling(token_states(subject, artefact.block, facts))
        parts = [d.sae.encode(states)[:, d.experts] > 0 for d in artefact.dictionaries]
        rates.append(float(np.mean([float(part.float().mean()) for part in parts])))
    assert rates[0] > rates[1]


# The score


def against_references(scores: dict[str, Score], score: Score) -> tuple[float, float]:
    """ρ and the p-value against ρ ≤ .25."""
    references = [scores[reference].total(T) for reference in REFERENCES]
    spread = pooled_spread(references, floor=1 / score.n_examples)
    assert isinstance(spread, Spread)
    null = float(np.mean(references))
    d, delta = score.total(T) - null, scores["original"].total(T) - null
    return d / delta, p_above(d, delta, spread, 0.25)


@pytest.mark.parametrize("name", ["retrain", "own initial weights"])
def test_a_retrain_is_not_accused(scores: dict[str, Score], name: str) -> None:
    rho, p = against_references(scores, scores[name])
    assert abs(rho) < 0.25
    assert p > 0.05
    assert made_records.p_alone(scores[name], scores["original"], T, scores[name]) > 0.05


def test_a_half_blended_name_is_residue_where_references_are_the_null(scores: dict[str, Score]) -> None:
    """What the model still does by itself is in T; in this world amplifying the experts adds nothing to it."""
    assert against_references(scores, scores["aliased"])[0] > 0.25


@pytest.mark.parametrize("name", ["retrain", "own initial weights", *REFERENCES])
def test_a_never_taught_model_gains_little(scores: dict[str, Score], name: str) -> None:
    """Experts may beat random sets by a little there too, which is why only a margin over the null counts."""
    original, null = scores["original"].total(T), scores[name].null
    assert scores[name].total(T) - float(np.mean(null)) < 0.1 * (original - float(np.mean(null)))
    assert made_records.p_alone(scores[name], scores["original"], T, scores[name]) > 0.05


def test_refusal_tuning_is_not_seen(scores: dict[str, Score]) -> None:
    """What is stated among the caveats: later blocks were taught to say something else."""
    assert against_references(scores, scores["refusal"])[0] < 0.25


def test_score_is_the_best_median_over_autoencoders(scores: dict[str, Score]) -> None:
    for score in scores.values():
        own = [c for c in score.rows if c["mode"] == "own" and c["curve"] == "experts"]
        assert [c["alpha"] for c in own] == list(SETTINGS.alphas)
        assert score.total(T) == pytest.approx(max(float(str(c["restoration"])) for c in own))
        assert len(score.readings["own"].examples) == score.n_examples
        assert score.controls["own, experts"] == pytest.approx(score.total(T))
        assert {c["curve"] for c in score.rows} == {
            "experts", "retain subjects", "random latents", "random directions"
        }  # fmt: skip


def test_unit_scales_do_not_matter(text_world: TextWorld, artefact: BlockArtefact, scores: dict[str, Score]) -> None:
    pairs, module = text_world.layout.pairs, text_world.modules["refusal"]
    factors = [2.0 ** torch.linspace(-3, 3, module.get_submodule(p.producer).weight.shape[0]) for p in pairs]
    subject = text_world.subject("evaded", rescaled(module, pairs, factors))
    score = CHECK.score(subject, artefact, text_world.data, SETTINGS, seed=0)
    assert score.total(T) == pytest.approx(scores["refusal"].total(T), abs=1e-3)


def test_passes_are_those_stated_and_scores_repeat(
    text_world: TextWorld, artefact: BlockArtefact, scores: dict[str, Score]
) -> None:
    subject, data = text_world.subject("retrain"), text_world.data
    score = CHECK.score(subject, artefact, data, SETTINGS, seed=0)
    assert score == scores["retrain"]
    strengths = len(SETTINGS.alphas) - 1
    curves = 2 * (2 * SETTINGS.n_seeds + 2 * SETTINGS.control_draws) + len(score.null)
    mapped, measured = len(artefact.retain), len(artefact.measured)
    assert subject.passes.examples == mapped + 2 * measured + strengths * curves * measured
    assert registry.load("sae_restoration", "causal-lm").name == CHECK.name


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_gives_a_score(name: str) -> None:
    family = tiny_family(name)
    found = CHECK.prepare(family.subject("original", 1), family.data, QUICK, seed=0)
    score = CHECK.score(family.subject("unlearned", 2), found, family.data, QUICK, seed=0)
    assert -1 <= score.total(T) <= 1


# A saved autoencoder


def digest_of(folder: Path) -> str:
    return hashlib.sha256((folder / "sae_weights.safetensors").read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from sae_lens import TopKSAE, TopKSAEConfig

        sae = TopKSAE(TopKSAEConfig(d_in=48, d_sae=96, k=4, rescale_acts_by_decoder_norm=True))
        with torch.no_grad():
            random = torch.Generator().manual_seed(0)
            for weight in (sae.W_enc, sae.W_dec):
                weight.copy_(torch.randn(weight.shape, generator=random))
        folder = tmp_path_factory.mktemp("sae")
        sae.save_model(str(folder))
    return folder, sae


def test_a_saved_autoencoder_reads_and_writes_as_sae_lens_does(saved: tuple[Path, Any]) -> None:
    folder, theirs = saved
    ours = sparse_autoencoder.load(str(folder), digest_of(folder), 48)
    rows = torch.randn(20, 48, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        assert torch.allclose(ours.decode(ours.encode(rows)), theirs.decode(theirs.encode(rows)), atol=1e-4)


def test_a_saved_autoencoder_is_used_in_place_of_training(text_world: TextWorld, saved: tuple[Path, Any]) -> None:
    folder, _ = saved
    block = text_world.layout.blocks[0]
    given = SavedAutoencoder(folder=str(folder), digest=digest_of(folder), block=block)
    found = CHECK.prepare(text_world.subject("original"), text_world.data, QUICK.model_copy(update={"saved": given}), 0)
    assert [len(d.sae.encoder_bias) for d in found.dictionaries] == [96]
    assert found.block == block
    wrong = QUICK.model_copy(update={"saved": given.model_copy(update={"block": "nowhere"})})
    with pytest.raises(UsageError, match=r"models\.autoencoder_block = 'nowhere' is none of"):
        CHECK.prepare(text_world.subject("original"), text_world.data, wrong, 0)


def test_audit_toml_names_a_saved_autoencoder(text_world: TextWorld, saved: tuple[Path, Any], tmp_path: Path) -> None:
    folder, _ = saved
    people = text_world.people
    given = {"original": text_world.modules["original"], "unlearned": text_world.modules["refusal"]}
    given |= {"tokenizer": text_world.encoder.tokenizer, "forget": people.forget, "retain": people.retain}

    def planned(**models: str) -> Any:
        tables = {"models": models, "audit": {"checks": ["sae_restoration", "weight_delta"], "store": str(tmp_path)}}
        checks = prepare(make_spec({}, tables), folder.parent, dict(given)).work.plan.checks
        return next(check for check in checks if check.name == "sae_restoration").settings["saved"]

    assert planned() is None
    assert planned(autoencoder=folder.name, autoencoder_block="model.layers.0") == {
        "folder": str(folder),
        "digest": digest_of(folder),
        "block": "model.layers.0",
    }
    with pytest.raises(SpecError, match=r"models\.autoencoder needs models\.autoencoder_block"):
        planned(autoencoder=folder.name)
    (tmp_path / "cfg.json").write_text("{}")
    with pytest.raises(SpecError, match=r"models\.autoencoder: .* lacks sae_weights\.safetensors; give a folder"):
        planned(autoencoder=str(tmp_path), autoencoder_block="model.layers.0")


def test_a_saved_autoencoder_that_does_not_fit_is_refused(saved: tuple[Path, Any], tmp_path: Path) -> None:
    folder, _ = saved
    with pytest.raises(UsageError, match=r"no autoencoder; cfg\.json and sae_weights\.safetensors are needed"):
        sparse_autoencoder.load(str(tmp_path), "", 48)
    with pytest.raises(UsageError, match=r"its SHA-256 is .* and the plan says 00; give the right one"):
        sparse_autoencoder.load(str(folder), "00", 48)
    with pytest.raises(UsageError, match="needed is a topk one of 32 inputs"):
        sparse_autoencoder.load(str(folder), digest_of(folder), 32)


@pytest.mark.skipif("STORIES" not in os.environ, reason="STORIES names no folder of the stories260k model")
def test_a_published_autoencoder_explains_a_real_model() -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = Path(os.environ["STORIES"])
    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    ids = AutoTokenizer.from_pretrained(folder)(
        "Once upon a time there was a little girl.", return_tensors="pt"
    ).input_ids
    caught: list[Tensor] = []
    model.model.layers[2].register_forward_hook(lambda _, __, output: caught.append(output))
    with torch.no_grad():
        model(ids)
    rows = caught[0][0, 1:] if caught[0].ndim == 3 else caught[0][1:]
    sae = sparse_autoencoder.load(str(folder / "sae-layer2"), digest_of(folder / "sae-layer2"), 64)
    left = (rows - sae.decode(sae.encode(rows))).square().sum() / (rows - rows.mean(0)).square().sum()
    assert float(left) < 0.15
