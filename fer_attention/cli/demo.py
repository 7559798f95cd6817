"""`fer-attention demo`."""

from __future__ import annotations

from typing import Annotated

import typer

from fer_attention.cli.common import Device, err, examples, say, warn
from fer_attention.cli.detectors import DetectorName, DetectorWeights
from fer_attention.cli.wording import as_typed

EXAMPLES = examples(
    "fer-attention demo --open",
    "fer-attention demo --weights my_run/best.safetensors --port 8000",
)


def demo(
    weights: Annotated[
        list[str] | None,
        typer.Option(help="Another model beside the bundled ones: weights or an .onnx file. Repeatable."),
    ] = None,
    detector: DetectorName = "mtcnn",
    detector_weights: DetectorWeights = None,
    port: Annotated[
        int | None, typer.Option(help="By default 7860 or the next free one.", min=1, max=65535)
    ] = None,
    host: Annotated[str, typer.Option(help="Address to serve on; one that others can reach warns.")] = (
        "127.0.0.1"
    ),
    device: Device = "auto",
    max_megapixels: Annotated[float, typer.Option(help="Largest photo, in millions of pixels.")] = 50,
    max_upload_mb: Annotated[float, typer.Option(help="Largest file, in megabytes.")] = 20,
    open_browser: Annotated[bool, typer.Option("--open", help="Show the page in the browser.")] = False,
) -> None:
    """Serve a local web page that shows the faces and expressions of a photo.

    Nothing is sent elsewhere, and no photo is stored. Ctrl-C ends it.
    """
    from fer_attention.demo import Choices, Limits, serve, usable_detectors
    from fer_attention.demo.page import build_page
    from fer_attention.demo.server import PORT, private_files
    from fer_attention.sockets import address, is_loopback, open_socket

    with open_socket(host, first=PORT, port=port) as listener, private_files():
        limits = Limits(upload_mb=max_upload_mb, megapixels=max_megapixels)
        if not is_loopback(host):
            warn(
                f"--host {host}: everyone who can reach this machine over the network can use the page. "
                "There is no password and no encryption."
            )
        detectors, missing = usable_detectors(detector, weights=detector_weights, device=device)
        page = build_page(Choices(weights or (), detectors, device=device), limits)
        for name, reason in missing.items():
            say(f"not offered: {name}: {as_typed(reason)}", err)
        serve(
            page,
            listener,
            limits=limits,
            open_browser=open_browser,
            ready=lambda: say(f"{address(listener)}  (Ctrl-C ends it)"),
        )
