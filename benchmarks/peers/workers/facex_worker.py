"""Run the network of PyPI's `facex` on face crops; started by `measure.py` in an environment of its own.

Crops go through the steps of `facex.EmotionClassifier.predict` after a face is cut: resized to 200×200×3 by
scikit-image, one by one into its TFLite network.
"""

import json
import os
import sys
from importlib.metadata import version

answers = os.fdopen(os.dup(1), "wb")
os.dup2(2, 1)  # what libraries print must not mix with the answers

import numpy as np  # noqa: E402
from facex import PoolManager  # noqa: E402

peer = PoolManager(pool_size=1).get_classifier()
libraries = ("facex", "tensorflow", "opencv-contrib-python", "scikit-image", "numpy")
facts = {"labels": peer.category, "versions": {name: version(name) for name in libraries}}
answers.write(json.dumps(facts).encode() + b"\n")
answers.flush()
while line := sys.stdin.buffer.readline():
    shape = json.loads(line)
    crops = np.frombuffer(sys.stdin.buffer.read(int(np.prod(shape))), np.uint8).reshape(shape)
    found = [list(peer.detect_emotion(crop).values()) for crop in crops]
    answers.write(np.asarray(found, dtype="<f4").tobytes())
    answers.flush()
