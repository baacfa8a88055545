"""Triton's Python backend with ONNX Runtime inside: a batch of encoded photos in, the best five of each out."""

import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor

# The stub overwrites PYTHONPATH, so the launcher says under another name where the packages are.
sys.path[:0] = os.environ["TRITON_MODEL_PATH"].split(":")

import numpy as np  # noqa: E402
import onnxruntime  # noqa: E402
import photo  # noqa: E402
import triton_python_backend_utils as triton  # noqa: E402


class TritonPythonModel:
    """What the backend loads, once for each instance."""

    def initialize(self, args):
        parameters = json.loads(args["model_config"])["parameters"]
        threads = int(parameters["threads"]["string_value"])
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        path = parameters["model"]["string_value"]
        self.session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self.decoders = ThreadPoolExecutor(threads)

    def execute(self, requests):
        photos = [triton.get_input_tensor_by_name(request, "image").as_numpy().reshape(-1) for request in requests]
        flat = [data for group in photos for data in group]
        logits = self.session.run(None, {"input": np.stack(list(self.decoders.map(photo.tensor, flat)))})[0]
        answers = np.array([photo.answer(row) for row in logits], dtype=np.object_)
        ends = np.cumsum([len(group) for group in photos])[:-1]
        return [self.response(part) for part in np.split(answers, ends)]

    def response(self, answers):
        return triton.InferenceResponse([triton.Tensor("answer", answers.reshape(-1, 1))])
