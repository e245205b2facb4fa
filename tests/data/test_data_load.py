import subprocess
import sys

import pytest
import torch

from tlcourse import data

OFFLINE = (
    "glyphs", "digits", "textures", "faces", "photos",
    "medical", "tumours", "diabetes", "wine", "docs",
)  # fmt: skip


@pytest.fixture(scope="module")
def loaded():
    return {name: data.load(name) for name in OFFLINE}


def test_names_are_the_syllabus_families():
    assert set(data.names()) == {
        *OFFLINE, "mnist", "fashion_mnist", "usps", "cifar10", "omniglot",
        "flowers102", "imagefolder", "huggingface",
    }  # fmt: skip


def test_importing_the_package_loads_no_torch():
    code = "import sys, tlcourse.data as d; d.names(); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "False", done.stderr


@pytest.mark.parametrize("name", OFFLINE)
def test_every_offline_family_keeps_the_contract(loaded, name):
    dataset = loaded[name]
    assert dataset.name == name
    assert all(str(value) for value in vars(dataset.card).values())
    assert dataset.card.origin == ("rendered" if name == "glyphs" else "real")
    if isinstance(dataset.x, torch.Tensor):
        assert dataset.x.dtype == torch.float32
        assert bool(dataset.x.isfinite().all())
    if isinstance(dataset.x, torch.Tensor) and dataset.x.ndim == 4:
        assert dataset.x.min() >= 0 and dataset.x.max() <= 1
        assert dataset.x.flatten(1).std() > 0.05
        assert dataset.show(6).axes
    if dataset.classes:
        counts = torch.bincount(dataset.y, minlength=len(dataset.classes))
        assert counts.min() >= 10
        support, rest = dataset.few_shot(5)
        assert len(support) == 5 * len(dataset.classes)
    assert sum(map(len, dataset.split(0.7, 0.3))) == len(dataset)


def test_unknown_name_suggests_the_nearest():
    with pytest.raises(ValueError, match="Did you mean 'glyphs'"):
        data.load("glyps")


def test_unknown_option_suggests_the_nearest():
    with pytest.raises(ValueError, match="Did you mean 'script'"):
        data.load("glyphs", scrpt="latin")


def test_required_option():
    with pytest.raises(ValueError, match="needs the option root"):
        data.load("imagefolder")


def test_show_of_text_and_tables_is_refused(loaded):
    with pytest.raises(ValueError, match="text"):
        loaded["docs"].show()
    with pytest.raises(ValueError, match="a table"):
        loaded["wine"].show()
    with pytest.raises(ValueError, match="at least 1"):
        loaded["digits"].show(0)


def test_sealed_pictures_are_shown_without_labels(loaded):
    assert loaded["digits"].show(1).axes[0].get_title() == "0"
    assert loaded["digits"].sealed().show(1).axes[0].get_title() == ""


def test_digits_and_rendered_digits_fit_together(loaded):
    handwritten = data.load("digits", size=16)
    rendered = data.load("glyphs", script="digits", size=16, per_class=20, face="all")
    assert handwritten.classes == rendered.classes
    assert handwritten.x.shape[1:] == rendered.x.shape[1:] == (1, 16, 16)
    for digits in (handwritten, rendered):  # ink is white: corners are dark
        assert digits.x[:, 0, 0, 0].mean() < 0.15 < digits.x.mean()
    assert torch.equal(loaded["digits"].x * 16, (loaded["digits"].x * 16).round())


@pytest.mark.parametrize("size", [7, 65, 8.0, "8", True])
def test_digits_size(size):
    with pytest.raises(ValueError, match="size"):
        data.load("digits", size=size)


def test_tables_keep_their_columns_and_units(loaded):
    assert loaded["tumours"].classes == ("malignant", "benign")
    assert loaded["tumours"].features[0] == "mean radius"
    assert loaded["wine"].x.shape == (178, 13)
    assert loaded["diabetes"].y.dtype == torch.float32
    age = loaded["diabetes"].x[:, loaded["diabetes"].features.index("age")]
    assert age.min() >= 18 and age.max() < 100  # years, not standard deviations
    with pytest.raises(ValueError, match="regression"):
        loaded["diabetes"].few_shot(1)


@pytest.mark.parametrize("name", ["textures", "photos", "medical"])
def test_picture_splits_share_no_pixel(monkeypatch, name):
    """Each pixel is painted with its own place; parts must show disjoint places."""
    from tlcourse.data import pictures

    def places(picture, channels):
        place = torch.arange(100 * 100, dtype=torch.float32).view(1, 100, 100)
        return (place / 1e4).expand(channels, -1, -1)

    def keep(crops, size, **options):
        return crops  # as cut, not resized

    monkeypatch.setattr(pictures, "_read", places)
    monkeypatch.setattr(pictures.F, "interpolate", keep)
    if name == "medical":  # its last picture has regions of another size
        monkeypatch.setattr(pictures, "_MEDICAL", pictures._MEDICAL[:3])
    dataset = data.load(name, per_class=64)
    left, right = dataset.split(0.5, 0.5)
    for label in range(len(dataset.classes)):
        mine, other = (set(part.x[part.y == label].unique().tolist())
                       for part in (left, right))  # fmt: skip
        assert mine and other and not mine & other


@pytest.mark.parametrize("name", ["textures", "photos", "medical"])
def test_crops_are_deterministic_and_seeded(name):
    first, again, other = (data.load(name, per_class=9, seed=s) for s in (3, 3, 4))
    assert torch.equal(first.x, again.x)
    assert not torch.equal(first.x, other.x)


def test_face_labels_fit_the_file():
    import numpy as np
    import skimage

    raw = np.load(skimage.__path__[0] + "/data/lfw_subset.npy").astype(np.float32)
    faces = data.load("faces")
    for image, label in zip(faces.x[:20, 0].numpy(), faces.y[:20], strict=True):
        half = raw[:100] if label == 1 else raw[100:]
        assert (abs(half - image).max(axis=(1, 2)) == 0).any()


def test_missing_picture_file(monkeypatch, tmp_path):
    import skimage

    monkeypatch.setattr(skimage, "__file__", str(tmp_path / "__init__.py"))
    with pytest.raises(data.DataMissing, match="Reinstall"):
        data.load("textures")


def test_docs_domains_and_groups():
    scipy = data.load("docs", max_per_class=50)
    torch_docs = scipy.domain("torch")
    assert scipy.classes == torch_docs.classes
    assert torch_docs.domain == "torch"
    assert not set(scipy.x) & set(torch_docs.x)
    assert torch.bincount(torch_docs.y).min() >= 40
    again = data.load("docs", max_per_class=50)
    assert again.x == scipy.x
    left, right = scipy.split(0.7, 0.3)
    assert not set(left.groups.tolist()) & set(right.groups.tolist())


def test_docs_hold_no_module_name_and_no_near_duplicate():
    import re

    sentences = data.load("docs", max_per_class=60).x
    names = re.compile(r"\b(numpy|scipy|torch|fft|linalg|optimi[sz]e|sparse|stats)\b")
    assert not [s for s in sentences if names.search(s.lower()) or "`" in s]
    bags = [frozenset(s.lower().split()) for s in sentences]
    close = [
        (a, b) for i, a in enumerate(bags) for b in bags[:i]
        if len(a & b) > 0.9 * len(a | b)
    ]  # fmt: skip
    assert not close


@pytest.mark.parametrize(
    "options", [dict(library="jax"), dict(max_per_class=0), dict(max_per_class=1.5)]
)
def test_docs_bad_input(options):
    with pytest.raises(ValueError, match="library|max_per_class"):
        data.load("docs", **options)
