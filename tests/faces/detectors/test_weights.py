"""Downloads of detector weights: verified, atomic, and with clear errors."""

import os
import re
import signal
import socket
import urllib.request

import pytest

from fer_attention.faces.detectors import weights as module
from fer_attention.faces.detectors.weights import (
    DOWNLOADABLE,
    DownloadError,
    download_weights,
    installed_weights,
    weights_folder,
)
from fer_attention.registry import UnknownNameError
from tests.support.forked import python
from tests.support.weights_server import (
    CONTENT,
    OTHER,
    garbage,
    listing,
    missing,
    never_answers,
    other_content,
    put,
    redirect_here,
    silence,
    stalls,
    tiny_weights,
    truncated,
    truncated_chunk,
    whole,
    whole_without_length,
)

FAILURES = {
    other_content: "invalid hash value",
    truncated: "invalid hash value",
    truncated_chunk: "IncompleteRead",
    missing: "HTTP Error 404: Not Found",
    garbage: "nonsense",
    silence: "Remote end closed connection without response",
    never_answers: "timed out",
    stalls: "timed out",
}


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
def test_a_verified_file_is_stored_under_its_name(server, answer, capfd):
    server.answer = answer
    path = download_weights("tiny")
    assert path == weights_folder() / "tiny.onnx" == installed_weights("tiny")
    assert path.read_bytes() == CONTENT
    assert listing() == ["tiny.onnx"]
    assert capfd.readouterr() == ("", "")


def test_progress_is_shown_on_stderr(capfd):
    download_weights("tiny", progress=True)
    out, err = capfd.readouterr()
    assert out == ""
    assert "100%" in err


def test_an_existing_file_is_not_downloaded_again(server):
    path = put(CONTENT)
    assert download_weights("tiny") == path
    assert server.paths == []


def test_a_damaged_file_is_downloaded_again():
    put(OTHER)
    assert download_weights("tiny").read_bytes() == CONTENT
    assert listing() == ["tiny.onnx"]


def test_torch_home_moves_the_download_folder(tmp_path, monkeypatch):
    assert weights_folder() == tmp_path / "home[1]" / "hub" / "fer_attention"
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "elsewhere"))
    assert download_weights("tiny").is_relative_to(tmp_path / "elsewhere")


def test_the_proxy_of_the_environment_is_used(server, tiny, monkeypatch):
    url = "http://localhost:1/far/tiny.onnx"
    monkeypatch.setitem(DOWNLOADABLE._entries, "tiny", tiny._replace(url=url))
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setattr(urllib.request, "_opener", None)  # a process reads its proxies once
    assert download_weights("tiny").read_bytes() == CONTENT
    assert server.paths == [url]


def test_missing_weights_name_the_command_and_the_option(server):
    with pytest.raises(FileNotFoundError) as caught:
        installed_weights("tiny")
    for part in (
        "'tiny' are not at",
        "`fer-attention weights download tiny`",
        "weights='/path/to/file.onnx'",
    ):
        assert part in str(caught.value)
    assert not weights_folder().exists()
    assert server.paths == []


@pytest.mark.parametrize("content", [b"", OTHER, CONTENT[:-1], CONTENT + b"!"])
def test_a_different_file_under_the_name_is_refused(server, tiny, content):
    path = put(content)
    assert not tiny.verified()
    with pytest.raises(ValueError, match=r"damaged or another.*`fer-attention weights download tiny`"):
        installed_weights("tiny")
    assert path.read_bytes() == content
    assert server.paths == []


@pytest.mark.parametrize("function", [download_weights, installed_weights])
def test_an_unknown_name_suggests_the_nearest(function):
    with pytest.raises(UnknownNameError, match="Unknown downloadable weights 'yunte'. Did you mean 'yunet'?"):
        function("yunte")


@pytest.mark.parametrize("old", [None, b"an older file"])
@pytest.mark.parametrize("answer", FAILURES, ids=lambda answer: answer.__name__)
def test_a_failed_download_explains_itself_and_changes_no_file(server, tiny, monkeypatch, answer, old):
    if old is not None:
        put(old)
    if FAILURES[answer] == "timed out":
        monkeypatch.setattr(module, "TIMEOUT", 0.3)
    server.answer = answer
    with pytest.raises(DownloadError, match=re.escape(FAILURES[answer])) as caught:
        download_weights("tiny")
    message = str(caught.value)
    for part in (
        tiny.url,
        tiny.source,
        str(tiny.path),
        "--detector-weights FILE",
        "create_detector('tiny', weights=FILE)",
    ):
        assert part in message
    assert "\n" not in message
    assert listing() == ([] if old is None else ["tiny.onnx"])
    if old is not None:
        assert tiny.path.read_bytes() == old
    assert socket.getdefaulttimeout() is None


def test_a_refused_connection_is_reported_without_an_errno(tiny, monkeypatch):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # bound, but not listening
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/tiny.onnx"
        monkeypatch.setitem(DOWNLOADABLE._entries, "tiny", tiny._replace(url=url))
        with pytest.raises(DownloadError, match=r"tiny\.onnx: Connection refused\. "):
            download_weights("tiny")
    assert listing() == []


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root writes anywhere")
def test_a_folder_without_permission_is_a_download_error(tmp_path, monkeypatch):
    (tmp_path / "closed").mkdir(mode=0o500)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "closed"))
    with pytest.raises(DownloadError, match="closed.*Permission denied"):
        download_weights("tiny")


def test_a_folder_that_cannot_be_created_is_a_download_error():
    weights_folder().parent.mkdir(parents=True)
    weights_folder().write_text("a file where the folder goes")
    with pytest.raises(DownloadError, match="File exists"):
        download_weights("tiny")


CHILD = """
import sys
from fer_attention.faces.detectors import weights
entry = weights.DownloadableWeights(sys.argv[1], sys.argv[2], 200_000, "CC0", "https://example.org")
weights.DOWNLOADABLE.register("tiny")(entry)
weights.download_weights("tiny")
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_a_killed_download_leaves_no_file_under_the_final_name(server, tiny):
    server.answer = stalls
    with python("-c", CHILD, tiny.url, tiny.sha256) as child:
        assert server.half_sent.wait(600)
        child.send_signal(signal.SIGKILL)
        assert child.wait() == -signal.SIGKILL
    assert all(name.endswith(".partial") for name in listing())
    with pytest.raises(FileNotFoundError):
        installed_weights("tiny")
    server.answer = whole
    assert download_weights("tiny").read_bytes() == CONTENT


@pytest.mark.parametrize("name", DOWNLOADABLE)
def test_downloadable_weights_have_a_fixed_url_and_a_licence(name):
    weights = DOWNLOADABLE[name]
    assert weights.url.startswith("https://")
    assert weights.source.startswith("https://")
    assert re.search("[0-9a-f]{40}", weights.url), "a commit, not a branch that moves"
    assert "raw.githubusercontent.com" not in weights.url, "gives Git LFS pointers"
    assert re.fullmatch("[0-9a-f]{64}", weights.sha256)
    assert weights.licence
    assert weights.path.suffix == ".onnx"


@pytest.mark.data
def test_the_recorded_size_and_hash_are_those_of_yunet(shared_dir):
    content = (shared_dir / "models" / "yunet_2026may.onnx").read_bytes()
    yunet = DOWNLOADABLE["yunet"]
    assert len(content) == yunet.size
    yunet.path.parent.mkdir(parents=True)
    yunet.path.write_bytes(content)
    assert installed_weights("yunet") == yunet.path
