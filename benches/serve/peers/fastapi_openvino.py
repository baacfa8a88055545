"""FastAPI in front of OpenVINO, in f32: `python fastapi_openvino.py MODEL.onnx PORT THREADS THROUGHPUT|LATENCY`.

One process. Photos are decoded on as many threads as the model has, and go from there into OpenVINO's own queue of
infer requests, whose number OpenVINO chooses by its hint. Normalisation is part of OpenVINO's graph, where it is
cheapest.
"""

from __future__ import annotations

import asyncio
import sys
from concurrent.futures import ThreadPoolExecutor
from threading import Lock

import openvino
import photo
import uvicorn
from fastapi import FastAPI, Request, Response
from openvino.preprocess import PrePostProcessor


def compile_model(path: str, threads: int, hint: str) -> openvino.CompiledModel:
    """The network with u8 pixels (1, 224, 224, 3) as its input."""
    core = openvino.Core()
    model = core.read_model(path)
    model.reshape([1, 3, photo.SIDE, photo.SIDE])
    steps = PrePostProcessor(model)
    steps.input().tensor().set_element_type(openvino.Type.u8).set_layout(openvino.Layout("NHWC"))
    steps.input().model().set_layout(openvino.Layout("NCHW"))
    pipeline = steps.input().preprocess().convert_element_type(openvino.Type.f32)
    pipeline.mean([255 * float(value) for value in photo.MEAN]).scale([255 * float(value) for value in photo.STD])
    settings = {"PERFORMANCE_HINT": hint, "INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": "f32"}
    return core.compile_model(steps.build(), "CPU", settings)


def build(path: str, threads: int, hint: str) -> FastAPI:
    queue = openvino.AsyncInferQueue(compile_model(path, threads, hint))
    decoders = ThreadPoolExecutor(threads)
    app = FastAPI()

    def finished(request: openvino.InferRequest, waiting: tuple) -> None:
        loop, future = waiting
        body = photo.answer(request.get_output_tensor().data[0])
        loop.call_soon_threadsafe(lambda: future.done() or future.set_result(body))

    queue.set_callback(finished)
    # Two threads at once may be given the same free request ("Infer Request is busy").
    one_at_a_time = Lock()

    def submit(data: bytes, waiting: tuple) -> None:
        pixels = photo.pixels(data)[None]
        with one_at_a_time:
            queue.start_async(pixels, waiting)  # waits for a free request

    @app.post("/classify")
    async def classify(request: Request) -> Response:
        data = await request.body()
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        await loop.run_in_executor(decoders, submit, data, (loop, future))
        return Response(await future, media_type="application/json")

    return app


def main() -> None:
    path, port, threads, hint = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
    app = build(path, threads, hint)
    uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning", access_log=False, timeout_keep_alive=120)


if __name__ == "__main__":
    main()
