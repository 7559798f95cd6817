"""Files that visitors send: which are photos, and what is said of the others."""

import struct
import zlib
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from fer_attention.demo import Limits, PhotoError, read_photo
from tests.support.demo_parts import as_bytes


def refused(content, **limits):
    with pytest.raises(PhotoError) as caught:
        read_photo(content, Limits(**limits))
    return caught.value


@pytest.fixture(scope="module")
def rgb(astronaut):
    return Image.fromarray(np.asarray(astronaut)).resize((64, 48))


@pytest.mark.parametrize(
    ("form", "mode"),
    [("PNG", "RGB"), ("PNG", "RGBA"), ("PNG", "L"), ("PNG", "P"), ("PNG", "1"), ("TIFF", "CMYK"),
     ("JPEG", "CMYK"), ("JPEG", "RGB"), ("WEBP", "RGBA"), ("GIF", "P"), ("BMP", "RGB"), ("PPM", "RGB"),
     ("MPO", "RGB")],
)  # fmt: skip
def test_pictures_of_every_usual_kind_become_rgb(rgb, form, mode):
    photo = read_photo(as_bytes(rgb.convert(mode), form), Limits())
    assert (photo.mode, photo.size) == ("RGB", (64, 48))


def test_sixteen_bit_grey_keeps_its_brightness():
    wide = Image.fromarray(np.full((20, 30), 257 * 100, np.uint16))
    assert read_photo(as_bytes(wide), Limits()).getpixel((3, 3)) == (100, 100, 100)


def test_a_photo_is_turned_upright(rgb):
    exif = Image.Exif()
    exif[274] = 6
    turned = read_photo(as_bytes(rgb, "JPEG", exif=exif, quality=95), Limits())
    assert turned.size == (48, 64)
    expected = np.asarray(rgb.transpose(Image.Transpose.ROTATE_270), np.int16)
    assert np.abs(np.asarray(turned, np.int16) - expected).mean() < 6


def test_a_photo_is_plain_pixels_that_are_not_copied_again(rgb):
    from fer_attention.faces.images import borrow_image

    photo = read_photo(as_bytes(rgb, "JPEG"), Limits())
    assert borrow_image(photo) is photo


def test_transparent_pixels_are_white():
    clear = as_bytes(Image.new("RGBA", (9, 9), (200, 0, 0, 0)))
    assert read_photo(clear, Limits()).getpixel((4, 4)) == (255, 255, 255)


@pytest.mark.parametrize(
    "content", [b"hello", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", b"\0" * 999]
)
def test_a_file_that_is_not_a_picture_is_refused(content):
    assert "not a picture" in refused(content).title


def test_an_empty_file_is_refused():
    assert "0 bytes" in refused(b"").advice


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP"])
def test_a_truncated_picture_is_refused_as_damaged(astronaut, form):
    content = as_bytes(astronaut, form)
    error = refused(content[: len(content) // 2])
    assert "damaged" in error.title + error.advice


def test_a_file_above_the_limit_is_refused_with_both_numbers(rgb):
    error = refused(as_bytes(rgb) + b"\0" * 2_000_000, upload_mb=1.5)
    assert "2.0 MB" in error.advice
    assert "1.5 MB" in error.advice


def test_a_picture_above_the_limit_is_refused_before_it_is_decoded(monkeypatch):
    content = as_bytes(Image.new("L", (1500, 1000)))
    monkeypatch.setattr("fer_attention.demo.photo.load_image", lambda _: pytest.fail("decoded"))
    advice = refused(content, megapixels=1).advice
    assert "1500×1000" in advice
    assert "1.5 megapixels" in advice
    assert "the limit is 1." in advice


def test_a_decompression_bomb_is_refused_with_its_number_of_pixels():
    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = struct.pack(">IIBBBBB", 60_000, 50_000, 8, 2, 0, 0, 0)
    bomb = (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(b"\0" * 99))
        + chunk(b"IEND", b"")
    )
    assert len(bomb) < 200
    assert "3,000.0 megapixels" in refused(bomb).advice


def test_pixels_without_a_fixed_range_are_refused():
    error = refused(as_bytes(Image.fromarray(np.zeros((9, 9), np.float32)), "TIFF"))
    assert "'F'" in error.advice


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@settings(max_examples=60)
@given(cut=st.integers(0, 4000), place=st.integers(0, 4000), value=st.binary(min_size=1, max_size=8))
def test_broken_files_give_a_photo_or_the_one_error(cut, place, value):
    grey = np.random.default_rng(3).integers(0, 256, (24, 24), dtype=np.uint8)
    for form in ("PNG", "JPEG", "GIF", "TIFF"):
        content = bytearray(as_bytes(grey, form))
        place %= len(content)
        content[place : place + len(value)] = value
        with suppress(PhotoError):
            assert read_photo(bytes(content[: cut or None]), Limits(megapixels=1)).mode == "RGB"


def test_reading_leaves_the_warning_filters():
    import warnings

    before = list(warnings.filters)
    read_photo(as_bytes(Image.new("L", (8, 8))), Limits())
    assert list(warnings.filters) == before


@pytest.mark.parametrize(
    "limits", [{"upload_mb": 0}, {"megapixels": -1}, {"faces": 0}, {"megapixels": float("nan")}]
)
def test_a_limit_of_zero_or_less_is_an_error(limits):
    with pytest.raises(ValueError, match=next(iter(limits))):
        Limits(**limits)


def test_the_formats_are_ones_that_pillow_knows_by_these_names():
    from fer_attention.demo.photo import FORMATS

    Image.init()
    assert {*FORMATS} - {*Image.OPEN} <= {"AVIF", "WEBP"}  # which a Pillow may be built without
