"""Write docs/images/demo_desktop.png and demo_live.png: the demo page in an installed Chromium.

    python tools/demo_screenshots.py [FOLDER]

With a folder, the photo page and the live camera are taken there at 1280 and 390 pixels, light and dark,
to look at before the pictures of the documents are replaced. Needs playwright, gradio and Chromium.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from PIL import Image
from playwright.sync_api import sync_playwright

from fer_attention import sample_photo

IMAGES = Path(__file__).parents[1] / "docs" / "images"
SIZES = {1280: 900, 390: 844}


@contextmanager
def running_demo() -> Iterator[str]:
    """Start the demo on a free port and yield its address."""
    command = [sys.executable, "-m", "fer_attention.cli", "demo", "--device", "cpu"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        line = process.stdout.readline() if process.stdout else ""
        if (found := re.search(r"http://127\.0\.0\.1:\d+", line)) is None:
            raise RuntimeError("The demo did not print its address.")
        yield found[0]
    finally:
        process.terminate()
        process.wait()


def camera_clip(folder: Path) -> Path:
    """Write the sample as the video of a fake camera, 640×480."""
    frame = Image.new("RGB", (640, 480), (90, 90, 90))
    frame.paste(Image.open(sample_photo()).convert("RGB").resize((480, 480)), (80, 0))
    path = folder / "camera.mjpeg"  # JPEG files, one after another
    with path.open("wb") as file:
        for _ in range(5):
            frame.save(file, "JPEG", quality=95)
    return path


def photo(page: Any, path: Path) -> None:
    """Show the sample with what the network looked at."""
    page.click("#fer-sample")
    page.wait_for_selector(".fer-label:has-text('happy')")
    page.check("#fer-maps input")
    page.wait_for_selector(".fer-crops figure:nth-child(2)")
    page.mouse.move(0, 0)
    page.wait_for_timeout(1000)  # transitions
    page.screenshot(path=str(path), full_page=True)


def live(page: Any, path: Path) -> None:
    """Show the answer before the camera."""
    page.get_by_role("tab", name="Live camera").click()
    page.locator("#fer-camera").get_by_text("Click to Access Webcam").click()
    page.locator("#fer-camera button:has-text('Record')").click()
    page.wait_for_selector("#fer-live-answer .fer-label:has-text('happy')")
    page.wait_for_timeout(1500)
    page.screenshot(path=str(path), full_page=True)


def main() -> None:
    """Take the pictures of the documents, or all of them into a folder."""
    if len(sys.argv) > 1:
        folder = Path(sys.argv[1])
        folder.mkdir(parents=True, exist_ok=True)
        wanted = [
            (take, width, scheme, folder / f"{take.__name__}_{width}_{scheme}.png")
            for take in (photo, live)
            for width in SIZES
            for scheme in ("light", "dark")
        ]
    else:
        wanted = [
            (photo, 1280, "light", IMAGES / "demo_desktop.png"),
            (live, 390, "dark", IMAGES / "demo_live.png"),
        ]
    with TemporaryDirectory() as temporary, running_demo() as address, sync_playwright() as playwright:
        camera = camera_clip(Path(temporary))
        chromium = playwright.chromium.launch(
            executable_path=shutil.which("chromium") or shutil.which("google-chrome"),
            args=[
                "--no-sandbox",
                "--use-fake-device-for-media-stream",
                "--use-fake-ui-for-media-stream",
                f"--use-file-for-fake-video-capture={camera}",
            ],
        )
        warm_up = (photo, 1280, "light", Path(temporary) / "first.png")  # so that the times are usual ones
        for take, width, scheme, path in [warm_up, *wanted]:
            size = {"width": width, "height": SIZES[width]}
            page = chromium.new_page(viewport=size, color_scheme=scheme)
            page.set_default_timeout(120_000)
            page.goto(address)
            page.wait_for_selector(".fer-empty")
            take(page, path)
            page.close()
            Image.open(path).convert("RGB").quantize().save(path, optimize=True)  # a third of the bytes
            print(path)
        chromium.close()


if __name__ == "__main__":
    main()
