"""MNN, CPU backend, f32."""

import protocol


def imports():
    global MNN, numpy
    import MNN
    import MNN.expr
    import MNN.nn
    import numpy


def build(args):
    config = {
        "backend": "CPU",
        "numThread": args.threads,
        "precision": args.options.get("precision", "high"),
        "memory": args.options.get("memory", "normal"),
    }
    runtime = MNN.nn.create_runtime_manager((config,))
    net = MNN.nn.load_module_from_file(
        args.artifact, ["input"], ["logits"], runtime_manager=runtime, shape_mutable=False, rearrange=True
    )
    batch = protocol.read_input(args)
    image = MNN.expr.const(batch, batch.shape, MNN.expr.NCHW)

    def forward():
        return net.forward([image])[0].read()

    return forward


if __name__ == "__main__":
    protocol.serve(imports, build)
