"""A local web page for photos, a camera and clips: faces, expressions and what the network looked at."""

from fer_attention.demo.analysis import FaceView, PhotoAnalysis, Seconds, analyse
from fer_attention.demo.choices import Choices, usable_detectors
from fer_attention.demo.clip import ClipAnalysis, analyse_clip
from fer_attention.demo.page import build_demo, mount_demo
from fer_attention.demo.photo import Limits, PhotoError, read_photo
from fer_attention.demo.server import serve

__all__ = [
    "Choices",
    "ClipAnalysis",
    "FaceView",
    "Limits",
    "PhotoAnalysis",
    "PhotoError",
    "Seconds",
    "analyse",
    "analyse_clip",
    "build_demo",
    "mount_demo",
    "read_photo",
    "serve",
    "usable_detectors",
]
