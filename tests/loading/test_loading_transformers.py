"""Transformers directories, their configurations, preprocessing, adapters and shards."""

import json
from pathlib import Path

import pytest
import safetensors.torch
import torch

from auditor.errors import ModelError, UnsafeInputError
from auditor.loading import adapters
from auditor.loading.adapters import check_adapter
from auditor.loading.checkpoints import weights_digest
from auditor.loading.configuration import check_configuration
from auditor.loading.image_processor import preprocessing_of
from auditor.loading.preprocessing import Preprocessing
from auditor.loading.tokenizers import load_tokenizer
from auditor.loading.transformers_directory import load_directory
from auditor.tasks.classification.sets import AuditData, Examples
from auditor.tasks.classification.structure import find_layout
from auditor.tasks.classification.subject import Classifier
from tests.checkpoint_files import same


@pytest.fixture(scope="module")
def vit():
    from transformers import ViTConfig, ViTForImageClassification

    torch.manual_seed(0)
    config = ViTConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64, image_size=16,
        patch_size=8, num_labels=5, initializer_range=0.5,
    )  # fmt: skip
    return ViTForImageClassification(config).eval()


@pytest.fixture
def directory(vit, tmp_path):
    vit.save_pretrained(tmp_path / "vit")
    return tmp_path / "vit"


