"""The measurement: all engines loaded, all but one parked, turns in an order shuffled each round.

A round gives each engine one turn, so that whatever else the machine does hits all alike, and a round's figures can be
paired. A turn is one forward that is not counted (the caches hold the previous engine's data) and then as many counted
ones as fill about `turn_ms`.
"""

from __future__ import annotations

import math
import random
import statistics
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from harness import engines, export
from harness.session import EngineFailed, Session

SETTLE_S = 0.010  # longer than libgomp's and the thread pools' waiting after the last operator
SLOW_START_S = 5.0  # an engine that takes longer to start is started twice, not `starts` times
SEED = 7


@dataclass
class Settings:
    """How much to measure; see `run.py --help`."""

    rounds: int
    seconds: float  # of rounds for one case; at least MIN_ROUNDS are done
    starts: int
    turn_ms: float
    timeout: float
    logs: Path
    rust: dict[str, Path | str]
    overrides: list[str] = field(default_factory=list)


MIN_ROUNDS = 3


class Contestant:
    """One engine in one case, and all that was seen of it."""

    def __init__(self, engine: engines.Engine, case: engines.Case, settings: Settings):
        self.engine, self.case, self.settings = engine, case, settings
        self.session: Session | None = None
        self.error: str | None = self.hindrance()
        self.record: dict = {"starts_ms": [], "turns": {}}
        self.count = self.every = 1
        self.parked_cpu = self.parked_wall = 0.0
        self.left_at: tuple[float, float] | None = None

    def hindrance(self) -> str | None:
        """Why it cannot even be started."""
        case, engine = self.case, self.engine
        built = self.settings.rust.get(engine.worker)
        if engine.is_rust and not isinstance(built, Path):
            return built or "its worker was not built"
        if not export.artifact(case.cache, case.model, case.batch, engine.fmt).exists():
            return export.error_of(case.cache, case.model, case.batch, engine.fmt) or f"no {engine.fmt} export"
        return None

    def start(self) -> Session:
        name = f"{self.case.model}-b{self.case.batch}-{self.engine.name}.log"
        command = engines.command(self.engine, self.case, self.settings.rust, self.settings.overrides)
        env = engines.surroundings(self.case.threads, self.case.cache)
        return Session(command, env, self.settings.logs / name, self.settings.timeout)

    def guard(self, action) -> None:
        """An engine that fails leaves the contest with its words kept; the others go on."""
        if self.error:
            return
        try:
            action()
        except (EngineFailed, OSError) as failure:
            self.error = str(failure)
            print(f"    {self.engine.name} failed: {self.error.strip().splitlines()[-1]}", file=sys.stderr)
            self.leave()

    def leave(self) -> None:
        if self.session:
            self.session.close()
            self.session = None

    def start_once(self, attempt: int) -> None:
        """A fresh process up to its first answer. Attempt 0 only warms the page cache (and inductor's)."""
        slow = self.record.get("slowest_start_ms", 0) > 1e3 * SLOW_START_S
        if slow and attempt > 2:
            return
        session = self.session = self.start()
        self.record["slowest_start_ms"] = max(self.record.get("slowest_start_ms", 0), session.first_answer_ms)
        if attempt:
            self.record["starts_ms"].append(session.first_answer_ms)
            loading = {key: value for key, value in session.loading.items() if key.endswith("_ms")}
            self.record["start_parts_ms"] = loading | {"first_forward_ms": session.first_forward_ms}
            self.record["first_answer_rss"] = session.ask("rss")
        self.leave()

    def enter(self) -> None:
        """Starts the process that stays for the rounds, and compares its logits with torch's."""
        self.session = self.start()
        logits = self.session.ask("logits")["logits"]
        self.record |= distance(logits, reference(self.case), self.case.batch)
        self.record["computes_in"] = self.session.loading.get("computes_in")
        self.record["warm_ms"] = min(self.session.ask("run 3")["times_ms"])

    def plan(self, fastest_ms: float) -> None:
        """Forwards a turn; and a slow engine comes only every few rounds, so that it does not eat the time of all."""
        warm = self.record["warm_ms"]
        self.count = max(1, min(100, math.ceil(self.settings.turn_ms / warm)))
        self.every = max(1, min(4, int(warm / fastest_ms / 1.5)))

    def turn(self, number: int) -> None:
        cpu = self.session.cpu_seconds()
        if self.left_at:
            self.parked_cpu += cpu - self.left_at[1]
            self.parked_wall += time.perf_counter() - self.left_at[0]
        times = self.session.ask(f"run {self.count + 1}")["times_ms"]
        self.record["turns"][number] = times[1:]
        time.sleep(SETTLE_S)
        self.left_at = (time.perf_counter(), self.session.cpu_seconds())

    def finish(self) -> None:
        self.record["rss"] = self.session.ask("rss")
        self.record["parked_cpu_share"] = self.parked_cpu / self.parked_wall if self.parked_wall else None
        self.leave()


