"""Options of runs over folders."""

import pytest

from fer_attention.faces import CropRule
from fer_attention.faces.folders import FolderOptions


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"detector": "mtcn"}, "Did you mean 'mtcnn'"),
        ({"faces": "biggest"}, "Known: all, central, largest"),
        ({"missing": "ignore"}, "Known: raise, skip, whole"),
        ({"on_error": "ignore"}, "Unknown on_error 'ignore'"),
        ({"manifest_format": "json"}, "Known: csv, parquet"),
        ({"size": 0}, "size is at least 1 pixel"),
        ({"detector": "none", "rule": CropRule(shape="aligned")}, "Alignment needs landmarks"),
    ],
)
def test_invalid_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        FolderOptions(**options)
