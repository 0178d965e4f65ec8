"""Example sets from files, in every form a user may hand over."""

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import TensorDataset

from auditor.errors import DataError, SpecError, UnsafeInputError
from auditor.loading.preprocessing import Preprocessing
from auditor.tasks.classification.readers import image_folders
from auditor.tasks.classification.readers.files import examples_of_dataset, read_examples
from auditor.tasks.classification.sets import Examples

SHARED = Path(__file__).parents[4] / "shared" / "data"
AS_IS = Preprocessing()


def random_pixels(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def read(tmp_path: Path, source: str, **options: object) -> Examples:
    return read_examples(source, tmp_path, options.pop("preprocessing", AS_IS), **options)


def npz(tmp_path: Path, **arrays: object) -> str:
    np.savez_compressed(tmp_path / "data.npz", **arrays)
    return "data.npz"


# --- NumPy archives ------------------------------------------------------------------------------


@pytest.mark.parametrize("names", [("images", "labels"), ("x", "y")])
@pytest.mark.parametrize(
    ("shape", "turn"),
    [
        ((5, 4, 6), lambda a: a[:, None]),
        ((5, 4, 6, 1), lambda a: a.transpose(0, 3, 1, 2)),
        ((5, 4, 6, 3), lambda a: a.transpose(0, 3, 1, 2)),
        ((5, 3, 4, 6), lambda a: a),
        ((5, 1, 4, 3), lambda a: a),
        ((5, 7), lambda a: a),
    ],
)
def test_arrays_read_exactly_in_every_layout(tmp_path, names, shape, turn):
    images, labels = random_pixels(*shape), np.arange(5, dtype=np.uint8)
    examples = read(tmp_path, npz(tmp_path, **dict(zip(names, (images, labels), strict=True))))
    assert examples.raw.dtype == torch.uint8
    assert np.array_equal(examples.raw.numpy(), turn(images))
    assert examples.labels.dtype == torch.int64
    assert examples.labels.tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", ">f4"])
def test_floats_become_float32_and_are_not_scaled(tmp_path, dtype):
    images = (random_pixels(3, 2, 2) / 8).astype(dtype)
    examples = read(tmp_path, npz(tmp_path, x=images, y=np.zeros((3, 1), dtype=np.int32)))
    assert examples.raw.dtype == torch.float32
    assert np.array_equal(examples.inputs[:, 0].numpy(), images.astype(np.float32))


def test_preprocessing_is_applied_to_batches_only(tmp_path):
    images = random_pixels(2, 4, 4)
    prepare = Preprocessing(mean=(0.5,), std=(0.25,))
    examples = read(tmp_path, npz(tmp_path, x=images, y=np.arange(2)), preprocessing=prepare)
    assert np.array_equal(examples.raw[:, 0].numpy(), images)
    assert np.allclose(examples.inputs[:, 0].numpy(), (images / 255 - 0.5) / 0.25, atol=1e-6)


def test_a_part_chooses_arrays_by_suffix(tmp_path):
    source = npz(
        tmp_path,
        x_train=random_pixels(3, 2, 2),
        y_train=np.arange(3),
        x_test=random_pixels(1, 2, 2),
        y_test=[9],
    )
    assert read(tmp_path, f"{source}:test").labels.tolist() == [9]
    with pytest.raises(DataError, match=r"it should hold images and labels or x and y"):
        read(tmp_path, source)


ONE = np.zeros((2, 3, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": ONE}, r"data\.npz holds the arrays x; it should hold images and labels or x and y"),
        ({"x": ONE, "y": np.arange(3)}, r"labels have shape \(3,\) for 2 images"),
        ({"x": ONE, "y": np.array([0.0, 1.0])}, "labels are float64; give whole numbers"),
        ({"x": ONE, "y": np.array(["a", "b"])}, "labels are <U1"),
        ({"x": ONE, "y": np.array([0, -1])}, "label -1 is negative"),
        ({"x": ONE, "y": np.array([0, 2**63], dtype=np.uint64)}, "too large"),
        ({"x": ONE[:0], "y": np.arange(0)}, "holds no examples"),
        ({"x": np.zeros((2, 0, 3), np.uint8), "y": np.arange(2)}, r"images have shape \[2, 0, 3\]"),
        ({"x": np.zeros(2, np.uint8), "y": np.arange(2)}, r"images have shape \[2\]"),
        ({"x": ONE.astype(np.int64), "y": np.arange(2)}, "images are int64; store pixels as uint8"),
        ({"x": np.array([[[1.0]], [[np.nan]]]), "y": np.arange(2)}, "image 1 holds NaN or infinite"),
        ({"x": np.array([[[1e300]], [[0.0]]]), "y": np.arange(2)}, "image 0 holds NaN or infinite"),
        (
            {"x": np.array([{}, {}], dtype=object), "y": np.arange(2)},
            r"x\.npy holds Python objects, which can run code",
        ),
        ({"x": ONE, "y": np.array([0, "a"], dtype=object)}, r"y\.npy holds Python objects"),
    ],
)
def test_arrays_that_are_no_examples_are_said(tmp_path, arrays, message):
    with pytest.raises(DataError, match=message):
        read(tmp_path, npz(tmp_path, **arrays))


def test_missing_and_damaged_files(tmp_path):
    with pytest.raises(DataError, match=r"absent\.npz does not exist"):
        read(tmp_path, "absent.npz")
    path = tmp_path / npz(tmp_path, x=random_pixels(50, 8, 8), y=np.arange(50))
    whole = path.read_bytes()
    path.write_bytes(whole[:1000])
    with pytest.raises(DataError, match=r"no readable \.npz file"):
        read(tmp_path, "data.npz")
    path.write_bytes(whole[:400] + bytes(200) + whole[600:])
    with pytest.raises(DataError, match=r"no readable \.npz|damaged"):
        read(tmp_path, "data.npz")
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(DataError, match="give one of these"):
        read(tmp_path, "notes.txt")


def test_a_deflate_bomb_is_refused_before_it_is_unpacked(tmp_path, monkeypatch):
    source = npz(tmp_path, x=np.zeros((1000, 100, 100), dtype=np.uint8), y=np.zeros(1000, dtype=int))
    assert (tmp_path / source).stat().st_size < 50_000
    monkeypatch.setattr(image_folders, "MAX_DATA_BYTES", 10**6)
    monkeypatch.setattr(np.lib.format, "read_array", None)
    with pytest.raises(UnsafeInputError, match=r"data\.npz was refused: its data unpack to 10000128 bytes"):
        read(tmp_path, source)


def test_a_header_that_claims_more_than_its_entry_holds_is_refused(tmp_path):
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": (2**40, 3, 3)})
    with zipfile.ZipFile(tmp_path / "data.npz", "w") as file:
        file.writestr("x.npy", header.getvalue() + bytes(9))
        file.writestr("y.npy", header.getvalue() + bytes(9))
    with pytest.raises(DataError, match=r"x\.npy is damaged \(its size does not match its header\)"):
        read(tmp_path, "data.npz")


# --- image folders ------------------------------------------------------------------------------


def folder(tmp_path: Path, images: dict[str, np.ndarray]) -> str:
    for name, pixels in images.items():
        path = tmp_path / "set" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
    return "set"


def zipped(tmp_path: Path, top: str = "") -> str:
    with zipfile.ZipFile(tmp_path / "set.zip", "w", zipfile.ZIP_DEFLATED) as file:
        for path in sorted((tmp_path / "set").rglob("*.*")):
            file.write(path, Path(top) / path.relative_to(tmp_path / "set"))
    return "set.zip"


def test_folders_and_zips_read_bit_exactly_with_classes_by_name(tmp_path):
    pixels = random_pixels(3, 4, 5, 3)
    source = folder(tmp_path, {"cat/b.png": pixels[0], "cat/a.PNG": pixels[1], "ant/z.png": pixels[2]})
    (tmp_path / "set" / "cat" / ".DS_Store").write_text("x")
    (tmp_path / "set" / "README.md").write_text("x")
    expected = pixels[[2, 1, 0]].transpose(0, 3, 1, 2)
    for name in ("folder", "zip", "folder in a zip"):
        if name == "zip":
            source = zipped(tmp_path)
        elif name == "folder in a zip":
            source = f"{zipped(tmp_path, 'deep/train')}:deep/train"
        examples = read(tmp_path, source)
        assert np.array_equal(examples.raw.numpy(), expected)
        assert examples.raw.dtype == torch.uint8
        assert examples.labels.tolist() == [0, 1, 1]


def test_numeric_class_names_are_numbers_and_given_names_decide(tmp_path):
    pixels = random_pixels(2, 2)
    source = folder(tmp_path, {"10/a.png": pixels, "9/a.png": pixels, "007/a.png": pixels})
    assert sorted(read(tmp_path, source).labels.tolist()) == [7, 9, 10]
    assert sorted(read(tmp_path, source, class_names=["9", "007", "10"]).labels.tolist()) == [0, 1, 2]
    with pytest.raises(DataError, match="class 10 is not among the class names given"):
        read(tmp_path, source, class_names=["9", "007"])


def test_grey_images_keep_one_channel_unless_some_are_in_colour(tmp_path):
    grey, colour = random_pixels(2, 2), random_pixels(2, 2, 3)
    source = folder(tmp_path, {"0/a.png": grey, "0/b.png": grey})
    assert read(tmp_path, source).raw.shape == (2, 1, 2, 2)
    folder(tmp_path, {"0/b.png": colour})
    raw = read(tmp_path, source).raw.numpy()
    assert np.array_equal(raw[0], np.stack([grey] * 3))
    assert np.array_equal(raw[1], colour.transpose(2, 0, 1))


def test_images_of_several_sizes_need_a_resize_and_get_the_very_same_one(tmp_path):
    small, large = random_pixels(6, 6, 3), random_pixels(9, 12, 3)
    source = folder(tmp_path, {"0/a.png": small, "1/b.png": large})
    with pytest.raises(DataError, match=r"images of 2 sizes, 6x6 and 9x12 among them; set data\.resize"):
        read(tmp_path, source)
    prepare = Preprocessing(resize=(4, 4), mean=(0.5,) * 3, std=(0.2,) * 3)
    mixed = read(tmp_path, source, preprocessing=prepare).inputs
    for i, pixels in enumerate((small, large)):
        alone = Examples(
            raw=torch.from_numpy(pixels).permute(2, 0, 1)[None], labels=torch.zeros(1), preprocessing=prepare
        )
        assert torch.equal(mixed[i : i + 1], alone.inputs)


def test_folder_mistakes(tmp_path, monkeypatch):
    pixels = random_pixels(4, 4)
    source = folder(tmp_path, {"train/cat/a.png": pixels})
    with pytest.raises(DataError, match=r"set: train/cat is neither \.png nor \.jpg"):
        read(tmp_path, source)
    with pytest.raises(DataError, match=r"set\.zip holds no .* its folders are train: .* as in set\.zip:train"):
        read(tmp_path, zipped(tmp_path))
    with zipfile.ZipFile(tmp_path / "uneven.zip", "w") as file:
        file.writestr("cat/a.png", b"")
        file.writestr("train/cat/a.png", b"")
    with pytest.raises(DataError, match=r"train/cat/a\.png lies deeper than CLASS/IMAGE"):
        read(tmp_path, "uneven.zip")
    with pytest.raises(DataError, match="is not a folder"):
        read(tmp_path, "set:test")
    assert len(read(tmp_path, "set:train")) == 1
    (tmp_path / "set/train/dog").mkdir()
    with pytest.raises(DataError, match="dog holds no images"):
        read(tmp_path, "set:train")
    (tmp_path / "set/train/dog/a.webp").write_bytes(b"x")
    with pytest.raises(DataError, match=r"dog/a\.webp is neither"):
        read(tmp_path, "set:train")
    (tmp_path / "set/train/dog/a.webp").rename(tmp_path / "set/train/dog/a.png")
    with pytest.raises(DataError, match=r"dog/a\.png cannot be read \(no PNG or JPEG\)"):
        read(tmp_path, "set:train")
    whole = (tmp_path / "set/train/cat/a.png").read_bytes()
    (tmp_path / "set/train/dog/a.png").write_bytes(whole[:50])
    with pytest.raises(DataError, match=r"dog/a\.png cannot be read"):
        read(tmp_path, "set:train")
    Image.fromarray(np.zeros((2, 2), dtype=np.uint16)).save(tmp_path / "set/train/dog/a.png")
    with pytest.raises(DataError, match="more than 8 bits"):
        read(tmp_path, "set:train")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"holds no CLASS/\*\.png"):
        read(tmp_path, "empty")
    (tmp_path / "bad.zip").write_bytes(b"PK")
    with pytest.raises(DataError, match="no readable zip file"):
        read(tmp_path, "bad.zip")


