"""``hf:`` names: pinned to a commit, linked beside audit.toml, and fetched only where that was allowed."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from huggingface_hub import constants

import auditor
from auditor.errors import DataError, ModelError, SpecError
from auditor.loading.hub import pinned
from auditor.models.references import save_directory
from auditor.records.spec import AuditSpec, DataSpec, ModelsSpec, RunSpec
from auditor.review.rerun import files_at_hand
from auditor.run.preparing import prepare
from auditor.tasks.causal_lm.readers import read_facts, write_facts
from auditor.zoo.text.people import people_world
from auditor.zoo.text.people_model import people_model, word_tokenizer
from tests.command_line import audit

COMMIT = "a" * 40


@pytest.fixture(scope="module")
def repositories(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the hub would hold: two models, one of them beside what must never be fetched, and facts in splits."""
    world = people_world(0, forget=4, retain=6, holdout=0)
    tokenizer = word_tokenizer(world.words)
    top = tmp_path_factory.mktemp("hub")
    for seed, name in enumerate(("tiny", "tiny-unlearned")):
        module = people_model(len(tokenizer))()
        next(iter(module.parameters())).data.add_(seed)
        save_directory(module, tokenizer, top / "models/org" / name)
    for name in ("pytorch_model.bin", "modeling_tiny.py", "onnx/model.safetensors"):
        path = top / "models/org/tiny" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("raise SystemExit('never opened')")
    facts = top / "datasets/org/facts"
    (facts / "data").mkdir(parents=True)
    write_facts(world.forget, facts / "forget10.json")
    write_facts(world.retain, facts / "data/retain90-00000-of-00001.jsonl")
    for part in range(2):
        write_facts(world.retain, facts / f"data/long-0000{part}-of-00002.jsonl")
    (facts / "loader.py").write_text("raise SystemExit('never run')")
    return top


@pytest.fixture
def cache(repositories: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The hub's cache as it is left behind by earlier downloads, and no network."""
    folder = tmp_path / "cache"
    for kind in ("models", "datasets"):
        for path in (repositories / kind / "org").iterdir():
            place = folder / f"{kind}--org--{path.name}"
            shutil.copytree(path, place / "snapshots" / COMMIT)
            (place / "refs").mkdir()
            for name in ("main", "v1"):
                (place / "refs" / name).write_text(COMMIT)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(folder))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return folder


def spec_of(original: str | None = None, forget: str | None = None) -> AuditSpec:
    return AuditSpec(models=ModelsSpec(original=original), data=DataSpec(forget=forget))


def pinned_data(forget: str) -> str | None:
    return pinned(spec_of(forget=forget), Path(), allowed=True).data.forget


