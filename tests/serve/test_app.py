"""The HTTP interface."""

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from tests.support.demo_parts import as_bytes

testclient = pytest.importorskip("fastapi.testclient")
httpx = pytest.importorskip("httpx")

from fer_attention import EmotionRecognizer  # noqa: E402
from fer_attention.serve import ServeLimits, create_app  # noqa: E402

LIMITS = ServeLimits(upload_mb=1, megapixels=1, files=4, waiting=8)


@pytest.fixture(scope="module")
def recognizer():
    return EmotionRecognizer.from_pretrained(device="cpu")


@pytest.fixture(scope="module")
def client(recognizer):
    with testclient.TestClient(create_app(recognizer, limits=LIMITS, workers=2)) as client:
        yield client


@pytest.fixture(scope="module")
def photo(astronaut):
    return as_bytes(np.asarray(astronaut), "JPEG")


def test_a_photo_gets_the_record_of_predict(client, recognizer, photo):
    answer = client.post("/predict", content=photo, headers={"content-type": "image/jpeg"})
    assert answer.status_code == 200
    record = answer.json()
    assert (record["image"], record["width"], record["height"]) == ("body", 512, 512)
    [expected] = recognizer.predict(photo)
    [face] = record["faces"]
    assert face["emotion"] == expected.emotion == "happy"
    np.testing.assert_allclose(face["box"], expected.face.box, atol=0.01)


def test_a_form_gets_a_list_with_a_reason_for_each_bad_file(client, photo):
    files = [("photos", ("a.jpg", photo)), ("photos", ("notes.txt", b"text")), ("more", ("b.jpg", photo))]
    answer = client.post("/predict", files=files)
    assert answer.status_code == 200
    first, second, third = answer.json()
    assert (first["image"], second["image"], third["image"]) == ("a.jpg", "notes.txt", "b.jpg")
    assert first["faces"] == third["faces"]
    assert "not an image" in second["error"]


@pytest.mark.parametrize(
    ("content", "status", "text"),
    [
        (b"", 400, "empty"),
        (b"no photo", 422, "not an image"),
        (bytes(1_000_001), 413, "up to 1 MB"),
        (as_bytes(Image.new("L", (2_000, 600))), 422, "more than the limit of 1 million"),
    ],
    ids=["nothing", "text", "large", "many pixels"],
)
def test_refused_requests_are_explained(client, content, status, text):
    answer = client.post("/predict", content=content)
    assert answer.status_code == status
    assert text in answer.text


def test_large_forms_are_refused(client, photo):
    assert client.post("/predict", files=[("p", ("a.jpg", bytes(1_000_001)))]).status_code == 413
    assert client.post("/predict", files=[("p", ("a.jpg", photo))] * 5).status_code in (400, 413)
    assert client.post("/predict", data={"text": "no file"}, files={}).status_code in (400, 422)


def test_pages_from_elsewhere_are_refused(client, photo):
    foreign = {"origin": "https://elsewhere.example"}
    assert client.post("/predict", content=photo, headers=foreign).status_code == 403
    own = {"origin": "http://testserver"}
    assert client.post("/predict", content=photo, headers=own).status_code == 200


def test_foreign_host_names_are_refused(recognizer):
    app = create_app(recognizer, hosts=["127.0.0.1"])
    with testclient.TestClient(app, base_url="http://127.0.0.1") as client:
        assert client.get("/healthz").status_code == 200
        assert client.get("/healthz", headers={"host": "rebound.example"}).status_code == 400


def test_health_and_interface_are_described(client, recognizer):
    health = client.get("/healthz").json()
    assert health["status"] == "ok"
    assert health["labels"] == list(recognizer.labels)
    interface = client.get("/openapi.json").json()
    assert set(interface["paths"]) == {"/healthz", "/predict"}
    assert "multipart/form-data" in interface["paths"]["/predict"]["post"]["requestBody"]["content"]


def test_a_failing_recogniser_is_a_plain_500(photo):
    class Failing:
        labels = ("happy",)

        def predict(self, images):
            raise RuntimeError("secret of the inside")

    with testclient.TestClient(create_app(Failing())) as client:
        answer = client.post("/predict", content=photo)
    assert answer.status_code == 500
    assert "secret" not in answer.text


@pytest.mark.parametrize("limit", ["upload_mb", "megapixels", "files", "waiting"])
def test_limits_of_nothing_are_refused(limit):
    with pytest.raises(ValueError, match=limit):
        ServeLimits(**{limit: 0})


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads the server's memory from /proc")
def test_a_real_server_answers_32_at_once_and_stops_cleanly(tmp_path, photo):
    command = [sys.executable, "-m", "fer_attention.cli", "serve", "--port", "0", "--workers", "2"]
    command[command.index("0")] = str(free_port())
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path, env=os.environ
    ) as process:
        try:
            url = process.stdout.readline().split()[0]

            def ask(number):
                with httpx.Client(timeout=300) as http:
                    while True:
                        answer = http.post(f"{url}/predict", content=photo)
                        if answer.status_code != 503:
                            return answer.status_code, answer.json()["faces"][0]["emotion"]
                        time.sleep(0.1)

            with ThreadPoolExecutor(32) as pool:
                answers = list(pool.map(ask, range(64)))
                first = resident(process.pid)
                answers += list(pool.map(ask, range(96)))
                assert answers == [(200, "happy")] * 160
                assert resident(process.pid) < first + 150
                late = pool.submit(ask, 0)
                while httpx.get(f"{url}/healthz").json()["waiting"] == 0 and not late.done():
                    time.sleep(0.001)
                process.send_signal(signal.SIGTERM)
                assert late.result() == (200, "happy")  # what is in work is answered
            assert process.wait(timeout=300) == -signal.SIGTERM or process.returncode in (0, 143)
            assert "Traceback" not in process.stderr.read()
        finally:
            process.kill()


def resident(pid):
    """Resident memory of a process in MiB."""
    with open(f"/proc/{pid}/status") as status:
        [line] = [line for line in status if line.startswith("VmRSS")]
    return int(line.split()[1]) / 1024


def free_port():
    import socket

    with socket.create_server(("127.0.0.1", 0)) as free:
        return free.getsockname()[1]