def edit(path: Path, **fields: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


def test_a_directory_loads_exactly_and_quietly_without_network(vit, directory, monkeypatch, capfd):
    def no_network(*_):
        raise AssertionError("a socket was opened")

    monkeypatch.setattr("socket.socket.connect", no_network)
    capfd.readouterr()
    loaded = load_directory(directory)
    assert same(loaded.module.state_dict(), vit.state_dict())
    assert loaded.digest == weights_digest(vit.state_dict())
    images = torch.randn(2, 3, 16, 16)
    with torch.no_grad():
        assert torch.equal(loaded.module(images).logits, vit(images).logits)
    assert "".join(capfd.readouterr()) == ""


def test_a_transformer_can_be_cut_recorded_and_made_canonical(directory):
    module = load_directory(directory).module
    images = torch.randn(24, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    sets = [Examples(raw=images[i::3], labels=torch.arange(8) % 5) for i in range(3)]
    data = AuditData(
        request="class", classes=(0,), n_classes=5, forget_attack=sets[0], forget_eval=sets[1], retain=sets[2]
    )
    layout = find_layout(module, images[:8])
    assert layout.n_classes == 5
    assert layout.head == "classifier"
    assert layout.layers[-1] == "classifier:input"
    assert len(layout.layers) >= 3, "the blocks are cut points"
    subject = Classifier(module, role="original", digest="d", layout=layout, data=data)
    recording = subject.recording("retain")
    assert recording.logits.shape == (8, 5)
    assert {f.shape[1] for f in recording.features.values()} == {32}
    canonical = subject.canonical()
    assert torch.allclose(canonical.logits(sets[1]), subject.logits(sets[1]), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("fields", "kind", "message"),
    [
        ({"auto_map": {"AutoModel": "evil.Net"}}, UnsafeInputError, "auto_map brings code"),
        ({"nested": [{"auto_map": {"x": "y"}}]}, UnsafeInputError, "auto_map brings code"),
        ({"_attn_implementation_internal": "evil/kernel"}, UnsafeInputError, "_attn_implementation_internal"),
        ({"attn_implementation": "evil/kernel"}, UnsafeInputError, "attn_implementation"),
        ({"backbone": "resnet18"}, UnsafeInputError, "backbone"),
        ({"vision_config": {"model_type": "timm_wrapper"}}, UnsafeInputError, "part of type timm_wrapper"),
        ({"nested": {"model_args": {"checkpoint_path": "x.pth"}}}, UnsafeInputError, "model_args brings code"),
        # Its defaults bring a backbone of timm's, which the file does not name.
        ({"model_type": "detr", "architectures": ["DetrForObjectDetection"]}, UnsafeInputError, "that timm makes"),
        ({"model_type": "t5", "architectures": ["T5PreTrainedModel"]}, ModelError, "for other configurations"),
        ({"num_hidden_layers": 10**6}, UnsafeInputError, "num_hidden_layers is 1000000, beyond 1000"),
        ({"hidden_size": 10**9}, UnsafeInputError, "hidden_size is 1000000000, beyond"),
        (
            {"intermediate_size": 10**7},
            ModelError,
            "describes a model of .* parameters but model.safetensors holds",
        ),
        ({"hidden_size": "wide"}, ModelError, "fits no model"),
        ({"model_type": "t5"}, ModelError, "which is for other configurations"),
        ({"model_type": "t5", "architectures": ["AutoModel"]}, ModelError, "AutoModel, which is no network"),
        ({"model_type": "t5", "architectures": "os.system"}, ModelError, "name nothing, which is no network"),
        ({"model_type": "../evil"}, ModelError, "of type ../evil, which transformers has no network for"),
        (
            {"num_labels": 7, "id2label": {str(i): str(i) for i in range(7)}},
            ModelError,
            "mismatched keys, classifier",
        ),
        ({"num_hidden_layers": 1}, ModelError, "unexpected keys"),
    ],
)
def test_configurations_that_are_refused(directory, fields, kind, message):
    edit(directory / "config.json", **fields)
    with pytest.raises(kind, match=message):
        load_directory(directory)


@pytest.mark.parametrize(
    "field",
    [
        *("auto_map", "custom_pipelines", "trust_remote_code", "quantization_config", "kernel_config", "use_kernels"),
        *("use_pretrained_backbone", "use_timm_backbone", "backbone", "adapter", "experts_implementation"),
    ],
)
def test_a_hostile_field_is_refused_at_every_depth(field):
    for place in ({field: "x"}, {"a": {"b": {field: {"c": 1}}}}, {"a": [[{field: True}]]}):
        with pytest.raises(UnsafeInputError, match=f"its field {field} brings code or weights from elsewhere"):
            check_configuration(place, Path("config.json"))
    check_configuration({field: None, "a": {field: False}}, Path("config.json"))


@pytest.mark.parametrize("place", [{"num_hidden_layers": 1001}, {"depths": [2, 2000]}, {"a": {"width": -(10**8)}}])
def test_an_absurd_size_is_refused_at_every_depth(place):
    with pytest.raises(UnsafeInputError, match="beyond 1"):
        check_configuration(place, Path("config.json"))


@pytest.mark.parametrize(
    ("limit", "name", "reader"),
    [
        ("transformers_directory._MAX_CONFIG_BYTES", "config.json", load_directory),
        ("transformers_directory._MAX_CONFIG_BYTES", "preprocessor_config.json", preprocessing_of),
        ("tokenizers._MAX_BYTES", "tokenizer.json", load_tokenizer),
        ("adapters._MAX_CONFIG_BYTES", "adapter_config.json", check_adapter),
    ],
)
def test_a_description_without_end_is_refused_before_it_is_read(tmp_path, monkeypatch, limit, name, reader):
    (tmp_path / name).write_text("{}" + " " * 9)
    monkeypatch.setattr(f"auditor.loading.{limit}", 10)
    with pytest.raises((UnsafeInputError, ModelError), match=rf"{name}.* has more than 10 bytes"):
        reader(tmp_path)


def test_a_configuration_keeps_only_what_its_class_declares(vit, directory):
    edit(directory / "config.json", to_dict="x", _name_or_path="../evil", surprise={"code": "evil"})
    config = load_directory(directory).module.config
    assert config.to_dict().keys() == vit.config.to_dict().keys()
    assert not vars(config).keys() & {"to_dict", "surprise"}
    assert "evil" not in str(vars(config))


def test_old_names_of_a_configuration_still_count(tmp_path):
    from auditor.zoo.text.people_model import people_model

    people_model(40, layers=1, width=16)().save_pretrained(tmp_path)
    fields = json.loads((tmp_path / "config.json").read_text())
    del fields["rope_parameters"]
    (tmp_path / "config.json").write_text(json.dumps({**fields, "rope_theta": 777.0, "torch_dtype": "float32"}))
    assert load_directory(tmp_path).module.config.rope_parameters["rope_theta"] == 777.0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: w.to(torch.int8), r"holds 'classifier\.bias' as int8, which the network does not compute with"),
        (lambda w: w.to(torch.complex64), r"'classifier\.bias' as complex64"),
        (lambda w: torch.full_like(w, 1e300, dtype=torch.float64), r"'classifier\.bias' that are beyond float32"),
    ],
)
@pytest.mark.filterwarnings("ignore:Casting complex")
def test_weights_of_another_type_than_the_network_are_refused(directory, change, message):
    weights = safetensors.torch.load_file(directory / "model.safetensors")
    weights["classifier.bias"] = change(weights["classifier.bias"])
    safetensors.torch.save_file(weights, directory / "model.safetensors")
    with pytest.raises(ModelError, match=message):
        load_directory(directory)


def test_a_headless_model_is_not_given_a_random_head(directory):
    weights = safetensors.torch.load_file(directory / "model.safetensors")
    safetensors.torch.save_file(
        {k: v for k, v in weights.items() if not k.startswith("classifier")}, directory / "model.safetensors"
    )
    with pytest.raises(ModelError, match=r"2 missing keys, classifier\.bias first"):
        load_directory(directory)