@pytest.mark.usefixtures("cache")
class TestPinning:
    @pytest.mark.parametrize("name", ["hf:org/tiny", "hf:org/tiny@v1", f"hf:org/tiny@{COMMIT}"])
    def test_a_model_is_pinned_to_its_commit(self, name: str) -> None:
        found = pinned(spec_of(name), Path(), allowed=True)
        assert found.models.original == f"hf:org/tiny@{COMMIT}"
        assert (Path(found.models.original) / "config.json").is_file()
        assert pinned(found, Path(), allowed=False) == found, "what is at hand is fetched no more"

    @pytest.mark.parametrize(
        ("name", "file"),
        [
            ("hf:org/facts:forget10", "forget10.json"),
            ("hf:org/facts@v1:forget10[prompt,answer]", "forget10.json[prompt,answer]"),
            ("hf:org/facts:retain90", "data/retain90-00000-of-00001.jsonl"),
            ("hf:org/facts:data/retain90", "data/retain90-00000-of-00001.jsonl"),
            ("hf:org/facts@main/forget10.json", "forget10.json"),
        ],
    )
    def test_a_split_is_pinned_to_its_file(self, name: str, file: str) -> None:
        found = pinned_data(name)
        assert found == f"hf:org/facts@{COMMIT}/{file}"
        assert len(read_facts(found, Path())) > 3
        assert pinned(spec_of(forget=found), Path(), allowed=False).data.forget == found

    def test_nothing_is_fetched_unless_it_is_allowed(self) -> None:
        for spec, field in (
            (spec_of("hf:org/tiny"), "models.original"),
            (spec_of(forget="hf:org/facts:a"), "data.forget"),
        ):
            with pytest.raises(
                SpecError, match=rf"{field} = 'hf:.*nothing is fetched unless you say so: add --allow-d"
            ):
                pinned(spec, Path(), allowed=False)
        assert not list(Path().iterdir())

    @pytest.mark.parametrize(
        ("name", "words"),
        [
            ("hf:org/facts:forget01", "should be one file of org/facts, and there are none of .parquet, .jsonl"),
            ("hf:org/facts:long", "there are 2 files, data/long-00000-of-00002.jsonl, data/long"),
            ("hf:org/absent:train", "the dataset org/absent cannot be fetched from the hub"),
            ("hf:org/facts@v2:forget10", "the dataset org/facts@v2 cannot be fetched"),
        ],
    )
    def test_a_split_that_is_no_single_file(self, name: str, words: str) -> None:
        with pytest.raises(DataError, match=words):
            pinned_data(name)

    def test_a_model_that_is_not_there(self) -> None:
        with pytest.raises(ModelError, match="the model org/absent cannot be fetched from the hub"):
            pinned(spec_of("hf:org/absent"), Path(), allowed=True)

    @pytest.mark.parametrize("name", ["hf:tiny", "hf:org/tiny/file", "hf:", "hf:org/tiny@a/../b", "hf:../../etc@x y"])
    def test_a_name_of_another_form(self, name: str) -> None:
        with pytest.raises(SpecError, match="is not of the form hf:org/model or hf:org/model@revision"):
            pinned(spec_of(name), Path(), allowed=True)

    def test_a_name_leads_nowhere_else(self) -> None:
        for name in ("hf:../..", "hf:org/facts/../../x.json"):
            with pytest.raises((ModelError, DataError)):
                pinned(spec_of(name) if name == "hf:../.." else spec_of(forget=name), Path(), allowed=True)
        assert not list(Path().iterdir())

    def test_a_link_into_a_cache_that_was_emptied_is_made_again(self, cache: Path) -> None:
        spec = pinned(spec_of("hf:org/tiny"), Path(), allowed=True)
        link = Path(str(spec.models.original))
        link.unlink()
        link.symlink_to(cache / "gone")
        assert pinned(spec, Path(), allowed=True) == spec
        assert link.is_dir()


GIVEN = (
    "hf:org/tiny",
    "hf:org/tiny-unlearned",
    "--forget",
    "hf:org/facts:forget10",
    "--retain",
    "hf:org/facts:retain90",
)


@pytest.mark.usefixtures("cache")
def test_a_plan_names_commits() -> None:
    spec = AuditSpec(
        models=ModelsSpec(original="hf:org/tiny", unlearned="hf:org/tiny-unlearned"),
        data=DataSpec(forget="hf:org/facts:forget10", retain="hf:org/facts:retain90"),
        audit=RunSpec(checks=("weight_delta",)),
    )
    plan = prepare(pinned(spec, Path(), allowed=True), Path(), {}).plan
    assert [model.source for model in plan.models_of("original")] == [f"hf:org/tiny@{COMMIT}"]
    assert plan.asked.models.unlearned == f"hf:org/tiny-unlearned@{COMMIT}"
    assert plan.data[0].source == f"hf:org/facts@{COMMIT}/forget10.json"
    assert plan.data[0].file_digest is not None
    assert {finding.state for finding in files_at_hand(plan, Path())} == {"holds"}, "names are paths to a reviewer, too"


