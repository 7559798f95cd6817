"""`python -m fer_attention.cli`: `fer-attention`, where its script is not on the path."""

from fer_attention.cli import app

app()
