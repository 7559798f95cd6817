"""Write scikit-image's photo of the astronaut Eileen Collins (NASA, public domain) to a file."""

import sys
from pathlib import Path

import skimage.data
from PIL import Image

target = Path(sys.argv[1])
target.parent.mkdir(parents=True, exist_ok=True)
Image.fromarray(skimage.data.astronaut()).save(target)
