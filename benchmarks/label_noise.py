"""Compare trainings on FER2013's noisy labels, judged by what most of FER+'s ten voters saw.

    python benchmarks/label_noise.py --data fer2013.zip --votes ferplus_votes.csv --output runs/label_noise
    fer-attention study report runs/label_noise

The images are those on which more than half of the votes agree on one of FER2013's seven emotions. All
methods train and select on FER2013's own labels of them, except `votes`, and are tested on PrivateTest under
the majority of the votes. The methods are the settings of label_noise.yaml.

An interrupted command resumes where it stopped.

Prints how often the labels differ from the majority, then runs what is missing of the study.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import yaml
from rich.console import Console
from rich.table import Table

from fer_attention.data import FaceDataset, load_ferplus
from fer_attention.evaluation import accuracy
from fer_attention.study import StudyConfig, run_study

STUDY = Path(__file__).with_name("label_noise.yaml")


def study_of(
    votes: Path, *, seeds: int | None = None, epochs: int | None = None, fraction: float | None = None
) -> StudyConfig:
    """Return the study with its table of votes, and with other seeds, epochs or fraction if given."""
    fields = yaml.safe_load(STUDY.read_text(encoding="utf-8"))
    fields["data"]["fer2013"]["options"]["votes"] = str(votes)
    if seeds is not None:
        fields["replications"]["seeds"] = seeds
    if epochs is not None:
        fields["changes"]["epochs"] = epochs
    if fraction is not None:
        fields["factors"]["fraction"] = fraction
    return StudyConfig.model_validate(fields)


def noise_table(own: FaceDataset, majority: FaceDataset) -> Table:
    """Tabulate how often FER2013's labels are the majority's, by split and by the majority's emotion.

    Args:
        own: Images under FER2013's labels.
        majority: The same images under the majority of the votes.
    """
    table = Table(
        "images", "n", "labels that agree with the majority", title="FER2013's labels and the votes"
    )
    groups = [(f"split {name}", own.splits == name) for name in ("train", "public", "private")]
    groups += [(name, majority.labels == index) for index, name in enumerate(majority.label_names)]
    for name, rows in groups:
        if rows.any():
            agreeing = accuracy(own.labels[rows], majority.labels[rows])
            interval = f"{agreeing.low:.2%} to {agreeing.high:.2%}"
            table.add_row(name, f"{agreeing.n:,}", f"{agreeing.value:.2%} ({interval})")
    return table


def main() -> None:
    """Print the noise, and run the study of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="FER2013, as a folder, zip or CSV file")
    parser.add_argument("--votes", type=Path, required=True, help="FER+'s votes on it")
    parser.add_argument("--output", type=Path, required=True, help="folder of the study")
    parser.add_argument("--seeds", type=int, help="number of seeds instead of the file's")
    parser.add_argument("--epochs", type=int, help="epochs instead of the file's")
    parser.add_argument("--fraction", type=float, help="share of the training images, for a trial")
    parser.add_argument("--workers", type=int)
    parser.add_argument("--device", default="auto")
    options = parser.parse_args()
    study = study_of(options.votes, seeds=options.seeds, epochs=options.epochs, fraction=options.fraction)
    splits = ("train", "public", "private")
    shared = {"votes": options.votes, "target": "majority", "emotions": "fer2013"}
    own = load_ferplus(options.data, own_labels=splits, **shared)
    Console().print(noise_table(own, load_ferplus(options.data, **shared)))
    progress = run_study(
        study,
        options.output,
        paths={"fer2013": options.data},
        workers=options.workers,
        device=options.device,
        on_progress=lambda now: print(f"{now.done} of {now.total} runs done", flush=True),
    )
    for title, reason in progress.failed:
        print(f"failed: {title}: {reason}")
    print(f"{progress.done} of {progress.total} runs are done. fer-attention study report {options.output}")


if __name__ == "__main__":
    main()
