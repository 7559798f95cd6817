"""Downloads that fail, are interrupted or killed, or run beside each other."""

import hashlib
import json
import re
import signal
import socket
import subprocess
import sys
from dataclasses import asdict, replace

import pytest
from weights_server import (
    CONTENT,
    OTHER,
    POINTER,
    broken,
    endless,
    garbage,
    lfs_pointer,
    lfs_pointer_without_length,
    listing,
    longer,
    missing,
    never_answers,
    other_content,
    put,
    redirect_elsewhere,
    redirect_to_a_file,
    silence,
    stalls,
    tiny_weights,
    together,
    truncated,
    truncated_chunk,
    whole,
)

from fer_attention.faces.detectors import weights as module
from fer_attention.faces.detectors.weights import (
    DOWNLOADABLE,
    DownloadError,
    WeightsNotFoundError,
    download_weights,
    installed_weights,
    weights_folder,
)

FAILURES = {
    other_content: f"its sha256 is {hashlib.sha256(OTHER).hexdigest()}, not the known",
    lfs_pointer: f"offers {len(POINTER)} bytes, not the 200000",
    lfs_pointer_without_length: f"ended after {len(POINTER)} of 200000 bytes",
    truncated: "ended after 100000 of 200000 bytes",
    truncated_chunk: "no proper HTTP",
    longer: "offers 200001 bytes, not the 200000",
    endless: "more came than the 200000 bytes",
    missing: "answered 404 Not Found",
    broken: "answered 500 Internal Server Error",
    garbage: "no proper HTTP",
    silence: "closed connection without response",
    redirect_elsewhere: "redirects to http://example.invalid/tiny.onnx, which is not https",
    redirect_to_a_file: "answered 302",
    never_answers: "no answer within 0.3 s",
    stalls: "no answer within 0.3 s",
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


@pytest.mark.parametrize("old", [None, b"an older file"])
@pytest.mark.parametrize("answer", FAILURES, ids=lambda answer: answer.__name__)
def test_a_failure_says_why_and_what_to_do_and_leaves_the_folder_as_it_was(
    server, tiny, monkeypatch, answer, old
):
    if old is not None:
        put(old)
    monkeypatch.setattr(module, "TIMEOUT", 0.3)
    server.answer = answer
    with pytest.raises(DownloadError, match=re.escape(FAILURES[answer])) as caught:
        download_weights("tiny")
    message = str(caught.value)
    for part in (tiny.url, tiny.source, "Nothing was written", "--detector-weights FILE"):
        assert part in message
    assert "create_detector('tiny', weights=FILE)" in message
    assert "\n" not in message
    assert listing() == ([] if old is None else ["tiny.onnx"])
    if old is not None:
        assert (weights_folder() / "tiny.onnx").read_bytes() == old


@pytest.mark.parametrize("answer", [longer, lfs_pointer])
def test_a_wrong_length_is_refused_before_anything_is_read(server, tiny, answer):
    server.answer = answer
    told = []
    with pytest.raises(DownloadError):
        download_weights("tiny", on_progress=lambda *numbers: told.append(numbers))
    assert told == []
    assert not weights_folder().exists()


def test_offline_is_said_and_nothing_is_created(tiny, monkeypatch):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # bound, but nobody listens
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/tiny.onnx"
        monkeypatch.setitem(DOWNLOADABLE, "tiny", replace(tiny, url=url))
        with pytest.raises(DownloadError, match=r"tiny\.onnx: .*refused"):
            download_weights("tiny")
    assert not weights_folder().exists()


def test_a_place_that_cannot_be_written_is_a_failure_too(server, tiny):
    weights_folder().parent.mkdir(parents=True)
    weights_folder().write_text("a file where the folder goes")
    with pytest.raises(DownloadError, match="File exists"):
        download_weights("tiny")


@pytest.mark.parametrize("old", [None, b"an older file"])
def test_an_interrupt_leaves_the_folder_as_it_was(server, tiny, old):
    if old is not None:
        put(old)

    def interrupt(done, total):
        assert 0 < done < total
        assert len(listing()) == 1 + (old is not None)  # half of it lies there, under another name
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        download_weights("tiny", on_progress=interrupt)
    assert listing() == ([] if old is None else ["tiny.onnx"])


CHILD = """
import json, sys
from fer_attention.faces.detectors import weights
weights.DOWNLOADABLE["tiny"] = weights.DownloadableWeights(**json.loads(sys.argv[1]))
print(weights.download_weights("tiny", on_progress=lambda *numbers: print("told", flush=True)))
"""


def start(tiny):
    """The same download in a process of its own."""
    command = [sys.executable, "-c", CHILD, json.dumps(asdict(tiny))]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_a_killed_download_leaves_no_file_under_the_real_name(server, tiny):
    server.answer = stalls
    with start(tiny) as child:
        assert server.half_sent.wait(60)
        assert child.stdout.readline() == "told\n"  # some of it has been written
        child.send_signal(signal.SIGKILL)
        assert child.wait(60) == -signal.SIGKILL
    [unfinished] = listing()
    assert unfinished.startswith(".tiny.onnx.")
    with pytest.raises(WeightsNotFoundError):
        installed_weights("tiny")
    server.answer = whole
    assert download_weights("tiny").read_bytes() == CONTENT


def test_two_processes_at_once_both_end_with_the_whole_file(server, tiny, monkeypatch):
    monkeypatch.setattr(module, "TIMEOUT", 60)
    server.answer = together  # neither is served before both have asked
    with start(tiny) as other:
        path = download_weights("tiny")
        output, _ = other.communicate(timeout=60)
    assert other.returncode == 0
    assert output.splitlines()[-1] == str(path)
    assert len(server.paths) == 2
    assert listing() == ["tiny.onnx"]
    assert installed_weights("tiny").read_bytes() == CONTENT
