#!/usr/bin/env python3
"""Real clients against the gRPC door of a `resnest serve` with the model `demo` and its defaults otherwise.

    python grpc_clients.py http://127.0.0.1:8080 127.0.0.1:9000 [path of the command `resnest`]

Needs tritonclient[grpc] 2.73, grpcio-reflection, grpcio-health-checking and numpy. The answers are held to what timm
said of the photos (crates/resnest/demo/photos.json), to `resnest classify` where the command is given, and to each other.
"""

import json
import struct
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path

import grpc
import numpy as np
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from tritonclient.grpc import InferenceServerClient, InferInput, InferRequestedOutput, model_config_pb2, service_pb2
from tritonclient.grpc.service_pb2_grpc import GRPCInferenceServiceStub
from tritonclient.utils import InferenceServerException

SERVICE = "inference.GRPCInferenceService"
DEMO = Path(__file__).resolve().parents[2] / "crates/resnest/demo"
PHOTOS = {path.name: path.read_bytes() for path in sorted((DEMO / "photos").glob("*.png"))}
TIMM = json.loads((DEMO / "photos.json").read_text())["logits"]
# timm's logits are written with six decimals, and another order of adding up moves the last of them.
NEAR = {"rtol": 1e-3, "atol": 2e-3}


class Bench:
    """The server and its clients; what every check gets."""

    def __init__(self, http, address, command):
        # As much as the largest message of these checks needs, for grpcio's own limit of answers is 4 MiB.
        options = [("grpc.max_receive_message_length", 64 << 20), ("grpc.max_send_message_length", 128 << 20)]
        self.http = http.rstrip("/")
        self.command = command
        self.channel = grpc.insecure_channel(address, options=options)
        self.stub = GRPCInferenceServiceStub(self.channel)
        self.triton = InferenceServerClient(address, channel_args=options)

    def images(self, *files, shape=None):
        data = np.array(files, dtype=np.object_).reshape(shape or [len(files)])
        return tensor("image", "BYTES", data)

    def infer(self, *inputs, outputs=(), **more):
        each = (output if isinstance(output, tuple) else (output,) for output in outputs)
        asked = [InferRequestedOutput(*output) for output in each]
        return self.triton.infer("demo", list(inputs), outputs=asked or None, **more)

    def logits(self, *inputs):
        return self.infer(*inputs, outputs=["logits"]).as_numpy("logits")


def tensor(name, datatype, data):
    given = InferInput(name, list(data.shape), datatype)
    given.set_data_from_numpy(data)
    return given


def near(ours, theirs, what):
    np.testing.assert_allclose(ours, theirs, err_msg=what, **NEAR)


def refused(code, call, *words):
    """What a call is refused with: this code, and a text with these words."""
    try:
        call()
    except grpc.RpcError as error:
        got, text = error.code(), error.details()
    except InferenceServerException as error:
        got, text = getattr(grpc.StatusCode, error.status().rsplit(".", 1)[-1]), error.message()
    else:
        raise AssertionError(f"no {code.name}: it was answered")
    assert got == code, f"{got} instead of {code}: {text}"
    for word in words:
        assert word in text, f"{word!r} is not in {text!r}"
    assert "/root" not in text and "/home" not in text, text
    return text


# ---- life, health, reflection ----


def check_life(bench):
    assert bench.triton.is_server_live() and bench.triton.is_server_ready()
    assert bench.triton.is_model_ready("demo") and bench.triton.is_model_ready("demo", "1")
    refused(grpc.StatusCode.NOT_FOUND, lambda: bench.triton.is_model_ready("nobody"), "nobody")
    refused(grpc.StatusCode.NOT_FOUND, lambda: bench.triton.is_model_ready("demo", "7"), "7")


def check_health(bench):
    stub = health_pb2_grpc.HealthStub(bench.channel)
    serving = health_pb2.HealthCheckResponse.SERVING
    for service in ["", SERVICE]:
        request = health_pb2.HealthCheckRequest(service=service)
        assert stub.Check(request).status == serving, service
        watch = stub.Watch(request)
        assert next(watch).status == serving, service
        watch.cancel()
    unknown = health_pb2.HealthCheckRequest(service="nobody")
    refused(grpc.StatusCode.NOT_FOUND, lambda: stub.Check(unknown))


