"""A common style for matplotlib figures and self-contained HTML pages."""
