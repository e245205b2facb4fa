"""Every hub family on small files in the true format, made here."""

import bz2
import gzip
import hashlib
import pickle
import struct
import sys
import threading
import types
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
import torch
from PIL import Image

from tlcourse import data
from tlcourse.data.missing import cache_folder

HUB = ("mnist", "fashion_mnist", "usps", "cifar10", "omniglot", "flowers102")


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def idx(array):
    head = struct.pack(">BBBB", 0, 0, 8, array.ndim)
    return head + struct.pack(f">{array.ndim}i", *array.shape) + array.tobytes()


def write_idx(folder, stem, images, labels, packed=True):
    folder.mkdir(parents=True, exist_ok=True)
    for name, array in (("images-idx3", images), ("labels-idx1", labels)):
        raw, name = idx(array.astype(np.uint8)), f"{stem}-{name}-ubyte"
        if packed:
            (folder / f"{name}.gz").write_bytes(gzip.compress(raw, mtime=0))
        else:
            (folder / name).write_bytes(raw)


@pytest.mark.parametrize("name", HUB)
def test_missing_files_are_named_with_the_ways_to_mend(name, tmp_path, monkeypatch):
    monkeypatch.setenv("TLCOURSE_DATA", str(tmp_path / "cache"))
    with pytest.raises(FileNotFoundError) as caught:
        data.load(name)
    message = str(caught.value)
    assert isinstance(caught.value, data.DataMissing)
    for words in (str(tmp_path / "cache"), "download=True", "root=", "mirror"):
        assert words in message
    assert not (tmp_path / "cache").exists()  # asking leaves nothing behind


@pytest.mark.parametrize("name", HUB)
def test_nothing_is_fetched_unless_asked(name, tmp_path, monkeypatch):
    import socket

    def refuse(*args, **options):
        raise AssertionError("the network was used")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    with pytest.raises(data.DataMissing):
        data.load(name, root=tmp_path)


def test_cache_folder_without_the_variable(monkeypatch):
    monkeypatch.delenv("TLCOURSE_DATA", raising=False)
    assert cache_folder().parts[-2:] == ("tlcourse", "data")


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize(
    ("name", "folder"), [("mnist", "MNIST"), ("fashion_mnist", "FashionMNIST")]
)
def test_idx_sets(tmp_path, rng, name, folder, packed):
    images = rng.integers(0, 256, (12, 28, 28))
    write_idx(tmp_path / folder / "raw", "train", images, np.arange(12) % 10, packed)
    got = data.load(name, root=tmp_path)
    assert torch.equal(got.x[:, 0], torch.tensor(images).float() / 255)
    assert got.y.tolist() == [*range(10), 0, 1]
    assert (got.name, got.domain, len(got.classes)) == (name, "train", 10)
    assert data.load(name, root=tmp_path, size=16).x.shape == (12, 1, 16, 16)
    with pytest.raises(data.DataMissing, match="t10k-images"):
        data.load(name, root=tmp_path, part="test")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda raw: raw[:-5], "header says"),
        (lambda raw: b"PK" + raw, "not an idx file"),
        (lambda raw: b"", "not an idx file"),
        (lambda raw: raw[:6], "not an idx file|header says"),
    ],
)
def test_broken_idx(tmp_path, spoil, message):
    folder = tmp_path / "MNIST" / "raw"
    write_idx(folder, "train", np.zeros((2, 28, 28)), np.zeros(2), packed=False)
    file = folder / "train-images-idx3-ubyte"
    file.write_bytes(spoil(file.read_bytes()))
    with pytest.raises(ValueError, match=message):
        data.load("mnist", root=tmp_path)


def test_gzip_cut_short(tmp_path):
    folder = tmp_path / "MNIST" / "raw"
    write_idx(folder, "train", np.zeros((2, 28, 28)), np.zeros(2))
    file = folder / "train-images-idx3-ubyte.gz"
    file.write_bytes(file.read_bytes()[:-10])
    with pytest.raises(ValueError, match="gzip"):
        data.load("mnist", root=tmp_path)


