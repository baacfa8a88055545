"""Spans at a collector: python3 tests/serve/otlp.py BASE_URL RESNEST

A collector that takes whatever OpenTelemetry's exporter sends, and a server of the demo model that is told of it. The span
of a request with a `traceparent` must be part of that trace, below the span that the header names (W3C Trace Context).
BASE_URL, of a server that is running, is not used. Needs grpcio.
"""

import subprocess
import sys
import threading
import urllib.request
from concurrent import futures
from pathlib import Path

try:
    import grpc
except ImportError as missing:
    print(f"skipped: {missing}")
    sys.exit()

PHOTO = Path(__file__).parents[2] / "crates/resnest/demo/photos/horse.png"
TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
EXPORT = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"


class Collector(grpc.GenericRpcHandler):
    """Keeps the bytes of every call; an empty message is a full answer."""

    def __init__(self):
        self.calls = []
        self.came = threading.Event()

    def service(self, details):
        def keep(message, _):
            self.calls.append((details.method, message))
            self.came.set()
            return b""

        return grpc.unary_unary_rpc_method_handler(keep)


def main(resnest):
    collector = Collector()
    server = grpc.server(futures.ThreadPoolExecutor(2))
    server.add_generic_rpc_handlers((collector,))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    command = [resnest, "serve", "--model", "demo", "--http", "127.0.0.1:0", "--grpc", "off"]
    command += ["--log", "warn", "--otlp-endpoint", f"http://127.0.0.1:{port}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as served:
        address = next(word for word in served.stdout.readline().split() if word.startswith("http://"))
        headers = {"traceparent": f"00-{TRACE}-{PARENT}-01", "content-type": "image/png"}
        request = urllib.request.Request(f"{address}/classify", PHOTO.read_bytes(), headers)
        with urllib.request.urlopen(request, timeout=60) as answer:
            assert answer.status == 200, answer.status
        # What has not been sent by then is sent as the server ends.
        served.terminate()
        assert served.wait(60) == 0, served.returncode
    assert collector.came.wait(60), "no span came"
    server.stop(None)
    methods = {method for method, _ in collector.calls}
    assert methods == {EXPORT}, methods
    sent = b"".join(message for _, message in collector.calls)
    for name, part in {"trace": bytes.fromhex(TRACE), "parent": bytes.fromhex(PARENT), "path": b"/classify"}.items():
        assert part in sent, f"the spans have no such {name}"
    print("ok   the request's span, in its client's trace")


main(sys.argv[2])
