"""What several test files share."""

import copy
import os
import signal

import pytest
from hypothesis import settings

from tests.support.paths import SHARED

if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # so in a shell's background, and children inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)

os.environ.pop("COLUMNS", None)  # xdist sets it, and a console would keep that width for all tests

os.fsync = lambda descriptor: None  # no test outlives the machine, and waiting for its disk takes long

settings.register_profile("shared-machine", deadline=None)  # another process may hold any example up
settings.load_profile("shared-machine")


@pytest.fixture(scope="session")
def shared_dir():
    """Real data, photos and detector weights beside the checkout; skips where they are missing."""
    if not (SHARED / "data").is_dir():
        pytest.skip(f"needs real data and photos in {SHARED.name}/ beside the checkout")
    return SHARED


@pytest.fixture(scope="session")
def real_fer2013(shared_dir):
    """FER2013 with its official splits, read once for all tests of a process; they must not change it."""
    from fer_attention.data import load_data

    faces = load_data(shared_dir / "data" / "fer2013.zip")
    faces.images.flags.writeable = False
    return faces


@pytest.fixture
def open_registries(monkeypatch):
    """Blocks and backbones that a test registers are gone after it, from timm's registry, too."""
    from timm.models import _registry

    from fer_attention.attention import ATTENTIONS
    from fer_attention.models import BACKBONES

    kept = {
        name: {key: copy.copy(entry) for key, entry in value.items()}
        if isinstance(value, dict)
        else set(value)
        for name, value in vars(_registry).items()
        if not name.startswith("__") and isinstance(value, (dict, set))
    }
    for registry in (ATTENTIONS, BACKBONES):
        monkeypatch.setattr(registry, "_entries", dict(registry._entries))
    yield
    for name, former in kept.items():
        present = getattr(_registry, name)
        present.clear()
        present.update(former)


@pytest.fixture
def without_curves(monkeypatch):
    """Trainings leave no picture of their curves, which takes longer than a tiny model's training."""
    from fer_attention.training import engine

    monkeypatch.setattr(engine, "_draw_curves", lambda *arguments: None)


@pytest.fixture(scope="session")
def astronaut():
    """The astronaut Eileen Collins (NASA, public domain): uint8 (512, 512, 3), one smiling face."""
    skimage_data = pytest.importorskip("skimage.data")
    image = skimage_data.astronaut()
    image.flags.writeable = False
    return image
