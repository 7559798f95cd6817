"""Run the notebooks from a clean kernel and keep their outputs in the files.

    python examples/run_notebooks.py            # all of them
    python examples/run_notebooks.py 1 5        # by number

Install cells, links and the link to a hosted notebook service lead to the `Repository` of `[project.urls]` in
pyproject.toml once it is set; until then, into the clone. A notebook is written only if all of its cells ran,
without a warning, and nothing in it names a place of this machine. Where FER2013 is found (see notebook 3),
its outputs are of FER2013. Cells whose numbers depend on the machine or on that data carry the tag `varies`:
the tests compare the outputs of all others.
"""

from __future__ import annotations

import posixpath
import re
import sys
import time
from pathlib import Path
from typing import Any

import nbformat
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from jupyter_core.utils import run_sync
from nbclient import NotebookClient

from fer_attention.atomic import write_atomically

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

HERE = Path(__file__).parent
HOSTED = "https://colab.research.google.com/github/"
PLACES = re.compile(r"/(?:home|root|tmp|work|Users|private|var)/\w")


def repository() -> str | None:
    """Return the address of the repository, None as long as pyproject.toml has none."""
    text = (Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)["project"].get("urls", {}).get("Repository")


def lead_to_repository(notebook: Any, name: str, address: str | None) -> None:
    """Let the install cell and relative links lead to the address of the repository, if there is one."""
    if address is None:
        return
    base = address.rstrip("/")

    def absolute(link: re.Match[str]) -> str:
        return f"]({base}/blob/main/{posixpath.normpath(posixpath.join('examples', link[1]))})"

    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = re.sub(r"\]\((?!https?://|#)([^)]+)\)", absolute, cell.source)
        elif "install" in cell.metadata.get("tags", []):
            cell.source = re.sub(r'"\.\.(\[\w+\])"', rf'"fer_attention\1 @ git+{base}"', cell.source)
            cell.source = cell.source.replace(' ".." is the clone around this notebook.', "")
    if base.startswith("https://github.com/") and HOSTED not in (title := notebook.cells[0]).source:
        page = f"{HOSTED}{base.removeprefix('https://github.com/')}/blob/main/examples/{name}"
        title.source += f"\n\n[Open in Colab]({page})"


def execute(path: Path) -> Any:
    """Run a notebook in its own folder and return it with fresh outputs; its file is untouched.

    Raises:
        nbclient.exceptions.CellExecutionError: A cell failed.
    """
    notebook = nbformat.read(path, as_version=4)
    # Without folders of kernels "python3" is this interpreter, whatever kernels the machine has installed.
    kernel = AsyncKernelManager(kernel_name="python3", kernel_spec_manager=KernelSpecManager(kernel_dirs=[]))
    client = NotebookClient(
        notebook,
        km=kernel,
        timeout=1200,  # seconds for a cell: training takes minutes where other programs run
        record_timing=False,
        coalesce_streams=True,  # one output for what a cell prints, however the kernel's messages fall
        resources={"metadata": {"path": str(path.parent)}},
    )
    try:
        client.execute(cleanup_kc=True)
    finally:
        if kernel.has_kernel:  # let it stop by itself, so that it deletes the notebook's temporary folder
            run_sync(kernel.shutdown_kernel)()
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            same = [kind for kind in ("image/png", "image/jpeg") if kind in output.get("data", {})]
            if len(same) == 2:  # one picture twice: the smaller file stays
                del output["data"][max(same, key=lambda kind: len(output["data"][kind]))]
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    return notebook


def faults(notebook: Any) -> list[str]:
    """Return faults in a notebook's outputs: errors, warnings, and paths of one machine."""
    found = []
    for number, cell in enumerate(notebook.cells):
        for output in cell.get("outputs", []):
            if output.output_type == "error" or output.get("name") == "stderr":
                found.append(f"cell {number}: {output.get('text') or output.get('evalue')}")
            shown = [output.get("text", ""), *map(str, output.get("data", {}).values())]
            if any(kind.startswith("image/") for kind in output.get("data", {})):
                shown = []  # base64 may hold any letters
            found += [f"cell {number} names {place}" for text in shown for place in PLACES.findall(text)]
    return found


def main() -> None:
    """Run those that are asked for."""
    known = {path.name.split("_")[0]: path for path in sorted(HERE.glob("*.ipynb"))}
    wanted = sys.argv[1:] or list(known)
    if unknown := [number for number in wanted if number not in known]:
        sys.exit(f"No notebook has the number {' or '.join(unknown)}. There are {', '.join(known)}.")
    for path in (known[number] for number in wanted):
        start = time.perf_counter()
        notebook = execute(path)
        lead_to_repository(notebook, path.name, repository())
        if wrong := faults(notebook):
            sys.exit(f"{path.name} is not written:\n" + "\n".join(wrong))
        write_atomically(path, (nbformat.writes(notebook) + "\n").encode())
        print(f"{path.name}: {time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
