"""`fer-attention demo`, up to the moment when the page is served."""

import pytest
from typer.testing import CliRunner

from fer_attention import list_pretrained
from fer_attention.cli import app
from fer_attention.models.bundled import DEFAULT
from fer_attention.sockets import open_socket

pytest.importorskip("gradio")


@pytest.fixture
def served(monkeypatch):
    """The calls of `serve`, which returns at once."""
    calls = []

    def serve(page, listener, **options):
        options["ready"]()
        calls.append({"page": page, "at": listener.getsockname(), **options})

    monkeypatch.setattr("fer_attention.demo.serve", serve)
    return calls


def call(*arguments):
    return CliRunner().invoke(app, ["demo", *map(str, arguments)], env={"COLUMNS": "200"})


def test_the_page_is_served_on_loopback_and_its_address_printed(served):
    result = call("--detector", "none", "--device", "cpu")
    assert result.exit_code == 0, result.output
    [made] = served
    host, port = made["at"]
    assert host == "127.0.0.1"
    assert f"http://127.0.0.1:{port}" in result.output
    assert "warning" not in result.output
    assert not made["open_browser"]


def test_limits_and_choices_reach_the_page(served):
    result = call(
        "--detector", "none", "--device", "cpu", "--max-megapixels", 3, "--max-upload-mb", 2, "--open"
    )
    assert result.exit_code == 0, result.output
    [made] = served
    assert (made["limits"].megapixels, made["limits"].upload_mb) == (3, 2)
    assert made["open_browser"]
    parts = {part["props"].get("elem_id"): part["props"] for part in made["page"].config["components"]}
    assert parts["fer-detector"]["value"] == "none"
    assert "mtcnn" in [value for _, value in parts["fer-detector"]["choices"]]
    assert parts["fer-model"]["visible"]
    assert parts["fer-model"]["value"] == DEFAULT
    assert [value for _, value in parts["fer-model"]["choices"]] == [one.name for one in list_pretrained()]


def test_detectors_that_do_not_work_here_are_reported_with_the_reason(served):
    result = call("--detector", "none", "--device", "cpu")
    assert "not offered: yolo: The detector 'yolo' needs the file" in result.output


def test_another_host_warns_that_there_is_no_password(served):
    result = call("--detector", "none", "--device", "cpu", "--host", "0.0.0.0")  # noqa: S104
    assert result.exit_code == 0, result.output
    assert "everyone who can reach this machine" in result.output
    assert "no password" in result.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--weights", "missing.safetensors"], "missing.safetensors"),
        (["--weights", "missing.onnx"], "missing.onnx"),
        (["--weights", "resnetv2_18_eca_elu.fer2014"], "Did you mean"),
        (["--detector", "mtcn"], "Did you mean 'mtcnn'"),
        (["--detector", "yolo"], "needs the file"),
        (["--max-upload-mb", "0"], "--max-upload-mb must be above 0"),
        (["--host", "192.0.2.1"], "Cannot serve on 192.0.2.1"),
        (["--device", "gpu"], "--device is auto, cpu, cuda"),
    ],
)
def test_unusable_options_end_in_one_line(served, arguments, message):
    result = call(*arguments)
    assert result.exit_code == 2, result.output
    assert message in result.output
    assert "Traceback" not in result.output
    assert served == []


def test_a_taken_port_ends_in_one_line_that_names_another(served):
    with open_socket("127.0.0.1", first=0) as taken:
        result = call("--port", taken.getsockname()[1])
    assert result.exit_code == 2
    assert "is taken by another program. Name another: --port" in result.output
    assert result.output.count("\n") == 1
    assert served == []


def test_ctrl_c_ends_without_a_traceback(monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("fer_attention.demo.serve", interrupted)
    result = call("--detector", "none", "--device", "cpu")
    assert result.exit_code == 130
    assert "Traceback" not in result.output
