"""OpenVINO, CPU plugin, from its own IR: f32 weights, or what NNCF quantised.

`--set precision=f32` (unless told otherwise) computes in f32; `precision=default` gives no hint, as most programs do: then
the plugin takes bf16 where the CPU has instructions for it."""

import protocol


def imports():
    global openvino
    import openvino


def build(args):
    config = {
        "PERFORMANCE_HINT": args.options.get("hint", "LATENCY"),
        "INFERENCE_NUM_THREADS": args.threads,
    }
    precision = args.options.get("precision", "f32")
    if precision != "default":
        config["INFERENCE_PRECISION_HINT"] = precision
    compiled = openvino.Core().compile_model(args.artifact, "CPU", config)
    args.facts["computes_in"] = compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name()
    request = compiled.create_infer_request()
    request.set_input_tensor(openvino.Tensor(protocol.read_input(args)))
    output = compiled.output(0)

    def forward():
        request.infer()
        return request.get_tensor(output).data

    return forward


if __name__ == "__main__":
    protocol.serve(imports, build)
