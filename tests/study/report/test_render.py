"""Escaping of text in HTML and Markdown."""

import re

import pytest

pytest.importorskip("statsmodels")

from fer_attention.study.report.render import html_text, markdown_text  # noqa: E402
from tests.support.study_records import only  # noqa: E402


def test_text_is_escaped_and_only_arxiv_numbers_are_linked():
    assert markdown_text("resnetv2_18_cbam") == "resnetv2_18_cbam"
    assert markdown_text("_a_ *b* `c` <d> |e| [f](g)") == r"\_a\_ \*b\* \`c\` &lt;d&gt; \|e\| \[f\](g)"
    assert markdown_text("arXiv:2410.17740.") == "[arXiv:2410.17740](https://arxiv.org/abs/2410.17740)."
    made = str(html_text('<a href="https://x.org">x</a> arXiv:2410.17740, 5 %'))
    assert only(re.findall(r'href="([^"]*)"', made)) == "https://arxiv.org/abs/2410.17740"
    assert "5\N{NARROW NO-BREAK SPACE}%" in made
