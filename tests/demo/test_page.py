"""The page behind its server, asked over HTTP in this process."""

import ast
import base64
import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import fer_attention
from fer_attention.demo import Limits, build_demo, mount_demo
from fer_attention.demo.page import build_page
from fer_attention.demo.server import BODY_BYTES, demo_app, private_files
from fer_attention.models.bundled import DEFAULT
from tests.support.demo_parts import as_bytes, small_choices
from tests.support.live import files_below
from tests.support.videos import make_clip

gradio = pytest.importorskip("gradio")
testclient = pytest.importorskip("starlette.testclient")

MODEL = DEFAULT
LIMITS = Limits(upload_mb=1)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A client of the page, the page and the folder of its files."""
    tmp_path_factory.getbasetemp()  # before the folder for temporary files is another
    with private_files() as folder:
        page = build_page(small_choices(), LIMITS)
        app = demo_app(page, limits=LIMITS)
        with testclient.TestClient(app, base_url="http://127.0.0.1") as client:
            yield client, page, Path(folder)
    assert not Path(folder).exists()


def files(folder):
    return list(files_below(folder))


def send(client, content, name="photo.jpg"):
    return client.post("/gradio_api/upload", files={"files": (name, content)})


def ask(client, page, handler, data, session="visitor"):
    """The values that a handler's event gives back; None if it failed."""
    [index] = [n for n, function in page.fns.items() if function.name == handler][:1]
    body = {"data": data, "fn_index": index, "session_hash": session}
    assert client.post("/gradio_api/queue/join", json=body).status_code == 200
    told = client.get("/gradio_api/queue/data", params={"session_hash": session}).text
    events = [json.loads(line[5:]) for line in told.splitlines() if line.startswith("data:")]
    [done] = [event for event in events if event["msg"] == "process_completed"]
    return done["output"]["data"] if done["success"] else None


def record(path):
    return {"path": str(path), "meta": {"_type": "gradio.FileData"}}


def test_a_photo_is_answered_and_no_file_of_it_is_left(site, astronaut):
    client, page, folder = site
    [path] = send(client, as_bytes(np.asarray(astronaut), "JPEG")).json()
    assert Path(path).is_relative_to(folder)
    answer, photo = ask(client, page, "on_photo", [record(path), MODEL, "fixed", False])
    assert '<b class="fer-label">happy</b>' in answer
    assert photo is None
    assert files(folder) == []
    [again] = ask(client, page, "on_choice", [MODEL, "fixed", True])
    assert "regions that supported happy" in again
    assert files(folder) == []


def test_a_file_that_is_not_a_photo_gets_a_message(site):
    client, page, folder = site
    [path] = send(client, b"text").json()
    answer, _ = ask(client, page, "on_photo", [record(path), MODEL, "fixed", False])
    assert "not a picture" in answer
    assert files(folder) == []


def test_a_clip_is_answered_and_no_file_of_it_is_left(site, astronaut, tmp_path):
    client, page, folder = site
    [path] = send(client, make_clip(tmp_path / "clip.mp4", [astronaut] * 6).read_bytes(), "clip.mp4").json()
    assert files(folder) == []
    answer, clip = ask(client, page, "on_clip", [record(path), MODEL, "fixed"])
    assert '<b class="fer-label">happy</b>' in answer
    assert 'src="data:video/mp4;base64,' in answer
    assert clip is None
    assert files(folder) == []


def test_a_file_that_is_not_a_clip_gets_a_message(site):
    client, page, folder = site
    [path] = send(client, b"#EXTM3U\n/etc/hostname\n", "clip.mp4").json()
    answer, _ = ask(client, page, "on_clip", [record(path), MODEL, "fixed"])
    assert "not a clip that can be read" in answer
    assert files(folder) == []


