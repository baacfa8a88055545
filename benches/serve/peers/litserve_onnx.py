"""LitServe in front of ONNX Runtime: `python litserve_onnx.py MODEL.onnx PORT THREADS WORKERS BATCH WAIT_MS`.

LitServe forms the batches: up to BATCH photos, waiting at most WAIT_MS for the next. The workers share the threads.
"""

import sys
from typing import Annotated

import litserve
import numpy as np
import onnxruntime
import photo
from fastapi import Body, Response


class Classify(litserve.LitAPI):
    """The four steps that LitServe asks for."""

    def __init__(self, path: str, threads: int, batch: int, wait_ms: float):
        super().__init__(max_batch_size=batch, batch_timeout=wait_ms / 1000, api_path="/classify")
        self.path, self.threads = path, threads

    def setup(self, device):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self.threads
        self.session = onnxruntime.InferenceSession(self.path, options, providers=["CPUExecutionProvider"])

    # Named by its content type, a body that is bytes comes as it is.
    def decode_request(self, request: Annotated[bytes, Body(media_type="image/jpeg")]):
        return photo.tensor(request)

    def batch(self, inputs):
        return np.stack(inputs)

    def predict(self, batch):
        # Without batches LitServe hands over one image.
        images = batch if batch.ndim == 4 else batch[None]
        logits = self.session.run(None, {"input": images})[0]
        return logits if batch.ndim == 4 else logits[0]

    def unbatch(self, output):
        return list(output)

    def encode_response(self, output) -> Response:
        return Response(photo.answer(output), media_type="application/json")


def main() -> None:
    path, port, threads, workers, batch = sys.argv[1], *map(int, sys.argv[2:6])
    api = Classify(path, max(threads // workers, 1), batch, float(sys.argv[6]))
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=workers, timeout=False)
    server.run(host="127.0.0.1", port=port, log_level="warning", access_log=False, generate_client_file=False)


if __name__ == "__main__":
    main()
