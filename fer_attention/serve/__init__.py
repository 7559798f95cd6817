"""Expressions over HTTP: a small server for one recogniser, on this machine by default."""

from fer_attention.serve.app import create_app
from fer_attention.serve.limits import ServeLimits
from fer_attention.serve.server import serve

__all__ = ["ServeLimits", "create_app", "serve"]
