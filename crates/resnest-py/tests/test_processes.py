"""Manners in a process and among several: pickles, forks, signals, threads, memory.

What could hang runs in a process of its own, with a time by which it must have ended. RESNEST_LONG=1 runs a thousand forks
and 10^5 calls, in place of a hundred and some thousands.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import copy
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import resnest_rs
from helpers import DEMO_PHOTOS

LONG = os.environ.get("RESNEST_LONG") == "1"
Run = Callable[..., "subprocess.CompletedProcess[str]"]
CHELSEA = str(DEMO_PHOTOS / "chelsea.png")


def done(result: subprocess.CompletedProcess[str]) -> str:
    """What a program printed that ended well."""
    assert result.returncode == 0, f"{result.returncode}\n{result.stdout}\n{result.stderr}"
    return result.stdout


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_pickles(protocol: int, demo: resnest_rs.Classifier, chelsea: bytes) -> None:
    def again(value: Any) -> Any:
        return pickle.loads(pickle.dumps(value, protocol))

    classifier = again(resnest_rs.Classifier("demo", threads=1, crop_pct=0.9, input_size=(64, 48), batch_size=3))
    assert (classifier.threads, classifier.input_size, classifier.batch_size) == (1, (64, 48), 3)
    # As arguments, not as weights.
    assert len(pickle.dumps(classifier, protocol)) < 2000
    answer = demo.classify(chelsea)
    assert again(answer) == answer and type(again(answer)) is resnest_rs.Prediction
    assert type(again(answer)[0]) is resnest_rs.Class
    answers = demo.classify([chelsea, b"broken"], errors="return")
    assert type(again(answers)) is resnest_rs.Predictions
    assert again(answers)[0] == answers[0] and str(again(answers)[1]) == str(answers[1])
    model = resnest_rs.create_model("demo", threads=1, num_classes=0)
    x = resnest_rs.create_transform(48)(chelsea)[None]
    assert np.array_equal(again(model)(x), model(x))
    transform = resnest_rs.create_transform((3, 32, 40), crop_mode="border", mean=(0.1, 0.2, 0.3))
    assert np.array_equal(again(transform)(chelsea), transform(chelsea))
    cam = demo.cam(chelsea)
    assert np.array_equal(again(cam).values, cam.values) and again(cam).best == cam.best
    assert np.array_equal(again(cam).resized(20, 20), cam.resized(20, 20))


def test_copies(demo: resnest_rs.Classifier, chelsea: bytes) -> None:
    for again in (copy.copy(demo), copy.deepcopy(demo)):
        assert again.classify(chelsea) == demo.classify(chelsea)


def test_pickled_paths(tmp_path: Path) -> None:
    manifest = tmp_path / "none.toml"
    manifest.write_text("")
    assert pickle.loads(pickle.dumps(resnest_rs.Classifier("demo", manifest=manifest))).num_classes == 10


def test_results_are_frozen(demo: resnest_rs.Classifier, chelsea: bytes) -> None:
    answer = demo.classify(chelsea)
    with pytest.raises((AttributeError, TypeError)):
        answer.top = 1  # type: ignore[misc,assignment]
    with pytest.raises(AttributeError):
        answer[0].label = "dog"  # type: ignore[misc]
    with pytest.raises(AttributeError):
        demo.name = "other"  # type: ignore[misc]
    assert hash(answer) == hash(demo.classify(chelsea))


# ---- processes

kept: resnest_rs.Classifier | None = None


def classify_there(given: resnest_rs.Classifier, path: str) -> resnest_rs.Prediction:
    return given.classify(path)


def classify_with_own(path: str) -> resnest_rs.Prediction:
    global kept
    kept = kept or resnest_rs.Classifier("demo", threads=2)
    return kept.classify(path)


def fail_there(_: int) -> None:
    resnest_rs.Classifier("demo").classify([CHELSEA, b"broken"])


@pytest.mark.parametrize("method", ["spawn", "forkserver", "fork"])
@pytest.mark.timeout(120)
def test_process_pools(method: str, demo: resnest_rs.Classifier) -> None:
    expected = demo.classify(CHELSEA)
    context = multiprocessing.get_context(method)
    with concurrent.futures.ProcessPoolExecutor(2, mp_context=context) as pool:
        assert list(pool.map(classify_with_own, [CHELSEA] * 6)) == [expected] * 6
        assert pool.submit(classify_there, demo, CHELSEA).result(60) == expected
        # An exception of a worker comes through as it is.
        with pytest.raises(resnest_rs.ImageError, match="^image 1: ") as caught:
            pool.submit(fail_there, 0).result(60)
        assert caught.value.index == 1
    with context.Pool(2) as pool:
        assert pool.starmap(classify_there, [(demo, CHELSEA)] * 3) == [expected] * 3


FORKS = """
import os, signal, sys, threading, time
import numpy  # before any fork: a child waits for ever for a module that another thread was importing
import resnest_rs

