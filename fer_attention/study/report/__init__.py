"""The report of a study: one page, Markdown, LaTeX tables, plots, and the numbers for programs.

An `Analysis` becomes sentences, tables and plots (a `Document`), and those become files. Every table is one
record that is rendered three ways; every sentence carries the numbers that it prints.
"""

from fer_attention.optional import needs_extra

with needs_extra("study", "The report of a study runs on jinja2, matplotlib, pandas and scipy"):
    import jinja2 as _jinja2  # noqa: F401  (that they are there is looked at once, here)
    import matplotlib as _matplotlib  # noqa: F401
    import pandas as _pandas  # noqa: F401
    import scipy as _scipy  # noqa: F401

from fer_attention.study.report.document import Column, Table
from fer_attention.study.report.sentence import Sentence
from fer_attention.study.report.sentences import sentences
from fer_attention.study.report.write import ReportPaths, write_analysis, write_report

__all__ = ["Column", "ReportPaths", "Sentence", "Table", "sentences", "write_analysis", "write_report"]
