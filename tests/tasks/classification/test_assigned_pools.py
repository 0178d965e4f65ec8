"""Chance divides pools of images; audits rest on it as a user runs them: drawn, planned, audited, verified."""

import dataclasses
import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import save_file
from torch import nn

import auditor
from auditor.cli import main
from auditor.errors import DataError, SpecError
from auditor.loading.preprocessing import Preprocessing
from auditor.records.assignment import read_assignment
from auditor.records.plan import PlannedAssignment, json_text
from auditor.records.results import Results, read_results
from auditor.records.spec import AuditSpec
from auditor.tasks.classification.assignment import draw, planned
from auditor.tasks.classification.decoys.head_relabelling import Settings as HeadSettings
from auditor.tasks.classification.decoys.head_relabelling import head_relabelling
from auditor.tasks.classification.readers.files import read_examples, write_examples
from auditor.tasks.classification.sets import Examples, joined
from auditor.tasks.classification.sides import n_subjects
from auditor.tasks.drawing import drawn
from tests.documented_world import blocks
from tests.shared import folder_made_once

NONCE = "0123456789abcdef" * 2
NETWORK = """
from torch import nn

def build():
    # Deep enough that features, too, learn a wrong label by heart.
    hidden = [part for _ in range(2) for part in (nn.Linear(64, 64), nn.ReLU())]
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 64), nn.ReLU(), *hidden, nn.Linear(64, 3))
"""
PAGE = "docs/what-do-i-need.md"
MODELS = ("original.safetensors", "unlearned.safetensors")
CHECKS = '\n[audit]\nchecks = ["membership"]\n'


def block(start: str) -> str:
    (found,) = [text for _, text in blocks(PAGE) if text.startswith(start)]
    return found


def config() -> str:
    """The page's audit.toml, for images that are scaled before a network sees them."""
    return block("[data]").replace("[data]\n", "[data]\nmean = [0.5]\nstd = [2.0]\n") + CHECKS


def images(n: int, seed: int = 0, groups: list[int] | None = None) -> Examples:
    random = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % 3
    raw = torch.randn(n, 1, 4, 4, generator=random) + 4 * torch.eye(16)[labels * 5].reshape(n, 1, 4, 4)
    return Examples(raw=raw, labels=labels, groups=None if groups is None else torch.tensor(groups))


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments), prog_name="audit")


class TestDraw:
    @given(
        groups=st.lists(st.integers(0, 12), min_size=8, max_size=40),
        share=st.floats(0.2, 0.8),
        seed=st.integers(0, 2**31 - 1),
    )
    def test_whole_subjects_go_to_one_side_and_nothing_is_lost(
        self, groups: list[int], share: float, seed: int
    ) -> None:
        pool, n = images(len(groups), groups=groups), len(set(groups))
        if min(round(share * n), n - round(share * n)) < 2:
            with pytest.raises(DataError, match="either side needs 2 at least"):
                draw(pool, share, seed, NONCE)
            return
        forget, holdout, record = draw(pool, share, seed, NONCE)
        assert sorted(forget.content_hashes + holdout.content_hashes) == sorted(pool.content_hashes)
        assert forget.groups is not None
        assert holdout.groups is not None
        assert not set(forget.groups.tolist()) & set(holdout.groups.tolist())
        assert (record.n_forget, record.n_holdout) == (n_subjects(forget), n_subjects(holdout))
        assert record.n_holdout == round(share * n)
        assert (record.pool, record.forget, record.holdout) == (
            pool.stored_digest,
            forget.stored_digest,
            holdout.stored_digest,
        )
        assert draw(pool, share, seed, NONCE)[2] == record

    def test_every_image_is_as_likely_as_any_other(self) -> None:
        counts = np.zeros(10)
        for seed in range(2000):
            counts[list(drawn(10, 0.3, seed))] += 1
        # Binomial with a standard deviation of 20; four of them, for ten counts.
        assert np.abs(counts - 600).max() < 82


