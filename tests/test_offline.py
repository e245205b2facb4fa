"""The whole test run has its network cut; this shows that the cut is real."""

import urllib.error
import urllib.request

import pytest

from tlcourse import data, models


def test_the_network_is_cut():
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen("https://example.org", timeout=5)


@pytest.mark.parametrize("name", ["mnist", "usps", "omniglot", "flowers102"])
def test_a_missing_set_says_what_it_wants(name, tmp_path):
    with pytest.raises(FileNotFoundError) as caught:
        data.load(name, root=tmp_path)
    assert str(tmp_path) in str(caught.value)
    assert "download=True" in str(caught.value)


def test_missing_weights_say_which_file(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"resnet18-\w+\.pth"):
        models.load("resnet18", weights="imagenet")
