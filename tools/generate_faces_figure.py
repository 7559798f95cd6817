"""Write docs/images/faces.png: what happens to a face between the photo and the network, stage by stage.

The photo is scikit-image's astronaut: Eileen Collins, NASA, public domain.
"""

from io import BytesIO
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Polygon
from PIL import Image
from skimage.data import astronaut

from fer_attention.faces import CropRule, annotate, create_detector, cut_face, cut_input, face_quality
from fer_attention.preprocessing import Preprocessing

COLOURS = {"square": "#1f77b4", "box": "#d62728", "aligned": "#2ca02c"}
TITLES = {
    "square": "3 a · square, 80×80\n(default, as FER2013)",
    "box": "3 b · box, 80×80\n(stretched, as the paper)",
    "aligned": "3 c · aligned, 80×80\n(eyes and mouth in place)",
}
TURN = 17  # degrees: a tilted head shows what alignment does


def figure() -> bytes:
    """Draw the figure as PNG."""
    photo = Image.fromarray(astronaut()).rotate(TURN, Image.Resampling.BICUBIC).crop((110, 50, 370, 260))
    [[face]] = create_detector("mtcnn", device="cpu").detect([photo])
    quality = face_quality(photo, face)
    page = Figure(figsize=(12, 6.6), layout="constrained", facecolor="white")
    axes = page.subplot_mosaic([["photo", "detected", "regions"], ["square", "box", "aligned"]])
    axes["photo"].imshow(photo)
    axes["photo"].set_title("1 · photo")
    axes["detected"].imshow(annotate(photo, [face], [f"{face.score:.2f}"]))
    axes["detected"].set_title(
        f"2 · detected: box, five landmarks, score\nsize {quality.size:.0f} px, yaw {quality.yaw:.0f}°, "
        f"roll {quality.roll:.0f}°, sharpness {quality.sharpness:.2f}"
    )
    axes["regions"].imshow(photo)
    axes["regions"].set_title("3 · what each crop takes")
    for name, colour in COLOURS.items():
        rule = CropRule(shape=name)
        crop, transform = cut_face(photo, face, rule, size=80)
        corners = transform.to_photo([(0, 0), (80, 0), (80, 80), (0, 80)])
        axes["regions"].add_patch(Polygon(corners, fill=False, edgecolor=colour, linewidth=2, label=name))
        record = Preprocessing(crop_rule=rule)
        seen = np.asarray(cut_input(photo, face, record)[0])
        grey = Image.fromarray(seen).resize((80, 80), Image.Resampling.NEAREST).convert("RGB")
        gap = np.full((80, 6, 3), 255, np.uint8)
        axes[name].imshow(np.concatenate([np.asarray(crop), gap, np.asarray(grey)], axis=1))
        axes[name].set_title(f"{TITLES[name]}   4 · grey, 48×48", color=colour)
    axes["regions"].legend(loc="lower right")
    for axis in axes.values():
        axis.set_axis_off()
    page.savefig(drawn := BytesIO(), format="png", dpi=80)
    with Image.open(drawn) as picture:  # 256 colours: a quarter of the bytes
        picture.convert("RGB").quantize(256).save(content := BytesIO(), "PNG", optimize=True)
    return content.getvalue()


if __name__ == "__main__":
    target = Path(__file__).parents[1] / "docs" / "images" / "faces.png"
    target.parent.mkdir(exist_ok=True)
    target.write_bytes(figure())