@pytest.mark.filterwarnings("ignore")
def test_image_bombs_are_refused(tmp_path, monkeypatch):
    """Also where warnings are not errors, as they are in these tests."""
    source = folder(tmp_path, {"0/a.png": np.zeros((40, 40), dtype=np.uint8)})
    with monkeypatch.context() as patch:
        patch.setattr(image_folders, "MAX_IMAGE_FILE_BYTES", 50)
        with pytest.raises(UnsafeInputError, match=r"0/a\.png unpacks to"):
            read(tmp_path, zipped(tmp_path))
    with monkeypatch.context() as patch:
        patch.setattr(image_folders, "MAX_DATA_BYTES", 1000)
        with pytest.raises(UnsafeInputError, match="its data unpack to 1600 bytes"):
            read(tmp_path, source)
    folder(tmp_path, {"1/b.png": np.zeros((2, 2), dtype=np.uint8)})
    with monkeypatch.context() as patch:
        patch.setattr(image_folders, "MAX_DATA_BYTES", 10_000)
        with pytest.raises(UnsafeInputError, match="its data unpack to 80000 bytes"):
            read(tmp_path, source, preprocessing=Preprocessing(resize=(100, 100)))
    # Pillow warns above its limit and raises above twice the limit; either is refused here.
    for limit in (1000, 100):
        with monkeypatch.context() as patch:
            patch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
            with pytest.raises(UnsafeInputError, match=r"0/a\.png is too large an image"):
                read(tmp_path, source)
    assert Image.MAX_IMAGE_PIXELS is not None, "Pillow's own limit stays on"


