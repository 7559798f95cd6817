"""The installed browser that tests of pages run in."""

import shutil

import pytest

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def browser_path():
    """Return the path of an installed browser, or skip the test."""
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        pytest.skip(f"needs an installed browser: {', '.join(BROWSERS)}")
    return path