def test_pickled_weights_are_refused_and_sharded_ones_explained(directory):
    weights = directory / "model.safetensors"
    torch.save({"w": torch.ones(1)}, weights)
    with pytest.raises(UnsafeInputError, match="not in safetensors format"):
        load_directory(directory)
    weights.rename(directory / "pytorch_model.bin")
    with pytest.raises(UnsafeInputError, match=r"its weights are in pytorch_model\.bin"):
        load_directory(directory)
    (directory / "pytorch_model.bin").rename(directory / "notes.txt")
    with pytest.raises(ModelError, match=r"has no model\.safetensors"):
        load_directory(directory)
    (directory / "config.json").write_text("{")
    with pytest.raises(ModelError, match="not valid JSON"):
        load_directory(directory)
    (directory / "config.json").unlink()
    with pytest.raises(ModelError, match=r"config\.json does not exist"):
        load_directory(directory)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (
            {
                "size": {"height": 16, "width": 24},
                "image_mean": [0.5, 0.4, 0.3],
                "image_std": [0.2, 0.2, 0.2],
            },
            Preprocessing(resize=(16, 24), mean=(0.5, 0.4, 0.3), std=(0.2, 0.2, 0.2)),
        ),
        ({"size": 32, "do_normalize": False, "image_mean": [0.5]}, Preprocessing(resize=(32, 32))),
        ({"do_resize": False, "size": 32, "rescale_factor": 1 / 255}, Preprocessing()),
        (
            {"size": {"shortest_edge": 8}, "do_center_crop": True, "crop_size": {"height": 8, "width": 8}},
            Preprocessing(resize=(8, 8)),
        ),
    ],
)
def test_preprocessing_is_read(tmp_path, fields, expected):
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(fields))
    assert preprocessing_of(tmp_path) == expected


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"do_rescale": False}, "does not scale pixels by 1/255"),
        ({"rescale_factor": 1 / 127.5}, "does not scale pixels by 1/255"),
        ({"rescale_factor": "1/255"}, "does not scale pixels by 1/255"),
        ({"rescale_factor": 10**400}, "malformed"),
        ({"size": {"shortest_edge": 256}, "do_center_crop": True, "crop_size": 224}, "crops to another size"),
        ({"size": {"tall": 3}}, "malformed size"),
        ({"image_mean": "grey"}, "malformed"),
    ],
)
def test_preprocessing_that_cannot_be_expressed_is_said(tmp_path, fields, message):
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(fields))
    with pytest.raises(ModelError, match=message):
        preprocessing_of(tmp_path)


def test_absent_preprocessing_is_not_taken_for_none(tmp_path):
    with pytest.raises(ModelError, match=r"preprocessor_config\.json does not exist"):
        preprocessing_of(tmp_path)


def test_an_adapters_configuration_is_rebuilt_from_what_is_kept(tmp_path):
    path = tmp_path / "adapter_config.json"
    elsewhere = {"base_model_name_or_path": "evil/evil", "revision": "evil", "auto_mapping": {"x": "evil"}}
    path.write_text(json.dumps({"peft_type": "LORA", "r": 4, "target_modules": ["q"], "lora_bias": False, **elsewhere}))
    assert adapters._configuration(tmp_path, {}) == {"r": 4, "target_modules": ["q"]}
    for field in ("megatron_core", "layer_replication", "modules_to_save", "eva_config", "never_heard_of"):
        path.write_text(json.dumps({"peft_type": "LORA", field: "evil"}))
        with pytest.raises(ModelError, match=f"asks for {field}, which is not read"):
            adapters._configuration(tmp_path, {})
    path.write_text(json.dumps({"peft_type": "IA3", "r": 4}))
    with pytest.raises(ModelError, match="describes no LoRA adapter"):
        adapters._configuration(tmp_path, {})


class TestShards:
    """A language model whose weights stand in several files, as transformers writes large ones."""

    @pytest.fixture
    def sharded(self, tmp_path):
        from auditor.zoo.text.people_model import people_model

        module = people_model(40, layers=1, width=16)()
        module.save_pretrained(tmp_path, max_shard_size="5KB")
        assert not (tmp_path / "model.safetensors").exists()
        return module, tmp_path

    def test_are_read_as_one(self, sharded):
        module, folder = sharded
        loaded = load_directory(folder)
        assert loaded.task == "causal-lm"
        for name, tensor in module.state_dict().items():
            assert torch.equal(loaded.module.state_dict()[name], tensor)

    def test_a_missing_shard_is_named(self, sharded):
        _, folder = sharded
        first = sorted(folder.glob("model-*.safetensors"))[0]
        first.unlink()
        with pytest.raises(ModelError, match=first.name):
            load_directory(folder)

    @pytest.mark.parametrize("name", ["../model.safetensors", "model.bin", "/etc/passwd"])
    def test_files_from_elsewhere_are_refused(self, sharded, name):
        _, folder = sharded
        edit(folder / "model.safetensors.index.json", weight_map={"lm_head.weight": name})
        with pytest.raises(ModelError, match=r"should name \.safetensors files beside it"):
            load_directory(folder)