COUNT = int(sys.argv[1])
photo = open(sys.argv[2], "rb").read()
classifier = resnest_rs.Classifier("demo", threads=2)
model = resnest_rs.create_model("demo", threads=2)
transform = resnest_rs.create_transform(48)
expected = classifier.classify(photo)
many = [photo] * 20
over = False

def compute():
    while not over:
        classifier.classify(many)

def stream():
    while not over:
        for at, _ in enumerate(classifier.stream(many)):
            if at == 9:
                break

def networks():
    x = numpy.stack([transform(photo)] * 2)
    while not over:
        model(x)

threads = [threading.Thread(target=work) for work in (compute, stream, networks)]
for thread in threads:
    thread.start()
time.sleep(0.2)
for number in range(COUNT):
    child = os.fork()
    if child == 0:
        code = 1
        try:
            kind = number % 4
            if kind == 0:
                code = 0 if classifier.classify(photo) == expected else 2
            elif kind == 1:
                code = 0 if len(classifier.classify([photo] * 11)) == 11 else 2
            elif kind == 2:
                code = 0 if len(list(classifier.stream([photo] * 3))) == 3 else 2
            else:
                code = 0 if model(transform(photo)[None]).shape == (1, 10) else 2
        finally:
            os._exit(code)
    until = time.monotonic() + 60
    while True:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            break
        if time.monotonic() > until:
            os.kill(child, signal.SIGKILL)
            print(f"child {number} hangs", flush=True)
            os._exit(3)
        time.sleep(0.0005)
    if status:
        print(f"child {number} ended with {status}", flush=True)
        os._exit(4)
over = True
for thread in threads:
    thread.join(60)
assert not any(thread.is_alive() for thread in threads)
assert classifier.classify(photo) == expected
print("fine")
"""


@pytest.mark.timeout(1900)
def test_forks_while_threads_compute(run: Run) -> None:
    pytest.importorskip("numpy")
    count = 1000 if LONG else 100
    assert done(run(FORKS, str(count), CHELSEA, timeout=1800 if LONG else 300)) == "fine\n"


def test_a_child_of_a_child(run: Run) -> None:
    program = """
import os, sys, resnest_rs
classifier = resnest_rs.Classifier("demo", threads=2)
expected = classifier.classify(sys.argv[1])
for generation in range(4):
    child = os.fork()
    if child:
        _, status = os.waitpid(child, 0)
        os._exit(os.waitstatus_to_exitcode(status))
    assert classifier.classify([sys.argv[1]] * 9)[8] == expected
os._exit(0)
"""
    done(run(program, CHELSEA))


def test_a_stream_from_before_a_fork(run: Run) -> None:
    # Its threads are in the parent: the child is told so, and does not hang; the parent goes on.
    program = """
import os, sys, resnest_rs
classifier = resnest_rs.Classifier("demo", threads=2)
stream = classifier.stream([sys.argv[1]] * 40)
next(stream)
child = os.fork()
if child == 0:
    try:
        for _ in stream:
            pass
    except RuntimeError as error:
        assert "fork" in str(error)
        assert len(list(classifier.stream([sys.argv[1]] * 4))) == 4
        os._exit(0)
    os._exit(1)
