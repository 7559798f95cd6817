"""MkDocs hook: a page's table of contents lists its folded sections, not the headings inside them.

`javascripts/folded.js` opens the section that a link leads to.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from html import unescape

from markdown.extensions.toc import slugify, unique
from mkdocs.structure.pages import Page
from mkdocs.structure.toc import AnchorLink

SECTION = re.compile(r"<details>\s*<summary>(.*?)</summary>(.*?)</details>", re.S)
"""A section of a study's report; such sections do not hold others."""


def on_page_content(html: str, page: Page, **_: object) -> str:
    """Give each folded section an id and a place in the table of contents."""
    taken, folded, links = set(re.findall(r' id="([^"]+)"', html)), set(), []

    def with_id(section: re.Match[str]) -> str:
        title = unescape(re.sub("<[^>]+>", "", section[1])).strip()
        links.append(AnchorLink(title, unique(slugify(title, "-"), taken), level=2))
        folded.update(re.findall(r' id="([^"]+)"', section[2]))
        return section[0].replace("<details>", f'<details id="{links[-1].id}">', 1)

    html = SECTION.sub(with_id, html)
    if links:
        page.toc.items = list(_without(page.toc.items, folded))
        heading = page.toc.items[0]
        for link in links:
            link.level = heading.level + 1
        heading.children.extend(links)
    return html


def _without(links: Iterable[AnchorLink], ids: set[str]) -> Iterable[AnchorLink]:
    for link in links:
        if link.id not in ids:
            link.children = list(_without(link.children, ids))
            yield link
