"""One look for everything that is shown: matplotlib figures and self-contained HTML pages."""
