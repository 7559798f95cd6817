"""Answers as HTML. Pictures are part of the text, so that none has to lie in a file."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Mapping
from html import escape
from importlib import resources

from PIL import Image

from fer_attention.demo.analysis import FaceView, PhotoAnalysis

TITLE = "Facial expressions, as a network sees them"

RESPONSIBLE_USE = """
<details class="fer-use"><summary>An expression is not a feeling: responsible use</summary>
<p>The label says how the expression in a picture is likely to be <b>perceived</b>, by the annotators of the
training data. It does not tell what a person feels, intends or is: people smile without being happy, are sad
without showing it, and how a face is read differs between cultures, ages and situations. Expect errors: on
FER2013's test images, where most people agree on an expression, about one answer in ten of the default model
is wrong; on unclear faces and on photos of another kind, more.</p>
<p>Do not use it to judge, hire, grade, watch, score or police people, or for any decision about a person. In
the European Union, the AI Act (Regulation (EU) 2024/1689, article 5(1)(f)) prohibits inferring emotions at
work and in education, except for medical or safety reasons. Look at your own pictures, or at those of people
who agree.</p></details>
"""


def page_style() -> str:
    """The page's own style sheet, as an element."""
    text = resources.files("fer_attention.demo").joinpath("style.css").read_text(encoding="utf-8")
    return f"<style>{text}</style>"


def page_head() -> str:
    """Title and what the page does."""
    return (
        f'{page_style()}<header class="fer-head"><h1>{TITLE}</h1>'
        "<p>Give it a photo. Each face found gets the expression that the network perceives, which is not "
        "what the person feels.</p></header>"
    )


def empty_result() -> str:
    """What stands in the place of an answer at the start."""
    return _frame(
        '<div class="fer-empty">'
        '<svg viewBox="0 0 64 64" width="56" height="56" aria-hidden="true" fill="none" '
        'stroke="currentColor" stroke-width="3" stroke-linecap="round">'
        '<path d="M6 18V10a4 4 0 0 1 4-4h8M46 6h8a4 4 0 0 1 4 4v8M58 46v8a4 4 0 0 1-4 4h-8'
        'M18 58h-8a4 4 0 0 1-4-4v-8"/><path d="M24 25v3M40 25v3M22 38c5 6 15 6 20 0"/></svg>'
        "<p><b>The answer appears here.</b></p><p>A face should be well lit, seen from the front and "
        "at least about 48 pixels high.</p></div>"
    )


def message(title: str, advice: str) -> str:
    """What went wrong and what helps; it stays on the page."""
    return _frame(
        f'<div class="fer-message" role="alert"><h2>{escape(title)}</h2><p>{escape(advice)}</p></div>'
    )


def result(analysis: PhotoAnalysis, *, model: str, detector: str) -> str:
    """The marked photo, a card for each face, and the times."""
    if not analysis.found:
        return _nothing_found(analysis, model=model, detector=detector)
    faces = "".join(_card(face) for face in analysis.faces)
    told = [_count(analysis)]
    if analysis.note:
        told.append(f'<p class="fer-note" role="status">{escape(analysis.note)}</p>')
    if any(face.seen is not None for face in analysis.faces):
        told.append(
            '<p class="fer-note">Bright regions spoke for the answer (LayerCAM), to this network. They are '
            "no proof of why, and say nothing of what the person feels.</p>"
        )
    return _frame(
        _figure(analysis) + "".join(told) + f'<div class="fer-cards">{faces}</div>'
        f"{_facts(analysis, model, detector)}"
    )


def _frame(inside: str) -> str:
    return f'<div class="fer-result" aria-live="polite">{inside}</div>'


