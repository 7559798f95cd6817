"""`fer-attention serve`."""

from __future__ import annotations

from typing import Annotated

import typer

from fer_attention.cli.choices import DEFAULT_WEIGHTS
from fer_attention.cli.common import Device, examples, say, warn
from fer_attention.cli.detectors import DetectorName, DetectorWeights, MinScore, WeightsName, load_recognizer

PORT = 8000
EXAMPLES = examples(
    "fer-attention serve --port 8000",
    "fer-attention serve --weights model.onnx --detector yunet --workers 4",
)


def serve(
    weights: WeightsName = DEFAULT_WEIGHTS,
    detector: DetectorName = "mtcnn",
    detector_weights: DetectorWeights = None,
    min_score: MinScore = None,
    host: Annotated[
        str, typer.Option(help="Address to serve on; one that others can reach warns.")
    ] = "127.0.0.1",
    port: Annotated[
        int | None, typer.Option(help=f"By default {PORT} or the next free one.", min=1, max=65535)
    ] = None,
    workers: Annotated[int | None, typer.Option(help="Threads; by default one for each core.", min=1)] = None,
    max_upload_mb: Annotated[float, typer.Option(help="Largest file, in megabytes.")] = 20,
    max_megapixels: Annotated[float, typer.Option(help="Largest photo, in millions of pixels.")] = 50,
    max_waiting: Annotated[int, typer.Option(help="Photos that may wait; more get status 503.")] = 64,
    device: Device = "auto",
) -> None:
    """Serve expressions over HTTP: POST a photo to /predict, get its record as JSON.

    GET /healthz tells that the server answers, GET /openapi.json describes the interface. No photo is stored.
    Ctrl-C or SIGTERM ends the server once the requests in work are answered.
    """
    from fer_attention.serve import ServeLimits
    from fer_attention.serve import serve as run
    from fer_attention.sockets import address, is_loopback, open_socket

    limits = ServeLimits(upload_mb=max_upload_mb, megapixels=max_megapixels, waiting=max_waiting)
    with open_socket(host, first=PORT, port=port) as listener:
        if not is_loopback(host):
            warn(
                f"--host {host}: everyone who can reach this machine over the network can use the server. "
                "It has no password and no encryption."
            )
        run(
            load_recognizer(weights, detector, detector_weights, min_score, device),
            listener,
            limits=limits,
            workers=workers,
            ready=lambda: say(f"{address(listener)}  (Ctrl-C ends it)"),
        )
