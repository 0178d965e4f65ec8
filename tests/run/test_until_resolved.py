"""`audit reference --until-resolved`: what the primaries resolve, without the model that is to be judged."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from auditor.cli import main
from auditor.cli.reference_run import _wish, _words
from auditor.errors import UsageError
from auditor.inference import statistics
from auditor.records.events import Event
from auditor.records.policy import load_policy
from auditor.records.spec import AuditSpec, make_spec, read_spec
from auditor.run import resolving
from auditor.run.execution import execute
from auditor.run.preparing import prepare
from auditor.run.resolving import Resolved, resolutions, unresolved
from tests.tiny_world import write_tiny_world

START, MOST = 5, 6


def command(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["reference", "--until-resolved", "--max-count", str(MOST), *arguments])


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    """A world without an unlearned model, whose policy asks `few_shot` for more than it can resolve here."""
    folder = tmp_path_factory.mktemp("resolving") / "world"
    config = write_tiny_world(folder)
    (folder / "unlearned.safetensors").rename(folder / "later.safetensors")
    text = config.read_text().replace('"reference-*.safetensors"', '"references/reference-*.pt"')
    text = text.replace("[data]", 'perturbed = ["references/perturbed-*.pt"]\n\n[data]')
    config.write_text(text.replace("[audit]", "[recipe]\nepochs = 30\nlearning_rate = 0.03\n[audit]"))
    (folder / "easy.toml").write_text(_policy('[primaries.class]\nrepresentation = ["depth"]'))
    (folder / "blind.toml").write_text(_policy('[primaries.class]\ntampering = ["relearning"]'))
    (folder / "hard.toml").write_text(
        _policy('[primaries.class]\nrepresentation = ["few_shot"]\ntampering = ["relearning"]')
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        done = command("--count", str(START), "--policy", "hard.toml")
    return folder, done


def _policy(primaries: str) -> str:
    text = (Path(resolving.__file__).parent.parent / "policies" / "default.toml").read_text(encoding="utf-8")
    before, _, after = text.partition(
        '[primaries.class]\nrepresentation = ["few_shot", "depth"]\ntampering = ["relearning"]\n'
        'patience = ["slow_relearning"]'
    )
    assert after, "the shipped policy has another form"
    return before + primaries + after


@pytest.fixture
def world(trained: tuple[Path, Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = shutil.copytree(trained[0], tmp_path / "world")
    monkeypatch.chdir(folder)
    return folder


def asked(folder: Path, **audit: object) -> AuditSpec:
    return make_spec(read_spec(folder / "audit.toml"), {"audit": audit})


def test_references_are_added_up_to_the_maximum_and_what_each_number_resolves_is_printed(
    trained: tuple[Path, Result],
) -> None:
    folder, done = trained
    assert done.exit_code == 3, done.output
    lines = [line for line in done.output.splitlines() if "references resolve" in line]
    assert [line.split()[0] for line in lines] == [str(START), str(MOST)]
    assert all("few_shot" in line and "relearning" in line and "(wanted: 0.35)" in line for line in lines)
    assert f"not resolved with {MOST} references: few_shot would not with any number of this recipe" in done.output
    assert len(list((folder / "references").glob("reference-*.pt"))) == MOST


def test_it_stops_where_the_primaries_resolve(world: Path) -> None:
    done = command("--count", str(START), "--policy", "easy.toml")
    assert done.exit_code == 0, done.output
    assert done.output.count("references resolve: depth") == 1
    assert f"{START} references resolve: depth" in done.output


def test_it_does_not_stop_at_a_primary_that_misses_a_decoy(world: Path) -> None:
    done = command("--count", str(START), "--policy", "blind.toml")
    assert done.exit_code == 3, done.output
    assert f"{START} references resolve: relearning" in done.output
    assert "relearning does not see through the decoy gradient_ascent, which more need not change" in done.output


def test_the_audit_after_it_computes_nothing_again_and_resolves_the_same(world: Path) -> None:
    found, _ = resolutions(asked(world, policy="hard.toml"), world)
    (world / "later.safetensors").rename(world / "unlearned.safetensors")
    events: list[Event] = []
    prepared = prepare(
        asked(world, policy="hard.toml", checks=("few_shot", "relearning")), world, {}, report=events.append
    )
    results = execute(prepared, None)
    aside = {m.name for m in prepared.plan.models if m.role == "unlearned"}
    again = {(e.check, e.model) for e in events if not e.reused and e.model not in aside}
    assert {check for check, _ in again} <= {"weight_delta"}, "no primary, and no outputs"
    for one in found:
        evidence = results.of(one.check)
        assert evidence is not None
        assert evidence.finest == one.w


def test_checks_are_those_that_are_named(world: Path) -> None:
    [found], _ = resolutions(asked(world), world, ["relearning"])
    assert (found.check, found.family) == ("relearning", "tampering")
    with pytest.raises(UsageError, match="the primary check membership cannot be run"):
        resolutions(asked(world), world, ["membership"])


def test_a_check_that_cannot_be_run_stops_it(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*arguments: object) -> None:
        raise ValueError("by design")

    monkeypatch.setattr("auditor.attacks.relearning.images.Relearning.score", broken)
    with pytest.raises(UsageError, match="relearning could not be run on original: ValueError: by design"):
        resolutions(asked(world, seed=1), world, ["relearning"])


def test_goal_concept_is_refused(world: Path) -> None:
    spec = make_spec(read_spec(world / "audit.toml"), {"request": {"goal": "concept"}})
    with pytest.raises(UsageError, match="more references do not narrow"):
        resolutions(spec, world)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--count", "4"], "needs 5 references to start from; raise --count 4"),
        (["--count", "9"], "--max-count 6 lies below --count 9"),
    ],
)
def test_counts_that_make_no_sense_are_refused(world: Path, arguments: list[str], words: str) -> None:
    done = command(*arguments)
    assert done.exit_code == 2
    assert words in done.output


def test_without_an_original_there_is_nothing_to_resolve(world: Path) -> None:
    config = world / "audit.toml"
    config.write_text(config.read_text().replace('original = "original.safetensors"\n', ""))
    done = command()
    assert done.exit_code == 2
    assert "set models.original" in done.output


def test_one_check_of_each_family_has_to_resolve() -> None:
    def family(name: str, w: float | None) -> Resolved:
        return Resolved(check=f"{name} at {w}", family=name, w=w)

    found = [family("representation", None), family("representation", 0.3), family("tampering", 0.5)]
    assert unresolved(found, 0.35) == ["tampering"]
    assert unresolved(found, 0.5) == []
    assert resolving.target(load_policy("default")) == pytest.approx(0.35)


def test_what_a_check_reads_of_decoys_counts(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in the verdict: half of what it reads of a suppressed copy is twice the residue."""
    [before], _ = resolutions(asked(world, policy="easy.toml"), world)
    monkeypatch.setattr("auditor.records.evidence.Evidence.shows", 0.5)
    [after], _ = resolutions(asked(world, policy="easy.toml"), world)
    assert before.w is not None
    assert after.w == pytest.approx(2 * before.w, rel=0.02)


