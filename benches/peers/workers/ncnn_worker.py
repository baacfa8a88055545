"""ncnn, f32, Winograd and packed layout on. It has no batch dimension: the images of a batch go through one by one."""

from concurrent.futures import ThreadPoolExecutor

import protocol


def imports():
    global ncnn, numpy
    import ncnn
    import numpy


def build(args):
    net = ncnn.Net()
    # A batch shares out its images among the threads (2% faster at batch 8 than `--set ncnn:share=layers`).
    by_image = args.batch > 1 and args.options.get("share", "images") == "images"
    net.opt.num_threads = 1 if by_image else args.threads
    net.opt.use_vulkan_compute = False
    # f32 throughout, as everyone else.
    net.opt.use_fp16_packed = net.opt.use_fp16_storage = net.opt.use_fp16_arithmetic = False
    net.opt.use_bf16_storage = False
    net.opt.lightmode = True
    weights = args.artifact.removesuffix(".param") + ".bin"
    for path, status in ((args.artifact, net.load_param(args.artifact)), (weights, net.load_model(weights))):
        if status:
            raise RuntimeError(f"ncnn cannot read {path}: {status}")
    # clone: a Mat made of an array does not keep the array alive.
    images = [ncnn.Mat(image).clone() for image in protocol.read_input(args)]

    def one(image):
        extractor = net.create_extractor()
        extractor.input("in0", image)
        status, logits = extractor.extract("out0")
        if status:
            raise RuntimeError(f"ncnn extract: {status}")
        return numpy.array(logits)

    if by_image:
        pool = ThreadPoolExecutor(args.threads)
        return lambda: list(pool.map(one, images))
    return lambda: [one(image) for image in images]


if __name__ == "__main__":
    protocol.serve(imports, build)
