"""Run the notebooks from a clean kernel and keep their outputs in the files.

    python examples/run_notebooks.py            # all of them
    python examples/run_notebooks.py 1 5        # by number

A notebook is written only if all of its cells ran, without a warning, and nothing in it names a place of
this machine. Where FER2013 is found (see notebook 3) its outputs are of FER2013.
"""

from __future__ import annotations

import re
import sys
import time
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

from fer_attention.atomic import write_atomically

HERE = Path(__file__).parent
PLACES = re.compile(r"/(?:home|root|tmp|work|Users|private|var)/\w")


def execute(path: Path) -> Any:
    """The notebook with fresh outputs, its file untouched; the working directory is the notebook's.

    Raises:
        nbclient.exceptions.CellExecutionError: A cell failed.
    """
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(
        notebook,
        timeout=600,
        kernel_name="python3",
        record_timing=False,
        resources={"metadata": {"path": str(path.parent)}},
    ).execute()
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
    """What must not be in a notebook's outputs: errors, warnings, and places of one machine."""
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
    wanted = sys.argv[1:]
    paths = [p for p in sorted(HERE.glob("*.ipynb")) if not wanted or p.name.split("_")[0] in wanted]
    if not paths:
        sys.exit(f"No notebook has the number {' or '.join(wanted)}.")
    for path in paths:
        start = time.perf_counter()
        notebook = execute(path)
        if wrong := faults(notebook):
            sys.exit(f"{path.name} is not written:\n" + "\n".join(wrong))
        write_atomically(path, (nbformat.writes(notebook) + "\n").encode())
        print(f"{path.name}: {time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
