"""Downloads that go well, the checks before use, and the known facts."""

import re
from dataclasses import FrozenInstanceError, replace

import pytest
from weights_server import (
    CONTENT,
    OTHER,
    POINTER,
    listing,
    put,
    redirect_here,
    tiny_weights,
    whole,
    whole_without_length,
)

from fer_attention.faces.detectors.weights import (
    DOWNLOADABLE,
    WeightsNotFoundError,
    download_weights,
    installed_weights,
    verified,
    weights_folder,
)
from fer_attention.registry import UnknownNameError


@pytest.fixture(autouse=True)
def served(monkeypatch, tmp_path):
    with tiny_weights(monkeypatch, tmp_path) as served:
        yield served


@pytest.fixture
def server(served):
    return served[0]


@pytest.fixture
def tiny(served):
    return served[1]


@pytest.mark.parametrize("answer", [whole, whole_without_length, redirect_here])
def test_a_right_file_is_kept_under_its_own_name_and_progress_is_told(server, tiny, answer):
    server.answer = answer
    told = []
    assert not weights_folder().exists()
    path = download_weights("tiny", on_progress=lambda *numbers: told.append(numbers))
    assert path == weights_folder() / "tiny.onnx" == installed_weights("tiny")
    assert path.read_bytes() == CONTENT
    assert listing() == ["tiny.onnx"]
    assert told == sorted(told)
    assert len(told) > 1
    assert told[-1] == (len(CONTENT), len(CONTENT))


def test_a_file_that_is_there_is_not_fetched_again(server, tiny):
    path = put(CONTENT)
    assert download_weights("tiny") == path
    assert server.paths == []


def test_a_damaged_file_is_fetched_anew(server, tiny):
    put(OTHER)
    assert download_weights("tiny").read_bytes() == CONTENT
    assert listing() == ["tiny.onnx"]


def test_torch_home_and_the_folder_say_where(server, tiny, tmp_path, monkeypatch):
    assert weights_folder() == tmp_path / "home[1]" / "hub" / "fer_attention"
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "elsewhere"))
    assert download_weights("tiny").is_relative_to(tmp_path / "elsewhere")
    other = tmp_path / "new" / "folder"
    assert download_weights("tiny", folder=other) == other / "tiny.onnx"
    assert installed_weights("tiny", folder=other) == other / "tiny.onnx"


def test_the_environments_proxy_is_used(server, tiny, monkeypatch):
    url = "http://localhost:1/far/tiny.onnx"
    monkeypatch.setitem(DOWNLOADABLE, "tiny", replace(tiny, url=url))
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{server.server_port}")
    assert download_weights("tiny").read_bytes() == CONTENT
    assert server.paths == [url]


def test_weights_that_are_not_there_name_both_ways_to_get_them(server, tiny):
    with pytest.raises(FileNotFoundError) as caught:
        installed_weights("tiny")
    assert isinstance(caught.value, WeightsNotFoundError)
    for part in (
        "'tiny' are not there",
        "`fer-attention weights download tiny`",
        "weights='/path/to/file.onnx'",
    ):
        assert part in str(caught.value)
    assert not weights_folder().exists()
    assert server.paths == []


@pytest.mark.parametrize("content", [b"", OTHER, CONTENT[:-1], CONTENT + b"!", POINTER])
def test_another_file_in_its_place_is_never_used(server, tiny, content):
    path = put(content)
    assert not verified(path, tiny)
    with pytest.raises(ValueError, match=r"damaged or another.*`fer-attention weights download tiny`"):
        installed_weights("tiny")
    assert path.read_bytes() == content
    assert server.paths == []


def test_a_folder_or_nothing_is_not_the_file(tiny, tmp_path):
    assert not verified(tmp_path, tiny)
    assert not verified(tmp_path / "nothing", tiny)


@pytest.mark.parametrize("function", [download_weights, installed_weights])
def test_an_unknown_name_suggests_the_nearest(function):
    with pytest.raises(UnknownNameError, match="Unknown downloadable weights 'yunte'. Did you mean 'yunet'?"):
        function("yunte")


@pytest.mark.parametrize(
    ("fact", "value"),
    [
        ("url", "http://example.org/file.onnx"),
        ("url", "http://localhost@example.org/file.onnx"),
        ("url", "file:///tmp/file.onnx"),
        ("url", "https:///file.onnx"),
        ("url", "https://example.org/"),
        ("sha256", "0" * 63),
        ("sha256", "0" * 64 + "\n"),
        ("sha256", "G" * 64),
        ("size", 0),
    ],
)
def test_facts_of_the_wrong_form_are_refused(fact, value):
    with pytest.raises(ValueError, match=fact):
        replace(DOWNLOADABLE["yunet"], **{fact: value})


@pytest.mark.parametrize("name", DOWNLOADABLE)
def test_known_weights_lie_at_a_fixed_place_with_terms_and_a_page(name):
    weights = DOWNLOADABLE[name]
    assert weights.name == name
    assert weights.url.startswith("https://")
    assert weights.source.startswith("https://")
    assert re.search("[0-9a-f]{40}", weights.url), "a commit, not a branch that moves"
    assert "raw.githubusercontent.com" not in weights.url, "gives Git LFS pointers"
    assert weights.licence
    assert weights.filename.endswith(".onnx")
    with pytest.raises(FrozenInstanceError):
        weights.size = 1


@pytest.mark.data
def test_the_known_facts_are_those_of_the_real_yunet(shared_dir):
    path = shared_dir / "models" / "yunet_2026may.onnx"
    assert path.stat().st_size == DOWNLOADABLE["yunet"].size
    assert verified(path, DOWNLOADABLE["yunet"])
