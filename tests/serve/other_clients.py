"""What is no protocol's client: the Hugging Face one and curl, against `resnest serve`.

    python other_clients.py BASE_URL RESNEST_BINARY PHOTOS_FOLDER [--only NAME …]

Held to `resnest classify` for the same files. Needs numpy, huggingface_hub, and curl on the PATH.
"""

import base64
import gzip
import json
import os
import shutil
import subprocess
import tempfile
import zlib
from pathlib import Path

import numpy as np

from common import BROKEN, Command, arguments, close, needs, photos, run

LIMIT = 2e-5  # of a probability


class World:
    def __init__(self, url, binary, folder):
        self.url = url.rstrip("/")
        files = photos(folder)
        self.files = [files[i * len(files) // 8] for i in range(8)]
        self.command = Command(binary)
        self.best = self.command.classes(self.files)
        self.logits = self.command.rows(self.files)


def same(got, expected, what):
    """A list of `{label, score, …}` against the command's best classes."""
    labels = [each["label"] for each in got]
    assert labels == [label for _, label, _ in expected], f"{what}: {got}, expected {expected}"
    worst = max(abs(each["score"] - value) for each, (*_, value) in zip(got, expected))
    assert worst < LIMIT, f"{what}: a score is off by {worst:.1e}"


@needs("huggingface_hub")
def hugging_face_image_classification():
    from huggingface_hub import InferenceClient

    others = ["/classify", "/invocations", "/v1/models/demo:classify", "/classify?model=twin"]
    for address in ["/", "", "/models/demo", *others]:
        client = InferenceClient(model=WORLD.url + address, timeout=60)
        for at, file in enumerate(WORLD.files[:3]):
            # Bytes and a path are sent as they are, without a content type.
            for image in (file.read_bytes(), str(file)):
                got = client.image_classification(image)
                same([{"label": each.label, "score": each.score} for each in got], WORLD.best[at], address)


@needs("huggingface_hub")
def hugging_face_parameters():
    from huggingface_hub import InferenceClient

    client = InferenceClient(model=WORLD.url, timeout=60)
    functions = {
        None: lambda x: np.exp(x - x.max()) / np.exp(x - x.max()).sum(),
        "softmax": lambda x: np.exp(x - x.max()) / np.exp(x - x.max()).sum(),
        "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
        "none": lambda x: x,
    }
    for at, file in enumerate(WORLD.files):
        for name, function in functions.items():
            for k in (1, 3, 1000):
                got = client.image_classification(str(file), top_k=k, function_to_apply=name)
                expected = np.sort(function(WORLD.logits[at].astype(np.float64)))[::-1][:k]
                assert len(got) == min(k, 10) and got[0].label == WORLD.best[at][0][1], got
                close(np.array([each.score for each in got]), expected, f"{name}, {k}")


@needs("huggingface_hub")
def hugging_face_errors():
    from huggingface_hub import InferenceClient
    from huggingface_hub.errors import HfHubHTTPError

    for address, image, status, says in (
        ("/", BROKEN, 422, "PNG"),
        ("/models/absent", WORLD.files[0].read_bytes(), 404, "absent"),
    ):
        try:
            InferenceClient(model=WORLD.url + address, timeout=60).image_classification(image)
        except HfHubHTTPError as error:
            assert error.response.status_code == status, error
            assert says in str(error), f"{says!r} is not in what the user reads: {error}"
        else:
            raise AssertionError(f"no error at {address}")


def curl(*arguments, body=None):
    """Status, headers and body."""
    with tempfile.TemporaryDirectory() as folder:
        heads = Path(folder) / "heads"
        command = ["curl", "--silent", "--show-error", "--max-time", "60", "--noproxy", "*", "--dump-header", heads]
        done = subprocess.run([*map(str, [*command, *arguments])], input=body, capture_output=True, timeout=90)
        assert done.returncode == 0, f"curl {arguments}: {done.returncode} {done.stderr.decode()}"
        # Interim answers (100) come first.
        last = heads.read_text().strip().split("\n\n")[-1].splitlines()
        headers = dict(line.split(": ", 1) for line in (line.strip().lower() for line in last[1:]) if ": " in line)
        return int(last[0].split()[1]), headers, done.stdout


def classified(*arguments, body=None, path="/classify"):
    status, headers, text = curl(*arguments, f"{WORLD.url}{path}", body=body)
    assert (status, headers["content-type"]) == (200, "application/json"), (status, text)
    return json.loads(text)


def refused(status, says, *arguments, body=None, path="/classify"):
    got, headers, text = curl(*arguments, f"{WORLD.url}{path}", body=body)
    assert (got, headers["content-type"]) == (status, "application/json"), (got, headers, text)
    error = json.loads(text)
    assert list(error) == ["error"] and says in error["error"], error


def curl_raw():
    for file, best in zip(WORLD.files, WORLD.best):
        same(classified("--data-binary", f"@{file}"), best, "curl's own content type")
        same(classified("--data-binary", f"@{file}", "-H", "content-type: image/jpeg"), best, "image/jpeg")
        same(classified("-T", file, "-X", "POST"), best, "-T")
        one, = classified("--data-binary", f"@{file}", path="/classify?topk=1")
        assert one["label"] == best[0][1], one
    answer = classified("--data-binary", f"@{WORLD.files[0]}", path="/classify?topk=2&cam=true&splits=true")
    same(answer["predictions"], WORLD.best[0][:2], "with its reasons")
    for each in answer["predictions"]:
        cam = each["cam"]
        assert len(cam["values"]) == cam["rows"] * cam["columns"], cam
        assert max(cam["values"]) <= 1 and min(cam["values"]) >= 0, cam
    assert answer["image"].keys() == {"width", "height"} and answer["splits"] and answer["times"]["inference_ms"] > 0


def curl_headers():
    file = WORLD.files[0]
    _, headers, _ = curl("--data-binary", f"@{file}", "-H", "x-request-id: abc-1", f"{WORLD.url}/classify")
    assert headers["x-request-id"] == "abc-1", headers
    for name in ("x-decode-time", "x-queue-time", "x-inference-time", "x-total-time"):
        assert float(headers[name]) >= 0, headers
    assert float(headers["x-inference-time"]) > 0 and int(headers["x-batch-size"]) >= 1, headers
    assert "inference;dur=" in headers["server-timing"], headers


def curl_forms():
    one = classified("-F", f"image=@{WORLD.files[0]}")
    same(one, WORLD.best[0], "a form of one")
    several = classified(*(part for file in WORLD.files for part in ("-F", f"image=@{file}")))
    assert len(several) == 8, several
    for answer, best in zip(several, WORLD.best):
        same(answer["predictions"], best, "a form of eight")
    with tempfile.TemporaryDirectory() as folder:
        broken = Path(folder) / "broken.png"
        broken.write_bytes(BROKEN)
        files = [*WORLD.files[:3], broken, *WORLD.files[4:]]
        several = classified(*(part for at, file in enumerate(files) for part in ("-F", f"file{at}=@{file}")))
        assert several[3].keys() == {"error", "status"} and several[3]["status"] == 422, several[3]
        for at in (0, 1, 2, 4, 5, 6, 7):
            same(several[at]["predictions"], WORLD.best[at], "beside a broken one")
        refused(422, "PNG", "-F", f"image=@{broken}")
    refused(400, "form", "-F", "image=")


def curl_compressed():
    image = WORLD.files[0].read_bytes()
    packed = {"gzip": gzip.compress(image), "deflate": zlib.compress(image)}
    for coding, body in packed.items():
        header = ("-H", f"content-encoding: {coding}", "--data-binary", "@-")
        same(classified(*header, body=body), WORLD.best[0], coding)
        # Triton answers 200 to this, of nothing.
        refused(400, coding, *header, body=body[: len(body) // 2])
        refused(400, coding, *header, body=body + b"more")
        refused(400, coding, *header, body=image)
        refused(400, coding, *header, body=body[:-6] + bytes([body[-6] ^ 1]) + body[-5:])
        for name in ("infer", "versions/1/infer"):
            refused(400, coding, *header, body=body[:40], path=f"/v2/models/demo/{name}")
    refused(415, "br", "-H", "content-encoding: br", "--data-binary", "@-", body=image)
    bomb = gzip.compress(bytes(200 << 20), 9)
    refused(413, "decompressed", "-H", "content-encoding: gzip", "--data-binary", "@-", body=bomb)


def curl_transfer():
    file = WORLD.files[0]
    chunked = ("-H", "transfer-encoding: chunked", "--data-binary", f"@{file}")
    same(classified(*chunked), WORLD.best[0], "chunked")
    same(classified("-H", "expect: 100-continue", "--data-binary", f"@{file}"), WORLD.best[0], "expect")
    same(classified("--http1.0", "--data-binary", f"@{file}"), WORLD.best[0], "HTTP/1.0")
    same(classified("--http2-prior-knowledge", "--data-binary", f"@{file}"), WORLD.best[0], "HTTP/2")
    # Refused by its length, before the body is sent.
    large = ("-H", "expect: 100-continue", "-H", "content-length: 99999999999", "--data-binary", f"@{file}")
    refused(413, "body", *large)
    command = ["curl", "-sv", "--noproxy", "*", f"{WORLD.url}/ping", f"{WORLD.url}/ping"]
    twice = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert "Re-using existing connection" in twice.stderr, twice.stderr


def curl_json():
    texts = [base64.b64encode(file.read_bytes()).decode() for file in WORLD.files]
    ask = lambda inputs, **parameters: classified(
        "-H", "content-type: application/json", "--data-binary", "@-",
        body=json.dumps({"inputs": inputs, "parameters": parameters}).encode(),
    )
    same(ask(texts[0]), WORLD.best[0], "one")
    several = ask([*texts[:2], base64.b64encode(BROKEN).decode()], top_k=2)
    same(several[0]["predictions"], WORLD.best[0][:2], "first of three")
    same(several[1]["predictions"], WORLD.best[1][:2], "second of three")
    assert several[2]["status"] == 422 and "PNG" in several[2]["error"], several
    same(ask("data:image/png;base64," + texts[0]), WORLD.best[0], "a data: address")
    for body in (b"", b"{", b"[]", b'{"inputs": 3}', b'{"inputs": "*"}', b'{"inputs": []}'):
        refused(400, "inputs", "-H", "content-type: application/json", "--data-binary", "@-", body=body)


def curl_errors():
    refused(400, "empty", "--data-binary", "@-", body=b"")
    refused(422, "", "--data-binary", "@-", body=b"not an image")
    refused(400, "topk", "--data-binary", "@-", body=b"x", path="/classify?topk=many")
    refused(400, "colour", "--data-binary", "@-", body=b"x", path="/classify?colour=red")
    refused(404, "absent", "--data-binary", "@-", body=b"x", path="/classify?model=absent")
    refused(404, "/nowhere", path="/nowhere")
    refused(405, "allow", path="/classify")
    refused(405, "allow", "-X", "DELETE", path="/v2/health/live")
    status, headers, _ = curl("-X", "PUT", "-d", "x", f"{WORLD.url}/v2/models/demo/infer")
    assert (status, headers["allow"]) == (405, "post"), (status, headers)
    refused(400, "number", "-H", "inference-header-content-length: x", "-d", "{}", path="/v2/models/demo/infer")
    refused(400, "99", "-H", "inference-header-content-length: 99", "-d", "{}", path="/v2/models/demo/infer")
    refused(404, ":explain", "-d", "x", path="/v1/models/demo:explain")


CHECKS = [
    hugging_face_image_classification,
    hugging_face_parameters,
    hugging_face_errors,
    curl_raw,
    curl_headers,
    curl_forms,
    curl_compressed,
    curl_transfer,
    curl_json,
    curl_errors,
]

if __name__ == "__main__":
    given = arguments(__doc__)
    assert shutil.which("curl"), "curl is not on the PATH"
    # The client would have these, and where they point, decide what it asks.
    for variable in [name for name in os.environ if name.upper().startswith(("HF_", "HUGGING"))]:
        del os.environ[variable]
    WORLD = World(given.url, given.binary, given.photos)
    run(CHECKS, given.only)
