"""A local transformers model: ``config.json`` and safetensors, nothing else.

The weights are read and checked like any checkpoint, the configuration is checked here, and transformers is
handed both in memory: it opens no file of the directory, reaches no network and runs no code out of it.
"""

import json
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import torch
from pydantic import JsonValue
from torch import Tensor, nn

from auditor.digests import bytes_digest, text_digest
from auditor.errors import ModelError
from auditor.loading.archive import FROM_KERAS
from auditor.loading.checkpoints import check_still_finite, load_safetensors, network_digest
from auditor.loading.configuration import OTHER_LIBRARY, check_configuration, rebuilt
from auditor.loading.tensors import plain, refused, shown
from auditor.randomness import torch_seed

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel

WEIGHTS, CONFIG = "model.safetensors", "config.json"
_TENSORFLOW = "saved_model.pb"
INDEX = "model.safetensors.index.json"
_NOUNS = {"classification": "image classifier", "causal-lm": "causal language model"}
_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pickle", ".pkl", ".h5", ".msgpack")
# What transformers raises for a configuration that fits no model is up to the code of that model.
# ImportError: of a library that a part of it asks for.
_MISFITS = (ValueError, TypeError, LookupError, ArithmeticError, RuntimeError, AttributeError, ImportError)
# It is parsed as JSON in the audit's own process.
_MAX_CONFIG_BYTES = 2**20
_Keys = Collection[str | tuple[str, ...]]
"""What a load report lists: names of tensors, or tuples that begin with one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LoadedDirectory:
    """A network out of a transformers directory.

    Attributes:
        module: in eval mode.
        file_digest: SHA-256 of ``model.safetensors``, or over those of its shards.
        task: ``classification`` or ``causal-lm``, by the model's type; None for any other.
        source_digest: SHA-256 of what its structure comes from: config.json and the transformers version.
    """

    module: nn.Module
    file_digest: str
    source_digest: str
    task: str | None

    @property
    def digest(self) -> str:
        """Content digest of the network, not of the files: the same in shards or in a narrower type."""
        return network_digest(self.module.state_dict())


def load_directory(directory: Path, *, own_type: bool = False) -> LoadedDirectory:
    """Load an image classifier, a causal language model, or the network that config.json names in ``architectures``.

    Args:
        directory: with ``config.json`` and safetensors.
        own_type: whether the network keeps the type that its weights are saved in, where all have one; else float32.

    Raises:
        ModelError: a file is missing or malformed, the model is none of transformers', weights do not fit.
        UnsafeInputError: the weights are pickles, or the configuration brings code.
    """
    text = read_small(directory / CONFIG, "a transformers directory has one")
    configuration = parse_object(text, directory / CONFIG)
    # Before transformers sees any of it.
    check_configuration(configuration, directory / CONFIG)
    task = _task(configuration)
    tensors, file_digest = _weights(directory)
    dtype = _own_type(tensors) if own_type else torch.float32
    module = _build(configuration, tensors, directory, task, dtype)
    import transformers

    # The structure is transformers' code for this configuration; another version may build another network.
    source = bytes_digest(text + transformers.__version__.encode())
    return LoadedDirectory(module=module, file_digest=file_digest, source_digest=source, task=task)


def _own_type(tensors: Mapping[str, Tensor]) -> torch.dtype:
    found = {tensor.dtype for tensor in tensors.values() if tensor.is_floating_point()}
    # Types of eight bits are for keeping and not for computing.
    narrow = found <= {torch.bfloat16} or found <= {torch.float16}
    return next(iter(found), torch.float32) if narrow else torch.float32


def task_of(directory: Path) -> str:
    """``classification`` or ``causal-lm``, by the type in config.json.

    Raises:
        ModelError: there is no readable config.json, or the type is neither.
    """
    path = directory / CONFIG
    configuration = parse_object(read_small(path, "a transformers directory has one"), path)
    found = _task(configuration)
    if found is None:
        kind = plain(str(configuration.get("model_type")))
        raise ModelError(
            f"{shown(directory)} holds a model of type {kind}, which transformers "
            "knows no image classifier and no causal language model for; name the task that it is of in models.task "
            "(`audit list --extensions`), or give the architecture as module.py:function and the weights as a file"
        )
    return found


def _task(configuration: Mapping[str, JsonValue]) -> str | None:
    from transformers import CONFIG_MAPPING

    kind = str(configuration.get("model_type"))
    known = _is_known(kind) and not _is_dual_encoder(configuration, kind)
    return next((task for task in _NOUNS if known and CONFIG_MAPPING[kind] in _networks(task)), None)


def _is_dual_encoder(configuration: Mapping[str, JsonValue], kind: str) -> bool:
    """Whether it was saved as one (CLIP, SigLIP): transformers can also put a classifier of images around its type."""
    from transformers.models.auto import modeling_auto

    network = modeling_auto.MODEL_FOR_ZERO_SHOT_IMAGE_CLASSIFICATION_MAPPING_NAMES.get(kind)
    return network is not None and configuration.get("architectures") == [network]


def _is_known(kind: str) -> bool:
    from transformers import CONFIG_MAPPING

    # timm's networks come from another library, by names that the file chooses.
    return kind in CONFIG_MAPPING and not kind.startswith(OTHER_LIBRARY)


def _refuse_other_libraries(config: "PreTrainedConfig", directory: Path) -> None:
    """Defaults may bring what the file does not name, as DETR's bring a backbone of timm's."""
    if str(config.model_type).startswith(OTHER_LIBRARY) or getattr(config, "use_timm_backbone", False):
        raise refused(directory, f"its configuration has a part that {OTHER_LIBRARY} makes; save another model")
    for part in vars(config).values():
        if hasattr(part, "model_type"):
            _refuse_other_libraries(part, directory)


def _networks(task: str) -> "Mapping[type[PreTrainedConfig], type[PreTrainedModel]]":
    from transformers.models.auto import modeling_auto

    # The ignores: one type serves all of transformers' mappings, those to pairs of tokenizers too; these give classes.
    if task == "classification":
        return modeling_auto.MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING  # type: ignore[return-value]
    return modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING  # type: ignore[return-value]


def _network(
    configuration: Mapping[str, JsonValue], config: "PreTrainedConfig", task: str | None
) -> "type[PreTrainedModel]":
    """The class of the network: by the task, else by the name that save_pretrained wrote.

    Raises:
        ValueError: the name is of no network for this configuration.
    """
    if task is not None:
        return _networks(task)[type(config)]
    import transformers

    names = configuration.get("architectures")
    name = str(names[0]) if isinstance(names, list) and names else ""
    # The library's own classes alone: a file chooses among them and brings none.
    found = getattr(transformers, name, None) if name.isidentifier() else None
    if not isinstance(found, type) or not issubclass(found, transformers.PreTrainedModel):
        raise ValueError(f"its architectures name {name or 'nothing'}, which is no network of transformers")
    # Bases of networks are none themselves.
    if found.config_class is not type(config) or name.endswith("PreTrainedModel"):
        raise ValueError(f"its architectures name {name}, which is for other configurations")
    return found


def read_small(path: Path, why: str) -> bytes:
    """A file of JSON in the directory.

    Raises:
        ModelError: it is missing, or the directory holds another kind of model.
        UnsafeInputError: it is too large to be parsed here.
    """
    if (path.parent / _TENSORFLOW).is_file():
        raise ModelError(f"{shown(path.parent)} is a TensorFlow SavedModel, as Keras writes it; {FROM_KERAS}")
    if not path.is_file():
        raise ModelError(f"{shown(path)} does not exist, but {why}; save the model with save_pretrained")
    if path.stat().st_size > _MAX_CONFIG_BYTES:
        raise refused(path, f"it has more than {_MAX_CONFIG_BYTES} bytes; save it again")
    return path.read_bytes()


def parse_object(text: bytes, path: Path) -> dict[str, JsonValue]:
    """The JSON object in a file's text.

    Raises:
        ModelError: it is none.
    """
    try:
        parsed = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{shown(path)} is not valid JSON ({plain(error)}); save the model again") from None
    if not isinstance(parsed, dict):
        raise ModelError(f"{shown(path)} should hold a JSON object; save the model again")
    return parsed


def _weights(directory: Path) -> tuple[dict[str, Tensor], str]:
    """Tensors by name, and the SHA-256 of the file or, for several shards, over theirs in the order of their names."""
    # A single file comes before shards, as in transformers: both read the same model.
    if not (directory / INDEX).is_file() or (directory / WEIGHTS).is_file():
        _check_weight_files(directory)
        weights = load_safetensors(directory / WEIGHTS)
        return weights.tensors, weights.file_digest
    tensors: dict[str, Tensor] = {}
    digests = []
    for name in _shards(directory):
        weights = load_safetensors(directory / name)
        tensors |= weights.tensors
        digests.append(weights.file_digest)
    return tensors, text_digest(" ".join(digests))


def _shards(directory: Path) -> list[str]:
    index = parse_object(read_small(directory / INDEX, "its weights are in shards"), directory / INDEX)
    named = index.get("weight_map")
    names = sorted(set(map(str, named.values()))) if isinstance(named, dict) else []
    # A name with a folder in it could lead out of the directory.
    outside = [name for name in names if Path(name).name != name or not name.endswith(".safetensors")]
    if not names or outside:
        raise ModelError(
            f"{shown(directory / INDEX)} should name .safetensors files beside it; save the model with save_pretrained"
        )
    return names


def _check_weight_files(directory: Path) -> None:
    if (directory / WEIGHTS).is_file():
        return
    pickles = sorted(path.name for path in directory.iterdir() if path.suffix in _PICKLES)
    if pickles:
        raise refused(
            directory,
            f"its weights are in {plain(pickles[0])}, which can run code when opened; if you trust it, "
            "convert it with save_pretrained, which writes model.safetensors",
        )
    raise ModelError(f"{shown(directory)} has no {WEIGHTS} and no {INDEX}; save the model with save_pretrained")


def _build(
    configuration: Mapping[str, JsonValue],
    tensors: dict[str, Tensor],
    directory: Path,
    task: str | None,
    dtype: torch.dtype,
) -> nn.Module:
    from huggingface_hub.errors import StrictDataclassError
    from transformers import CONFIG_MAPPING

    kind = str(configuration.get("model_type"))
    if not _is_known(kind):
        raise ModelError(
            f"{shown(directory)} holds a model of type {plain(kind)}, which transformers has no network for; give the "
            "architecture as module.py:function and the weights as a file"
        )
    try:
        config = rebuilt(CONFIG_MAPPING[kind], configuration)
        _refuse_other_libraries(config, directory)
        network = _network(configuration, config, task)
        _check_size(network, config, tensors, directory)
        module, report = _from_pretrained(network, config, tensors, dtype)
    except (StrictDataclassError, *_MISFITS) as error:
        first = plain(str(error).split("\n")[0], 200)
        raise ModelError(
            f"{shown(directory)} holds a config.json that fits no model ({first}); save the model again"
        ) from error
    _check_fit(report, directory, task)
    _check_types(module, tensors, directory)
    check_still_finite(module, str(directory))
    return module


def _check_types(module: nn.Module, tensors: Mapping[str, Tensor], directory: Path) -> None:
    """Refuse whole or complex numbers where the network computes with real ones: they would be converted silently."""
    state = module.state_dict()
    for name, tensor in tensors.items():
        if tensor.is_complex() or (name in state and tensor.is_floating_point() != state[name].is_floating_point()):
            raise ModelError(
                f"{shown(directory)} holds '{plain(name)}' as {str(tensor.dtype).removeprefix('torch.')}, which the "
                "network does not compute with; save the model again"
            )


def _check_size(
    network: "type[PreTrainedModel]", config: "PreTrainedConfig", tensors: Mapping[str, Tensor], directory: Path
) -> None:
    """Refuse a configuration of a network larger than its weights, before memory is given to it."""
    # There a network takes no memory, whatever its sizes.
    with torch.device("meta"):
        wanted = sum(parameter.numel() for parameter in network(config).parameters())
    given = sum(tensor.numel() for tensor in tensors.values())
    if wanted > 2 * given:
        raise ModelError(
            f"{shown(directory)} describes a model of {wanted} parameters but {WEIGHTS} holds {given}; "
            "supply the configuration and the weights of one model"
        )


def _from_pretrained(
    network: "type[PreTrainedModel]", config: "PreTrainedConfig", tensors: dict[str, Tensor], dtype: torch.dtype
) -> tuple[nn.Module, Mapping[str, _Keys]]:
    # With weights in memory and no path, nothing is looked up; the flags say so a second time. The ignore: what
    # transformers types as a model is a pair with output_loading_info.
    with quiet(), torch_seed(0):
        found: tuple[nn.Module, Mapping[str, _Keys]] = network.from_pretrained(  # type: ignore[assignment]
            None,
            config=config,
            state_dict=tensors,
            dtype=dtype,
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
            # So that they come with the report, and _check_fit refuses them in its own words.
            ignore_mismatched_sizes=True,
            output_loading_info=True,
        )
    module, report = found
    return module.eval(), report


def _check_fit(report: Mapping[str, _Keys], directory: Path, task: str | None) -> None:
    """Refuse what transformers would fill in at random, such as the head of a model never fine-tuned."""
    noun = "network" if task is None else _NOUNS[task]
    for what in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        keys = sorted(key if isinstance(key, str) else key[0] for key in report[what])
        if keys:
            raise ModelError(
                f"{shown(directory)} has {len(keys)} {what.replace('_', ' ')}, {plain(keys[0])} first, so "
                f"its weights are not those of the {noun} in config.json; save the fine-tuned model"
            )


@contextmanager
def quiet() -> Iterator[None]:
    """Without transformers' progress bar and load report: what matters in them is raised as an error."""
    from transformers.utils import logging as untyped

    logging: ModuleType = untyped  # some of its functions have no types
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