def check_reflection_is_a_part_of_triton(bench):
    """Every name, number and type of ours is Triton's, as its own client's descriptors have them."""
    database = ProtoReflectionDescriptorDatabase(bench.channel)
    assert {SERVICE, "grpc.health.v1.Health"} <= set(database.get_services())
    ours = DescriptorPool(database).FindServiceByName(SERVICE)
    theirs = service_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"]
    for method in ours.methods:
        other = theirs.methods_by_name[method.name]
        assert method.input_type.full_name == other.input_type.full_name, method.name
        assert method.output_type.full_name == other.output_type.full_name, method.name
    files = [service_pb2.DESCRIPTOR, model_config_pb2.DESCRIPTOR]
    triton = {name: message for file in files for name, message in file.message_types_by_name.items()}
    for name, message in ours.file.message_types_by_name.items():
        same_message(message, triton[name])
    for name, values in ours.file.enum_types_by_name.items():
        same_enum(values, model_config_pb2.DESCRIPTOR.enum_types_by_name[name])


def same_message(ours, theirs):
    # The protocol's own, which Triton has not.
    extra = {("ModelMetadataResponse", "properties")}
    for field in ours.fields:
        if (ours.name, field.name) in extra:
            continue
        other = theirs.fields_by_name[field.name]
        for fact in ["number", "type", "is_repeated"]:
            assert getattr(field, fact) == getattr(other, fact), f"{field.full_name}: another {fact}"
        choice, others = field.containing_oneof, other.containing_oneof
        assert (choice and choice.name) == (others and others.name), field.full_name
        if field.message_type:
            assert field.message_type.full_name == other.message_type.full_name, field.full_name
    for nested in ours.nested_types:
        if (ours.name, nested.name) != ("ModelMetadataResponse", "PropertiesEntry"):
            same_message(nested, theirs.nested_types_by_name[nested.name])
    for nested in ours.enum_types:
        same_enum(nested, theirs.enum_types_by_name[nested.name])


def same_enum(ours, theirs):
    for value in ours.values:
        assert theirs.values_by_name[value.name].number == value.number, value.name


def check_reflection_v1(bench):
    """grpcio's client speaks v1alpha; v1 differs in its name alone."""
    request = reflection_pb2.ServerReflectionRequest(list_services="")
    method = bench.channel.stream_stream(
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
        response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
    )
    answer = next(method(iter([request])))
    assert SERVICE in [service.name for service in answer.list_services_response.service], answer


# ---- what there is ----


def check_metadata(bench):
    server = bench.triton.get_server_metadata()
    assert server.name == "resnest" and server.version and "statistics" in server.extensions, server
    model = bench.triton.get_model_metadata("demo", as_json=True)
    assert model["name"] == "demo" and model["versions"] == ["1"] and model["platform"] == "timm_safetensors", model
    inputs = {given["name"]: (given["datatype"], given["shape"]) for given in model["inputs"]}
    assert inputs["image"] == ("BYTES", ["-1"]) and inputs["pixels"] == ("UINT8", ["-1"] * 4), inputs
    outputs = {given["name"]: (given["datatype"], given["shape"]) for given in model["outputs"]}
    assert outputs["logits"] == ("FP32", ["-1", "10"]), outputs
    with urllib.request.urlopen(f"{bench.http}/v2/models/demo") as answer:
        other = json.load(answer)
    tensors = model["inputs"] + model["outputs"]
    described = [{**given, "shape": [int(size) for size in given["shape"]]} for given in tensors]
    assert described == other["inputs"] + other["outputs"], other
    refused(grpc.StatusCode.NOT_FOUND, lambda: bench.triton.get_model_metadata("nobody"), "nobody")


