"""Videos and cameras: reading and writing, tracked faces, expressions over time."""

from fer_attention.video.detection import detect_video
from fer_attention.video.reader import Frame, VideoReader, VideoSource
from fer_attention.video.recognition import ExpressionSmoother, FrameResult, VideoPrediction, recognize_video
from fer_attention.video.source import VideoError, VideoWarning
from fer_attention.video.tracking import FaceTracker, TrackedFace
from fer_attention.video.tracks import TrackSummaries, TrackSummary
from fer_attention.video.writer import VideoWriter

__all__ = [
    "ExpressionSmoother",
    "FaceTracker",
    "Frame",
    "FrameResult",
    "TrackSummaries",
    "TrackSummary",
    "TrackedFace",
    "VideoError",
    "VideoPrediction",
    "VideoReader",
    "VideoSource",
    "VideoWarning",
    "VideoWriter",
    "detect_video",
    "recognize_video",
]
