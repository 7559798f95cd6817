"""`fer-attention serve`."""

from __future__ import annotations

from typing import Annotated

import typer

from fer_attention.cli.common import Device, errors_as_lines, examples, out, warn
from fer_attention.cli.detectors import DetectorName, DetectorWeights, MinScore, detector_options
from fer_attention.models.bundled import DEFAULT

PORT = 8000
EXAMPLES = examples(
    "fer-attention serve --port 8000",
    "fer-attention serve --weights model.onnx --detector yunet --workers 4",
)


def serve(
    weights: Annotated[str, typer.Option(help="Bundled weights by name, or a weights file.")] = DEFAULT,
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
    with errors_as_lines():
        from fer_attention.faces import create_detector
        from fer_attention.recognizer import EmotionRecognizer
        from fer_attention.serve import ServeLimits
        from fer_attention.serve import serve as run
        from fer_attention.sockets import address, is_loopback, open_socket

        limits = ServeLimits(upload_mb=max_upload_mb, megapixels=max_megapixels, waiting=max_waiting)
        with open_socket(host, first=PORT, port=port) as listener:
            if not is_loopback(host):
                warn(
                    f"--host {host}: everyone who can reach this machine over the network can use the "
                    "server. It has no password and no encryption."
                )
            options = detector_options(detector_weights, min_score)
            found_by = create_detector(detector, device=device, **options)
            recognizer = EmotionRecognizer.from_pretrained(weights, detector=found_by, device=device)
            told = f"{address(listener)}  (Ctrl-C ends it)"
            run(
                recognizer,
                listener,
                limits=limits,
                workers=workers,
                ready=lambda: out.print(told, soft_wrap=True, highlight=False),
            )
