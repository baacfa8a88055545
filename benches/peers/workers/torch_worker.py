"""PyTorch, three ways: `mode=eager`, `mode=jit` (traced, frozen, optimised for inference), `mode=compile` (inductor with
freezing). The artifact is the hub folder's weights for eager and compile, the traced file for jit."""

from pathlib import Path

import protocol


def imports():
    global torch
    import torch


def load_timm(args):
    import timm

    return timm.create_model(f"local-dir:{Path(args.artifact).parent}", pretrained=True).eval()


def eager(args):
    net = load_timm(args)
    # oneDNN's convolutions are as fast or faster on channels-last, and the pools and sums much so.
    return net.to(memory_format=torch.channels_last) if args.options.get("channels_last", "1") == "1" else net


def jit(args):
    return torch.jit.optimize_for_inference(torch.jit.load(args.artifact).eval())


def compiled(args):
    import torch._inductor.config as inductor

    inductor.freezing = True
    return torch.compile(load_timm(args), mode=args.options.get("compile", "default"))


def build(args):
    torch.set_num_threads(args.threads)
    torch.set_num_interop_threads(1)
    mode = args.options["mode"]
    net = {"eager": eager, "jit": jit, "compile": compiled}[mode](args)
    batch = torch.from_numpy(protocol.read_input(args))

    def forward():
        # no_grad and not inference_mode: freezing asks for the former.
        with torch.no_grad():
            return net(batch).numpy()

    return forward


if __name__ == "__main__":
    protocol.serve(imports, build)
