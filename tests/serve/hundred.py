"""A hundred photos through `resnest serve`, alone and in batches of any size: the same as `resnest classify` says.

    python hundred.py BASE_URL RESNEST_BINARY PHOTOS_FOLDER [--only NAME …]

The demo model's two photos go with them (`/samples`). Needs numpy alone: it speaks HTTP with Python's own library, the
protocol's binary form with `struct`.
"""

import base64
import json
import random
import struct
import tempfile
import urllib.request
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from common import Command, arguments, close, photos, run


class World:
    def __init__(self, url, binary, folder):
        self.url = url.rstrip("/")
        self.scratch = tempfile.TemporaryDirectory()
        self.files = photos(folder)
        for name in ("chelsea.png", "horse.png"):
            path = Path(self.scratch.name) / name
            path.write_bytes(urllib.request.urlopen(f"{self.url}/samples/{name}", timeout=60).read())
            self.files.append(path)
        self.bytes = [path.read_bytes() for path in self.files]
        command = Command(binary)
        self.logits = command.rows(self.files)
        self.probabilities = command.rows(self.files, "prob")
        # The command itself, a file at a time: what batches do to its numbers is what they may do to ours.
        for at in (0, 50, len(self.files) - 1):
            close(command.rows(self.files[at : at + 1]), self.logits[at : at + 1], "the command alone and in batches")


def post(path, body, **headers):
    request = urllib.request.Request(WORLD.url + path, body)
    for name, value in headers.items():
        request.add_header(name.replace("_", "-"), value)
    with urllib.request.urlopen(request, timeout=120) as response:
        return response.headers, response.read()


def scores(predictions):
    return [each["score"] for each in sorted(predictions, key=lambda each: each["index"])]


def alone(at):
    """The probabilities of one photo, posted as it is."""
    _, text = post("/classify?topk=10", WORLD.bytes[at])
    return scores(json.loads(text))


def raw_logits(at):
    parameters = {"function_to_apply": "none", "top_k": 10}
    body = {"inputs": base64.b64encode(WORLD.bytes[at]).decode(), "parameters": parameters}
    headers, text = post("/classify", json.dumps(body).encode(), content_type="application/json")
    return int(headers["x-batch-size"]), scores(json.loads(text))


def infer(which):
    """The logits of some photos in one request of the protocol, in and out as binary tensors."""
    raw = b"".join(struct.pack("<I", len(WORLD.bytes[at])) + WORLD.bytes[at] for at in which)
    size = {"binary_data_size": len(raw)}
    head = json.dumps({
        "inputs": [{"name": "image", "shape": [len(which)], "datatype": "BYTES", "parameters": size}],
        "outputs": [{"name": "logits", "parameters": {"binary_data": True}}],
    }).encode()
    headers, body = post("/v2/models/demo/infer", head + raw, Inference_Header_Content_Length=str(len(head)))
    length = int(headers["Inference-Header-Content-Length"])
    (output,) = json.loads(body[:length])["outputs"]
    assert output["shape"] == [len(which), 10], output
    assert output["parameters"]["binary_data_size"] == len(body) - length, output
    return np.frombuffer(body[length:], "<f4").reshape(len(which), 10)


def form(which):
    """The probabilities of some photos as the files of a form."""
    boundary = uuid.uuid4().hex
    part = f'--{boundary}\r\nContent-Disposition: form-data; name="image"; filename="photo"\r\n\r\n'.encode()
    body = b"".join(part + WORLD.bytes[at] + b"\r\n" for at in which) + f"--{boundary}--\r\n".encode()
    _, text = post("/classify?topk=10", body, content_type=f"multipart/form-data; boundary={boundary}")
    return [scores(each["predictions"]) for each in json.loads(text)]


def one_after_another():
    got = [alone(at) for at in range(len(WORLD.files))]
    return f"{len(got)} photos, at most {close(got, WORLD.probabilities, 'alone'):.0e} off"


def sixteen_at_once():
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(raw_logits, [*range(len(WORLD.files))] * 3))
    worst = close([row for _, row in answers], np.tile(WORLD.logits, (3, 1)), "sixteen at once")
    sizes = sorted({size for size, _ in answers})
    assert len(sizes) > 1, f"no batch formed: {sizes}"
    return f"in batches of {', '.join(map(str, sizes))}, at most {worst:.0e} off"


def requests_of_any_size():
    order, worst = random.Random(23), 0.0
    for size in (1, 2, 3, 5, 7, 8, 9, 16, 17, 31, 40):
        which = order.sample(range(len(WORLD.files)), size)
        worst = max(worst, close(infer(which), WORLD.logits[which], f"a request of {size}"))
    return f"at most {worst:.0e} off"


def large_requests_at_once():
    """Cut into batches, put together again, and mixed with each other and with single photos."""
    order = random.Random(5)
    several = [order.sample(range(len(WORLD.files)), 40) for _ in range(3)]
    singles = [order.randrange(len(WORLD.files)) for _ in range(40)]
    with ThreadPoolExecutor(8) as pool:
        large = [pool.submit(infer, which) for which in several]
        single = [pool.submit(alone, at) for at in singles]
        for which, answer in zip(several, large):
            close(answer.result(), WORLD.logits[which], "forty among others")
        close([answer.result() for answer in single], WORLD.probabilities[singles], "one among forties")


def forms_of_twenty():
    for start in range(0, 100, 20):
        which = list(range(start, start + 20))
        close(form(which), WORLD.probabilities[which], "a form of twenty")


CHECKS = [one_after_another, sixteen_at_once, requests_of_any_size, large_requests_at_once, forms_of_twenty]

if __name__ == "__main__":
    given = arguments(__doc__)
    WORLD = World(given.url, given.binary, given.photos)
    run(CHECKS, given.only)