@pytest.mark.usefixtures("cache")
def test_the_commands_ask_before_they_fetch_and_write_what_they_fetched() -> None:
    refused = audit("init", *GIVEN)
    assert refused.exit_code == 2
    assert refused.stderr.startswith(
        "audit: models.original = 'hf:org/tiny' is to be fetched from the Hugging Face hub"
    )
    assert refused.stderr.count("\n") == 1
    drafted = audit("init", *GIVEN, "--allow-download")
    assert drafted.exit_code == 0, drafted.output
    text = Path("audit.toml").read_text()
    assert f'original = "hf:org/tiny@{COMMIT}"  # causal-lm model by config.json' in text
    assert f'forget = "hf:org/facts@{COMMIT}/forget10.json"  # ' in text
    planned = audit("compare", "--dry-run")
    assert "hub" not in planned.output, "it is at hand"


@pytest.mark.usefixtures("cache")
def test_a_name_is_no_path_of_another_folder(tmp_path: Path) -> None:
    Path("audit.toml").write_text("")
    audit("doctor", "hf:org/tiny", "hf:org/tiny", "--config", "../here/audit.toml", "--allow-download")
    assert (tmp_path / "here" / f"hf:org/tiny@{COMMIT}").is_dir()


@pytest.mark.usefixtures("cache")
def test_a_call_from_python_fetches_nothing() -> None:
    with pytest.raises(ModelError, match="hf:org/tiny is on the Hugging Face hub and not here; a command of `audit`"):
        auditor.compare("hf:org/tiny", "hf:org/tiny-unlearned")


class _Hub(BaseHTTPRequestHandler):
    """As much of the hub's interface as a download needs; what is asked for is written down."""

    top: Path
    asked: list[str]

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, body: bool) -> None:
        path = self.path.partition("?")[0]
        self.asked.append(path)
        if path.startswith("/api/"):
            _, _, kind, org, name, *rest = path.split("/")
            files = [p for p in (self.top / kind / org / name).rglob("*") if p.is_file()]
            names = [p.relative_to(self.top / kind / org / name).as_posix() for p in files]
            listed = [{"type": "file", "path": n, "size": 1, "oid": "0"} for n in names]
            about = {"id": f"{org}/{name}", "sha": COMMIT, "siblings": [{"rfilename": n} for n in names]}
            content = json.dumps(listed if rest[:1] == ["tree"] else about).encode()
        else:
            before, _, after = path.partition("/resolve/")
            kind = "" if before.startswith("/datasets/") else "models"
            content = (self.top / kind / before[1:] / after.partition("/")[2]).read_bytes()
        self.send_response(200)
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if body:
            self.wfile.write(content)

    def log_message(self, format: str, *arguments: object) -> None:
        pass


@pytest.fixture
def hub(repositories: Path) -> Iterator[ThreadingHTTPServer]:
    handler = type("Hub", (_Hub,), {"top": repositories, "asked": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


def test_of_a_model_only_weights_and_configuration_are_fetched(hub: ThreadingHTTPServer, tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    environment |= {"HF_ENDPOINT": f"http://127.0.0.1:{hub.server_port}", "HF_HOME": str(tmp_path / "home")}
    environment |= {"HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_OFFLINE": "0"}
    sets = ("--forget", "hf:org/facts:forget10", "--retain", "hf:org/facts:retain90")
    done = subprocess.run(
        [sys.executable, "-m", "auditor", "init", "hf:org/tiny", "hf:org/tiny-unlearned", *sets, "--allow-download"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    got = {path.name for path in (tmp_path / f"hf:org/tiny@{COMMIT}").rglob("*") if path.is_file()}
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= got
    asked = hub.RequestHandlerClass.asked  # type: ignore[attr-defined]
    assert not [path for path in asked if path.endswith((".py", ".bin")) or "onnx" in path]
    assert f"hf:org/facts@{COMMIT}/data/retain90-00000-of-00001.jsonl" in (tmp_path / "audit.toml").read_text()
