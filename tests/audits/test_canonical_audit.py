"""Whole audits of canonical forms: which file the verdict is about, and what it takes to hold it against that file."""

import json
import shutil
import subprocess
import warnings
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result
from safetensors.torch import load_file, save_file

import auditor
from auditor.cli import main
from auditor.errors import SpecError
from auditor.loading.transformers_directory import load_directory
from auditor.models.canonical_form import rounded
from auditor.models.references import save_directory
from auditor.records.results import Results, read_results
from auditor.records.score import CanonicalForm
from auditor.reports.html import render
from auditor.reports.text import deploy
from auditor.review.received import Finding, receive
from auditor.review.verification import verify
from auditor.run.audit_folder import RESULTS
from tests.models.test_canonical_form import LOW
from tests.tiny_families import tiny_family

SMALL = {"audit": {"checks": ("cka",)}}


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments), prog_name="audit")


def found(folder: Path) -> Results:
    return read_results(folder / "audit-out" / RESULTS)


def noted(folder: Path) -> dict[str, Finding]:
    return {finding.subject: finding for finding in verify(receive(folder))}


def with_low_bits_of(source: Path, secret: Path, target: Path) -> None:
    """Copy a checkpoint with the other one in the low half of its numbers."""
    tensors, hidden = load_file(source), load_file(secret)
    save_file(
        {
            name: ((t.view(torch.int32) & ~LOW) | (hidden[name].view(torch.int32) >> 16 & LOW)).view(torch.float32)
            for name, t in tensors.items()
        },
        target,
    )


class TestCommand:
    """``audit canonical``."""

    def test_it_writes_the_form_that_an_audit_names(self, plain: Path, fresh: Path) -> None:
        done = run("canonical", "unlearned.safetensors", "--out", "form.safetensors")
        assert done.exit_code == 0, done.output
        audited = found(plain).canonical
        assert audited is not None
        assert f"wrote form.safetensors, digest {audited.digest}" in done.stdout
        tensors = load_file(fresh / "form.safetensors")
        assert all(torch.equal(t, rounded(t)) for t in tensors.values())
        assert not torch.equal(tensors["1.weight"], load_file(fresh / "unlearned.safetensors")["1.weight"])

    def test_the_form_of_a_form_is_the_same_bytes(self, fresh: Path) -> None:
        assert run("canonical", "unlearned.safetensors", "--out", "one.safetensors").exit_code == 0
        assert run("canonical", "one.safetensors", "--out", "two.safetensors").exit_code == 0
        assert (fresh / "one.safetensors").read_bytes() == (fresh / "two.safetensors").read_bytes()

    def test_what_the_low_bits_hide_is_in_no_form(self, fresh: Path) -> None:
        with_low_bits_of(fresh / "unlearned.safetensors", fresh / "original.safetensors", fresh / "carrier.safetensors")
        bare = load_file(fresh / "unlearned.safetensors")
        save_file({n: (t.view(torch.int32) & ~LOW).view(torch.float32) for n, t in bare.items()}, "bare.safetensors")
        digests = []
        for name in ("carrier", "bare"):
            done = run("canonical", f"{name}.safetensors", "--out", f"{name}-form.safetensors")
            digests.append(done.stdout.split("digest ")[1][:64])
        # Rounding goes to the nearest number, by the hidden bits as well: the last bit kept may differ, and no more.
        one, other = (load_file(f"{name}-form.safetensors") for name in ("carrier", "bare"))
        assert all(torch.allclose(one[n], other[n], rtol=2**-6) for n in one)
        assert all(not bool((t.view(torch.int32) & LOW).any()) for t in one.values())

    def test_without_an_original_the_models_own_structure_decides(self, plain: Path, fresh: Path) -> None:
        toml = fresh / "audit.toml"
        toml.write_text(toml.read_text().replace("original =", "# original ="))
        done = run("canonical", "unlearned.safetensors", "--out", "form.safetensors")
        assert done.exit_code == 0, done.output
        audited = found(plain).canonical
        assert audited is not None
        assert audited.digest in done.stdout

    def test_what_is_there_is_not_replaced(self, fresh: Path) -> None:
        (fresh / "form.safetensors").write_bytes(b"mine")
        done = run("canonical", "unlearned.safetensors", "--out", "form.safetensors")
        assert done.exit_code == 2
        assert "form.safetensors exists already and is not replaced" in done.stderr
        assert (fresh / "form.safetensors").read_bytes() == b"mine"

    def test_without_an_architecture_it_says_what_is_missing(self, fresh: Path) -> None:
        toml = fresh / "audit.toml"
        toml.write_text(toml.read_text().replace("architecture =", "# architecture ="))
        done = run("canonical", "unlearned.safetensors", "--out", "form.safetensors")
        assert done.exit_code == 2
        assert "a canonical form needs an architecture, data.forget and data.retain" in done.stderr