@pytest.fixture
def server(tmp_path):
    """Address of a folder ``mirror`` served by HTTP on this computer."""
    folder = tmp_path / "mirror"
    folder.mkdir()

    class Handler(SimpleHTTPRequestHandler):
        def __init__(self, *args):
            super().__init__(*args, directory=str(folder))

        def log_message(self, *args):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()
        thread.join()


def test_download_from_a_mirror(tmp_path, rng, monkeypatch, server):
    import torchvision.datasets

    served = tmp_path / "mirror"
    for stem, n in (("train", 10), ("t10k", 5)):
        write_idx(served, stem, rng.integers(0, 256, (n, 28, 28)), np.arange(n))
    sums = [
        (file.name, hashlib.md5(file.read_bytes()).hexdigest())
        for file in served.iterdir()
    ]
    monkeypatch.setattr(torchvision.datasets.MNIST, "resources", sums)
    options = dict(root=tmp_path / "cache", download=True, mirror=server)
    assert len(data.load("mnist", **options)) == 10
    assert len(data.load("mnist", root=tmp_path / "cache", part="test")) == 5


def test_a_download_that_fails_says_so(tmp_path, server):
    with pytest.raises(data.DataMissing, match="could not be fetched"):
        data.load("usps", root=tmp_path, download=True, mirror=server)


def test_every_address_follows_the_mirror():
    import torchvision.datasets

    from tlcourse.data.fetching import _mirrored

    for name in ("MNIST", "FashionMNIST", "USPS", "CIFAR10", "Omniglot", "Flowers102"):
        owner = getattr(torchvision.datasets, name)
        kept = repr({k: getattr(owner, k) for k in _mirrored(owner, "https://m/")})
        changed = repr(_mirrored(owner, "https://m/"))
        assert "http" in kept and "https://m" in changed
        assert changed.count("http") == changed.count("https://m")


def test_usps(tmp_path, rng):
    values = rng.uniform(-1, 1, (6, 256)).round(3)
    lines = [
        f"{label} " + " ".join(f"{i + 1}:{value}" for i, value in enumerate(row)) + " "
        for label, row in zip((1, 2, 10, 4, 5, 6), values, strict=True)
    ]
    (tmp_path / "usps.t.bz2").write_bytes(bz2.compress("\n".join(lines).encode()))
    got = data.load("usps", root=tmp_path, part="test")
    assert got.y.tolist() == [0, 1, 9, 3, 4, 5]
    expected = torch.tensor((values + 1) / 2).float().view(6, 1, 16, 16)
    assert torch.allclose(got.x, expected)
    (tmp_path / "usps.t.bz2").write_bytes(bz2.compress(b"1 nonsense"))
    with pytest.raises(ValueError, match="index:value"):
        data.load("usps", root=tmp_path, part="test")


def write_cifar(root, rng, n=4):
    folder = root / "cifar-10-batches-py"
    folder.mkdir()
    names = [f"thing {i}" for i in range(10)]
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": names}, 2))
    pixels = rng.integers(0, 256, (6, n, 3072), dtype=np.uint8)
    for i, file in enumerate([*(f"data_batch_{j}" for j in range(1, 6)), "test_batch"]):
        batch = {b"data": pixels[i], b"labels": [i] * n}
        (folder / file).write_bytes(pickle.dumps(batch, protocol=2))
    return folder, pixels


def test_cifar10(tmp_path, rng):
    _, pixels = write_cifar(tmp_path, rng)
    train = data.load("cifar10", root=tmp_path)
    assert train.y.tolist() == [i for i in range(5) for _ in range(4)]
    assert torch.equal(
        train.x, torch.tensor(pixels[:5]).reshape(-1, 3, 32, 32).float() / 255
    )
    assert train.classes[9] == "thing 9"
    assert (
        data.load("cifar10", root=tmp_path, part="test", size=16).y.tolist() == [5] * 4
    )