def _nothing_found(analysis: PhotoAnalysis, *, model: str, detector: str) -> str:
    others = "another detector, or " if detector != "none" else ""
    return _frame(
        '<div class="fer-message" role="alert"><h2>No face found</h2><p>'
        f"The detector {escape(detector)} sees none in this photo. Try {others}a photo with a larger, well "
        "lit face. If the picture is a face cut out already, choose the detector <b>none</b>: it takes the "
        f"whole picture as the face.</p></div>{_figure(analysis)}{_facts(analysis, model, detector)}"
    )


def _figure(analysis: PhotoAnalysis) -> str:
    width, height = analysis.picture.size
    faces = [f"{face.number} {face.prediction.emotion}" for face in analysis.faces]
    words = f"The photo; faces marked: {', '.join(faces)}" if faces else "The photo, without marks"
    source = _data_uri(analysis.picture, "JPEG")
    return f'<img class="fer-photo" src="{source}" width="{width}" height="{height}" alt="{escape(words)}">'


def _count(analysis: PhotoAnalysis) -> str:
    found, shown = analysis.found, len(analysis.faces)
    words = "1 face" if found == 1 else f"{found} faces"
    if shown < found:
        words = f"{shown} of {found} faces shown, the largest"
    return f'<h2 class="fer-count">{words}</h2>'


def _card(face: FaceView) -> str:
    prediction = face.prediction
    label = escape(prediction.emotion)
    picture = _face_picture(face.crop, f"Face {face.number}", "what the network is given")
    if face.seen is not None:
        words = f"Where the network looked in face {face.number} for {prediction.emotion}"
        picture += _face_picture(face.seen, words, f"regions that spoke for {prediction.emotion}")
    return (
        f'<article class="fer-card"><h3><span class="fer-number">{face.number}</span> '
        f'<span class="fer-label">{label}</span> '
        f'<span class="fer-share">{_percent(prediction.probability)}</span></h3>'
        f'<div class="fer-parts"><div class="fer-crops">{picture}</div>'
        f"{_bars(prediction.probabilities, prediction.emotion)}</div></article>"
    )


def _face_picture(picture: Image.Image, words: str, caption: str) -> str:
    width, height = picture.size
    return (
        f'<figure><img src="{_data_uri(picture, "JPEG")}" width="{width}" height="{height}" '
        f'alt="{escape(words)}"><figcaption>{escape(caption)}</figcaption></figure>'
    )


def _bars(probabilities: Mapping[str, float], answer: str) -> str:
    rows = "".join(_bar(name, value, name == answer) for name, value in probabilities.items())
    return f'<dl class="fer-bars" aria-label="Probabilities">{rows}</dl>'


def _bar(name: str, value: float, chosen: bool) -> str:
    return (
        f"<div{' class=fer-chosen' if chosen else ''}><dt>{escape(name)}</dt>"
        f'<dd class="fer-track" aria-hidden="true"><i style="width:{max(value, 0) * 100:.1f}%"></i></dd>'
        f"<dd>{_percent(value)}</dd></div>"
    )


def _percent(value: float) -> str:
    return "&lt;1 %" if 0 < value < 0.005 else f"{value * 100:.0f} %"


def _facts(analysis: PhotoAnalysis, model: str, detector: str) -> str:
    seconds = analysis.seconds
    entries = [
        ("detector", detector),
        ("model", model),
        ("finding faces", _milliseconds(seconds.detection)),
    ]
    if analysis.found:
        entries.append(("naming expressions", _milliseconds(seconds.recognition)))
    if seconds.maps is not None:
        entries.append(("maps", _milliseconds(seconds.maps)))
    return f'<dl class="fer-facts">{"".join(_entries(entries))}</dl>'


def _entries(entries: Iterable[tuple[str, str]]) -> Iterable[str]:
    for name, value in entries:
        yield f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>"


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:,.0f} ms" if seconds >= 0.01 else f"{seconds * 1000:.1f} ms"


def _data_uri(picture: Image.Image, form: str) -> str:
    file = io.BytesIO()
    picture.save(file, form, quality=88)
    return f"data:image/{form.lower()};base64,{base64.b64encode(file.getvalue()).decode()}"