class TestLanguageModels:
    """``audit canonical`` of transformers directories and adapters."""

    @pytest.fixture
    def llama(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        """A folder with a tiny original, another model with a dead unit, facts and an audit.toml; entered."""
        family = tiny_family("llama")
        other = family.module(2)
        with torch.no_grad():
            other.model.layers[0].mlp.up_proj.weight[5] = 0.0
        save_directory(family.module(1), family.encoder.tokenizer, tmp_path / "original")
        save_directory(other, family.encoder.tokenizer, tmp_path / "unlearned")
        for name in ("forget", "retain"):
            facts = family.data.forget if name == "forget" else family.data.retain
            lines = [json.dumps({"prompt": f.prompt, "answer": f.answer, "subject": f.subject}) for f in facts.items]
            (tmp_path / f"{name}.jsonl").write_text("\n".join(lines), encoding="utf-8")
        (tmp_path / "audit.toml").write_text(
            '[models]\noriginal = "original"\n[data]\nforget = "forget.jsonl"\nretain = "retain.jsonl"\n'
        )
        monkeypatch.chdir(tmp_path)
        return tmp_path

    def test_a_directory_becomes_a_directory(self, llama: Path) -> None:
        done = run("canonical", "unlearned", "--out", "form")
        assert done.exit_code == 0, done.output
        loaded = load_directory(llama / "form")
        assert f"wrote form, digest {loaded.digest}" in done.stdout
        state = loaded.module.state_dict()
        assert all(torch.equal(t, rounded(t)) for t in state.values() if t.is_floating_point())
        assert not bool(state["model.layers.0.mlp.gate_proj.weight"][5].any())
        assert (llama / "form" / "tokenizer.json").is_file()

    def test_the_form_of_a_form_is_the_same_bytes(self, llama: Path) -> None:
        assert run("canonical", "unlearned", "--out", "one").exit_code == 0
        assert run("canonical", "one", "--out", "two").exit_code == 0
        for name in ("model.safetensors", "config.json", "tokenizer.json"):
            assert (llama / "one" / name).read_bytes() == (llama / "two" / name).read_bytes()

    def test_an_adapter_becomes_the_merged_model(self, llama: Path) -> None:
        from peft import LoraConfig, get_peft_model

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            wrapped = get_peft_model(tiny_family("llama").module(1), LoraConfig(r=2, target_modules=["q_proj"]))
        with torch.no_grad():
            for key, parameter in wrapped.named_parameters():
                parameter.fill_(0.02) if "lora_B" in key else None
        wrapped.save_pretrained("adapter")
        assert run("canonical", "adapter", "--out", "form").exit_code == 0
        plain, merged = load_directory(llama / "original").module, load_directory(llama / "form").module
        names = ("model.layers.0.self_attn.q_proj.weight", "model.layers.0.self_attn.k_proj.weight")
        same = [torch.equal(rounded(plain.state_dict()[n]), merged.state_dict()[n]) for n in names]
        assert same == [False, True]


class TestAudit:
    """The verdict's file."""

    def test_the_results_the_report_and_the_terminal_name_it(self, plain: Path, fresh: Path) -> None:
        done = run("compare")
        form = found(fresh).canonical
        assert form == found(plain).canonical
        assert form is not None
        words = f"This verdict is about the file with digest {form.digest}; no other was audited."
        assert words in done.stdout
        assert words in (fresh / "audit-out" / "report.html").read_text(encoding="utf-8")
        assert not (fresh / "audit-out" / "canonical.safetensors").exists()

    def test_it_is_written_on_request_and_verified(self, plain: Path, fresh: Path) -> None:
        assert run("compare", "--write-canonical").exit_code == 3
        folder, form = fresh / "audit-out", found(fresh).canonical
        assert form is not None
        assert (folder / RESULTS).read_bytes() == (plain / "audit-out" / RESULTS).read_bytes()
        assert noted(folder)["canonical.safetensors"].state == "holds"
        subprocess.run(["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=folder, check=True)
        assert run("canonical", "audit-out/canonical.safetensors", "--out", "again").stdout.count(form.digest) == 1

    def test_another_file_in_its_place_does_not_hold(self, fresh: Path) -> None:
        run("compare", "--write-canonical")
        shutil.copy(fresh / "original.safetensors", fresh / "audit-out" / "canonical.safetensors")
        finding = noted(fresh / "audit-out")["canonical.safetensors"]
        assert finding.state == "fails"
        assert "the verdict is about" in finding.words
        (fresh / "audit-out" / "canonical.safetensors").write_bytes(b"\x00" * 9)
        assert noted(fresh / "audit-out")["canonical.safetensors"].state == "fails"
        (fresh / "audit-out" / "canonical.safetensors").unlink()
        assert noted(fresh / "audit-out")["canonical.safetensors"].state == "note"

    def test_a_form_that_the_scores_do_not_bear_out_does_not_hold(self, fresh: Path) -> None:
        run("compare")
        results = found(fresh)
        forged = results.model_copy(update={"canonical": CanonicalForm(digest="f" * 64, zeroed=0)})
        (fresh / "audit-out" / RESULTS).write_text(forged.to_json(), encoding="utf-8")
        wrong = [f for f in verify(receive(fresh / "audit-out")) if "its canonical" in f.words]
        assert [f.state for f in wrong] == ["fails"]

    def test_a_frozen_plan_may_be_carried_out_with_it(self, fresh: Path) -> None:
        assert run("plan").exit_code == 0
        assert run("compare", "--plan", "plan.json", "--write-canonical").exit_code == 3
        assert (fresh / "audit-out" / "canonical.safetensors").exists()

    def test_the_audit_of_the_form_itself_says_the_same(self, plain: Path, fresh: Path) -> None:
        run("canonical", "unlearned.safetensors", "--out", "form.safetensors")
        auditor.compare(unlearned="form.safetensors", config="audit.toml", out="second")
        second = read_results(Path("second") / RESULTS)
        first = found(plain)
        assert [e.scores for e in second.evidence] == [e.scores for e in first.evidence]
        assert second.canonical is not None
        assert first.canonical is not None
        assert second.canonical.digest == first.canonical.digest == second.plan.models_of("unlearned")[0].digest

    def test_an_original_with_other_low_bits_is_still_the_original(self, fresh: Path) -> None:
        original = load_file("original.safetensors")
        low = {n: (t.view(torch.int32) ^ 1).view(torch.float32) for n, t in original.items()}
        save_file(low, "same.safetensors")
        results = auditor.compare(unlearned="same.safetensors", config="audit.toml").results
        evidence = results.of("weight_delta")
        assert evidence is not None
        assert evidence.conclusive == (
            "all weights of the original are there, up to their canonical form: nothing was deleted from them"
        )
        assert results.verdict.outcome in ("SUPPRESSED", "NOT_FORGOTTEN")

    def test_so_it_is_without_an_architecture(self, fresh: Path) -> None:
        original = load_file("original.safetensors")
        save_file({n: (t.view(torch.int32) ^ 1).view(torch.float32) for n, t in original.items()}, "same.safetensors")
        alone = {"checks": ("weight_delta",)}
        results = auditor.compare("original.safetensors", "same.safetensors", options={"audit": alone}).results
        evidence = results.of("weight_delta")
        assert evidence is not None
        assert "all weights of the original are there" in (evidence.conclusive or "")
        assert results.canonical is None
        asked = {"audit": {**alone, "write_canonical": True}}
        with pytest.raises(SpecError, match="a canonical form needs an architecture"):
            auditor.compare("original.safetensors", "same.safetensors", options=asked)

    def test_a_reference_that_is_a_copy_but_for_its_low_bits_is_refused(self, fresh: Path) -> None:
        original = load_file("original.safetensors")
        save_file(
            {n: (t.view(torch.int32) ^ 1).view(torch.float32) for n, t in original.items()}, "reference-3.safetensors"
        )
        with pytest.raises(SpecError, match=r"reference-3.safetensors holds the same weights as original.safetensors"):
            auditor.compare(config="audit.toml")

    def test_what_is_consistent_with_deletion_may_be_deployed_as_that_file(self) -> None:
        form = CanonicalForm(digest="a" * 64, zeroed=0)
        assert deploy(form, "DELETED") == (f"This verdict is about the file with digest {'a' * 64}; deploy that file.",)
        assert deploy(None, "DELETED") == ()

    def test_predictions_that_the_form_turns_are_said_at_the_top(self, plain: Path) -> None:
        results = found(plain)
        assert results.canonical is not None
        assert (results.canonical.disagreement or 0) <= 0.01
        turned = results.canonical.model_copy(update={"disagreement": 0.25})
        page = render(results.model_copy(update={"canonical": turned}))
        assert "The file as given and its canonical form disagree on 25.0\u00a0% of retain predictions" in page
        assert "disagree" not in render(results)
