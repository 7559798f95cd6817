"""Videos and cameras: frames with their times, the faces in them followed, and videos written."""

from fer_attention.faces.video.detection import detect_video
from fer_attention.faces.video.reader import Frame, VideoReader, VideoSource
from fer_attention.faces.video.source import VideoError, VideoWarning
from fer_attention.faces.video.tracking import FaceTracker, TrackedFace
from fer_attention.faces.video.writer import VideoWriter

__all__ = [
    "FaceTracker",
    "Frame",
    "TrackedFace",
    "VideoError",
    "VideoReader",
    "VideoSource",
    "VideoWarning",
    "VideoWriter",
    "detect_video",
]