_, status = os.waitpid(child, 0)
assert status == 0, status
assert len(list(stream)) == 39
"""
    done(run(program, CHELSEA))


def test_a_subinterpreter(run: Run) -> None:
    # The module may be refused there, or work; it must not end the process.
    program = """
import sys
try:
    import _interpreters as interpreters
except ImportError:
    import _xxsubinterpreters as interpreters
import resnest_rs
code = '''
try:
    import resnest_rs
    print("works:", resnest_rs.Classifier("demo").classify(%r).top.label)
except ImportError as error:
    print("refused:", error)
''' % sys.argv[1]
one = interpreters.create()
failed = interpreters.run_string(one, code)
assert not failed, failed
interpreters.destroy(one)
print(resnest_rs.Classifier("demo").classify(sys.argv[1]).top.label)
"""
    lines = done(run(program, CHELSEA)).splitlines()
    print(lines)
    assert lines[-1] == "cat"
    assert lines[0].startswith(("refused:", "works: cat"))


def test_at_exit(run: Run) -> None:
    # A stream in the middle, a thread that computes: the process ends all the same.
    program = """
import sys, threading, resnest_rs
classifier = resnest_rs.Classifier("demo", threads=2)
stream = classifier.stream([sys.argv[1]] * 1000)
next(stream)
def work():
    while True:
        classifier.classify([sys.argv[1]] * 20)
threading.Thread(target=work, daemon=True).start()
classifier.classify(sys.argv[1])
print("end")
"""
    assert done(run(program, CHELSEA)) == "end\n"


# ---- signals

INTERRUPT = """
import itertools, os, signal, sys, threading, time
import resnest_rs

photo = open(sys.argv[1], "rb").read()
classifier = resnest_rs.Classifier("demo", threads=1)
classifier.classify(photo)
sent = [0.0]

def send():
    time.sleep(0.3)
    sent[0] = time.monotonic()
    os.kill(os.getpid(), signal.SIGINT)

threading.Thread(target=send).start()
try:
    if sys.argv[2] == "classify":
        classifier.classify([photo] * 100_000)
    elif sys.argv[2] == "logits":
        classifier.logits([photo] * 100_000, errors="return")
    else:
        for _ in classifier.stream(itertools.repeat(photo)):
            pass
except KeyboardInterrupt:
    took = time.monotonic() - sent[0]
    # Afterwards everything works as before.
    assert classifier.classify([photo] * 9)[8].top.label == "cat"
    print(took < 5)
"""


@pytest.mark.parametrize("method", ["classify", "logits", "stream"])
def test_ctrl_c(method: str, run: Run) -> None:
    assert done(run(INTERRUPT, CHELSEA, method)) == "True\n"


# ---- threads

THREADS = """
import os, sys
if len(sys.argv) > 1:
    os.sched_setaffinity(0, {int(cpu) for cpu in sys.argv[1].split(",")})
