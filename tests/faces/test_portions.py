"""Portions of photos: bounded by pixels, one large photo at a time in all threads."""

import threading
import weakref
from concurrent.futures import ThreadPoolExecutor

import pytest
from PIL import Image

from fer_attention.faces import load_image, portions
from fer_attention.faces.portions import in_portions


@pytest.fixture
def photos(tmp_path, monkeypatch):
    """Paths of files of 100, 100, 100, 2500, 100 and 2500 pixels; a portion has 200."""
    monkeypatch.setattr(portions, "PORTION", 200)
    sides = (10, 10, 10, 50, 10, 50)
    for number, side in enumerate(sides):
        Image.new("RGB", (side, side)).save(tmp_path / f"{number}.png")
    return [(number, tmp_path / f"{number}.png") for number in range(len(sides))]


def numbers(photos, failed=None):
    found = in_portions(photos, load_image, lambda number, error: failed.append(number))
    return [[number for number, _ in portion] for portion in found]


def test_portions_are_bounded_and_large_photos_alone(photos):
    assert numbers(photos) == [[0, 1], [2], [3], [4], [5]]


def test_photos_are_released_with_their_portion(photos):
    former = []
    for portion in in_portions(photos, load_image, None):
        assert all(image() is None for image in former)
        former = [weakref.ref(image) for _, image in portion]
        assert former[0]() is not None


def test_photos_that_cannot_be_loaded_are_left_out(photos, tmp_path):
    for number in (1, 3):
        (tmp_path / f"{number}.png").write_bytes(b"damaged")
    failed = []
    assert numbers(photos, failed) == [[0, 2], [4], [5]]
    assert failed == [1, 3]


def test_one_thread_at_a_time_holds_a_large_photo(photos):
    held, most, lock = set(), [0], threading.Lock()

    def work(worker):
        for portion in in_portions(photos[3:4] * 5, load_image, None):
            with lock:
                held.add(worker)
                most[0] = max(most[0], len(held))
            assert portion[0][1].size == (50, 50)
            with lock:
                held.remove(worker)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    assert most == [1]


def test_a_reader_that_stops_lets_others_on(photos):
    first = in_portions(photos[3:], load_image, None)
    next(first)
    first.close()
    assert numbers(photos[3:4]) == [[3]]