@pytest.mark.parametrize("kind", ["GIF", "BMP", "TIFF", "ICO", "PPM"])
def test_an_image_of_another_format_is_not_opened_whatever_its_name(tmp_path, kind):
    """Pillow knows some forty formats, with a decoder's faults in each; two are enough."""
    source = folder(tmp_path, {"0/a.png": random_pixels(16, 16)})
    Image.open(tmp_path / "set/0/a.png").copy().save(tmp_path / "set/0/b.png", format=kind)
    with pytest.raises(DataError, match=r"0/b\.png cannot be read \(no PNG or JPEG\)"):
        read(tmp_path, source)


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_damage_anywhere_in_an_image_gives_the_image_or_one_sentence(tmp_path, method):
    pixels = random_pixels(8, 8)
    folder(tmp_path, {"0/a.png": pixels})
    with zipfile.ZipFile(tmp_path / "set.zip", "w", method) as file:
        file.write(tmp_path / "set/0/a.png", "0/a.png")
    whole = (tmp_path / "set.zip").read_bytes()
    start, size = len("0/a.png") + 30, zipfile.ZipFile(tmp_path / "set.zip").infolist()[0].compress_size
    refused = 0
    for at in range(start, start + size, 3):
        (tmp_path / "set.zip").write_bytes(whole[:at] + bytes([whole[at] ^ 0x55]) + whole[at + 1 :])
        found = _read_or_reason(tmp_path)
        refused += isinstance(found, str)
        assert "the image 0/a.png cannot be read" in found if isinstance(found, str) else (found == pixels).all()
    assert refused > 20