def check_config(bench):
    config = bench.triton.get_model_config("demo").config
    # The server batches by itself, and shapes have the number of images.
    assert config.name == "demo" and config.platform and config.max_batch_size == 0, config
    inputs = {given.name: given for given in config.input}
    assert inputs["image"].data_type == model_config_pb2.TYPE_STRING, config
    assert inputs["pixels"].data_type == model_config_pb2.TYPE_UINT8 and list(inputs["pixels"].dims) == [-1] * 4, config
    normalised = inputs["tensor"]
    assert normalised.data_type == model_config_pb2.TYPE_FP32 and list(normalised.dims)[:2] == [-1, 3], config
    assert all(given.optional for given in config.input), config
    outputs = {given.name: list(given.dims) for given in config.output}
    assert outputs["logits"] == [-1, 10], config
    assert not config.model_transaction_policy.decoupled, config
    with urllib.request.urlopen(f"{bench.http}/v2/models/demo/config") as answer:
        other = json.load(answer)
    for ours, theirs in zip([*config.input, *config.output], other["input"] + other["output"], strict=True):
        kind = model_config_pb2.DataType.Name(ours.data_type)
        assert (ours.name, kind, list(ours.dims)) == (theirs["name"], theirs["data_type"], theirs["dims"]), theirs
    refused(grpc.StatusCode.NOT_FOUND, lambda: bench.triton.get_model_config("nobody"), "nobody")


def check_statistics(bench):
    def of_demo(name):
        entries = bench.triton.get_inference_statistics(name).model_stats
        return next(entry for entry in entries if entry.name == "demo")

    before = of_demo("demo")
    bench.logits(bench.images(*PHOTOS.values()))
    after = of_demo("")
    assert after.version == "1"
    assert after.inference_count >= before.inference_count + len(PHOTOS), (before, after)
    assert after.execution_count > before.execution_count
    spent = after.inference_stats
    assert spent.success.count > before.inference_stats.success.count and spent.compute_infer.ns > 0, after
    assert abs(after.last_inference / 1000 - time.time()) < 60, after.last_inference
    assert sum(batch.compute_infer.count for batch in after.batch_stats) == after.execution_count, after
    refused(grpc.StatusCode.NOT_FOUND, lambda: bench.triton.get_inference_statistics("nobody"), "nobody")


def check_repository(bench):
    index = bench.triton.get_model_repository_index().models
    assert [(model.name, model.version, model.state) for model in index] == [("demo", "1", "READY")], index
    for change in [bench.triton.load_model, bench.triton.unload_model]:
        refused(grpc.StatusCode.PERMISSION_DENIED, lambda: change("demo"), "explicit")


# ---- images ----


def check_photos_are_what_timm_says(bench):
    names = list(PHOTOS)
    for name in names:
        near(bench.logits(bench.images(PHOTOS[name]))[0], TIMM[name], name)
    together = bench.logits(bench.images(*PHOTOS.values()))
    near(together, [TIMM[name] for name in names], "both at once")
    many = bench.logits(bench.images(*(PHOTOS[names[at % 2]] for at in range(21))))
    near(many, [TIMM[names[at % 2]] for at in range(21)], "21 of them")


def check_all_outputs(bench):
    result = bench.infer(bench.images(*PHOTOS.values()), request_id="mine")
    answer = result.get_response()
    assert answer.id == "mine" and answer.model_name == "demo" and answer.model_version == "1"
    logits, probabilities = result.as_numpy("logits"), result.as_numpy("probabilities")
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    near(probabilities, powers / powers.sum(axis=1, keepdims=True), "softmax")
    embeddings = result.as_numpy("embeddings")
    assert embeddings.shape[0] == len(PHOTOS) and np.isfinite(embeddings).all()


def check_classification(bench):
    result = bench.infer(bench.images(*PHOTOS.values()), outputs=[("probabilities", 3), ("logits", 1)])
    best = result.as_numpy("probabilities")
    assert best.shape == (len(PHOTOS), 3), best
    for row, logits, name in zip(best, result.as_numpy("logits"), PHOTOS):
        value, index, label = row[0].decode().split(":")
        assert int(index) == int(np.argmax(TIMM[name])) and label, row
        assert float(value) >= float(row[1].decode().split(":")[0]), row
        near(float(logits[0].decode().split(":")[0]), max(TIMM[name]), name)