def test_a_check_that_misses_a_decoy_is_not_enough() -> None:
    missing = Resolved(check="relearning", family="tampering", w=0.1, missed=("gradient_ascent",))
    assert unresolved([missing], 0.35) == ["tampering"]
    assert _words(missing) == "relearning 0.10, but misses the decoy gradient_ascent"
    assert _wish(missing, 6, 0.35).startswith("relearning does not see through the decoy gradient_ascent")


class TestStoppingOnTheResolution:
    """A true retrain, and a model with half of the knowledge, after references were added until w was small enough."""

    DRAWS = 2000
    TARGET = 0.35

    def outcomes(self, gap: float, rho: float) -> Iterator[tuple[float, float, bool]]:
        """p-value against τ_suppressed, p-value against 0, and whether the upper limit lies below τ_deleted."""
        random = np.random.default_rng(20261128 + int(10 * gap))
        for _ in range(self.DRAWS):
            references = list(random.normal(size=START))
            while True:
                spread = statistics.pooled_spread(references)
                assert spread is not None
                delta = gap - float(np.mean(references))
                w = statistics.resolution(delta, spread)
                if len(references) == 12 or (w is not None and w <= self.TARGET):
                    break
                references.append(float(random.normal()))
            d = rho * gap + float(random.normal()) - float(np.mean(references))
            limits = statistics.fieller(d, delta, spread)
            above = [statistics.p_above(d, delta, spread, tau) for tau in (0.25, 0.0)]
            yield above[0], above[1], limits is not None and limits.high < 0.5

    @pytest.mark.parametrize("gap", [3.0, 4.0, 5.0, 8.0])
    def test_a_retrain_is_not_accused_more_often(self, gap: float) -> None:
        p_values = np.array([p for p, _, _ in self.outcomes(gap, rho=0.0)])
        assert (p_values < 0.02).mean() <= 0.02, "the level of one of two primaries"

    @pytest.mark.parametrize("gap", [4.0, 8.0])
    def test_half_of_the_knowledge_is_cleared_at_most_half_as_often_again(self, gap: float) -> None:
        # 40,000 draws: .065 at a gap of 4 and 5 spreads, where stopping selects for small spreads most; nominal .05.
        cleared = np.mean([clear for _, _, clear in self.outcomes(gap, rho=0.5)])
        assert cleared <= 0.065 + 3 * (0.065 * 0.935 / self.DRAWS) ** 0.5