def _read_or_reason(tmp_path: Path) -> np.ndarray | str:
    try:
        return read(tmp_path, "set.zip").raw[0, 0].numpy()
    except DataError as error:
        return str(error)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_an_image_twice_in_a_zip_is_refused(tmp_path):
    folder(tmp_path, {"0/a.png": random_pixels(2, 2)})
    data = (tmp_path / "set/0/a.png").read_bytes()
    with zipfile.ZipFile(tmp_path / "twice.zip", "w") as file:
        file.writestr("0/a.png", data)
        file.writestr("0/a.png", data)
    with pytest.raises(DataError, match=r"0/a\.png stands in it twice"):
        read(tmp_path, "twice.zip")


# --- datasets of the user's ------------------------------------------------------------------------------

MODULE = """
import numpy, torch
from PIL import Image
from torch.utils.data import TensorDataset

def tensors():
    return TensorDataset(torch.arange(12.).view(3, 1, 2, 2), torch.tensor([2, 0, 1]))

def pictures():
    return [(Image.new("RGB", (2, 4), (i, 0, 0)), i) for i in range(3)]

def ragged():
    return [(torch.zeros(1, 2, 2), 0), (torch.zeros(1, 2, 3), 1)]

def single():
    return [torch.zeros(1, 2, 2)]

def stream():
    return iter(())

def floats():
    return [(torch.zeros(1, 2, 2), 0.5)]

def broken():
    raise OSError("disk on fire")

def empty():
    return []
"""


