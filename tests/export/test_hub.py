import json
import os
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import huggingface_hub
import numpy as np
import pytest
import timm
import torch
import yaml
from safetensors.torch import save_file

from fer_attention import EmotionRecognizer, create_model
from fer_attention.evaluation import EvaluationReport, classification_metrics
from fer_attention.export import push_to_hub, save_for_hub
from fer_attention.models import (
    WeightsError,
    bundled_path,
    load_from_hub,
    load_weights,
    read_metadata,
    save_weights,
)
from fer_attention.preprocessing import Preprocessing
from tests.support.exported_models import FixedDetector, lively_model, noise, noise_crops
from tests.support.forked import run_python

BUNDLED = "resnetv2_18_eca_elu.fer2013"


@pytest.fixture(scope="module")
def model():
    model = lively_model("resnetv2_18", attention="cbam", num_classes=3, img_size=(40, 32), global_pool="max")
    model.labels = ("calm", "happy", "sad")
    model.preprocessing = Preprocessing((40, 32), mean=(0.4,), std=(0.3,), interpolation="bicubic")
    return model


@pytest.fixture(scope="module")
def folder(model, tmp_path_factory):
    return save_for_hub(model, tmp_path_factory.mktemp("hub") / "repository")


def report(labels, right=7):
    answers = np.eye(3)[[0] * right + [1] * (10 - right)] * 0.7 + 0.1
    numbers = classification_metrics(answers, np.zeros(10, np.int64), labels)
    results = {"all images": numbers}
    note = "Notes belong to numbers."
    return EvaluationReport("w", "m", 1, "faces.zip", "private", results, notes=(note,)).to_dict()


def test_a_repository_has_weights_config_and_card_and_can_be_loaded(model, folder):
    assert sorted(file.name for file in folder.iterdir()) == ["README.md", "config.json", "model.safetensors"]
    again = load_weights(folder / "model.safetensors")
    assert (again.labels, again.preprocessing, again.spec) == (model.labels, model.preprocessing, model.spec)


def test_timm_builds_the_same_model_from_the_repository(model, folder):
    theirs = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    with torch.inference_mode():
        torch.testing.assert_close(theirs(noise(model, 3)), model(noise(model, 3)))
    assert theirs.spec == model.spec
    data = timm.data.resolve_model_data_config(theirs)
    assert [tuple(data[fact]) for fact in ("mean", "std")] == [(0.4,), (0.3,)]
    assert data["interpolation"] == "bicubic"
    assert tuple(data["input_size"]) == (1, 40, 32)
    assert json.loads((folder / "config.json").read_text())["label_names"] == ["calm", "happy", "sad"]


def test_timm_reads_the_bundled_half_precision_weights(tmp_path):
    save_for_hub(BUNDLED, tmp_path)
    theirs = timm.create_model(f"local-dir:{tmp_path}", pretrained=True).eval()
    ours = load_weights(bundled_path(BUNDLED))
    with torch.inference_mode():
        torch.testing.assert_close(theirs(noise(ours, 2)), ours(noise(ours, 2)))
    assert (tmp_path / "model.safetensors").read_bytes() == bundled_path(BUNDLED).read_bytes()


def test_the_card_reports_the_record_and_the_evaluations(model, tmp_path):
    weights = save_weights(model, tmp_path / "mine.safetensors", record={"seed": 3, "data": "faces.zip"})
    reports = [report(model.labels)]
    folder = save_for_hub(weights, tmp_path / "hub", name="three", reports=reports, licence="mit")
    card = (folder / "README.md").read_text(encoding="utf-8")
    front = yaml.safe_load(card.split("---")[1])
    assert (front["license"], front["pipeline_tag"]) == ("mit", "image-classification")
    assert "# three\n" in card
    assert "calm, happy, sad" in card
    assert "| faces.zip | private | all images | none | 10 | 70.00 % | 39.68 to 89.22 % |" in card
    assert "Notes belong to numbers." in card
    assert '"seed": 3' in card
    assert "perceived expression, not a felt emotion" in card
    assert 'timm.create_model("hf-hub:USER/three", pretrained=True)' in card


def test_the_card_states_what_is_unknown(folder):
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert "No evaluation came with these weights." in card
    assert "says nothing of its origin" in card
    assert not re.search(r"\d %", card)


def test_the_accuracy_that_chose_the_epoch_is_called_optimistic(tmp_path):
    card = (save_for_hub(BUNDLED, tmp_path) / "README.md").read_text(encoding="utf-8")
    chosen = read_metadata(bundled_path(BUNDLED)).record["selection_accuracy"]
    assert f"split `public`, {chosen * 100:.2f} %: an optimistic number" in card


def test_a_report_of_other_labels_is_refused(model, tmp_path):
    with pytest.raises(ValueError, match="'a', 'b', 'c'"):
        save_for_hub(model, tmp_path, reports=[report(("a", "b", "c"))])
    assert not list(tmp_path.iterdir())


def test_the_card_does_not_offer_timm_for_names_of_timm(tmp_path):
    model = create_model("resnet18", width=0.125)
    card = (save_for_hub(model, tmp_path) / "README.md").read_text(encoding="utf-8")
    assert "timm.create_model" not in card
    assert "load_from_hub" in card


