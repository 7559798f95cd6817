"""Photos loaded from any source."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from fer_attention.faces import ImageError, load_image

PIXELS = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
ORIENTATION = 0x0112
EXIF = {  # orientation tag -> how to bring the stored pixels upright
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
    8: lambda a: np.rot90(a),
}


def saved(tmp_path, image, name="x.png", **options):
    image.save(tmp_path / name, **options)
    return tmp_path / name


def array_of(source):
    image = load_image(source)
    assert image.mode == "RGB"
    return np.asarray(image)


def test_a_path_an_image_and_an_array_give_the_same_pixels(tmp_path):
    path = saved(tmp_path, Image.fromarray(PIXELS))
    for source in (path, str(path), Image.fromarray(PIXELS), PIXELS):
        np.testing.assert_array_equal(array_of(source), PIXELS)


@pytest.mark.parametrize("orientation", EXIF)
def test_exif_orientation_is_applied(tmp_path, orientation):
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    path = saved(tmp_path, Image.fromarray(PIXELS), exif=exif)
    np.testing.assert_array_equal(array_of(path), EXIF[orientation](PIXELS))


def test_grey_has_three_equal_channels():
    grey = PIXELS[:, :, 0]
    for source in (grey, grey[:, :, None], Image.fromarray(grey)):
        np.testing.assert_array_equal(array_of(source), np.stack([grey] * 3, axis=-1))


def test_transparency_is_composited_on_white():
    alpha = np.zeros((20, 30, 1), np.uint8)
    alpha[:10] = 255
    rgba = np.concatenate([PIXELS, alpha], axis=-1)
    for source in (rgba, Image.fromarray(rgba)):
        got = array_of(source)
        np.testing.assert_array_equal(got[:10], PIXELS[:10])
        assert (got[10:] == 255).all()


def test_sixteen_bit_grey_is_scaled_to_eight_bits():
    ramp = np.linspace(0, 65535, 600).astype(np.uint16).reshape(20, 30)
    got = array_of(Image.fromarray(ramp))[:, :, 0]
    np.testing.assert_allclose(got, ramp / 257, atol=0.51)


@pytest.mark.parametrize("mode", ["1", "P", "L", "LA", "CMYK", "YCbCr", "HSV", "RGBA", "PA", "RGBX"])
def test_every_eight_bit_mode_is_read(mode):
    picture = Image.fromarray(PIXELS)
    via = {"PA": "P"}.get(mode, "RGB")
    assert array_of(picture.convert(via).convert(mode)).shape == PIXELS.shape


def test_the_first_frame_of_an_animation_is_taken(tmp_path):
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    path = saved(tmp_path, frames[0], "x.gif", save_all=True, append_images=frames[1:])
    assert (array_of(path) == (255, 0, 0)).all()


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_truncated_photo_is_an_error(tmp_path, share):
    buffer = io.BytesIO()
    Image.fromarray(np.kron(PIXELS, np.ones((8, 8, 1), np.uint8))).save(buffer, "JPEG")
    path = tmp_path / "cut.jpg"
    path.write_bytes(buffer.getvalue()[: int(share * len(buffer.getvalue()))])
    with pytest.raises(ImageError, match=r"cut\.jpg"):
        load_image(path)


def test_files_that_are_not_images_are_named(tmp_path):
    (tmp_path / "text.jpg").write_text("hello")
    (tmp_path / "empty.png").touch()
    for name in ("text.jpg", "empty.png", "absent.png", "."):
        with pytest.raises(ImageError, match="Cannot read"):
            load_image(tmp_path / name)


def test_an_image_above_the_limit_of_pillow_names_the_setting(tmp_path, monkeypatch):
    path = saved(tmp_path, Image.fromarray(PIXELS))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(ImageError, match="MAX_IMAGE_PIXELS"):
        load_image(path)


@pytest.mark.parametrize(
    "array",
    [
        PIXELS / 255,
        PIXELS.astype(np.int64),
        PIXELS.transpose(2, 0, 1),
        PIXELS[None],
        np.zeros((0, 4, 3), np.uint8),
        np.zeros((4, 4, 2), np.uint8),
    ],
    ids=lambda array: f"{array.dtype}{array.shape}",
)
def test_arrays_of_ambiguous_type_or_shape_are_refused(array):
    with pytest.raises(ImageError, match="array"):
        load_image(array)


def test_floating_point_images_are_refused():
    with pytest.raises(ImageError, match="'F'"):
        load_image(Image.fromarray(PIXELS[:, :, 0].astype(np.float32)))


@pytest.mark.parametrize("source", [None, 3, ["x.png"]])
def test_other_types_are_a_type_error(source):
    with pytest.raises(TypeError, match="An image is"):
        load_image(source)


def test_the_result_shares_no_memory_with_its_source():
    source = Image.fromarray(PIXELS)
    load_image(source).putpixel((0, 0), (1, 2, 3))
    assert source.getpixel((0, 0)) == tuple(PIXELS[0, 0])


@pytest.mark.parametrize("mode", ["P", "L", "RGB"])
def test_a_transparent_colour_in_a_png_becomes_white(tmp_path, mode):
    picture = Image.new(mode, (2, 1), 0)
    picture.putpixel((0, 0), (7, 7, 7) if mode == "RGB" else 7)
    if mode == "P":
        picture.putpalette([value for value in range(256) for _ in range(3)])
    path = saved(tmp_path, picture, transparency=(0, 0, 0) if mode == "RGB" else 0)
    assert array_of(path).tolist() == [[[7] * 3, [255] * 3]]


@pytest.mark.parametrize("suffix", ["tiff", "webp", "jpg"])
def test_exif_orientation_is_applied_once_in_every_format(tmp_path, suffix):
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    options = {"lossless": True} if suffix == "webp" else {"quality": 100} if suffix == "jpg" else {}
    flat = np.full((16, 32, 3), 40, np.uint8)
    flat[:, :16] = 200
    path = saved(tmp_path, Image.fromarray(flat), f"x.{suffix}", exif=exif, **options)
    np.testing.assert_allclose(array_of(path).astype(int), np.rot90(flat, -1), atol=3)


def test_unreadable_exif_is_ignored(tmp_path):
    path = saved(tmp_path, Image.fromarray(PIXELS), "x.jpg", exif=b"Exif\0\0garbage, no TIFF header")
    assert load_image(path).size == (30, 20)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
@pytest.mark.parametrize("suffix", ["png", "gif", "bmp", "webp", "tiff"])
def test_a_truncated_file_of_any_format_is_an_error(tmp_path, suffix):
    path = saved(tmp_path, Image.fromarray(PIXELS), f"cut.{suffix}")
    whole = path.read_bytes()
    for share in (0.02, 0.5, 0.9):
        path.write_bytes(whole[: int(len(whole) * share)])
        with pytest.raises(ImageError, match="cut"):
            load_image(path)


def test_a_truncated_file_opened_by_the_caller_is_an_error(tmp_path):
    path = saved(tmp_path, Image.fromarray(np.kron(PIXELS, np.ones((8, 8, 1), np.uint8))), "cut.jpg")
    path.write_bytes(path.read_bytes()[:-500])
    with Image.open(path) as photo, pytest.raises(ImageError, match=r"cut\.jpg.*truncated"):
        load_image(photo)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("suffix", ["jpg", "png", "gif", "webp", "ppm", "tiff"])
def test_corrupt_bytes_raise_only_image_errors(tmp_path, suffix):
    path = saved(tmp_path, Image.fromarray(PIXELS), f"x.{suffix}")
    whole = np.frombuffer(path.read_bytes(), np.uint8)
    generator = np.random.default_rng(1)
    refused = 0
    for _ in range(80):
        broken = whole.copy()
        broken[generator.integers(0, min(len(broken), 200), 3)] = generator.integers(0, 256, 3)
        path.write_bytes(broken.tobytes())
        try:
            assert load_image(path).mode == "RGB"
        except ImageError:
            refused += 1
    assert refused > 0


@pytest.mark.parametrize("suffix", ["jpg", "gif", "tiff"])
@pytest.mark.filterwarnings("error::ResourceWarning", "error::pytest.PytestUnraisableExceptionWarning")
def test_files_are_closed_after_success_and_failure(tmp_path, suffix):
    path = saved(tmp_path, Image.fromarray(PIXELS), f"x.{suffix}")
    load_image(path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ImageError):
        load_image(path)


def test_a_strided_view_is_read_correctly():
    np.testing.assert_array_equal(array_of(PIXELS[::-1, :, ::-1]), PIXELS[::-1, :, ::-1])


@pytest.mark.parametrize(
    ("array", "fix"),
    [
        (PIXELS / 255, r"\(array \* 255\)\.round\(\)"),
        (PIXELS.astype(np.int32), r"array\.astype\(np\.uint8\) if they range from 0 to 255"),
        (PIXELS.transpose(2, 0, 1), r"array\.transpose\(1, 2, 0\)"),
        (PIXELS[None], r"list\(array\)"),
    ],
    ids=["float", "int", "channels first", "batch"],
)
def test_a_refused_array_comes_with_its_conversion(array, fix):
    with pytest.raises(ImageError, match=fix):
        load_image(array)


@pytest.mark.parametrize("channels", [1, 3])
def test_tensors_have_channels_first(channels):
    pixels = PIXELS[:, :, :channels]
    expected = array_of(pixels)
    np.testing.assert_array_equal(array_of(torch.from_numpy(pixels).permute(2, 0, 1)), expected)
    if channels == 1:
        np.testing.assert_array_equal(array_of(torch.from_numpy(pixels[:, :, 0].copy())), expected)


@pytest.mark.parametrize("convert", [np.asarray, lambda a: torch.from_numpy(a).permute(2, 0, 1)])
def test_uint16_and_bool_pixels_are_converted(convert):
    wide = PIXELS.astype(np.uint16) * 257
    np.testing.assert_array_equal(array_of(convert(wide)), PIXELS)
    np.testing.assert_array_equal(array_of(convert(PIXELS > 99)), np.where(PIXELS > 99, 255, 0))


@pytest.mark.parametrize(
    ("tensor", "fix"),
    [
        (torch.zeros(5, 6, 3, dtype=torch.uint8), r"permute\(2, 0, 1\)"),
        (torch.zeros(2, 3, 4, 5, dtype=torch.uint8), r"list\(tensor\)"),
        (torch.zeros(3, 4, 5), r"float32.*\* 255"),
        (torch.zeros(3, 0, 5, dtype=torch.uint8), "no pixels"),
    ],
    ids=["channels last", "batch", "float", "empty"],
)
def test_a_refused_tensor_comes_with_its_conversion(tensor, fix):
    with pytest.raises(ImageError, match=fix):
        load_image(tensor)


@pytest.mark.filterwarnings("error")
def test_a_hundred_megapixels_are_read_and_larger_images_refused(tmp_path):
    path = saved(tmp_path, Image.new("1", (11648, 8736)))  # a medium format camera's
    assert load_image(path).size == (11648, 8736)
    path = saved(tmp_path, Image.new("1", (12000, 12000)))
    with pytest.raises(ImageError, match=r"12000x12000 pixels are more than the limit of 120 million"):
        load_image(path)
    with pytest.raises(ImageError, match="limit of 0.0001 million"):
        load_image(saved(tmp_path, Image.fromarray(PIXELS)), max_pixels=100)
