"""The page, built from Gradio's components."""

from __future__ import annotations

import inspect
import os
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fer_attention.demo.choices import Choices, usable_detectors
from fer_attention.demo.desk import SESSIONS, Desk
from fer_attention.demo.photo import Limits
from fer_attention.demo.render import TITLE, render
from fer_attention.demo.uploads import WAITING, KeepUploads
from fer_attention.optional import needs_extra

if TYPE_CHECKING:
    import gradio
    import torch
    from fastapi import FastAPI

_REFUSED = 4  # times the upload limit: files above it are not received, smaller ones get an answer
_LEFTOVERS = 60  # seconds after which an unused upload is deleted
_SYSTEM_FONTS = ("system-ui", "-apple-system", "Segoe UI", "Roboto", "Helvetica Neue", "Arial", "sans-serif")
_FIXED_WIDTH = ("ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "monospace")
_DETECTORS = {
    "mtcnn": "mtcnn: comes with the package; finds faces of 20 pixels and more.",
    "yunet": "yunet: several times as fast.",
    "yolo": "yolo: a file of yours.",
    "none": "none: for pictures that are one face already.",
}
_MODELS = (
    "ferplus: eight emotions, as ten people name them. fer2013: seven, as FER2013's labels have them; "
    "fer2013_tiny: the same in a tenth of the size."
)
_CAMERAS, _LONGEST_STREAM, _STREAM_EVERY = 4, 600, 0.5  # visitors, seconds, seconds
_CAMERA = {"video": {"width": {"ideal": 640}, "height": {"ideal": 480}}}
_SHOW_ANSWER = '() => { document.getElementById("fer-page").dataset.tab = "%s"; }'
# On a phone the answer is below the form: scroll it into view.
_SCROLL = """() => {
  const answer = document.getElementById("fer-answer");
  if (answer && window.innerWidth < 700) answer.scrollIntoView({behavior: "smooth"});
}"""


def build_demo(
    weights: Sequence[str | Path] = (),
    *,
    detector: str = "mtcnn",
    detector_weights: str | Path | None = None,
    device: str | torch.device = "auto",
    limits: Limits | None = None,
) -> gradio.Blocks:
    """Build the page, for `mount_demo` to put into an app of your own.

    >>> page = build_demo(["my_run/best.safetensors"], device="cpu")  # doctest: +SKIP

    Args:
        weights: Models to choose from beside the bundled ones, as `EmotionRecognizer.from_pretrained` takes
            them. The first is the initial one.
        detector: The initial detector. Every other one that works here can be chosen, too.
        detector_weights: Its weights file, if it has none of its own.
        device: Where detectors and models run.
        limits: Bounds of one request.

    Raises:
        UnknownNameError: There is no such detector, or no such weights.
        ValueError: Weights or the detector cannot be used.
        OSError: A file does not exist.
        ImportError: Gradio or a library of the detector is missing.
    """
    detectors, _ = usable_detectors(detector, weights=detector_weights, device=device)
    return build_page(Choices(weights, detectors, device=device), limits)


def build_page(choices: Choices, limits: Limits | None = None) -> gradio.Blocks:
    """Build the page for given choices, without Gradio's analytics."""
    with needs_extra("demo", "The web page is built with Gradio"):
        import gradio as gr
        from gradio.utils import get_upload_folder
    desk = Desk(choices, limits, uploads=get_upload_folder())
    pictures: dict[str, Any] = {"type": "filepath", "image_mode": None, "height": 260, "buttons": []}
    with (
        _restored_globals(),
        gr.Blocks(title=TITLE, analytics_enabled=False, delete_cache=(_LEFTOVERS, _LEFTOVERS)) as page,
    ):
        gr.HTML(
            render("head", title=TITLE),
            apply_default_css=False,
        )
        with gr.Row(equal_height=False, elem_id="fer-page"):
            with gr.Column(scale=2, min_width=300, elem_id="fer-form"):
                with gr.Tabs():
                    with gr.Tab("Photo", elem_id="fer-tab-photo") as photo_tab:
                        photo = gr.Image(
                            label="Photo",
                            sources=["upload", "webcam", "clipboard"],
                            placeholder="Drop a photo here\n- or -\nclick to choose one",
                            elem_id="fer-photo",
                            **pictures,
                        )
                        sample = gr.Button("Try the sample: Eileen Collins, NASA", elem_id="fer-sample")
                        gr.HTML(render("hint", limits=desk.limits), apply_default_css=False)
                    with gr.Tab("Live camera", elem_id="fer-tab-live") as live_tab:
                        camera = gr.Image(
                            label="Camera",
                            sources=["webcam"],
                            streaming=True,
                            webcam_options=gr.WebcamOptions(constraints=_CAMERA),
                            elem_id="fer-camera",
                            **pictures,
                        )
                        gr.HTML(render("live_hint"), apply_default_css=False)
                    with gr.Tab("Clip", elem_id="fer-tab-clip") as clip_tab:
                        clip = gr.File(label="Clip", file_types=["video"], height=180, elem_id="fer-clip")
                        gr.HTML(render("clip_hint", limits=desk.limits), apply_default_css=False)
                with gr.Column(elem_id="fer-options"):
                    maps = gr.Checkbox(label="Show what the network looked at (photos)", elem_id="fer-maps")
                    detector = gr.Radio(
                        choices.detectors,
                        value=choices.detectors[0],
                        label="Face detector",
                        info=" ".join(_DETECTORS[name] for name in choices.detectors if name in _DETECTORS),
                        elem_id="fer-detector",
                    )
                    model = gr.Dropdown(
                        choices.models,
                        value=choices.models[0],
                        label="Model",
                        info=_MODELS,
                        visible=len(choices.models) > 1,
                        elem_id="fer-model",
                    )
            with gr.Column(scale=3, min_width=300, elem_id="fer-answers"):
                answer, live_answer, clip_answer = (
                    gr.HTML(
                        render("empty"),
                        apply_default_css=False,
                        elem_id=name,
                        elem_classes=[f"fer-of-{tab}"],
                    )
                    for tab, name in (
                        ("photo", "fer-answer"),
                        ("live", "fer-live-answer"),
                        ("clip", "fer-clip-answer"),
                    )
                )
        gr.HTML(render("responsible_use"), apply_default_css=False)

        async def only_uploads(path: str) -> str:
            # Gradio's own check accepts any path of this machine in a mounted page, and fetches addresses.
            return str(desk.uploads.path(path))

        def on_photo(
            upload: dict[str, Any] | None, model: str, detector: str, maps: bool, request: gr.Request
        ) -> tuple[Any, None]:
            if upload is None:  # removed, or the visitor changed from files to the camera
                # An update of an input would make Gradio build it again, without the check of its files.
                return gr.skip(), None
            return desk.photo(upload, model, detector, maps, str(request.session_hash)), None

        def on_sample(model: str, detector: str, maps: bool, request: gr.Request) -> str:
            return desk.sample(model, detector, maps, str(request.session_hash))

        def on_choice(model: str, detector: str, maps: bool, request: gr.Request) -> str:
            return desk.again(model, detector, maps, str(request.session_hash))

        def on_frame(frame: dict[str, Any] | None, model: str, detector: str) -> Any:
            if frame is None:  # the camera was stopped
                return gr.skip()
            return desk.frame(str(frame.get("url") or ""), model, detector)

        def on_clip(upload: dict[str, Any] | None, model: str, detector: str) -> tuple[Any, None]:
            if upload is None:
                return gr.skip(), None
            return desk.clip(upload, model, detector), None

        def on_leave(request: gr.Request) -> None:
            desk.forget(str(request.session_hash))
            sessions = getattr(page, "state_holder", None)  # exists once the page is mounted
            if sessions is not None:  # Gradio keeps the last answer, and with it the photo
                sessions.session_data.pop(request.session_hash, None)

        inputs: list[Any] = [photo, model, detector, maps]
        for part in (*inputs, camera, clip):  # a request may send a file to any of them
            part.async_move_resource_to_block_cache = only_uploads
        for handler in (on_photo, on_sample, on_choice, on_leave):
            handler.__annotations__["request"] = gr.Request  # Gradio cannot resolve a name of this function
        # No preprocessing: Gradio's error for a damaged picture explains nothing.
        plain: dict[str, Any] = {"api_visibility": "private", "preprocess": False}
        common = plain | {"concurrency_limit": 1, "concurrency_id": "fer-attention"}
        answered = photo.input(on_photo, inputs, [answer, photo], **common)
        tried = sample.click(on_sample, [model, detector, maps], answer, **common)
        for event in (answered, tried):
            event.then(None, js=_SCROLL)
        clip.upload(on_clip, [clip, model, detector], [clip_answer, clip], **common)
        camera.stream(
            on_frame,
            [camera, model, detector],
            live_answer,
            stream_every=_STREAM_EVERY,
            time_limit=_LONGEST_STREAM,
            show_progress="hidden",
            concurrency_limit=_CAMERAS,  # a stream holds its place until it ends
            **plain,
        )
        for tab, name in ((photo_tab, "photo"), (live_tab, "live"), (clip_tab, "clip")):
            tab.select(None, js=_SHOW_ANSWER % name)
        for choice in (model, detector, maps):
            choice.input(on_choice, [model, detector, maps], answer, **common)
        page.unload(on_leave)
        page.queue(max_size=WAITING, api_open=False)
        page.state_session_capacity = SESSIONS
        page.fer_attention_uploads = desk.uploads  # for `mount_demo`
    return page


def mount_demo(
    app: FastAPI, page: gradio.Blocks, *, path: str = "/demo", limits: Limits | None = None
) -> FastAPI:
    """Put the page into an app, with fonts of the visitor's system and without Gradio's footer.

    >>> from fastapi import FastAPI  # doctest: +SKIP
    >>> app = mount_demo(FastAPI(), build_demo(), path="/faces")  # doctest: +SKIP

    Args:
        app: The app, which is returned.
        page: From `build_demo`.
        path: Path of the page in the app.
        limits: Those of `build_demo`. Files above four times the upload limit are not received.
    """
    import gradio as gr

    theme = gr.themes.Default(primary_hue="indigo", font=_SYSTEM_FONTS, font_mono=_FIXED_WIDTH).set(
        body_text_color_subdued="*neutral_600", block_info_text_color="*neutral_600"
    )
    options: dict[str, Any] = {
        "theme": theme,
        "footer_links": [],
        "max_file_size": _REFUSED * (limits or Limits()).upload_bytes,
        "run_history": False,  # it would store photos in the visitor's browser
        "enable_monitoring": False,
        "ssr_mode": False,
        "mcp_server": False,
        "show_error": False,
        "app_kwargs": {"docs_url": None, "redoc_url": None, "openapi_url": None},
    }
    for name in options.keys() - inspect.signature(gr.mount_gradio_app).parameters.keys():
        del options[name]  # older versions have no history
    mounted: FastAPI = gr.mount_gradio_app(app, page, path, **options)
    page.has_launched = True  # only then does Gradio check the paths of files itself
    site: Any = mounted.routes[-1]
    own: Any = page  # with an attribute of ours
    site.app.add_middleware(KeepUploads, uploads=own.fer_attention_uploads)
    return mounted


@contextmanager
def _restored_globals() -> Iterator[None]:
    """Restore the random state and the environment variable that Gradio changes."""
    state, telemetry = random.getstate(), os.environ.get("HF_HUB_DISABLE_TELEMETRY")
    try:
        yield
    finally:
        random.setstate(state)
        os.environ.pop("HF_HUB_DISABLE_TELEMETRY", None)
        if telemetry is not None:
            os.environ["HF_HUB_DISABLE_TELEMETRY"] = telemetry