@pytest.mark.parametrize("path", ["{outside}", "http://127.0.0.1:9/x.mp4"])
def test_paths_of_this_machine_and_addresses_are_refused_as_clips(site, tmp_path, path, capfd):
    client, page, _ = site
    outside = tmp_path / "private.mp4"
    outside.write_bytes(b"private")
    assert ask(client, page, "on_clip", [record(path.format(outside=outside)), MODEL, "fixed"]) is None
    assert re.search("not an uploaded file|not uploaded by a user", capfd.readouterr().err)
    assert outside.exists()


def frame_answer(page, content=None, **frame):
    """The answer to a frame of a camera, as the page's browser sends it."""
    if content is not None:
        frame["url"] = f"data:image/jpeg;base64,{base64.b64encode(content).decode()}"
    [function] = [function for function in page.fns.values() if function.name == "on_frame"]
    return function.fn({"path": None, "is_stream": True, **frame}, MODEL, "fixed")


def test_frames_of_a_camera_are_answered(site, astronaut):
    _, page, folder = site
    answer = frame_answer(page, as_bytes(np.asarray(astronaut), "JPEG"))
    assert '<b class="fer-label">happy</b>' in answer
    assert files(folder) == []


@pytest.mark.parametrize(
    "url",
    [
        "",
        "http://127.0.0.1:9/x.png",
        "file:///etc/hostname",
        "data:text/html;base64,aGk=",
        "data:image/png;base64,!",
    ],
)
def test_only_data_of_pictures_are_frames(site, url):
    _, page, _ = site
    assert "not a picture of the camera" in frame_answer(page, url=url, path="/etc/hostname")


@pytest.mark.parametrize("place", range(4))
@pytest.mark.parametrize("path", ["{outside}", "http://127.0.0.1:9/x.png"])
def test_paths_of_this_machine_and_addresses_are_refused_as_files(site, tmp_path, place, path, capfd):
    client, page, folder = site
    outside = tmp_path / "private.png"
    outside.write_bytes(as_bytes(Image.new("RGB", (9, 9))))
    data = [None, MODEL, "fixed", False]
    data[place] = record(path.format(outside=outside))
    assert ask(client, page, "on_photo", data) is None
    assert re.search("not an uploaded file|not uploaded by a user", capfd.readouterr().err)
    assert files(folder) == []
    assert outside.exists()
    assert client.get(f"/gradio_api/file={outside}").status_code == 403


def test_switching_to_the_camera_keeps_the_answer_and_the_path_check(site, tmp_path):
    client, page, _ = site
    answer, photo = ask(client, page, "on_photo", [None, MODEL, "fixed", False], session="camera")
    assert answer["__type__"] == "update"
    assert "value" not in answer
    assert photo is None
    outside = tmp_path / "private.png"
    outside.write_bytes(as_bytes(Image.new("RGB", (9, 9))))
    for path in (outside, "http://127.0.0.1:9/x.png"):
        data = [record(path), MODEL, "fixed", False]
        assert ask(client, page, "on_photo", data, session="camera") is None


def test_a_photo_is_in_memory_until_it_has_been_answered(site, astronaut):
    client, page, folder = site
    content = as_bytes(np.asarray(astronaut), "JPEG")
    [path] = send(client, content).json()
    assert files(folder) == []
    preview = client.get(f"/gradio_api/file={path}")
    assert (preview.content, preview.headers["content-type"]) == (content, "image/jpeg")
    ask(client, page, "on_photo", [record(path), MODEL, "fixed", False])
    assert client.get(f"/gradio_api/file={path}").status_code == 204


@pytest.mark.parametrize("equal", [True, False])
def test_fifty_uploads_at_once_are_all_answered(site, astronaut, equal):
    client, page, folder = site
    photo = Image.fromarray(np.asarray(astronaut))
    contents = [as_bytes(photo, "JPEG", comment="" if equal else str(number)) for number in range(50)]
    with ThreadPoolExecutor(10) as pool:
        paths = [answer.json()[0] for answer in pool.map(lambda content: send(client, content), contents)]
        assert len(set(paths)) == (1 if equal else 50)
        assert files(folder) == []

        def answer(number):
            data = [record(paths[number]), MODEL, "fixed", False]
            return ask(client, page, "on_photo", data, session=f"visitor {number}")

        answers = list(pool.map(answer, range(50)))
    assert all('<b class="fer-label">happy</b>' in html for html, _ in answers)