def test_a_pickle_that_would_run_code_is_refused(tmp_path, rng):
    class Attack:
        def __reduce__(self):
            return print, ("code ran",)

    folder, _ = write_cifar(tmp_path, rng)
    (folder / "test_batch").write_bytes(pickle.dumps({"data": Attack()}))
    with pytest.raises(ValueError, match="is not data"):
        data.load("cifar10", root=tmp_path, part="test")


def test_omniglot(tmp_path):
    base = tmp_path / "omniglot-py"
    for part, letters in (("background", ("Greek", "Latin")), ("evaluation", ("Oj",))):
        for alphabet in letters:
            for character in ("character01", "character02"):
                folder = base / f"images_{part}" / alphabet / character
                folder.mkdir(parents=True)
                for i in range(3):
                    paper = Image.new("1", (105, 105), 1)
                    paper.paste(0, (20 + i, 40, 80, 60))
                    paper.save(folder / f"0001_0{i}.png")
    got = data.load("omniglot", root=tmp_path, size=21)
    assert got.x.shape == (12, 1, 21, 21)
    assert got.x[0, 0, 0, 0] < 1e-6 and got.x[0, 0, 10, 10] > 1 - 1e-6  # white ink
    assert got.classes[0] == "Greek/character01" and len(got.classes) == 4
    assert got.y.tolist() == [i // 3 for i in range(12)]
    assert len(got.domain("evaluation")) == 6
    with pytest.raises(ValueError, match="part"):
        data.load("omniglot", root=tmp_path, part="train")


def test_flowers102(tmp_path):
    from scipy.io import savemat

    folder = tmp_path / "flowers-102"
    (folder / "jpg").mkdir(parents=True)
    for i in range(1, 7):
        Image.new("RGB", (40, 30), (40 * i, 0, 0)).save(
            folder / "jpg" / f"image_{i:05d}.jpg"
        )
    savemat(folder / "imagelabels.mat", {"labels": np.array([[9, 8, 7, 102, 5, 4]])})
    parts = {"trnid": [[2, 4]], "valid": [[1]], "tstid": [[3, 5, 6]]}
    savemat(folder / "setid.mat", {key: np.array(ids) for key, ids in parts.items()})
    train = data.load("flowers102", root=tmp_path, size=16)
    assert train.y.tolist() == [7, 101]
    assert train.x.shape == (2, 3, 16, 16)
    assert train.x[:, 0].mean((1, 2)) * 255 == pytest.approx([80, 160], abs=3)
    assert data.load("flowers102", root=tmp_path, part="val").y.tolist() == [8]
    (folder / "jpg" / "image_00005.jpg").unlink()
    with pytest.raises(data.DataMissing, match="image_00005"):
        data.load("flowers102", root=tmp_path, part="test")


@pytest.fixture
def pictures(tmp_path):
    for i, name in enumerate(("rose", "tulip")):
        folder = tmp_path / "garden" / name
        folder.mkdir(parents=True)
        for j in range(3):
            Image.new("RGB", (50, 20 + j), (0, 100 * i, 50)).save(folder / f"{j}.PNG")
        (folder / "notes.txt").write_text("not a picture")
    (tmp_path / "garden" / ".hidden").mkdir()
    return tmp_path / "garden"


def test_imagefolder(pictures):
    got = data.load("imagefolder", root=pictures, size=16)
    assert got.classes == ("rose", "tulip")
    assert (got.y.tolist(), got.domain) == ([0, 0, 0, 1, 1, 1], "garden")
    colours = torch.tensor([0, 100, 50]) / 255
    assert torch.allclose(got.x[5].mean((1, 2)), colours, atol=1e-3)
    assert data.load("imagefolder", root=pictures, channels=1).x.shape[1] == 1


def test_the_centre_of_a_wide_picture_is_kept(tmp_path):
    wide = np.zeros((20, 60), np.uint8)
    wide[:, 20:40] = 255
    (tmp_path / "a").mkdir()
    Image.fromarray(wide).save(tmp_path / "a" / "x.png")
    got = data.load("imagefolder", root=tmp_path, size=20, channels=1)
    assert got.x.min() == 1


def spoiled(folder, value):
    Image.fromarray(np.full((9, 9), value, np.float32)).save(folder / "f.tiff")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda folder: spoiled(folder, np.nan), "NaN"),
        (lambda folder: spoiled(folder, np.inf), "NaN or infinity"),
        (lambda folder: spoiled(folder, 7.0), "outside"),
        (lambda folder: (folder / "e.png").write_bytes(b""), "e.png"),
        (lambda folder: (folder / "t.jpg").write_text("no"), "not an image"),
        (lambda folder: (folder.parent / "empty").mkdir(), "holds no picture"),
        (
            lambda folder: Image.fromarray(np.ones((9, 9), np.uint16)).save(
                folder / "i.png"
            ),
            "8 bits",
        ),
    ],
)
def test_imagefolder_bad_files(pictures, spoil, message):
    spoil(pictures / "rose")
    with pytest.raises(ValueError, match=message):
        data.load("imagefolder", root=pictures)


