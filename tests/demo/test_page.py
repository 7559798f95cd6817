"""The page behind its server, asked over HTTP in this process."""

import ast
import json
import os
import random
import re
import signal
import tempfile
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import fer_attention
from fer_attention.demo import Limits, build_demo, mount_demo
from fer_attention.demo.page import build_page
from fer_attention.demo.server import _Headers, demo_app, private_files
from fer_attention.models.bundled import DEFAULT
from tests.support.demo_parts import as_bytes, small_choices

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
    return [path for path in folder.rglob("*") if path.is_file()]


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
    assert '<span class="fer-label">happy</span>' in answer
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


def test_the_preview_of_a_deleted_upload_is_no_error(site):
    client, _, _ = site
    [path] = send(client, as_bytes(Image.new("RGB", (9, 9)))).json()
    address = f"/gradio_api/file={path}"
    assert client.get(address).status_code == 200
    Path(path).unlink()
    assert client.get(address).status_code == 204


@pytest.mark.parametrize(
    "error", [FileNotFoundError("photo.jpg"), RuntimeError("File at path photo.jpg gone")]
)
@pytest.mark.parametrize("answered", [False, True])
def test_an_upload_deleted_just_before_it_is_sent_is_no_error(error, answered):
    async def app(scope, receive, send):
        if answered:
            await send({"type": "http.response.start", "status": 500, "headers": []})
            await send({"type": "http.response.body", "body": b"Internal Server Error"})
        raise error

    client = testclient.TestClient(_Headers(app, uploads="/uploads"))
    preview = client.get("/gradio_api/file=/uploads/photo.jpg")
    assert (preview.status_code, preview.content) == (204, b"")
    with pytest.raises(type(error)):
        client.get("/")


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