class TestPlanned:
    FORGET, HOLDOUT, RECORD = draw(images(20), 0.6, 1, NONCE)

    def planned(self, base: Path = Path(), *, request: str = "sample", **asked: object) -> PlannedAssignment | None:
        return self.with_sets({}, base, request=request, **asked)

    def with_sets(
        self, sets: Mapping[str, Examples], base: Path = Path(), *, request: str = "sample", **asked: object
    ) -> PlannedAssignment | None:
        given = {"forget": self.FORGET, "holdout": self.HOLDOUT, "retain": images(30, seed=9), **sets}
        return planned(AuditSpec.model_validate({"assignment": asked}), request, given, base)

    def test_where_nothing_is_said_nothing_is_assumed(self) -> None:
        assert self.planned() is None

    def test_by_word_alone(self) -> None:
        found = self.planned(kind="random")
        assert found is not None
        assert (found.n_forget, found.n_holdout, found.commitment) == (8, 12, None)

    def test_with_its_record_whatever_is_done_to_an_image_before_a_model_sees_it(self, tmp_path: Path) -> None:
        (tmp_path / "r.json").write_text(json_text(self.RECORD), encoding="utf-8")
        scaled = Preprocessing(mean=(0.5,), std=(2.0,))
        sets = {
            name: dataclasses.replace(part, preprocessing=scaled)
            for name, part in (("forget", self.FORGET), ("holdout", self.HOLDOUT))
        }
        found = self.with_sets(sets, tmp_path, kind="random", record="r.json")
        assert found is not None
        assert found.commitment == self.RECORD.commitment
        assert found.drawn == {"forget": self.RECORD.forget, "holdout": self.RECORD.holdout}

    @pytest.mark.parametrize("side", ["forget", "holdout"])
    def test_a_record_of_another_draw(self, side: str, tmp_path: Path) -> None:
        (tmp_path / "r.json").write_text(json_text(self.RECORD), encoding="utf-8")
        own = self.FORGET if side == "forget" else self.HOLDOUT
        relabelled = dataclasses.replace(own, labels=(own.labels + 1) % 3)
        with pytest.raises(SpecError, match=rf"r\.json is the record of another draw than data\.{side} comes from"):
            self.with_sets({side: relabelled}, tmp_path, kind="random", record="r.json")

    def test_a_request_about_classes(self) -> None:
        with pytest.raises(SpecError, match="is for listed samples that chance divided, and this request is about"):
            self.planned(request="class", kind="random")

    def test_a_record_without_a_kind(self) -> None:
        with pytest.raises(SpecError, match=r"is given without assignment\.kind; add kind"):
            self.planned(record="r.json")

    def test_without_a_holdout(self) -> None:
        sets = {"forget": self.FORGET, "retain": images(30, seed=9)}
        with pytest.raises(SpecError, match=r"needs the examples that chance held out: give data\.holdout"):
            planned(AuditSpec.model_validate({"assignment": {"kind": "random"}}), "sample", sets, Path())

    def test_one_subject_alone(self) -> None:
        grouped = dataclasses.replace(self.HOLDOUT, groups=torch.zeros(12, dtype=torch.int64))
        with pytest.raises(SpecError, match="assignment: holdout is about one subject alone"):
            self.with_sets({"holdout": grouped}, kind="random")

    def test_groups_on_one_side_alone(self) -> None:
        grouped = dataclasses.replace(self.HOLDOUT, groups=torch.arange(12))
        with pytest.raises(SpecError, match="forget has no groups and the other side has"):
            self.with_sets({"holdout": grouped}, kind="random")

    def test_a_group_on_both_sides(self) -> None:
        sets = {
            "forget": dataclasses.replace(self.FORGET, groups=torch.arange(8)),
            "holdout": dataclasses.replace(self.HOLDOUT, groups=torch.arange(7, 19)),
        }
        with pytest.raises(SpecError, match="group 7 stands in forget and in holdout; it was not assigned"):
            self.with_sets(sets, kind="random")

    @pytest.mark.parametrize(
        ("inside", "outside"), [("forget", "holdout"), ("retain", "holdout"), ("forget", "retain")]
    )
    def test_an_image_that_stands_twice_under_whatever_label(self, inside: str, outside: str) -> None:
        sets = {"forget": self.FORGET, "holdout": self.HOLDOUT, "retain": images(30, seed=9)}
        again = sets[inside].take(torch.tensor([2]))
        twice = joined(sets[outside], dataclasses.replace(again, labels=(again.labels + 1) % 3))
        words = rf"1 examples of {outside} also stand in {inside} \(the first is example {len(twice)} of {outside}\)"
        with pytest.raises(SpecError, match=words):
            self.with_sets({**sets, outside: twice}, kind="random")