def test_more_visitors_than_the_queue_holds_are_told_to_wait(site):
    client, page, _ = site
    [index] = [n for n, function in page.fns.items() if function.name == "on_sample"]
    queue = page._queue
    body = {"data": [MODEL, "fixed", False], "fn_index": index, "session_hash": "late"}
    queue.max_size, before = 0, queue.max_size
    try:
        refused = client.post("/gradio_api/queue/join", json=body)
    finally:
        queue.max_size = before
    assert refused.status_code == 503
    assert "Queue is full" in refused.text


def test_the_sample_is_answered(site):
    client, page, _ = site
    [answer] = ask(client, page, "on_sample", [MODEL, "fixed", False])
    assert '<b class="fer-label">happy</b>' in answer


def test_a_file_far_above_the_limit_is_not_received(site):
    client, _, folder = site
    assert send(client, b"\0" * (4 * LIMITS.upload_bytes + 1)).status_code in (400, 413)
    assert files(folder) == []


def test_a_file_above_the_limit_is_answered_with_both_numbers(site):
    client, page, folder = site
    [path] = send(client, b"\0" * (LIMITS.upload_bytes + 500_000)).json()
    answer, _ = ask(client, page, "on_photo", [record(path), MODEL, "fixed", False])
    assert "It has 1.5 MB; the limit is 1 MB" in answer
    assert files(folder) == []


def test_closing_the_page_removes_the_visitor_from_memory(site, astronaut):
    client, page, _ = site
    [path] = send(client, as_bytes(np.asarray(astronaut), "JPEG")).json()
    ask(client, page, "on_photo", [record(path), MODEL, "fixed", False], session="leaving")
    assert "leaving" in page.state_holder.session_data
    ask(client, page, "on_leave", [], session="leaving")
    assert "leaving" not in page.state_holder.session_data
    [again] = ask(client, page, "on_choice", [MODEL, "fixed", True], session="leaving")
    assert "The answer appears here" in again


def test_the_page_loads_nothing_from_other_hosts_and_forbids_it(site):
    client, _, _ = site
    page = client.get("/")
    loaded = re.findall(r'<(?:script|img|iframe)[^>]*src="(https?:[^"]+)', page.text)
    loaded += re.findall(r'<link[^>]*href="(https?:[^"]+)', page.text)
    loaded += re.findall(r"url\(['\"]?(https?:[^)]+)", client.get("/theme.css").text)
    assert loaded == []
    policy = page.headers["content-security-policy"]
    assert "default-src 'self' data: blob:" in policy
    assert "http" not in policy


def test_other_pages_cannot_use_or_show_this_one(site):
    client, _, folder = site
    page = client.get("/")
    assert page.headers["x-content-type-options"] == "nosniff"
    assert "frame-ancestors 'self'" in page.headers["content-security-policy"]
    photo = {"files": ("photo.png", as_bytes(Image.new("RGB", (9, 9))))}
    for origin in ("https://evil.example", "null", "http://127.0.0.1:8000"):
        refused = client.post("/gradio_api/upload", files=photo, headers={"origin": origin})
        assert refused.status_code == 403
    assert files(folder) == []
    own = {"origin": "http://127.0.0.1", "host": "127.0.0.1"}
    assert client.post("/gradio_api/upload", files=photo, headers=own).status_code == 200


def test_long_bodies_are_refused(site):
    client, _, _ = site
    for content in (b"x" * (BODY_BYTES + 1), iter([b"x" * BODY_BYTES, b"x"])):
        refused = client.post("/gradio_api/queue/join", content=content)
        assert refused.status_code == 413
        assert "1,000,000 bytes" in refused.text


