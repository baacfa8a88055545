"""ONNX Runtime, CPU provider."""

import protocol


def imports():
    global onnxruntime
    import onnxruntime


def build(args):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = args.threads
    options.inter_op_num_threads = 1
    # Its threads spin between operators, which it needs to be fast; they stop when run() returns, so that a parked
    # worker does not take a core from the engine being measured.
    options.add_session_config_entry("session.intra_op.allow_spinning", args.options.get("spin", "1"))
    options.add_session_config_entry("session.force_spinning_stop", args.options.get("stop", "1"))
    session = onnxruntime.InferenceSession(args.artifact, options, providers=["CPUExecutionProvider"])
    feed = {session.get_inputs()[0].name: protocol.read_input(args)}
    return lambda: session.run(None, feed)[0]


if __name__ == "__main__":
    protocol.serve(imports, build)
