"""Files of many formats, sound and damaged ones, within bounds."""

import io
import os
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, features

from fer_attention.faces import ImageError, load_image
from fer_attention.faces.decoding import FORMATS, IMAGE_SUFFIXES, is_image_content
from tests.support.forked import run_python

PIXELS = np.zeros((24, 40, 3), np.uint8)
PIXELS[:, :20] = (200, 40, 40)
PIXELS[12:, 20:] = (40, 40, 200)


def encoded(form, **options):
    file = io.BytesIO()
    Image.fromarray(PIXELS).save(file, form, **options)
    return file.getvalue()


def can_write(form):
    Image.init()
    return form in Image.SAVE and (form != "AVIF" or features.check("avif"))


@pytest.mark.parametrize("form", [form for form in FORMATS if can_write(form)])
def test_every_format_is_read_from_path_bytes_and_open_file(tmp_path, form):
    content = encoded(form, sizes=[(40, 24)]) if form == "ICO" else encoded(form)
    path = tmp_path / "photo"
    path.write_bytes(content)
    photo = load_image(path)
    assert photo.size == (40, 24)
    np.testing.assert_allclose(np.asarray(photo), PIXELS, atol=90)
    for source in (content, io.BytesIO(content), path.open("rb")):
        assert np.array_equal(np.asarray(load_image(source)), np.asarray(photo))


def test_every_suffix_of_a_readable_format_is_looked_for():
    Image.init()
    known = {suffix for suffix, form in Image.EXTENSION.items() if form in FORMATS}
    assert known - {".vda", ".icb", ".vst", ".rgb"} <= set(IMAGE_SUFFIXES) | {".pfm"}


def test_heic_photos_are_read(tmp_path):
    pillow_heif = pytest.importorskip("pillow_heif")
    path = tmp_path / "photo.heic"
    pillow_heif.from_pillow(Image.fromarray(PIXELS)).save(path, quality=100)
    assert is_image_content(path)
    np.testing.assert_allclose(np.asarray(load_image(path)), PIXELS, atol=40)


def test_heic_without_its_library_names_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    path = tmp_path / "photo.heic"
    path.write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100))
    with pytest.raises(ImageError, match=r"pip install 'fer_attention\[heic\]'"):
        load_image(path)


def exif(entries, *, count=None):
    """An EXIF block of little-endian entries (tag, type, count, four bytes of value)."""
    head = b"Exif\0\0II*\0" + struct.pack("<IH", 8, len(entries) if count is None else count)
    return head + b"".join(struct.pack("<HHI4s", *entry) for entry in entries) + bytes(4)


TURNED = (0x0112, 3, 1, struct.pack("<HH", 6, 0))  # orientation 6: turn by 270 degrees
ODD = {
    "text for a number": (0x0128, 2, 4, b"abc\0"),
    "an offset beyond the end": (0x010F, 2, 99, struct.pack("<I", 0xFFFFFF00)),
    "a type that does not exist": (0x011A, 77, 1, b"\1\2\3\4"),
    "a huge count": (0x8769, 4, 0x7FFFFFFF, struct.pack("<I", 8)),
    "a fraction by zero": (0x011A, 5, 1, struct.pack("<I", 8)),
}


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("odd", ODD)
def test_odd_exif_tags_leave_the_pixels_and_the_orientation(form, odd):
    content = encoded(form, exif=exif([TURNED, ODD[odd]]))
    photo = load_image(content)
    assert photo.size == (24, 40)
    upright = Image.open(io.BytesIO(encoded(form))).convert("RGB").transpose(Image.Transpose.ROTATE_270)
    np.testing.assert_array_equal(np.asarray(photo), np.asarray(upright))


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_an_upright_photo_is_not_turned_again(form):
    block = Image.Exif()
    block[0x0112] = 6
    photo = load_image(encoded(form, exif=block))
    assert (
        photo.size
        == load_image(photo).size
        == load_image(Image.fromarray(np.asarray(photo))).size
        == (24, 40)
    )