def test_a_function_of_the_user_gives_a_dataset(tmp_path):
    (tmp_path / "mine.py").write_text(MODULE)
    examples = read(tmp_path, "mine.py:tensors")
    assert torch.equal(examples.raw, torch.arange(12.0).view(3, 1, 2, 2))
    assert examples.labels.tolist() == [2, 0, 1]
    pictures = read(tmp_path, "mine.py:pictures")
    assert pictures.raw.shape == (3, 3, 4, 2)
    assert pictures.raw[:, 0, 0, 0].tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("function", "kind", "message"),
    [
        ("ragged", DataError, r"image 1 has shape \(1, 2, 3\), the first \(1, 2, 2\)"),
        ("single", DataError, "item 0 is not a pair"),
        ("stream", DataError, "should give a torch Dataset with a length"),
        ("floats", DataError, "labels are float64"),
        ("broken", DataError, r"mine\.py:broken raised OSError: disk on fire"),
        ("empty", DataError, "holds no examples"),
        ("absent", SpecError, "which mine.py does not define"),
    ],
)
def test_dataset_mistakes(tmp_path, function, kind, message):
    (tmp_path / "mine.py").write_text(MODULE)
    with pytest.raises(kind, match=message):
        read(tmp_path, f"mine.py:{function}")


def test_a_dataset_in_memory(tmp_path):
    dataset = TensorDataset(torch.zeros(2, 1, 4, 4, dtype=torch.uint8), torch.tensor([1, 0]))
    assert examples_of_dataset(dataset, "forget", AS_IS).labels.tolist() == [1, 0]


# --- real files -------------------------------------------------------------------------------------------


@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared data are absent")
def test_real_sets_read():
    mnist = read_examples("mnist/mnist.npz:test", SHARED, AS_IS)
    assert mnist.raw.shape == (10000, 1, 28, 28)
    assert torch.bincount(mnist.labels).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    cifar = read_examples("cifar10/images.zip:test", SHARED, AS_IS)
    assert cifar.raw.shape == (5000, 3, 32, 32)
    assert torch.bincount(cifar.labels).tolist() == [500] * 10
