"""MkDocs hook: the notebooks of `examples`, with their stored outputs, as pages `notebooks/NAME.md`."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

EXAMPLES = Path(__file__).parents[1] / "examples"
IMAGES = {"image/png": "png", "image/jpeg": "jpg"}
# pandas' own style and class would keep a table from looking, and scrolling, like the others
PANDAS = re.compile(r'<style scoped>.*?</style>\n?|</?div>\n?| border="1" class="dataframe"', re.S)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add a page for each notebook, its pictures, and the notebook itself to download."""
    for path in sorted(EXAMPLES.glob("*.ipynb")):
        for uri, content in site_files(path):
            files.append(File.generated(config, uri, content=content))
    return files


def site_files(path: Path) -> Iterator[tuple[str, str | bytes]]:
    """Yield the addresses and contents of a notebook's files in the site: pictures, page, notebook."""
    notebook = path.read_text(encoding="utf-8")
    parts: list[str] = []
    for number, cell in enumerate(json.loads(notebook)["cells"]):
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(_with_links_of_the_site(source))
            continue
        parts.append(f"```python\n{source}\n```")
        for index, output in enumerate(cell["outputs"]):
            data = {kind: "".join(text) for kind, text in output.get("data", {}).items()}
            if kind := next((kind for kind in IMAGES if kind in data), None):
                name = f"{path.stem}-{number}-{index}.{IMAGES[kind]}"
                yield f"notebooks/{name}", base64.b64decode(data[kind])
                parts.append(f"![Output of the cell above]({name})")
            elif "text/html" in data:
                parts.append(PANDAS.sub("", data["text/html"]))
            elif "text/markdown" in data:
                parts.append(re.sub("^", "> ", data["text/markdown"].strip(), flags=re.M))
            else:
                text = "".join(output.get("text", data.get("text/plain", ""))).rstrip()
                parts.append(f"``` {{.text .output}}\n{text}\n```")
    parts.insert(1, f"[Download the notebook]({path.name})")
    yield f"notebooks/{path.stem}.md", "\n\n".join(parts) + "\n"
    yield f"notebooks/{path.name}", notebook.encode()


def _with_links_of_the_site(text: str) -> str:
    text = re.sub(r"\]\(\.\./docs/", "](../", text)
    return re.sub(r"\]\((\d_\w+)\.ipynb", r"](\1.md", text)
