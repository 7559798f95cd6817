"""Image files of every format with seeded damage, as disks, networks, editors and attackers leave them."""

import io
import random
import struct
import zlib
from collections.abc import Callable, Iterator

from PIL import Image

from fer_attention.faces.decoding import FORMATS

SUFFIXES = {"JPEG": ".jpg", "JPEG2000": ".jp2", "TIFF": ".tif"}
_MODES = ("RGB", "L", "RGBA", "P", "1", "CMYK", "I;16", "LA")
_OPTIONS: dict[str, list[dict[str, object]]] = {
    "JPEG": [{"quality": 70}, {"progressive": True}, {"subsampling": 0}, {"comment": "made by a test"}],
    "TIFF": [{"compression": name} for name in ("raw", "tiff_lzw", "tiff_deflate", "packbits")],
    "WEBP": [{"quality": 60}, {"lossless": True}],
    "PNG": [{}, {"optimize": True}],
}


def damaged_photos(photo: Image.Image, count: int, *, seed: int = 0) -> Iterator[tuple[str, bytes]]:
    """Yield (name, content) of `count` files: every tenth is sound, the others have one or two damages.

    Args:
        photo: The photo that the files show, RGB.
        count: Number of files.
        seed: The same seed gives the same files.
    """
    draw = random.Random(seed)
    sources = _sources(photo)
    for number in range(count):
        form, content = draw.choice(sources)
        suffix = SUFFIXES.get(form, f".{form.lower()}")
        damage = []
        if draw.random() > 0.1:
            damage = draw.sample(sorted(_DAMAGES), k=draw.choice((1, 1, 2)))
            for name in damage:
                content = _DAMAGES[name](content, draw)
        if draw.random() < 0.15:
            suffix = draw.choice(["", ".jpg", ".png", ".gif", ".heic", ".TIF", ".txt"])
        yield f"{number:05}_{form.lower()}_{'_'.join(damage) or 'sound'}{suffix}", content


def _sources(photo: Image.Image) -> list[tuple[str, bytes]]:
    """Encode the photo in all formats and modes that Pillow can write, and as HEIC if that is installed."""
    Image.init()
    found: list[tuple[str, bytes]] = []
    for form in FORMATS:
        for mode in _MODES:
            for options in _OPTIONS.get(form, [{}]):
                file = io.BytesIO()
                try:
                    photo.convert("L" if mode == "I;16" else mode).convert(mode).save(file, form, **options)
                except (OSError, ValueError, KeyError):  # the format does not have the mode
                    continue
                found.append((form, file.getvalue()))
    for mode in ("RGB", "L"):  # Pillow's encoder aborts the process with others
        file = io.BytesIO()
        photo.convert(mode).save(file, "TIFF", compression="jpeg")
        found.append(("TIFF", file.getvalue()))
    frames = io.BytesIO()
    photo.save(frames, "GIF", save_all=True, append_images=[photo.rotate(90)])
    found.append(("GIF", frames.getvalue()))
    try:
        import pillow_heif
    except ImportError:
        return found
    heic = io.BytesIO()
    pillow_heif.from_pillow(photo).save(heic)
    return [*found, ("HEIC", heic.getvalue())]


def _flipped(content: bytes, draw: random.Random) -> bytes:
    damaged = bytearray(content)
    for _ in range(draw.choice((1, 3, 30))):
        if damaged:
            damaged[draw.randrange(len(damaged))] ^= 1 << draw.randrange(8)
    return bytes(damaged)


def _flipped_head(content: bytes, draw: random.Random) -> bytes:
    return _flipped(content[:200], draw) + content[200:]


def _truncated(content: bytes, draw: random.Random) -> bytes:
    return content[: draw.randrange(len(content) + 1)]


def _zeroed(content: bytes, draw: random.Random) -> bytes:
    """Overwrite a part with zeros, as a broken download has it."""
    start = draw.randrange(len(content) + 1)
    length = min(draw.choice((4, 512, 4096)), len(content) - start)
    return content[:start] + bytes(length) + content[start + length :]


def _spliced(content: bytes, draw: random.Random) -> bytes:
    first, second = (draw.randrange(len(content) + 1) for _ in range(2))
    return content[:first] + content[second:]


def _appended(content: bytes, draw: random.Random) -> bytes:
    return content + draw.randbytes(draw.choice((1, 1000)))


def _huge(content: bytes, draw: random.Random) -> bytes:
    """Let the header declare other sizes, up to the largest that it can."""
    size = draw.choice((0, 1, 9_000, 30_000, 65_535, 2**31 - 1, 2**32 - 1))
    if content.startswith(b"\x89PNG"):
        head = b"IHDR" + struct.pack(">II", size, draw.choice((1, 9_000, size))) + content[24:29]
        return content[:12] + head + struct.pack(">I", zlib.crc32(head)) + content[33:]
    small = struct.pack(">H", size & 0xFFFF)
    if content.startswith(b"\xff\xd8"):
        start = max(content.find(b"\xff\xc0"), content.find(b"\xff\xc2"))
        return content[: start + 5] + small * 2 + content[start + 9 :]
    if content.startswith(b"GIF8"):
        return content[:6] + small * 2 + content[10:]
    if content.startswith(b"BM"):
        return content[:18] + struct.pack("<II", size, size) + content[26:]
    if content.startswith((b"P5", b"P6")):
        return content[:3] + f"{size} {size}".encode() + content[content.find(b"\n", 3) :]
    start = draw.randrange(min(len(content), 400) + 1)  # wherever the format has its numbers
    return content[:start] + struct.pack(draw.choice("<>") + "I", size) + content[start + 4 :]


def _odd_exif(content: bytes, draw: random.Random) -> bytes:
    """Put EXIF of odd types, counts and offsets into a JPEG, or random bytes where another format has it."""
    entries = b"".join(
        struct.pack(
            "<HHII",
            draw.choice((0x0112, 0x8769, 0x8825, 0x011A, 0x9286)),
            draw.choice((0, 1, 2, 3, 5, 7, 11, 13, 99)),
            draw.choice((0, 1, 4, 0xFFFFFFFF)),
            draw.choice((0, 6, 8, 0xFFFFFFF0)),
        )
        for _ in range(4)
    )
    block = b"Exif\0\0II*\0" + struct.pack("<IH", draw.choice((8, 8, 0, 0xFFFFFFF0)), 4) + entries + bytes(4)
    if content.startswith(b"\xff\xd8"):
        return content[:2] + b"\xff\xe1" + struct.pack(">H", len(block) + 2) + block + content[2:]
    if content.startswith(b"\x89PNG"):
        chunk = b"eXIf" + block[6:]
        return content[:33] + struct.pack(">I", len(chunk) - 4) + chunk + _crc(chunk) + content[33:]
    if content.startswith(b"RIFF"):
        return content + b"EXIF" + struct.pack("<I", len(block)) + block
    return _flipped_head(content, draw)


def _crc(chunk: bytes) -> bytes:
    return struct.pack(">I", zlib.crc32(chunk))


_DAMAGES: dict[str, Callable[[bytes, random.Random], bytes]] = {
    "flipped": _flipped,
    "flipped-head": _flipped_head,
    "truncated": _truncated,
    "zeroed": _zeroed,
    "spliced": _spliced,
    "appended": _appended,
    "huge": _huge,
    "odd-exif": _odd_exif,
    "empty": lambda content, draw: b"",
    "random": lambda content, draw: content[:4] + draw.randbytes(draw.choice((0, 8, 3000))),
    "text": lambda content, draw: b"<html>404 not found</html>",
}