def check_the_command_says_the_same(bench):
    if not bench.command:
        return "skipped: no command was given"
    names = list(PHOTOS)
    command = [bench.command, "classify", "--model", "demo", "--format", "json", "--topk", "3"]
    files = [str(DEMO / "photos" / name) for name in names]
    said = subprocess.run(command + files, check=True, capture_output=True, text=True).stdout
    entries = json.loads(said) if said.lstrip().startswith("[") else [json.loads(line) for line in said.splitlines()]
    ours = bench.infer(bench.images(*PHOTOS.values()), outputs=[("probabilities", 3)]).as_numpy("probabilities")
    for entry, row in zip(entries, ours):
        for prediction, text in zip(entry["predictions"], row):
            value, index, label = text.decode().split(":")
            assert (prediction["index"], prediction["label"]) == (int(index), label), (prediction, text)
            near(float(value), prediction.get("score", prediction.get("probability")), label)


def check_pixels_and_tensor(bench):
    """One colour is the same through every door: nothing is resized, and the normalised values are computed here."""
    from_file = bench.logits(bench.images(bmp(320, 320, (200, 100, 50))))
    pixels = np.empty((2, 320, 320, 3), dtype=np.uint8)
    pixels[:] = (200, 100, 50)
    near(bench.logits(tensor("pixels", "UINT8", pixels)), from_file.repeat(2, axis=0), "pixels")
    shape = next(given.shape for given in bench.triton.get_model_metadata("demo").inputs if given.name == "tensor")
    noise = np.random.default_rng(7).standard_normal([3, *list(shape)[1:]], dtype=np.float32)
    alone = np.concatenate([bench.logits(tensor("tensor", "FP32", noise[at : at + 1])) for at in range(3)])
    near(bench.logits(tensor("tensor", "FP32", noise)), alone, "a batch of tensors")
    assert np.ptp(alone, axis=0).max() > 0.01, "three different tensors give the same answer"


def bmp(width, height, colour):
    """An uncompressed picture of one colour."""
    row = bytes(reversed(colour)) * width + bytes(-3 * width % 4)
    size = 54 + len(row) * height
    head = struct.pack("<2sIIIIIIHH", b"BM", size, 0, 54, 40, width, height, 1, 24)
    return head + bytes(24) + row * height


def check_typed_contents(bench):
    request = service_pb2.ModelInferRequest(model_name="demo", id="typed")
    given = request.inputs.add(name="image", datatype="BYTES", shape=[len(PHOTOS)])
    given.contents.bytes_contents.extend(PHOTOS.values())
    request.outputs.add(name="logits")
    near(raw_logits(bench.stub.ModelInfer(request)), list(TIMM[name] for name in PHOTOS), "bytes_contents")

    pixels = np.random.default_rng(1).integers(0, 256, (1, 40, 50, 3), dtype=np.uint8)
    request = service_pb2.ModelInferRequest(model_name="demo")
    request.outputs.add(name="logits")
    given = request.inputs.add(name="pixels", datatype="UINT8", shape=pixels.shape)
    given.contents.uint_contents.extend(int(value) for value in pixels.ravel())
    near(raw_logits(bench.stub.ModelInfer(request)), bench.logits(tensor("pixels", "UINT8", pixels)), "uint_contents")

    sizes = next(given.shape for given in bench.triton.get_model_metadata("demo").inputs if given.name == "tensor")
    values = np.random.default_rng(2).standard_normal([1, *list(sizes)[1:]], dtype=np.float32)
    request = service_pb2.ModelInferRequest(model_name="demo")
    request.outputs.add(name="logits")
    given = request.inputs.add(name="tensor", datatype="FP32", shape=values.shape)
    given.contents.fp32_contents.extend(values.ravel())
    near(raw_logits(bench.stub.ModelInfer(request)), bench.logits(tensor("tensor", "FP32", values)), "fp32_contents")


def raw_logits(answer):
    at = [output.name for output in answer.outputs].index("logits")
    return np.frombuffer(answer.raw_output_contents[at], dtype="<f4").reshape(list(answer.outputs[at].shape))


