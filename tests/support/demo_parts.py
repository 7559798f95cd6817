"""A demo that is quick to make, for several test files: one model, and a detector that is told its faces."""

import io

from PIL import Image

from fer_attention.demo import Choices, Limits
from fer_attention.demo.desk import Desk
from fer_attention.faces import Face
from tests.support.exported_models import FixedDetector

FACE = Face((178, 62, 268, 176), 0.99, ((205, 107), (241, 107), (223, 130), (205, 145), (239, 146)))
"""Where the astronaut's is."""


def small_choices(faces=(FACE,)):
    """`fixed` finds these faces in any photo; `blind` finds none."""
    blind = FixedDetector(())
    blind.name = "blind"
    return Choices((), {"fixed": FixedDetector(faces), "blind": blind}, device="cpu")


def small_desk(folder, faces=(FACE,), **limits):
    return Desk(small_choices(faces), Limits(**limits), uploads=folder)


def as_bytes(image, form="PNG", **options):
    file = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(file, form, **options)
    return file.getvalue()


def upload(folder, content, name="photo.png"):
    """A file as Gradio stores it, and its record."""
    place = folder / "0123abcd"
    place.mkdir(exist_ok=True)
    (place / name).write_bytes(content)
    return {"path": str(place / name), "orig_name": name, "meta": {"_type": "gradio.FileData"}}
