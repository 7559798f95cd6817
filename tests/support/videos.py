"""Small videos, written by PyAV directly instead of the writer under test."""

import struct
from fractions import Fraction

import av
import numpy as np

from fer_attention.faces import Face

TICK = Fraction(1, 60_000)


def square(index, *, size=(160, 120), step=3):
    """Draw a dark frame with a square of 40 pixels that moves right and gets brighter with the index."""
    image = np.full((size[1], size[0], 3), 30, np.uint8)
    left = 10 + step * index % (size[0] - 60)
    image[40:80, left : left + 40] = 110 + 7 * (index % 20)
    return image


def index_of(image):
    """Recover the index of a frame of `square` in spite of lossy coding."""
    return round((float(np.median(image[image[:, :, 1] > 80])) - 110) / 7)


def make_clip(path, images, *, fps=10, times=None, tone=None, options=None, start=0.0, codec="libx264"):
    """Write a clip; `tone` is an audio codec for a sine of the clip's length, `times` are in seconds."""
    images = list(images)
    times = [start + index / fps for index in range(len(images))] if times is None else times
    with av.open(str(path), "w", options=options or {}) as container:
        height, width, _ = images[0].shape
        settings = {"preset": "veryfast", "crf": "10"} if codec == "libx264" else {}
        video = container.add_stream(codec, rate=fps, options=settings)
        video.width, video.height = width, height
        video.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        if codec == "libx264":
            video.codec_context.time_base = TICK
        audio = None if tone is None else container.add_stream(tone, rate=16_000, layout="mono")
        for image, time in zip(images, times, strict=True):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
            frame.pts, frame.time_base = round(time / TICK), TICK
            container.mux(video.encode(frame))
        container.mux(video.encode())
        if audio is not None:
            for packet in _sine(audio, start, len(images) / fps):
                container.mux(packet)
    return path


def _sine(stream, start, seconds):
    count = round(16_000 * seconds)
    wave = (8000 * np.sin(2 * np.pi * 440 * np.arange(count) / 16_000)).astype(np.int16)
    resampler = av.AudioResampler(stream.format.name, "mono", 16_000)
    for first in range(0, count, 1024):
        frame = av.AudioFrame.from_ndarray(wave[None, first : first + 1024], format="s16", layout="mono")
        frame.sample_rate, frame.pts = 16_000, first + round(16_000 * start)
        frame.time_base = Fraction(1, 16_000)
        for part in resampler.resample(frame):
            yield from stream.encode(part)
    yield from stream.encode(None)


def sound_of(path):
    """Return the packets of the first audio stream as (seconds, bytes)."""
    with av.open(str(path)) as container:
        packets = container.demux(container.streams.audio[0])
        return [(float(p.pts * p.time_base), bytes(p)) for p in packets if p.pts is not None and p.size]


def set_display_matrix(path, a, b, c, d):
    """Write a matrix into the track header of an mp4 file, like a phone held sideways."""
    content = bytearray(path.read_bytes())
    matrix = content.index(b"tkhd") + 4 + 40
    struct.pack_into(">9i", content, matrix, a << 16, b << 16, 0, c << 16, d << 16, 0, 0, 0, 1 << 30)
    path.write_bytes(content)


def truncate(path, share):
    """Cut a file down to a fraction of its length."""
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    return path


class SquareDetector:
    """Detector of the square of `square`, with a list of its batch sizes."""

    name = "square"

    def __init__(self):
        self.batches = []

    def detect(self, images):
        self.batches.append(len(images))
        return [self._faces(np.asarray(image)) for image in images]

    def _faces(self, image):
        ys, xs = np.nonzero(image[:, :, 1] > 80)
        if not len(xs):
            return []
        return [Face((xs.min(), ys.min(), xs.max() + 1, ys.max() + 1), score=1.0)]