import resnest_rs
print(resnest_rs.Classifier("demo").threads, resnest_rs.Classifier("demo", threads=3).threads)
"""


def test_how_many_threads(run: Run) -> None:
    cpus = sorted(os.sched_getaffinity(0))
    empty = {"RESNEST_NUM_THREADS": "", "OMP_NUM_THREADS": ""}
    # The argument, then our variable, then OpenMP's, then the CPUs.
    for variables, expected in [
        ({"RESNEST_NUM_THREADS": "5", "OMP_NUM_THREADS": "4"}, 5),
        ({"OMP_NUM_THREADS": "4"}, 4),
        ({"OMP_NUM_THREADS": "4,2"}, 4),
        ({"OMP_NUM_THREADS": "nonsense"}, len(cpus)),
        ({"OMP_NUM_THREADS": "0"}, len(cpus)),
    ]:
        found = done(run(THREADS, **{**empty, **variables})).split()
        assert found[1] == "3"
        # A quota of the cgroup may be below the CPUs.
        assert int(found[0]) == expected or (expected == len(cpus) and int(found[0]) < expected)
    assert done(run(THREADS, str(cpus[0]), **empty)).split() == ["1", "3"]
    failed = run(THREADS, RESNEST_NUM_THREADS="none")
    assert failed.returncode == 1 and "ModelError: RESNEST_NUM_THREADS" in failed.stderr


def test_the_gil_is_released(demo: resnest_rs.Classifier, chelsea: bytes) -> None:
    model = resnest_rs.create_model("demo", threads=1)
    large = np.zeros((64, 3, 224, 224), np.float32)
    photo = np.zeros((4000, 4000, 3), np.uint8)
    transform = resnest_rs.create_transform(2000, interpolation="lanczos")
    for work in (lambda: demo.classify([chelsea] * 200), lambda: model(large), lambda: transform(photo)):
        counted, over = 0, threading.Event()

        def count() -> None:
            nonlocal counted
            while not over.is_set():
                counted += 1
                time.sleep(0.0005)

        counter = threading.Thread(target=count)
        counter.start()
        start, before = time.monotonic(), counted
        work()
        took, during = time.monotonic() - start, counted - before
        over.set()
        counter.join()
        # With the lock held for all of it there would be a handful.
        assert during > 20 * took, (during, took)


def test_many_threads_at_once(demo: resnest_rs.Classifier, chelsea: bytes, horse: bytes) -> None:
    expected = {image: demo.classify(image) for image in (chelsea, horse)}
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        asked = [chelsea, horse] * 100
        assert list(pool.map(demo.classify, asked)) == [expected[image] for image in asked]
        several = list(pool.map(lambda _: demo.classify([chelsea, horse] * 10), range(20)))
        assert all(answers == several[0] for answers in several)
        streams = list(pool.map(lambda _: tuple(demo.stream([chelsea, horse] * 10)), range(20)))
        assert all(answers == streams[0] for answers in streams)


def test_a_stream_read_by_several_threads(demo: resnest_rs.Classifier, tiny: bytes) -> None:
    stream, refused = demo.stream([tiny] * 300), 0
    lock = threading.Lock()

    def read() -> int:
        nonlocal refused
        found = 0
        while True:
            try:
                next(stream)
                found += 1
            except StopIteration:
                return found
            except ValueError as error:
                assert "another thread" in str(error)
                with lock:
                    refused += 1

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        assert sum(one.result(60) for one in [pool.submit(read) for _ in range(4)]) == 300


def test_asyncio(demo: resnest_rs.Classifier, chelsea: bytes) -> None:
    async def one(at: int) -> Any:
        return await asyncio.to_thread(demo.classify, [chelsea] * (1 + at % 11))

    async def all_of_them() -> list[Any]:
        return await asyncio.wait_for(asyncio.gather(*map(one, range(50))), 100)

    answers = asyncio.run(all_of_them())
    assert [len(answer) for answer in answers] == [1 + at % 11 for at in range(50)]
    assert {answer[0].top.label for answer in answers} == {"cat"}


# ---- memory

def resident() -> int:
    """KiB of this process in memory."""
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))


CALLS: dict[str, Callable[[resnest_rs.Classifier, Any, bytes, Any], Any]] = {
    "one": lambda c, m, file, x: c.classify(file),
    "several": lambda c, m, file, x: c.classify([file] * 3),
    "many": lambda c, m, file, x: c.classify([file] * 10),
    "broken": lambda c, m, file, x: c.classify([file, b"broken", None], errors="return"),
    "features": lambda c, m, file, x: c.features([file], 1),
    "network": lambda c, m, file, x: m(x),
    "abandoned stream": lambda c, m, file, x: next(c.stream([file] * 40)),
    "cam": lambda c, m, file, x: c.cam(file).resized(9, 9),
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.timeout(3000)
def test_memory_is_flat(call: str, tiny: bytes) -> None:
    classifier = resnest_rs.Classifier("demo", threads=1)
    model = resnest_rs.create_model("demo", threads=1)
    x = np.zeros((1, 3, 48, 48), np.float32)
    count = (100_000 if call == "one" else 20_000) if LONG else 500
    for _ in range(max(50, count // 10)):
        CALLS[call](classifier, model, tiny, x)
    before = resident()
    for _ in range(count):
        CALLS[call](classifier, model, tiny, x)
    grown = resident() - before
    print(f"{call}: {grown} KiB more after {count} calls, of {before}")
    # A file of 200 bytes that stayed each time would be 20 MB after 10^5, an answer more than that.
    assert grown < 8 * 1024


def test_images_are_let_go(demo: resnest_rs.Classifier, chelsea: bytes) -> None:
    image = bytes(bytearray(chelsea))
    array = np.zeros((30, 30, 3), np.uint8)
    buffer = bytearray(chelsea)
    before = [sys.getrefcount(one) for one in (image, array, buffer)]
    for images in ([image], [image, array, buffer], [image, array, buffer] * 20):
        demo.classify(images)
        demo.logits(images)
        list(demo.stream(images))
    del images
    demo.classify(image)
    demo.classify(array)
    demo.classify(buffer)
    with pytest.raises(resnest_rs.ImageError):
        demo.classify([image, b"broken"] * 20)
    stream = demo.stream([image, array, buffer] * 50)
    next(stream)
    del stream
    # Threads of ours let images go without the GIL: that is made good at the next call.
    settle(lambda: bool(demo.name) and [sys.getrefcount(one) for one in (image, array, buffer)] == before)
    # No export of the buffer is left: it may grow.
    buffer.append(0)


def test_arrow_buffers_are_let_go(demo: resnest_rs.Classifier, chelsea: bytes) -> None:
    pa = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    before = pa.total_allocated_bytes()
    column = pa.chunked_array([[chelsea] * 10, [chelsea] * 10])
    held = pa.total_allocated_bytes()
    assert held > before + 20 * len(chelsea)
    demo.classify(column)
    demo.features(column, 2, errors="return")
    list(demo.stream(column))
    stream = demo.stream(column)
    next(stream)
    # No copy was made of it in pyarrow's own memory: what is more are the structs of the interface.
    assert pa.total_allocated_bytes() < held + len(chelsea) // 10
    del column, stream
    settle(lambda: pa.total_allocated_bytes() == before)


def test_an_abandoned_stream_lets_its_source_go(demo: resnest_rs.Classifier, tiny: bytes) -> None:
    closed = threading.Event()

    def source() -> Any:
        try:
            while True:
                yield tiny
        finally:
            closed.set()

    stream = demo.stream(source())
    next(stream)
    threads = count_threads()
    del stream
    settle(closed.is_set)
    settle(lambda: count_threads() < threads)


def count_threads() -> int:
    return len(os.listdir("/proc/self/task"))


def settle(fine: Callable[[], bool]) -> None:
    """Threads of ours may still hold an image for a moment."""
    until = time.monotonic() + 20
    while not fine() and time.monotonic() < until:
        time.sleep(0.01)
    assert fine()


# ---- without other packages

ALONE = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("numpy", "PIL", "pyarrow", "pandas", "torch", "timm"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Absent())
import resnest_rs
classifier = resnest_rs.Classifier("demo")
assert classifier.classify(sys.argv[1]).top.label == "cat"
assert classifier.classify([open(sys.argv[1], "rb").read()] * 20)[19].top.label == "cat"
assert len(list(classifier.stream([sys.argv[1]] * 3))) == 3
for work in (classifier.logits, classifier.features, classifier.preprocess, resnest_rs.create_transform(32), classifier.cam):
    try:
        work(sys.argv[1])
    except ImportError as error:
        assert "numpy" in str(error), error
    else:
        raise AssertionError(work)

print("fine")
"""


def test_without_other_packages(run: Run) -> None:
    assert done(run(ALONE, CHELSEA)) == "fine\n"


def test_nothing_heavy_is_imported(run: Run) -> None:
    program = "import sys, resnest_rs; print(*sorted({'numpy', 'PIL', 'pyarrow', 'pandas', 'torch'} & set(sys.modules)))"
    assert done(run(program)) == "\n"