class TestFiles:
    def test_what_is_written_is_read_back(self, tmp_path: Path) -> None:
        for pool in (images(5), images(5, groups=[1, 1, 2, 3, 3])):
            write_examples(pool, tmp_path / "p.npz")
            found = read_examples("p.npz", tmp_path, Preprocessing())
            assert found.digest == pool.digest
            assert (found.groups is None) == (pool.groups is None)

    @pytest.mark.parametrize("groups", [np.arange(4), np.linspace(0, 1, 5), np.arange(10).reshape(5, 2)])
    def test_groups_that_do_not_fit_are_named(self, groups: np.ndarray, tmp_path: Path) -> None:
        pool = images(5)
        np.savez(tmp_path / "p.npz", images=pool.raw.numpy(), labels=pool.labels.numpy(), groups=groups)
        with pytest.raises(DataError, match=r"groups are .* for 5 images; give one whole number per image"):
            read_examples("p.npz", tmp_path, Preprocessing())

    def test_groups_of_a_part(self, tmp_path: Path) -> None:
        pool = images(5, groups=[4, 4, 5, 5, 6])
        assert pool.groups is not None
        arrays = {"x_train": pool.raw.numpy(), "y_train": pool.labels.numpy(), "groups_train": pool.groups.numpy()}
        np.savez(tmp_path / "p.npz", **arrays)
        found = read_examples("p.npz:train", tmp_path, Preprocessing())
        assert found.groups is not None
        assert found.groups.tolist() == [4, 4, 5, 5, 6]


