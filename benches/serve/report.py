"""The results as Markdown: the bars first, then the tables they come from."""

from __future__ import annotations

from collections.abc import Iterator

from servers import BY_NAME

OURS = "resnest"
MIB = 2**20


def markdown(results: dict) -> str:
    machine = results["machine"]
    lines = [
        f"{results['date']}, commit {machine['commit']}, {machine['cpu']}, {machine['cores']} cores, Linux "
        f"{machine['kernel']}; load average before {results['load_before']}, after {results.get('load_after', '-')}. "
        f"`{results['command']}`",
        "",
    ]
    lines += [*bars(results), ""]
    sections = {
        "growing": growing,
        "equal": equal,
        "saturation": saturation,
        "latency": latency,
        "start": start,
        "alone": alone,
        "check": check,
    }
    for part, section in sections.items():
        if results.get(part):
            lines += [*section(results), ""]
    return "\n".join(lines)


def table(head: list[str], rows: list[list]) -> Iterator[str]:
    yield "| " + " | ".join(head) + " |"
    yield "|" + "---|" + "---:|" * (len(head) - 1)
    for row in rows:
        yield "| " + " | ".join(str(cell) for cell in row) + " |"


def label(name: str) -> str:
    return BY_NAME[name].label


def bars(results: dict) -> Iterator[str]:
    """Each bar of the plan that the parts and servers of this run can answer."""
    names = {row["server"] for row in results.get("alone", []) + results.get("growing", [])}
    compared = OURS in names and len(names) > 1
    parts = {
        "saturation": (bars_of_saturation, True),
        "latency": (bars_of_latency, True),
        "growing": (bars_of_load, compared),
        "alone": (bars_of_memory, compared),
        "start": (bars_of_start, True),
    }
    rows = [row for part, (make, ok) in parts.items() if ok and part in results for row in make(results)]
    if rows:
        yield from table(["", "measured", "bar", "aim"], rows)


def bars_of_saturation(results: dict) -> list[list]:
    share = results["saturation"]["share"]
    return [["throughput at saturation, of network + decoding", f"{100 * share:.1f}%", "95%", "98%"]]


def bars_of_latency(results: dict) -> list[list]:
    added = {name: results["latency"][name]["added"] for name in ("p50", "p99")}
    text = f"p50 {added['p50']:.2f}, p99 {added['p99']:.2f} ms"
    return [["latency an idle server adds, demo", text, "0.5, 2 ms", "0.2, 1 ms"]]


def bars_of_load(results: dict) -> list[list]:
    rows = []
    best = {}
    for row in results["growing"]:
        best[row["server"]] = max(best.get(row["server"], 0), row["images_per_s"])
    ours, theirs = best.pop(OURS), max(best.values())
    rows.append(["images/s, against the best peer, each at its best load", f"{ours / theirs:.2f}x", "1.5x", "2x"])
    for share in sorted({row["share"] for row in results["equal"]}):
        same = {row["server"]: row["p99_ms"] for row in results["equal"] if row["share"] == share}
        ratio = min(value for name, value in same.items() if name != OURS) / same[OURS]
        what = f"p99 at equal load, {100 * share:.0f}% of the best peer's capacity, best peer's / ours"
        rows.append([what, f"{ratio:.2f}x", "1.5x", "2x"])
    return rows


def bars_of_memory(results: dict) -> list[list]:
    peaks = {row["server"]: row["peak_bytes"] for row in results["alone"]}
    ours = peaks.pop(OURS)
    return [["peak memory, against the leanest peer", f"{ours / min(peaks.values()):.2f}x", "0.5x", "0.3x"]]


def bars_of_start(results: dict) -> list[list]:
    rows = []
    for model, bar, aim in (("demo", "0.1 s", "0.05 s"), ("resnest50d", "0.5 s", "0.3 s")):
        rows.append([f"start to ready, {model}", f"{results['start'][model]['median_s']:.3f} s", bar, aim])
    return rows


def growing(results: dict) -> Iterator[str]:
    rows = results["growing"]
    clients = sorted({row["clients"] for row in rows})
    yield (
        "Images a second, and p50 / p99 in ms, by the number of clients that wait for their answers "
        f"(`load.rs` itself took up to {100 * results['client_cpu']:.1f}% of one core):"
    )
    yield ""
    yield from table(["", *[str(count) for count in clients]], cells(rows, "clients", clients, True))


def equal(results: dict) -> Iterator[str]:
    rows = results["equal"]
    shares = sorted({row["share"] for row in rows})
    rates = {row["share"]: row["rate"] for row in rows}
    yield "p50 / p99 in ms when as many photos a second arrive at every server:"
    yield ""
    yield from table(["", *[f"{rates[share]:.1f} images/s" for share in shares]], cells(rows, "share", shares, False))


def cells(rows: list[dict], key: str, values: list, throughput: bool) -> list[list]:
    """A line for each server, a cell for each load."""
    lines = []
    for name in dict.fromkeys(row["server"] for row in rows):
        line = [label(name)]
        for value in values:
            row = next(row for row in rows if row["server"] == name and row[key] == value)
            text = f"{row['p50_ms']:.0f} / {row['p99_ms']:.0f}"
            text = f"{row['images_per_s']:.1f}, {text}" if throughput else text
            line.append(text + (f" ({row['errors']} errors)" if row["errors"] else ""))
        lines.append(line)
    return lines


def saturation(results: dict) -> Iterator[str]:
    found = results["saturation"]
    yield (
        f"Saturation, {found['clients']} clients: {found['images_per_s']:.2f} images/s in batches of "
        f"{found['batch']:.2f}. `resnest bench` at that batch: {found['bench']:.2f} images/s; decoding: "
        f"{found['decode_ms']:.2f} ms of one of {found['threads']} threads. That is {100 * found['share']:.1f}% of "
        "what both need at least."
    )


def latency(results: dict) -> Iterator[str]:
    found = results["latency"]
    yield f"One request at a time, demo model, {found['requests']} photos, ms:"
    yield ""
    rows = [
        [name, *[f"{found[name][key]:.3f}" for key in ("library", "server", "added", "paired")]]
        for name in ("p50", "p99")
    ]
    yield from table(["", "library", "server", "server − library", "of the paired differences"], rows)


def start(results: dict) -> Iterator[str]:
    yield "Start to the ready line, files in the page cache, s:"
    yield ""
    rows = [
        [model, *[f"{row[key]:.3f}" for key in ("median_s", "min_s", "max_s")], row["starts"]]
        for model, row in results["start"].items()
    ]
    yield from table(["", "median", "min", "max", "starts"], rows)


def alone(results: dict) -> Iterator[str]:
    yield "Every server alone: start to the first answer, peak memory with 32 clients:"
    yield ""
    rows = [
        [label(row["server"]), f"{row['first_answer_s']:.2f}", f"{row['peak_bytes'] / MIB:.0f}", row["processes"]]
        for row in results["alone"]
    ]
    yield from table(["", "first answer s", "peak MB", "processes"], rows)


def check(results: dict) -> Iterator[str]:
    yield "The same load by `wrk` and by `load.rs`, 8 clients, images/s and p99 in ms:"
    yield ""
    rows = [
        [
            label(row["server"]),
            *[f"{row[tool]['images_per_s']:.1f}, {row[tool]['p99_ms']:.0f}" for tool in ("wrk", "load")],
        ]
        for row in results["check"]
    ]
    yield from table(["", "wrk", "load.rs"], rows)