@pytest.mark.parametrize("orientation", [0, 9, 255])
def test_an_orientation_that_does_not_exist_changes_nothing(orientation):
    block = Image.Exif()
    block[0x0112] = orientation
    assert load_image(encoded("PNG", exif=block)).size == (40, 24)


@pytest.mark.parametrize("count", [0, 65_535])
def test_exif_that_ends_early_changes_nothing(count):
    assert load_image(encoded("JPEG", exif=exif([], count=count))).size == (40, 24)


@given(st.binary(max_size=60))
def test_any_exif_leaves_the_pixels(block):
    photo = load_image(encoded("JPEG", exif=b"Exif\0\0" + block))
    assert sorted(photo.size) == [24, 40]


def test_content_is_recognised_before_pillow_has_loaded_its_plug_ins(tmp_path):
    """As at the start of a command, which lists its photos first."""
    (tmp_path / "photo").write_bytes(encoded("JPEG"))
    script = (
        "import PIL.Image, sys; from fer_attention.faces.photo_files import *\n"
        "assert not PIL.Image._initialized\n"
        "print(list_photos([Path(sys.argv[1])]))"
    )
    code, output, errors = run_python("-c", script, tmp_path, bare=True)
    assert code == 0, errors
    assert "others=()" in output


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="named pipes are POSIX")
def test_pipes_devices_and_folders_are_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "zero.png").symlink_to("/dev/zero")
    (tmp_path / "folder.png").mkdir()
    for name, what in (
        ("pipe", "not a regular file"),
        ("zero", "not a regular file"),
        ("folder", "a folder"),
    ):
        with pytest.raises(ImageError, match=what):
            load_image(tmp_path / f"{name}.png")
        assert not is_image_content(tmp_path / f"{name}.png")


def test_addresses_are_refused_with_the_line_that_helps():
    for address in ("https://example.org/photo.jpg", Path("s3://bucket/photo.jpg")):
        with pytest.raises(ImageError, match=r"curl -O.* urllib\.request\.urlopen"):
            load_image(address)


def test_a_file_opened_as_text_is_refused(tmp_path):
    (tmp_path / "photo.txt").write_text("text")
    with (tmp_path / "photo.txt").open() as file, pytest.raises(ImageError, match="mode 'rb'"):
        load_image(file)


def test_an_empty_file_is_said_to_be_empty():
    with pytest.raises(ImageError, match="it is empty"):
        load_image(b"")


def test_postscript_is_not_run(tmp_path):
    path = tmp_path / "photo.jpg"
    path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n")
    with pytest.raises(ImageError, match="not an image"):
        load_image(path)


def test_a_large_image_of_a_few_bytes_is_refused():
    gif = encoded("GIF")
    huge = gif[:6] + struct.pack("<HH", 65_535, 1_800) + gif[10:]
    with pytest.raises(ImageError, match="65535x1800 pixels in .* bytes"):
        load_image(huge)


MEMORY = """
import resource, sys
from fer_attention.faces import load_image
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
photo = load_image(sys.argv[1])
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss in kilobytes")
def test_transparency_costs_little_more_than_the_pixels(tmp_path):
    rng = np.random.default_rng(0)
    block = rng.integers(0, 256, (8, 8_000, 4), dtype=np.uint8)
    Image.fromarray(np.tile(block, (750, 1, 1))).save(tmp_path / "rgba.png", compress_level=1)  # 48 MP
    run = subprocess.run(
        [sys.executable, "-c", MEMORY, str(tmp_path / "rgba.png")], capture_output=True, text=True, check=True
    )
    pixels = 48e6 / 2**20
    assert float(run.stdout) < 1.25 * (4 + 3) * pixels  # RGBA as decoded, RGB as returned


def test_transparent_strips_are_composited_as_a_whole_image_is():
    rng = np.random.default_rng(0)
    image = Image.fromarray(rng.integers(0, 256, (3_000, 1_500, 4), dtype=np.uint8))
    white = Image.new("RGBA", image.size, "white")
    expected = np.asarray(Image.alpha_composite(white, image).convert("RGB")).astype(int)
    assert np.abs(np.asarray(load_image(image)).astype(int) - expected).max() <= 1
