"""OpenVINO, CPU plugin, from its own IR with f32 weights."""

import protocol


def imports():
    global openvino
    import openvino


def build(args):
    config = {
        "PERFORMANCE_HINT": args.options.get("hint", "LATENCY"),
        "INFERENCE_NUM_THREADS": args.threads,
        "INFERENCE_PRECISION_HINT": "f32",
    }
    compiled = openvino.Core().compile_model(args.artifact, "CPU", config)
    request = compiled.create_infer_request()
    request.set_input_tensor(openvino.Tensor(protocol.read_input(args)))
    output = compiled.output(0)

    def forward():
        request.infer()
        return request.get_tensor(output).data

    return forward


if __name__ == "__main__":
    protocol.serve(imports, build)
