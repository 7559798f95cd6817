"""The demo as a visitor has it: a real process, a real browser."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fer_attention.models import list_pretrained
from tests.support.browsers import browser_path
from tests.support.demo_parts import as_bytes
from tests.support.live import files_below
from tests.support.videos import make_clip

sync_api = pytest.importorskip("playwright.sync_api")
pytest.importorskip("gradio")

CUT_OFF = "net::ERR_CONTENT_LENGTH_MISMATCH"
"""A file whose transfer ended early: seen on machines with more work than cores, where the page goes on."""

DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def browser(astronaut, tmp_path_factory):
    path = browser_path()
    with sync_api.sync_playwright() as playwright:
        camera = make_clip(
            tmp_path_factory.mktemp("camera") / "camera.mjpeg", [framed(astronaut)] * 5, codec="mjpeg"
        )
        fake = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
        fake.append(f"--use-file-for-fake-video-capture={camera}")
        started = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", *fake])
        yield started
        started.close()


def framed(astronaut):
    """The astronaut in a frame of a camera, 640×480."""
    frame = np.full((480, 640, 3), 90, np.uint8)
    frame[:, 64:576] = astronaut[:480]
    return frame


@contextmanager
def running_demo(folder):
    """The process and its address; its temporary files go to the folder."""
    process = subprocess.Popen(
        [sys.executable, "-c", "from fer_attention.cli import app; app()", "demo", "--device", "cpu"],
        env={**os.environ, "TMPDIR": str(folder), "COLUMNS": "200"},
        stdout=subprocess.PIPE,
        stderr=(folder.parent / "stderr").open("w"),
        text=True,
    )
    try:
        line = process.stdout.readline()
        found = re.search(r"http://127\.0\.0\.1:\d+", line)
        assert found, (folder.parent / "stderr").read_text()
        yield process, found[0]
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        process.stdout.close()


def uploads(folder):
    return [path for path in files_below(folder) if "files" in path.relative_to(folder).parts[1:-1]]


@contextmanager
def visit(browser, url, size, scheme="light"):
    """A page with a list of what it asked other hosts for, and of its errors."""
    page = browser.new_page(viewport=size, color_scheme=scheme)
    page.set_default_timeout(300_000)  # milliseconds; on a busy machine a page is slow
    foreign, errors = [], []
    page.on("request", lambda r: r.url.startswith((url, "data:", "blob:")) or foreign.append(r.url))
    page.on("console", lambda m: m.type == "error" and errors.append(f"{m.text} {m.location}"))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(url)
    page.wait_for_selector(".fer-empty")
    yield page
    assert foreign == []
    assert [error for error in errors if CUT_OFF not in error] == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.close()


def give(page, path):
    page.set_input_files("#fer-photo input[type=file]", str(path))


def eventually(condition, seconds=120):
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.05)
    return condition()


def shot(page, path):
    page.screenshot(path=str(path))
    with Image.open(path) as picture:
        assert len(np.unique(np.asarray(picture.convert("L")))) > 20  # not blank


def test_a_visitor_uploads_a_photo_and_reads_happy(browser, tmp_path, astronaut):
    folder = tmp_path / "tmp"
    folder.mkdir()
    photo, wall, damaged = (tmp_path / name for name in ("photo.jpg", "wall.png", "damaged.png"))
    photo.write_bytes(as_bytes(np.asarray(astronaut), "JPEG"))
    wall.write_bytes(as_bytes(Image.new("RGB", (300, 200), "grey")))
    damaged.write_bytes(as_bytes(np.asarray(astronaut))[:50_000])
    with running_demo(folder) as (process, url):
        with visit(browser, url, DESKTOP) as page:
            give(page, photo)
            card = page.wait_for_selector(".fer-card")
            with page.expect_download() as download:
                page.click(".fer-downloads a[download='faces.json']")
            [answer] = json.loads(Path(download.value.path()).read_text())
            assert (answer["image"], answer["faces"][0]["emotion"]) == ("photo.jpg", "happy")
            assert card.query_selector(".fer-label").inner_text() == "happy"
            assert len(card.query_selector_all(".fer-bars dt")) == len(list_pretrained()[0].labels)
            assert uploads(folder) == []
            page.check("#fer-maps input")
            page.wait_for_selector(".fer-crops figure:nth-child(2)")
            shot(page, tmp_path / "desktop.png")
            page.check("#fer-detector input[value=none]")
            page.wait_for_selector(".fer-facts:has-text('none')")
            give(page, damaged)
            page.wait_for_selector(".fer-message:has-text('The picture is damaged')")
            assert page.inner_text(".fer-use summary").startswith("An expression is not a feeling")
        with visit(browser, url, PHONE) as page:
            page.click("#fer-sample")
            page.wait_for_selector(".fer-label:has-text('happy')")
            answer = page.locator(".fer-photo").bounding_box()["y"]
            assert answer < page.locator("#fer-options").bounding_box()["y"]
            give(page, wall)
            page.wait_for_selector(".fer-message:has-text('No face found')")
            give(page, photo)
            page.wait_for_selector(".fer-card")
            shot(page, tmp_path / "phone.png")
            assert eventually(lambda: page.locator(".fer-photo").bounding_box()["y"] < PHONE["height"] / 2)
            assert uploads(folder) == []
            process.send_signal(signal.SIGINT)  # with the page still open
            assert process.wait(timeout=300) == 130
        assert list(folder.iterdir()) == []
        assert "Traceback" not in (tmp_path / "stderr").read_text()


@pytest.mark.parametrize(
    ("size", "scheme"), [(DESKTOP, "light"), (PHONE, "dark")], ids=["desktop light", "phone dark"]
)
def test_a_visitor_reads_happy_in_a_clip_and_before_a_camera(browser, tmp_path, astronaut, size, scheme):
    folder = tmp_path / "tmp"
    folder.mkdir()
    clip = make_clip(tmp_path / "clip.mp4", [framed(astronaut)] * 6)
    with running_demo(folder) as (_, url), visit(browser, url, size, scheme) as page:
        page.get_by_role("tab", name="Clip").click()
        page.set_input_files("#fer-clip input[type=file]", str(clip))
        page.wait_for_selector("#fer-clip-answer .fer-label:has-text('happy')")
        assert page.evaluate("document.querySelector('video.fer-photo').readyState") >= 1
        with page.expect_download() as download:
            page.click("#fer-clip-answer a[download='faces.json']")
        assert json.loads(Path(download.value.path()).read_text())[0]["faces"][0]["emotion"] == "happy"
        assert uploads(folder) == []
        shot(page, tmp_path / "clip.png")
        page.get_by_role("tab", name="Live camera").click()
        assert not page.is_visible("#fer-clip-answer")
        page.locator("#fer-camera").get_by_text("Click to Access Webcam").click()
        page.locator("#fer-camera button:has-text('Record')").click()
        page.wait_for_selector("#fer-live-answer .fer-label:has-text('happy')")
        assert uploads(folder) == []
        shot(page, tmp_path / "live.png")


@pytest.mark.skipif(os.name != "posix", reason="SIGTERM ends no program kindly there")
def test_sigterm_ends_it_and_leaves_no_file(tmp_path):
    folder = tmp_path / "tmp"
    folder.mkdir()
    with running_demo(folder) as (process, _):
        [private] = folder.iterdir()
        assert private.name.startswith("fer_attention_demo_")
        (Path(private) / "upload").write_text("a photo")
        process.terminate()
        assert process.wait(timeout=300) == 128 + signal.SIGTERM
        assert list(folder.iterdir()) == []
        assert "Traceback" not in (tmp_path / "stderr").read_text()