def check_one_broken_among_others(bench):
    files = [PHOTOS["chelsea.png"], b"no image", PHOTOS["horse.png"]]
    result = bench.infer(bench.images(*files), outputs=["logits"])
    logits, errors = result.as_numpy("logits"), result.as_numpy("errors")
    near(logits[[0, 2]], [TIMM["chelsea.png"], TIMM["horse.png"]], "the whole ones")
    assert np.isnan(logits[1]).all()
    assert [bool(error) for error in errors] == [False, True, False], errors


def check_many_at_once(bench):
    names = list(PHOTOS)
    calls = [
        bench.stub.ModelInfer.future(image_request(PHOTOS[names[at % 2]], str(at)), timeout=60) for at in range(32)
    ]
    for at, call in enumerate(calls):
        answer = call.result()
        assert answer.id == str(at)
        near(raw_logits(answer)[0], TIMM[names[at % 2]], names[at % 2])


def image_request(file, request_id="", model="demo"):
    request = service_pb2.ModelInferRequest(model_name=model, id=request_id)
    request.inputs.add(name="image", datatype="BYTES", shape=[1])
    request.raw_input_contents.append(len(file).to_bytes(4, "little") + file)
    request.outputs.add(name="logits")
    return request


def check_stream(bench):
    answers, arrived = [], threading.Semaphore(0)

    def take(result, error):
        answers.append((result, error))
        arrived.release()

    bench.triton.start_stream(take)
    for file in [PHOTOS["chelsea.png"], b"no image", PHOTOS["horse.png"]]:
        asked = [InferRequestedOutput("logits")]
        bench.triton.async_stream_infer("demo", [bench.images(file)], outputs=asked, request_id="s")
    assert all(arrived.acquire(timeout=30) for _ in range(3))
    bench.triton.stop_stream()
    assert answers[1][1] is not None and answers[0][1] is None and answers[2][1] is None, answers
    near(answers[0][0].as_numpy("logits")[0], TIMM["chelsea.png"], "first of the stream")
    near(answers[2][0].as_numpy("logits")[0], TIMM["horse.png"], "last of the stream")
    assert answers[2][0].get_response().id == "s"


def check_compression(bench):
    for algorithm in ["gzip", "deflate"]:
        result = bench.infer(bench.images(PHOTOS["horse.png"]), outputs=["logits"], compression_algorithm=algorithm)
        near(result.as_numpy("logits")[0], TIMM["horse.png"], algorithm)


def check_large_messages(bench):
    large = bmp(1300, 1300, (200, 100, 50))
    assert len(large) > 5_000_000
    assert bench.logits(bench.images(large)).shape == (1, 10)
    padded = bench.images(PHOTOS["horse.png"] + bytes(6_000_000))
    near(bench.logits(padded)[0], TIMM["horse.png"], "with 6 MB behind it")
    too_large = image_request(bytes(65 << 20))
    refused(grpc.StatusCode.INVALID_ARGUMENT, lambda: bench.stub.ModelInfer(too_large), str(64 << 20))
    assert bench.triton.is_server_ready()


# ---- what is refused ----


def check_refusals(bench):
    bad, missing = grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND
    photo = bench.images(PHOTOS["horse.png"])
    refused(missing, lambda: bench.triton.infer("nobody", [photo]), "nobody")
    refused(missing, lambda: bench.triton.infer("demo", [photo], model_version="7"), "7")
    refused(bad, lambda: bench.infer(bench.images(b"no image")))
    refused(bad, lambda: bench.infer(bench.images(PHOTOS["horse.png"][:1000])))
    refused(bad, lambda: bench.infer(photo, outputs=["nothing"]), "nothing")
    refused(bad, lambda: bench.infer(photo, outputs=["logits", "logits"]), "logits")
    refused(bad, lambda: bench.infer(tensor("nothing", "UINT8", np.zeros((1, 8, 8, 3), np.uint8))), "nothing")
    refused(bad, lambda: bench.infer(tensor("pixels", "UINT8", np.zeros((8, 8, 3), np.uint8))), "pixels")
    refused(bad, lambda: bench.infer(tensor("pixels", "UINT8", np.zeros((0, 8, 8, 3), np.uint8))), "pixels")
    refused(bad, lambda: bench.infer(tensor("pixels", "FP32", np.zeros((1, 8, 8, 3), np.float32))), "pixels")
    refused(bad, lambda: bench.infer(tensor("tensor", "FP32", np.zeros((1, 3, 7, 7), np.float32))), "tensor")
    refused(bad, lambda: bench.infer(tensor("tensor", "FP64", np.zeros((1, 3, 7, 7)))), "FP64")
    refused(bad, lambda: bench.infer(photo, tensor("pixels", "UINT8", np.zeros((1, 8, 8, 3), np.uint8))))
    refused(bad, lambda: bench.triton.infer("demo", []))