def reference(case: engines.Case) -> list[float]:
    """torch's f32 logits for the images of the batch, (batch · classes)."""
    import numpy

    values = numpy.fromfile(export.folder(case.cache, case.model) / "reference.f32", dtype=numpy.float32)
    return values[: len(values) // export.models.IMAGES * case.batch].tolist()


def distance(logits: list[float], wanted: list[float], batch: int) -> dict:
    """The largest |Δlogit| from torch, in proportion to the largest |logit| of all, and so of the median image."""
    if len(logits) != len(wanted):
        raise EngineFailed(f"{len(logits)} logits came back, {len(wanted)} were expected")
    worst = max(abs(a - b) for a, b in zip(logits, wanted))
    if not math.isfinite(worst):
        raise EngineFailed("the logits are not finite")
    classes, largest = len(wanted) // batch, max(abs(v) for v in wanted)
    starts = range(0, len(wanted), classes)
    image = lambda at: max(abs(a - b) for a, b in zip(logits[at : at + classes], wanted[at : at + classes]))  # noqa: E731
    median = statistics.median(image(at) for at in starts)
    return {"max_abs_diff": worst, "max_rel_diff": worst / largest, "median_image_rel_diff": median / largest}


def measure(case: engines.Case, chosen: list[engines.Engine], settings: Settings) -> dict:
    """Starts, rounds and memory of all the chosen engines for one case, as plain data."""
    contestants = [Contestant(engine, case, settings) for engine in chosen]
    try:
        rounds = contest(contestants, settings)
    finally:
        for contestant in contestants:
            contestant.leave()
    found = {c.engine.name: c.record | ({"error": c.error} if c.error else {}) for c in contestants}
    facts = {"model": case.model, "size": case.size, "batch": case.batch, "threads": case.threads}
    return facts | {"rounds": rounds, "engines": found}


def contest(contestants: list[Contestant], settings: Settings) -> int:
    """Starts, entries, rounds, memory; how many rounds were done."""
    order = random.Random(SEED)
    for attempt in range(settings.starts + 1 if settings.starts else 0):
        for contestant in order.sample(contestants, len(contestants)):
            contestant.guard(lambda c=contestant: c.start_once(attempt))
    for contestant in contestants:
        contestant.guard(contestant.enter)
    rounds = run_rounds(contestants, order, settings)
    for contestant in contestants:
        contestant.guard(contestant.finish)
    return rounds


def run_rounds(contestants: list[Contestant], order: random.Random, settings: Settings) -> int:
    """Round after round until the number or the time is up; how many were done."""
    ready = [c for c in contestants if not c.error]
    if not ready:
        return 0
    fastest = min(c.record["warm_ms"] for c in ready)
    for contestant in ready:
        contestant.plan(fastest)
    begin = time.monotonic()
    for number in range(settings.rounds):
        if number >= MIN_ROUNDS and time.monotonic() - begin > settings.seconds:
            return number
        turns = [c for c in ready if not c.error and number % c.every == 0]
        for contestant in order.sample(turns, len(turns)):
            contestant.guard(lambda c=contestant: c.turn(number))
        progress(ready, number)
    return settings.rounds


def progress(ready: list[Contestant], number: int) -> None:
    if number % 10 == 0:
        seen = {c.engine.name: c.record["turns"] for c in ready if c.record["turns"]}
        parts = (f"{n} {statistics.median(t for turn in turns.values() for t in turn):.1f}" for n, turns in seen.items())
        print(f"    round {number}: {', '.join(parts)} ms", file=sys.stderr)