def test_a_picture_cut_short(pictures):
    file = pictures / "rose" / "cut.png"
    noise = np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)
    Image.fromarray(noise).save(file)
    file.write_bytes(file.read_bytes()[:900])
    with pytest.raises(ValueError, match="cut.png"):
        data.load("imagefolder", root=pictures)


def test_a_float_picture_is_read(tmp_path):
    (tmp_path / "a").mkdir()
    spoiled(tmp_path / "a", 0.25)
    assert torch.allclose(
        data.load("imagefolder", root=tmp_path, size=8).x, torch.tensor(0.25)
    )


def test_imagefolder_bad_input(pictures, tmp_path):
    with pytest.raises(data.DataMissing, match="nowhere"):
        data.load("imagefolder", root=tmp_path / "nowhere")
    with pytest.raises(ValueError, match="no subfolders"):
        data.load("imagefolder", root=pictures / "rose")
    with pytest.raises(ValueError, match="size"):
        data.load("imagefolder", root=pictures, size=1000)
    with pytest.raises(ValueError, match="channels"):
        data.load("imagefolder", root=pictures, channels=4)


def test_huggingface_without_the_library(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(data.DataMissing, match="pip install datasets"):
        data.load("huggingface", path="anything")


def fake_library(monkeypatch, load_dataset):
    module = types.ModuleType("datasets")
    module.load_dataset = load_dataset
    module.__spec__ = types.SimpleNamespace(name="datasets")
    monkeypatch.setitem(sys.modules, "datasets", module)


def test_huggingface_offline(monkeypatch):
    def load_dataset(*args, **options):
        raise ConnectionError("Couldn't reach the Hub")

    fake_library(monkeypatch, load_dataset)
    with pytest.raises(data.DataMissing, match="HF_ENDPOINT"):
        data.load("huggingface", path="some/set")


@pytest.fixture
def library(tmp_path, monkeypatch):
    """The real library, with its cache in a folder of the test."""
    module = pytest.importorskip("datasets")
    monkeypatch.setattr(module.config, "HF_DATASETS_CACHE", tmp_path / "cache")


def test_huggingface_local_pictures(library, pictures):
    got = data.load("huggingface", path=str(pictures), size=16)
    assert got.classes == ("rose", "tulip")
    assert got.x.shape == (6, 3, 16, 16)
    assert got.y.bincount().tolist() == [3, 3]


def test_huggingface_local_text(library, tmp_path):
    file = tmp_path / "reviews.csv"
    file.write_text("text,label\nvery good,pos\nvery bad,neg\nfine,pos\n")
    options = dict(path="csv", data_files=str(file), inputs="text")
    got = data.load("huggingface", **options)
    assert got.x == ["very good", "very bad", "fine"]
    assert (got.classes, got.y.tolist()) == (("neg", "pos"), [1, 0, 1])
    with pytest.raises(ValueError, match="Its columns: text, label"):
        data.load("huggingface", **options | {"label": "stars"})
