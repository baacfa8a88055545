"""What a second process costs with the cache of packed weights, and without: `docs/weights-cache.md`.

    python3 benches/weights_cache.py target/release/resnest MODEL [CHECKPOINT] [--rounds 10]

Start: `resnest classify` of one photo, from exec to exit, wall time and CPU time, cache and none in turns. Memory: two servers
at once, each asked once; what the second holds that it shares with nobody, by the kernel's count.
"""

import argparse
import os
import re
import resource
import subprocess
import tempfile
import time
import urllib.request
from pathlib import Path

PHOTO = Path(__file__).resolve().parent.parent / "crates/resnest/demo/photos/chelsea.png"


def command(args, verb, cache):
    source = ["--model", args.model]
    if args.checkpoint and verb == "classify":
        source += ["--checkpoint", args.checkpoint]
    return [args.program, verb, *source, "--weights-cache", cache]


def start(args, cache):
    """Wall and CPU seconds of one run, and what it printed."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    begun = time.perf_counter()
    ran = subprocess.run([*command(args, "classify", cache), str(PHOTO)], capture_output=True, text=True, check=True)
    wall = time.perf_counter() - begun
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, ran.stdout


def starts(args, folder):
    runs = {"off": [], folder: []}
    start(args, folder)  # makes the file
    time.sleep(3)
    start(args, folder)  # finds it whole
    for _ in range(args.rounds):
        for cache, seen in runs.items():
            seen.append(start(args, cache))
    assert len({said for seen in runs.values() for *_, said in seen}) == 1, "different answers"
    for cache, seen in runs.items():
        wall, cpu, _ = zip(*seen)
        print(f"{'without' if cache == 'off' else 'cached '}  wall: least {min(wall):.3f} s, median {sorted(wall)[len(wall) // 2]:.3f} s; CPU: least {min(cpu):.3f} s")


class Server:
    def __init__(self, args, cache):
        options = ["--http", "127.0.0.1:0", "--grpc", "off", "--threads", "2"]
        self.process = subprocess.Popen([*command(args, "serve", cache), *options], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        address = re.search(r"http://[^\s]+", self.process.stdout.readline())[0]
        request = urllib.request.Request(f"{address}/classify", data=PHOTO.read_bytes())
        self.answer = urllib.request.urlopen(request).read()

    def memory(self):
        """MB by kind."""
        text = Path(f"/proc/{self.process.pid}/smaps_rollup").read_text()
        return {kind: int(kb) / 1024 for kind, kb in re.findall(r"(\w+): +(\d+) kB", text)}

    def end(self):
        self.process.kill()
        self.process.wait()


def memory(args, folder):
    for cache in ["off", folder]:
        servers = [Server(args, cache) for _ in range(2)]
        assert servers[0].answer == servers[1].answer
        seen = servers[1].memory()
        own = seen["Private_Dirty"] + seen["Private_Clean"]
        print(f"{'without' if cache == 'off' else 'cached '}  second server: {own:.0f} MB of its own (anonymous {seen['Anonymous']:.0f}), Rss {seen['Rss']:.0f}, Pss {seen['Pss']:.0f}, in huge pages of files {seen['FilePmdMapped']:.0f}")
        for server in servers:
            server.end()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("model")
    parser.add_argument("checkpoint", nargs="?")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--folder", help="an empty folder for the cache, on the file system to be measured")
    args = parser.parse_args()
    os.environ.pop("RESNEST_WEIGHTS_CACHE", None)
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        starts(args, folder)
        memory(args, folder)


if __name__ == "__main__":
    main()