def test_a_pool_is_divided_four_to_one_and_by_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    pool = images(60, groups=[i // 3 for i in range(60)])
    write_examples(pool, tmp_path / "pool.npz")
    done = run("assign", "pool.npz")
    assert done.exit_code == 0, done.output
    assert "forget: 4 subjects, 12 images; train the original on assigned/forget.npz" in done.stdout
    assert "holdout: 16 subjects, 48 images; no model may see assigned/holdout.npz" in done.stdout
    record = read_assignment(tmp_path / "assigned" / "assignment.json")
    assert f"commitment, to publish now: {record.commitment}" in done.stdout
    for name in ("forget", "holdout"):
        assert read_examples(f"assigned/{name}.npz", tmp_path, Preprocessing()).stored_digest == getattr(record, name)
    assert run("assign", "pool.npz").exit_code == 2
    half = run("assign", "pool.npz", "--share", "0.5", "--out", "half")
    assert "forget: 10 subjects" in half.stdout


def test_a_folder_of_images_is_a_pool_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(0)
    for label in ("0", "1"):
        (tmp_path / "pool" / label).mkdir(parents=True)
        for i in range(10):
            Image.fromarray(random.integers(0, 255, (6, 6), dtype=np.uint8)).save(
                tmp_path / "pool" / label / f"{i}.png"
            )
    done = run("assign", "pool")
    assert done.exit_code == 0, done.output
    assert len(read_examples("assigned/forget.npz", tmp_path, Preprocessing())) == 4


def built() -> nn.Sequential:
    """The network of the file that audits are given."""
    names: dict[str, Any] = {}
    exec(NETWORK, names)
    found: nn.Sequential = names["build"]()
    return found


def wrong(examples: Examples) -> Examples:
    return dataclasses.replace(examples, labels=(examples.labels + 1) % 3)


def taught(examples: Examples, seed: int) -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        net = built()
        optimizer = torch.optim.Adam(net.parameters(), lr=0.003)
        for _ in range(400):
            optimizer.zero_grad()
            nn.functional.cross_entropy(net((examples.raw - 0.5) / 2.0), examples.labels).backward()
            optimizer.step()
    return net


@pytest.fixture(scope="session")
def drawn_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pool of wrong labels that `audit assign` divided, an original taught a fifth of it, and a model taught none."""

    def make(folder: Path) -> None:
        folder.mkdir()
        write_examples(wrong(images(150, seed=1)), folder / "pool.npz")
        command = shlex.split(block("# of images"), comments=True)
        assert command[:2] == ["audit", "assign"]
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(folder)
            done = run(*command[1:], "--seed", "5")
        assert done.exit_code == 0, done.output
        retain = images(90, seed=2)
        write_examples(retain, folder / "retain.npz")
        forget = read_examples("assigned/forget.npz", folder, Preprocessing())
        save_file(taught(joined(retain, forget), 0).state_dict(), folder / "original.safetensors")
        save_file(taught(retain, 1).state_dict(), folder / "unlearned.safetensors")
        (folder / "network.py").write_text(NETWORK)
        (folder / "audit.toml").write_text(config())

    return folder_made_once(tmp_path_factory, "drawn pool", make)


@pytest.fixture
def here(drawn_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(drawn_folder)
    return drawn_folder


@pytest.fixture(scope="module")
def audited(drawn_folder: Path) -> Results:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(drawn_folder)
        done = run("compare", *MODELS)
        assert done.exit_code in (0, 3), done.output
    return read_results(drawn_folder / "audit-out" / "results.json")


def test_the_plan_says_what_road_is_open(here: Path) -> None:
    done = run("compare", *MODELS, "--dry-run")
    assert done.exit_code == 0, done.output
    assert "chance divided 30 forget and 120 holdout subjects: holdout is the null" in done.stdout
    assert "references, DELETED needs" not in done.stdout


def test_a_model_that_was_never_taught_is_held_against_itself(audited: Results) -> None:
    assert not audited.plan.models_of("reference")
    assert audited.verdict.assurance == "A3r"
    found = audited.of("membership")
    assert found is not None
    assert found.null_kind == "holdout"
    assert found.rho is not None
    assert found.rho.low < 0 < found.rho.high < 0.5
    assert audited.verdict.outcome == "INCONCLUSIVE"
    # The other primary was not asked for, which is the one that sees through a head; nothing else is lacking.
    assert {reason.kind for reason in audited.verdict.reasons} == {"not planned", "decoy not seen through"}


def test_a_reviewer_checks_the_draw_though_the_audit_scales_its_images(audited: Results, here: Path) -> None:
    done = run("verify", "audit-out", "--assignment", "assigned/assignment.json")
    assert done.exit_code == 0, done.output
    assert "holds          assignment" in done.stdout
    other = json.loads((here / "assigned" / "assignment.json").read_text())
    (here / "other.json").write_text(json.dumps({**other, "seed": 6}))
    assert "DOES NOT HOLD  assignment" in run("verify", "audit-out", "--assignment", "other.json").stdout


def with_config(here: Path, name: str, **changes: str) -> Any:
    text = config()
    for old, new in changes.items():
        text = text.replace({"kind": 'kind = "sample"', "holdout": 'holdout = "assigned/holdout.npz"\n'}[old], new)
    (here / name).write_text(text)
    return run("compare", *MODELS, "--config", name, "--dry-run")


def test_what_cannot_rest_on_a_draw_is_refused(here: Path) -> None:
    about_classes = with_config(here, "classes.toml", kind='kind = "class"\nclasses = [0]')
    assert about_classes.exit_code == 2
    assert "is for listed samples that chance divided" in about_classes.stderr
    no_holdout = with_config(here, "none.toml", holdout="")
    assert no_holdout.exit_code == 2
    assert "needs the examples that chance held out" in no_holdout.stderr
    swapped = run("compare", *MODELS, "--forget", "assigned/holdout.npz", "--dry-run")
    assert swapped.exit_code == 2
    assert "also stand in forget" in swapped.stderr


@dataclasses.dataclass
class Pool:
    """Sets that chance divided, and what audits them against each other."""

    forget: Examples
    holdout: Examples
    retain: Examples
    original: nn.Module
    store: Path

    def audited(self, subject: nn.Module) -> Results:
        return auditor.compare(
            self.original,
            subject,
            forget=self.forget,
            retain=self.retain,
            holdout=self.holdout,
            options={
                "request": {"kind": "sample"},
                "assignment": {"kind": "random"},
                "audit": {"checks": ["membership", "feature_membership"], "store": str(self.store)},
            },
        ).results


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Pool:
    forget, holdout, _ = draw(wrong(images(200, seed=1)), 0.8, 3, NONCE)
    retain = images(90, seed=2)
    scaled = Preprocessing(mean=(0.5,), std=(2.0,))
    parts = [dataclasses.replace(part, preprocessing=scaled) for part in (forget, holdout, retain)]
    store = tmp_path_factory.mktemp("store")
    return Pool(*parts, original=taught(joined(retain, forget), 0), store=store)


def test_a_model_that_was_never_taught_is_deleted_without_any_reference(pool: Pool) -> None:
    results = pool.audited(taught(pool.retain, 1))
    assert results.verdict.outcome == "DELETED"
    assert results.verdict.assurance == "A3r"
    assert {e.check for e in results.evidence if e.primary} == {"membership", "feature_membership"}
    assert {e.null_kind for e in results.evidence if e.rho is not None} == {"holdout"}


def test_a_head_that_denies_them_is_not(pool: Pool) -> None:
    hidden = head_relabelling(pool.original, pool.forget, pool.retain, HeadSettings(), seed=0)
    results = pool.audited(hidden)
    assert results.verdict.outcome in ("SUPPRESSED", "NOT_FORGOTTEN")
    found = results.of("feature_membership")
    assert found is not None
    assert found.rho is not None
    assert found.rho.low > 0.9


def test_a_model_that_kept_three_of_forty_is_not(pool: Pool) -> None:
    """The mean of forty hardly moves; the highest items among four times as many that were held out do."""
    few = joined(pool.retain, pool.forget.take(torch.arange(3)))
    results = pool.audited(taught(few, 1))
    assert results.verdict.outcome == "INCONCLUSIVE"
    assert any(e.items is not None and e.items.p_value < 0.02 for e in results.evidence)


def test_a_model_that_was_taught_the_holdout_as_well_is_not(pool: Pool) -> None:
    """Both sides are known alike, so that nothing tells them apart; but it knows what nobody was to see."""
    both = joined(pool.retain, joined(pool.forget, pool.holdout))
    hidden = head_relabelling(taught(both, 1), joined(pool.forget, pool.holdout), pool.retain, HeadSettings(), seed=0)
    results = pool.audited(hidden)
    assert results.verdict.outcome != "DELETED"
    found = results.of("feature_membership")
    assert found is not None
    assert "it was taught what nobody was to see" in (found.powerless_because or "")


def test_as_many_held_out_as_taught_cannot_clear_and_may_accuse(pool: Pool) -> None:
    """A list of samples is about single items, and so small a holdout would not show a few."""
    even = dataclasses.replace(pool, holdout=pool.holdout.take(torch.arange(40)))
    results = even.audited(taught(pool.retain, 1))
    assert {reason.kind for reason in results.verdict.reasons} == {"holdout too small"}
    hidden = head_relabelling(pool.original, pool.forget, pool.retain, HeadSettings(), seed=0)
    assert even.audited(hidden).verdict.outcome in ("SUPPRESSED", "NOT_FORGOTTEN")
