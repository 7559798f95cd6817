"""Streams of photos: read ahead, recognised in threads, answered in order, written as tables."""

from fer_attention.pipeline.results import PhotoPrediction, to_frame

__all__ = ["PhotoPrediction", "to_frame"]
