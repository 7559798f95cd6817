"""Hook of the build: README with absolute links, as a package index needs them.

Relative links lead into the repository, whose address is `Repository` of `[project.urls]` in pyproject.toml.
Without that entry README stays as it is.
"""

import re
from pathlib import Path

from hatchling.metadata.plugin.interface import MetadataHookInterface

PICTURE, LINK = (
    re.compile(r"(!\[[^\]]*\]\()(?!https?://|#)"),
    re.compile(r"(?<!!)(\[[^\]]*\]\()(?!https?://|#)"),
)


def with_absolute_links(text: str, repository: str | None) -> str:
    """Return README's text with its relative links below the address of the repository."""
    if not repository:
        return text
    base = repository.rstrip("/")
    return LINK.sub(rf"\1{base}/blob/main/", PICTURE.sub(rf"\1{base}/raw/main/", text))


class IndexReadme(MetadataHookInterface):
    """Sets the `readme` of the distributions."""

    def update(self, metadata: dict) -> None:
        """Set `readme`, which pyproject.toml declares as dynamic."""
        text = (Path(self.root) / "README.md").read_text(encoding="utf-8")
        repository = metadata.get("urls", {}).get("Repository")
        metadata["readme"] = {"content-type": "text/markdown", "text": with_absolute_links(text, repository)}
