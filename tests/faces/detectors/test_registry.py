"""Face detectors by name."""

import pytest

from fer_attention.faces import create_detector


def test_unknown_detectors_and_options_suggest_the_nearest():
    with pytest.raises(ValueError, match="Did you mean 'mtcnn'"):
        create_detector("mtcn")
    with pytest.raises(TypeError, match="Did you mean 'min_score'"):
        create_detector("mtcnn", min_scor=0.5)