def check_malformed_requests(bench):
    bad = grpc.StatusCode.INVALID_ARGUMENT

    def broken(change, *words):
        request = image_request(PHOTOS["horse.png"])
        change(request)
        refused(bad, lambda: bench.stub.ModelInfer(request), *words)

    broken(lambda r: r.raw_input_contents.append(b""), "raw_input_contents")
    broken(lambda r: r.inputs[0].contents.bytes_contents.append(b"a"), "both")
    broken(lambda r: r.inputs[0].shape.append(2), "image")
    broken(lambda r: r.inputs[0].shape.__setitem__(0, -1), "image")
    broken(lambda r: r.inputs[0].shape.__setitem__(0, 1 << 62), "image")
    broken(lambda r: r.raw_input_contents.__setitem__(0, b"\xff\xff\xff\xffab"), "image")
    broken(lambda r: r.raw_input_contents.__delitem__(0), "no values")
    broken(lambda r: r.inputs[0].parameters["shared_memory_region"].__setattr__("string_param", "x"), "shared memory")
    broken(lambda r: r.outputs[0].parameters["classification"].__setattr__("string_param", "x"), "classification")
    broken(lambda r: r.inputs.extend([service_pb2.ModelInferRequest.InferInputTensor()] * 70_000), "65536")


def check_what_is_not_served(bench):
    unserved = grpc.StatusCode.UNIMPLEMENTED
    refused(unserved, bench.triton.get_system_shared_memory_status)
    refused(unserved, bench.triton.get_log_settings)


def check_cancelled_and_late(bench):
    """Clients that leave: nobody else notices."""
    files = [PHOTOS["horse.png"]] * 64
    request = image_request(PHOTOS["horse.png"])
    request.inputs[0].shape[0] = len(files)
    request.raw_input_contents[0] = b"".join(len(file).to_bytes(4, "little") + file for file in files)
    for wait in [0, 0.005, 0.02, 0.05] * 4:
        call = bench.stub.ModelInfer.future(request)
        time.sleep(wait)
        call.cancel()
    refused(grpc.StatusCode.DEADLINE_EXCEEDED, lambda: bench.stub.ModelInfer(request, timeout=0.01))
    start = time.monotonic()
    near(bench.logits(bench.images(PHOTOS["horse.png"]))[0], TIMM["horse.png"], "after those who left")
    assert time.monotonic() - start < 5, "it computed for those who left"


def check_request_ids(bench):
    for header in ["triton-request-id", "x-request-id"]:
        _, call = bench.stub.ModelInfer.with_call(image_request(PHOTOS["horse.png"]), metadata=[(header, "mine-7")])
        assert ("x-request-id", "mine-7") in [tuple(pair) for pair in call.initial_metadata()], call.initial_metadata()


def check_metrics(bench):
    with urllib.request.urlopen(f"{bench.http}/metrics") as answer:
        text = answer.read().decode()
    line = 'resnest_requests_total{model="demo",endpoint="grpc_infer",status="200"}'
    assert any(one.startswith(line) for one in text.splitlines()), text


def main():
    http, address, *command = sys.argv[1:]
    bench = Bench(http, address, command[0] if command else None)
    checks = [(name, check) for name, check in globals().items() if name.startswith("check_")]
    failed = 0
    for name, check in checks:
        try:
            note = check(bench)
            print(f"ok      {name[6:]}{f' ({note})' if note else ''}", flush=True)
        except Exception as error:  # whatever it is, the others are still worth knowing
            failed += 1
            print(f"FAILED  {name[6:]}: {type(error).__name__}: {error}", flush=True)
    print(f"{len(checks) - failed} of {len(checks)} passed")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