class Hub:
    """What `HfApi` is asked to do, kept in a folder."""

    def __init__(self, folder):
        self.folder = folder
        self.asked = []

    def __call__(self, **options):
        self.asked.append(options)
        return self

    def create_repo(self, repo_id, **options):
        self.asked.append(options)
        return SimpleNamespace(repo_id=repo_id if "/" in repo_id else f"someone/{repo_id}")

    def file_exists(self, repo_id, filename, *, revision):
        return (self.folder / repo_id / filename).exists()

    def upload_folder(self, *, repo_id, folder_path, revision, commit_message):
        to = self.folder / repo_id
        to.mkdir(parents=True, exist_ok=True)
        for file in folder_path.iterdir():
            (to / file.name).write_bytes(file.read_bytes())
        self.asked.append((revision, commit_message))
        return SimpleNamespace(commit_url=f"https://example.org/{repo_id}/commit/1")


def test_a_pushed_model_can_be_loaded_and_an_existing_card_stays(model, tmp_path, monkeypatch):
    api = Hub(tmp_path / "remote")
    monkeypatch.setattr(huggingface_hub, "HfApi", api)
    address = push_to_hub(model, "faces", private=True, token="abc", revision="trial", message="Three")  # noqa: S106
    assert address == "https://example.org/someone/faces/commit/1"
    assert api.asked[0]["token"] == "abc"  # noqa: S105
    assert api.asked[1:] == [{"private": True, "exist_ok": True}, ("trial", "Three")]
    remote = tmp_path / "remote" / "someone" / "faces"
    assert "# faces\n" in (remote / "README.md").read_text()
    (remote / "README.md").write_text("written by a person")
    other = lively_model()
    push_to_hub(other, "someone/faces")
    assert (remote / "README.md").read_text() == "written by a person"
    assert load_weights(remote / "model.safetensors").spec == other.spec

    def download(name, filename, *, revision):
        api.asked.append((name, revision))
        return tmp_path / "remote" / name / filename

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    for name, revision in (("someone/faces", None), ("hf-hub:someone/faces@v2", "v2")):
        back = load_from_hub(name)
        assert api.asked[-1] == ("someone/faces", revision)
        torch.testing.assert_close(back(noise(other, 2)), other(noise(other, 2)))
    recognizer = EmotionRecognizer.from_pretrained("hf-hub:someone/faces", detector=FixedDetector([]))
    assert recognizer.classifier.model.spec == other.spec


def test_failed_downloads_and_foreign_files_are_clear_errors(tmp_path, monkeypatch):
    def refuse(name, filename, **_):
        raise OSError("no network")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", refuse)
    with pytest.raises(WeightsError, match=r"model\.safetensors of 'a/b'.*no network.*user/name"):
        load_from_hub("hf-hub:a/b")
    foreign = tmp_path / "model.safetensors"
    save_file({"weight": torch.zeros(1)}, foreign)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", lambda *_, **__: foreign)
    with pytest.raises(WeightsError, match="not a model file of this library"):
        load_from_hub("a/b")


class Stub(BaseHTTPRequestHandler):
    """As much of the Hub's interface as downloads need: `/<user>/<name>/resolve/<revision>/<file>`."""

    def do_HEAD(self):  # noqa: N802 - http.server's name
        self.answer(body=False)

    def do_GET(self):  # noqa: N802
        self.answer(body=True)

    def answer(self, *, body):
        parts = self.path.strip("/").split("/")
        file = self.server.folder / parts[-1]
        if parts[:3] != ["someone", "faces", "resolve"] or not file.is_file():
            self.send_response(404)
            self.send_header("X-Error-Code", "EntryNotFound")
            self.send_header("X-Repo-Commit", "a" * 40)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        content = file.read_bytes()
        self.send_response(200)
        self.send_header("ETag", '"' + str(len(content)) + '"')
        self.send_header("X-Repo-Commit", "a" * 40)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if body:
            self.wfile.write(content)

    def log_message(self, *_):
        pass


SCRIPT = """
import sys, numpy, timm, torch
from fer_attention.models import load_from_hub
crops = torch.from_numpy(numpy.load("crops.npy"))
ours = load_from_hub("hf-hub:someone/faces")
theirs = timm.create_model("hf-hub:someone/faces", pretrained=True).eval()
with torch.inference_mode():
    inputs = ours.preprocessing.normalize(crops)
    numpy.save("logits.npy", torch.stack([ours(inputs), theirs(inputs)]).numpy())
"""


def test_this_library_and_timm_download_over_the_protocol_of_the_hub(model, folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    crops = noise_crops(model, 2)
    np.save(tmp_path / "crops.npy", crops)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Stub)
    server.folder = folder
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    home = {"HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}", "HF_HOME": str(tmp_path / "home")}
    try:
        code, _, errors = run_python(
            *("-c", SCRIPT), bare=True, **home, HF_HUB_OFFLINE="0", HF_HUB_DISABLE_XET="1"
        )
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert code == 0, errors[-2000:]
    expected = model(model.preprocessing.normalize(torch.from_numpy(crops))).detach()
    for logits in np.load(tmp_path / "logits.npy"):
        np.testing.assert_allclose(logits, expected, atol=1e-5)
