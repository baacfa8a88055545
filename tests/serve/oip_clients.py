"""The Open Inference Protocol's clients against `resnest serve`: Triton's and KServe's, over HTTP.

    python oip_clients.py BASE_URL RESNEST_BINARY PHOTOS_FOLDER [--only NAME …]

The server has the demo model as `demo` and once more as `twin`, and was started with `--model-control explicit`. What
comes back is held to `resnest classify` and `resnest features` for the same files; tensors and pixels are made by Pillow
and numpy as timm would. Needs numpy and pillow, tritonclient[http] and kserve; a check whose client is missing says so.
"""

import asyncio
import base64
import io
import json
import urllib.error
import urllib.request

import numpy as np

from common import BROKEN, Command, arguments, close, needs, photos, run

MODEL = "demo"
CLASSES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
MEAN, STD, SIZE = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), 48


class World:
    """The address, eight photos, and the command's answers to them."""

    def __init__(self, url, binary, folder):
        self.url = url.rstrip("/")
        self.host = self.url.split("://")[1]
        files = photos(folder)
        self.files = [files[i * len(files) // 8] for i in range(8)]
        self.bytes = [path.read_bytes() for path in self.files]
        command = Command(binary)
        self.logits = command.rows(self.files)
        self.probabilities = command.rows(self.files, "prob")
        self.embeddings = command.embeddings(self.files)
        self.best = command.classes(self.files, k=3)

    def encoded(self, count):
        return np.array(self.bytes[:count], dtype=np.object_)

    def base64(self, count):
        return np.array([base64.b64encode(data) for data in self.bytes[:count]], dtype=np.object_)

    def pixels(self, at):
        """[1, H, W, 3] as Pillow decodes it."""
        from PIL import Image

        return np.asarray(Image.open(io.BytesIO(self.bytes[at])).convert("RGB"))[None]

    def tensor(self, count):
        """[N, 3, 48, 48] as timm prepares it: the short edge resized, the middle cut out, normalised."""
        from PIL import Image

        rows = []
        for data in self.bytes[:count]:
            image = Image.open(io.BytesIO(data)).convert("RGB")
            width, height = image.size
            scale = SIZE / min(width, height)
            sides = [SIZE if side == min(width, height) else int(side * scale) for side in (width, height)]
            image = image.resize(sides, Image.Resampling.BILINEAR)
            left, top = (int(round((side - SIZE) / 2)) for side in image.size)
            image = image.crop((left, top, left + SIZE, top + SIZE))
            values = np.asarray(image, np.float32) / 255
            rows.append(((values - np.float32(MEAN)) / np.float32(STD)).transpose(2, 0, 1))
        return np.ascontiguousarray(rows)


def triton():
    import tritonclient.http as http

    return http, http.InferenceServerClient(WORLD.host, concurrency=8, connection_timeout=30, network_timeout=60)


def ask(values, name="image", datatype="BYTES", outputs=None, binary=True, **more):
    """One request by Triton's client."""
    http, client = triton()
    given = http.InferInput(name, list(values.shape), datatype)
    given.set_data_from_numpy(values, binary_data=binary)
    with client:
        return client.infer(MODEL, [given], outputs=outputs, **more)


def refused(call, status, says):
    """The client's own exception, with our status and words."""
    from tritonclient.utils import InferenceServerException

    try:
        answer = call()
    except InferenceServerException as error:
        assert str(error.status()) == str(status), f"{error.status()} instead of {status}: {error}"
        assert says in error.message(), f"{says!r} is not in {error.message()!r}"
    else:
        raise AssertionError(f"no error for what should say {says!r}, but {answer}")


def held(answer, count, what, start=0):
    """The three outputs against the command's."""
    rows = slice(start, start + count)
    worst = [
        close(answer.as_numpy("logits"), WORLD.logits[rows], f"{what}: logits"),
        close(answer.as_numpy("probabilities"), WORLD.probabilities[rows], f"{what}: probabilities"),
        close(answer.as_numpy("embeddings"), WORLD.embeddings[rows], f"{what}: embeddings"),
    ]
    return f"at most {max(worst):.0e} off"


@needs("tritonclient.http")
def triton_metadata():
    _, client = triton()
    with client:
        assert client.is_server_live() and client.is_server_ready()
        assert client.is_model_ready(MODEL) and client.is_model_ready(MODEL, "1")
        assert not client.is_model_ready("absent") and not client.is_model_ready(MODEL, "2")
        server = client.get_server_metadata()
        assert server["name"] == "resnest" and "binary_tensor_data" in server["extensions"], server
        for version in ("", "1"):
            model = client.get_model_metadata(MODEL, version)
            assert (model["name"], model["versions"]) == (MODEL, ["1"]), model
            inputs = {each["name"]: (each["datatype"], each["shape"]) for each in model["inputs"]}
            assert inputs == {
                "image": ("BYTES", [-1]),
                "pixels": ("UINT8", [-1, -1, -1, -1]),
                "tensor": ("FP32", [-1, 3, 48, 48]),
            }, inputs
            outputs = {each["name"]: (each["datatype"], each["shape"]) for each in model["outputs"]}
            assert outputs == {
                "logits": ("FP32", [-1, 10]),
                "probabilities": ("FP32", [-1, 10]),
                "embeddings": ("FP32", [-1, 512]),
                "errors": ("BYTES", [-1]),
            }, outputs
            config = client.get_model_config(MODEL, version)
            assert config["max_batch_size"] == 0, config
            assert {each["name"]: each["dims"] for each in config["output"]} == {n: s for n, (_, s) in outputs.items()}


@needs("tritonclient.http")
def triton_statistics():
    _, client = triton()
    with client:
        count = lambda: client.get_inference_statistics(MODEL)["model_stats"][0]
        before = count()
        ask(WORLD.encoded(5))
        after = count()
        assert after["inference_count"] - before["inference_count"] == 5, (before, after)
        assert 1 <= after["execution_count"] - before["execution_count"] <= 5, (before, after)
        assert after["inference_stats"]["success"]["ns"] > before["inference_stats"]["success"]["ns"]
        names = {each["name"] for each in client.get_inference_statistics()["model_stats"]}
        assert names == {MODEL, "twin"}, names


@needs("tritonclient.http")
def triton_repository():
    _, client = triton()
    with client:
        states = lambda: {each["name"]: each["state"] for each in client.get_model_repository_index()}
        assert states() == {MODEL: "READY", "twin": "READY"}
        client.unload_model("twin")
        assert states() == {MODEL: "READY", "twin": "UNAVAILABLE"}
        assert not client.is_model_ready("twin") and client.is_model_ready(MODEL)
        refused(lambda: client.get_model_metadata("twin"), 503, "twin")
        client.load_model("twin")
        assert states()["twin"] == "READY" and client.is_model_ready("twin")
        refused(lambda: client.load_model("absent"), 404, "absent")


@needs("tritonclient.http")
def triton_encoded_files():
    told = [held(ask(WORLD.encoded(count)), count, f"{count} files") for count in (1, 3, 8)]
    # Where a model's batch has a dimension of its own, Triton's users send a column.
    told.append(held(ask(WORLD.encoded(4)[:, None]), 4, "a column"))
    http, _ = triton()
    wanted = [http.InferRequestedOutput(name, binary_data=False) for name in ("logits", "probabilities", "embeddings")]
    told.append(held(ask(WORLD.base64(3), outputs=wanted, binary=False), 3, "JSON"))
    return told[-1]


@needs("tritonclient.http", "PIL")
def triton_pixels():
    for at in range(3):
        for binary in (True, False):
            answer = ask(WORLD.pixels(at), "pixels", "UINT8", binary=binary)
            held(answer, 1, f"pixels of {WORLD.files[at].name}", at)
    twice = np.concatenate([WORLD.pixels(0)] * 2)
    logits = ask(twice, "pixels", "UINT8").as_numpy("logits")
    close(logits, WORLD.logits[[0, 0]], "the same pixels twice")


@needs("tritonclient.http", "PIL")
def triton_tensor():
    for binary in (True, False):
        told = held(ask(WORLD.tensor(8), "tensor", "FP32", binary=binary), 8, "numpy's tensor")
    return told


@needs("tritonclient.http")
def triton_classification():
    http, _ = triton()
    for binary in (True, False):
        names = ("probabilities", "logits")
        wanted = [http.InferRequestedOutput(name, binary_data=binary, class_count=3) for name in names]
        answer = ask(WORLD.encoded(8), outputs=wanted)
        assert answer.as_numpy("probabilities").shape == (8, 3)
        for name, expected in (("probabilities", WORLD.probabilities), ("logits", WORLD.logits)):
            for row, best, values in zip(answer.as_numpy(name), WORLD.best, expected):
                texts = [text.decode() if isinstance(text, bytes) else text for text in row]
                parts = [text.split(":") for text in texts]
                assert [(int(p[1]), p[2]) for p in parts] == [(index, label) for index, label, _ in best], (texts, best)
                assert all(abs(float(p[0]) - values[int(p[1])]) < 2e-4 for p in parts), (texts, values)
    many = http.InferRequestedOutput("probabilities", class_count=1000)
    assert ask(WORLD.encoded(1), outputs=[many]).as_numpy("probabilities").shape == (1, 10)


@needs("tritonclient.http")
def triton_compression():
    for sent in ("gzip", "deflate"):
        for back in (None, "gzip", "deflate"):
            packed = {"request_compression_algorithm": sent, "response_compression_algorithm": back}
            held(ask(WORLD.encoded(2), **packed), 2, f"{sent}, answer {back}")
            held(ask(WORLD.base64(2), binary=False, **packed), 2, f"JSON in {sent}, answer {back}")


@needs("tritonclient.http")
def triton_outputs_by_name():
    http, _ = triton()
    for names in (["embeddings"], ["probabilities", "logits"], ["logits", "errors"]):
        mixed = [http.InferRequestedOutput(name, binary_data=at % 2 == 0) for at, name in enumerate(names)]
        answer = ask(WORLD.encoded(2), outputs=mixed, request_id="α/7")
        response = answer.get_response()
        assert [output["name"] for output in response["outputs"]] == names, response
        assert response["id"] == "α/7" and response["model_name"] == MODEL, response
        for at, output in enumerate(response["outputs"]):
            assert ("data" in output) == (at % 2 == 1), output
        if "embeddings" in names:
            close(answer.as_numpy("embeddings"), WORLD.embeddings[:2], "embeddings alone")
        else:
            close(answer.as_numpy("logits"), WORLD.logits[:2], "logits")
        if "errors" in names:
            assert [str(text) for text in answer.as_numpy("errors")] == ["", ""]


@needs("tritonclient.http")
def triton_many_at_once():
    http, client = triton()
    with client:
        waiting = []
        for turn in range(40):
            given = http.InferInput("image", [1], "BYTES")
            given.set_data_from_numpy(WORLD.encoded(8)[turn % 8 : turn % 8 + 1])
            waiting.append(client.async_infer(MODEL, [given], request_id=str(turn)))
        for turn, request in enumerate(waiting):
            answer = request.get_result()
            assert answer.get_response()["id"] == str(turn)
            held(answer, 1, f"request {turn}", turn % 8)


@needs("tritonclient.http")
def triton_one_broken_of_eight():
    http, _ = triton()
    for binary in (True, False):
        files = WORLD.encoded(8)
        files[5] = BROKEN
        if not binary:
            files = np.array([base64.b64encode(data) for data in files], dtype=np.object_)
        wanted = [http.InferRequestedOutput("logits", binary_data=binary)]
        answer = ask(files, outputs=wanted, binary=binary)
        good = [at for at in range(8) if at != 5]
        logits = answer.as_numpy("logits").astype(np.float32)
        close(logits[good], WORLD.logits[good], "the seven others")
        assert np.isnan(logits[5]).all(), logits[5]
        errors = [text.decode() if isinstance(text, bytes) else str(text) for text in answer.as_numpy("errors")]
        assert "PNG" in errors[5] and [at for at, text in enumerate(errors) if not text] == good, errors
    refused(lambda: ask(np.array([BROKEN], dtype=np.object_)), 422, "PNG")
    refused(lambda: ask(np.array([b"", b"GIF89a"], dtype=np.object_)), 422, "")


@needs("tritonclient.http")
def triton_the_whole_body_is_the_image():
    http, _ = triton()
    request = urllib.request.Request(f"{WORLD.url}/v2/models/{MODEL}/infer", WORLD.bytes[1])
    request.add_header("Inference-Header-Content-Length", "0")
    with urllib.request.urlopen(request) as response:
        length = int(response.headers["Inference-Header-Content-Length"])
        answer = http.InferenceServerClient.parse_response_body(response.read(), header_length=length)
    held(answer, 1, "the body alone", 1)


@needs("tritonclient.http")
def triton_errors():
    http, client = triton()
    files, zeros = WORLD.encoded(1), np.zeros((1, 3, SIZE, SIZE), np.float32)
    with client:
        given = http.InferInput("image", [1], "BYTES").set_data_from_numpy(files)
        refused(lambda: client.infer("absent", [given]), 404, "absent")
        refused(lambda: client.infer(MODEL, [given], model_version="2"), 404, "\"2\"")
        other = http.InferInput("tensor", list(zeros.shape), "FP32").set_data_from_numpy(zeros)
        refused(lambda: client.infer(MODEL, [given, other]), 400, "2 inputs")
        shared = http.InferInput("image", [1], "BYTES")
        shared.set_shared_memory("region", 10)
        refused(lambda: client.infer(MODEL, [shared]), 400, "shared memory")
        refused(lambda: client.get_model_config("absent"), 404, "absent")
        refused(lambda: client.get_inference_statistics("absent"), 404, "absent")
        refused(lambda: client.get_model_metadata("absent"), 404, "absent")
        refused(lambda: client.get_system_shared_memory_status(), 404, "/v2/systemsharedmemory")
    refused(lambda: ask(files, "picture"), 400, "picture")
    refused(lambda: ask(zeros, "image", "FP32"), 400, "BYTES")
    refused(lambda: ask(zeros[:, :, :, 1:].copy(), "tensor", "FP32"), 400, "48")
    refused(lambda: ask(zeros.astype(np.float64), "tensor", "FP64"), 400, "FP64")
    refused(lambda: ask(np.zeros((1, 4, 4, 2), np.uint8), "pixels", "UINT8"), 400, "channels")
    refused(lambda: ask(np.zeros((0, 4, 4, 3), np.uint8), "pixels", "UINT8"), 400, "empty")
    refused(lambda: ask(np.full_like(zeros, np.nan), "tensor", "FP32"), 400, "")
    refused(lambda: ask(files, outputs=[http.InferRequestedOutput("scores")]), 400, "scores")
    twice = [http.InferRequestedOutput("logits"), http.InferRequestedOutput("logits")]
    refused(lambda: ask(files, outputs=twice), 400, "twice")
    refused(lambda: ask(files, outputs=[http.InferRequestedOutput("embeddings", class_count=2)]), 400, "classification")
    return None


def kserve_client():
    from kserve import InferenceRESTClient
    from kserve.inference_client import RESTConfig

    return InferenceRESTClient(RESTConfig(protocol="v2", timeout=60, retries=0))


@needs("kserve")
def kserve_health():
    async def ask():
        client = kserve_client()
        assert await client.is_server_live(WORLD.url)
        assert await client.is_server_ready(WORLD.url)
        assert await client.is_model_ready(WORLD.url, MODEL)

    asyncio.run(ask())


@needs("kserve", "PIL")
def kserve_infer():
    from kserve import InferInput, InferRequest
    from kserve.protocol.infer_type import RequestedOutput

    async def ask(name, values, datatype, binary, outputs=None):
        given = InferInput(name, list(values.shape), datatype)
        given.set_data_from_numpy(values, binary_data=binary)
        request = InferRequest(MODEL, [given], request_id="k1", request_outputs=outputs)
        answer = await kserve_client().infer(WORLD.url, request, model_name=MODEL)
        assert (answer.model_name, answer.id) == (MODEL, "k1"), answer
        return answer

    def compared(answer, count, what):
        for output in answer.outputs:
            expected = getattr(WORLD, output.name)[:count]
            close(output.as_numpy().reshape(count, -1), expected, f"{what}: {output.name}")

    compared(asyncio.run(ask("image", WORLD.encoded(4), "BYTES", True)), 4, "binary files")
    compared(asyncio.run(ask("image", WORLD.base64(4), "BYTES", False)), 4, "files in JSON")
    if_there = [("tensor", WORLD.tensor(4), "FP32", 4), ("pixels", WORLD.pixels(0), "UINT8", 1)]
    for name, values, datatype, count in if_there:
        for binary in (True, False):
            compared(asyncio.run(ask(name, values, datatype, binary)), count, f"{name}, binary {binary}")
    wanted = [RequestedOutput("logits", parameters={"binary_data": True})]
    compared(asyncio.run(ask("image", WORLD.encoded(2), "BYTES", True, wanted)), 2, "one output")


@needs("kserve", "httpx")
def kserve_errors():
    """Its client shows our words only where the content type is JSON."""
    import httpx
    from kserve import InferInput, InferRequest

    async def ask(model, files):
        given = InferInput("image", [len(files)], "BYTES")
        given.set_data_from_numpy(files, binary_data=True)
        return await kserve_client().infer(WORLD.url, InferRequest(model, [given]), model_name=model)

    for model, files, status, says in (
        ("absent", WORLD.encoded(1), 404, "absent"),
        (MODEL, np.array([BROKEN], dtype=np.object_), 422, "PNG"),
    ):
        try:
            asyncio.run(ask(model, files))
        except httpx.HTTPStatusError as error:
            assert error.response.status_code == status, error
            assert says in json.loads(error.response.text)["error"] and says in str(error), error
        else:
            raise AssertionError(f"no error for {says!r}")


CHECKS = [
    triton_metadata,
    triton_statistics,
    triton_repository,
    triton_encoded_files,
    triton_pixels,
    triton_tensor,
    triton_classification,
    triton_compression,
    triton_outputs_by_name,
    triton_many_at_once,
    triton_one_broken_of_eight,
    triton_the_whole_body_is_the_image,
    triton_errors,
    kserve_health,
    kserve_infer,
    kserve_errors,
]

if __name__ == "__main__":
    given = arguments(__doc__)
    WORLD = World(given.url, given.binary, given.photos)
    run(CHECKS, given.only)