def test_answers_are_not_kept_by_browsers(site):
    client, _, _ = site
    assert client.get("/gradio_api/info").headers["cache-control"] == "no-store"


def test_requests_under_a_foreign_host_name_are_refused(site):
    client, _, _ = site
    assert client.get("/", headers={"host": "evil.example"}).status_code == 400
    for own in ("127.0.0.1:7860", "localhost:7860", "[::1]:7860"):
        assert client.get("/", headers={"host": own}).status_code == 200


def test_only_the_page_is_served(site):
    client, _, _ = site
    assert client.get("/gradio_api/info").json() == {"named_endpoints": {}, "unnamed_endpoints": {}}
    config = client.get("/config").json()
    assert config["footer_links"] == []
    assert not config["analytics_enabled"]
    for path in ("/docs", "/openapi.json", "/monitoring", "/gradio_api/runs"):
        assert client.get(path).status_code in (403, 404), path


def test_building_a_page_restores_random_state_and_environment(monkeypatch):
    monkeypatch.delenv("HF_HUB_DISABLE_TELEMETRY", raising=False)
    environment, state = dict(os.environ), random.getstate()
    build_page(small_choices())
    assert dict(os.environ) == environment
    assert random.getstate() == state
    monkeypatch.setenv("HF_HUB_DISABLE_TELEMETRY", "0")
    build_page(small_choices())
    assert os.environ["HF_HUB_DISABLE_TELEMETRY"] == "0"


def test_private_files_are_deleted_and_settings_restored(monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", "mine")
    before = tempfile.tempdir, signal.getsignal(signal.SIGTERM)
    with suppress(ZeroDivisionError), private_files() as folder:
        assert os.environ["GRADIO_TEMP_DIR"] == tempfile.gettempdir() == folder
        (Path(folder) / "upload").write_text("photo")
        assert os.name != "posix" or Path(folder).stat().st_mode & 0o077 == 0
        raise ZeroDivisionError
    assert not Path(folder).exists()
    assert os.environ["GRADIO_TEMP_DIR"] == "mine"
    assert (tempfile.tempdir, signal.getsignal(signal.SIGTERM)) == before


@pytest.mark.skipif(os.name != "posix", reason="SIGKILL is POSIX")
@pytest.mark.slow
def test_the_folder_of_a_killed_run_is_deleted_at_the_next_start(tmp_path, monkeypatch):
    code = (
        "from fer_attention.demo.server import private_files\n"
        "with private_files() as folder:\n    print(folder, flush=True)\n    input()"
    )
    command = [sys.executable, "-c", code]
    environment = {**os.environ, "TMPDIR": str(tmp_path), "PYTHONPATH": str(PACKAGE.parent)}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    killed, working = (
        subprocess.Popen(command, env=environment, text=True, **pipes) for _ in range(2)
    )  # the second one leaves the first one's folder alone
    folders = [Path(process.stdout.readline().strip()) for process in (killed, working)]
    assert all(folder.is_dir() for folder in folders)
    (folders[0] / "photo.jpg").write_text("a photo")
    killed.kill()
    killed.wait()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with private_files() as own:
        assert sorted(tmp_path.iterdir()) == sorted([folders[1].parent, Path(own).parent])
    working.communicate("\n")
    assert list(tmp_path.iterdir()) == []


def test_a_demo_is_mounted_in_another_app():
    from fastapi import FastAPI

    page = build_demo(detector="none", device="cpu")
    client = testclient.TestClient(mount_demo(FastAPI(), page, path="/faces"))
    assert "as a network sees them" in client.get("/faces/").text


PACKAGE = Path(fer_attention.__file__).parent


@pytest.mark.parametrize(
    "path", [*PACKAGE.glob("demo/*.py"), PACKAGE / "cli" / "demo.py"], ids=lambda p: p.name
)
def test_gradio_is_imported_where_it_is_used(path):
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module] if isinstance(node, ast.ImportFrom) else []
        assert not {name.split(".")[0] for name in names} & {"gradio", "fastapi", "starlette", "uvicorn"}
