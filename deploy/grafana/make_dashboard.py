"""Writes dashboard.json beside it: `python deploy/grafana/make_dashboard.py`.

A dashboard's JSON is a thousand lines that nobody reads; what is on it is the list ROWS here. Each panel: title, what
it tells, unit, and its queries as (PromQL, legend). `SELECT` narrows a query to what the dashboard's menus say.
"""
import json
import sys
from pathlib import Path

# of Grafana 12 and 13; older ones read it too
SCHEMA = 42
WIDTH = 24
SELECT = 'job=~"$job", instance=~"$instance"'
MODEL = f'{SELECT}, model=~"$model"'
# Probes and scrapes are requests too, of no model: they would hide how long images take.
REAL = f'{MODEL}, model!=""'
EVERY = "$__rate_interval"


def rate(metric, select=MODEL):
    """A counter's increase a second."""
    return f"rate({metric}{{{select}}}[{EVERY}])"


def quantiles(metric, by="model"):
    """The median and the slowest hundredth of a histogram."""
    return [(f"histogram_quantile({q}, sum by (le, {by}) ({rate(metric + '_bucket', REAL)}))", f"{{{{{by}}}}} {name}")
            for q, name in ((0.5, "p50"), (0.99, "p99"))]


def stat(title, about, unit, query, **more):
    return {"type": "stat", "title": title, "description": about, "unit": unit, "queries": [(query, "")],
            "size": (4, 4), **more}


def graph(title, about, unit, queries, **more):
    return {"type": "timeseries", "title": title, "description": about, "unit": unit, "queries": queries,
            "size": (8, 8), **more}


FAILED = rate("resnest_requests_total", REAL + ', status=~"5.."')
ANSWERED = rate("resnest_images_total", MODEL + ', result="ok"')
ROWS = [
    ("At a glance", [
        stat("Servers", "Servers that Prometheus reaches.", "short", f"count(resnest_build_info{{{SELECT}}})"),
        stat("Models loaded", "Models loaded, in all servers.", "short", f"sum(resnest_model_loaded{{{MODEL}}})"),
        stat("Images a second", "Images answered.", "short",
             f"sum({ANSWERED})", decimals=1),
        stat("p99", "99 of 100 requests are answered within this time.", "s",
             f"histogram_quantile(0.99, sum by (le) ({rate('resnest_request_seconds_bucket', REAL)}))", decimals=2),
        stat("Refused", "Requests refused: too many at once, a model away, or too slow.", "reqps",
             f"sum({rate('resnest_rejected_total')})", decimals=2, steps=[("green", None), ("orange", 0.001)]),
        stat("Failures", "Of all requests to models, those answered with 5xx.", "percentunit",
             f"(sum({FAILED}) or vector(0)) / sum({rate('resnest_requests_total', REAL)})", decimals=2,
             steps=[("green", None), ("red", 0.001)]),
    ]),
    ("Traffic", [
        graph("Requests by status", "What was answered.", "reqps",
              [(f"sum by (status) ({rate('resnest_requests_total')})", "{{status}}")], stacked=True),
        graph("Requests by endpoint", "Through which door they came.", "reqps",
              [(f"sum by (endpoint) ({rate('resnest_requests_total')})", "{{endpoint}}")], stacked=True),
        graph("Images by model and result",
              "A request may bring many. `error`: a broken image, for one.", "short",
              [(f"sum by (model, result) ({rate('resnest_images_total')})", "{{model}} {{result}}")]),
        graph("Refused, by reason", "`overloaded` is answered 429: add servers. `timeout`: a request waited too long.",
              "reqps", [(f"sum by (reason) ({rate('resnest_rejected_total')})", "{{reason}}")], stacked=True),
        graph("Connections", "Open HTTP and gRPC connections.", "short",
              [(f"resnest_connections{{{SELECT}}}", "{{instance}}")]),
        graph("Images in flight", "Taken on and not yet answered.", "short",
              [(f"resnest_in_flight_images{{{SELECT}}}", "{{instance}}")]),
    ]),
    ("Where the time goes", [
        graph("A request", "From its head to its answer; probes and scrapes left out.", "s",
              quantiles("resnest_request_seconds"), size=(12, 8)),
        graph("In the queue", "An image's wait for its batch. It grows when more comes than is computed.", "s",
              quantiles("resnest_queue_seconds"), size=(12, 8)),
        graph("Decoding", "An image's bytes to the network's input.", "s", quantiles("resnest_decode_seconds"),
              size=(12, 8)),
        graph("Inference", "One batch through the network.", "s", quantiles("resnest_inference_seconds"), size=(12, 8)),
    ]),
    ("Batches", [
        graph("Images in a batch", "Batches form themselves: one image when idle, more under load.", "short",
              [(f"sum by (model) ({rate('resnest_batch_images_sum')})"
                f" / sum by (model) ({rate('resnest_batch_images_count')})", "{{model}} mean")]
              + quantiles("resnest_batch_images")[1:], size=(12, 8)),
        graph("Queue", "Images that wait for a batch. At `--queue` the server answers 429.", "short",
              [(f"resnest_queue_images{{{MODEL}}}", "{{model}} {{instance}}")], size=(12, 8)),
    ]),
    ("Servers", [
        graph("Memory", "Resident memory of each server.", "bytes",
              [(f"process_resident_memory_bytes{{{SELECT}}}", "{{instance}}")], size=(6, 8)),
        graph("CPU", "CPUs busy.", "short", [(rate("process_cpu_seconds_total", SELECT), "{{instance}}")], size=(6, 8)),
        graph("Models loaded", "1 where a model can answer.", "short",
              [(f"resnest_model_loaded{{{MODEL}}}", "{{model}} {{instance}}")], size=(6, 8)),
        graph("Time to load", "Of each model, when it was last loaded.", "s",
              [(f"resnest_model_load_seconds{{{MODEL}}}", "{{model}} {{instance}}")], size=(6, 8)),
        {"type": "table", "title": "Versions", "description": "Which version each server runs, and since when.",
         "unit": "none", "size": (WIDTH, 5), "queries": [
             (f"sum by (instance, version) (resnest_build_info{{{SELECT}}}) * on (instance) group_left () "
              f"(time() - max by (instance) (process_start_time_seconds{{{SELECT}}}))", "")], "instant": True},
    ]),
]
SOURCE = {"type": "prometheus", "uid": "${datasource}"}


def panel(number, spec, x, y):
    """A panel's JSON at its place."""
    steps = [{"color": color, "value": value} for color, value in spec.get("steps", [("green", None)])]
    defaults = {"unit": spec["unit"], "min": 0, "thresholds": {"mode": "absolute", "steps": steps}}
    if "decimals" in spec:
        defaults["decimals"] = spec["decimals"]
    width, height = spec["size"]
    made = {
        "id": number, "type": spec["type"], "title": spec["title"], "description": spec["description"],
        "datasource": SOURCE, "gridPos": {"h": height, "w": width, "x": x, "y": y},
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "targets": [{"refId": chr(ord("A") + i), "datasource": SOURCE, "expr": query,
                     "legendFormat": legend or "__auto",
                     "instant": spec["type"] in ("stat", "table"), "range": spec["type"] not in ("stat", "table"),
                     "format": "table" if spec["type"] == "table" else "time_series"}
                    for i, (query, legend) in enumerate(spec["queries"])],
    }
    if spec["type"] == "timeseries":
        defaults["custom"] = {"fillOpacity": 25 if spec.get("stacked") else 8, "showPoints": "never",
                              "stacking": {"mode": "normal" if spec.get("stacked") else "none", "group": "A"}}
        made["options"] = {"legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
                           "tooltip": {"mode": "multi", "sort": "desc"}}
    if spec["type"] == "stat":
        made["options"] = {"reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
                           "colorMode": "value", "graphMode": "none"}
    if spec["type"] == "table":
        defaults["unit"] = "s"
        made["transformations"] = [{"id": "organize", "options": {
            "excludeByName": {"Time": True}, "renameByName": {"Value": "running for"}}}]
    return made


def panels():
    """All panels, row under row, from left to right."""
    made, y = [], 0
    for title, specs in ROWS:
        made.append({"id": len(made) + 1, "type": "row", "title": title, "collapsed": False, "panels": [],
                     "gridPos": {"h": 1, "w": WIDTH, "x": 0, "y": y}})
        x, y = 0, y + 1
        for spec in specs:
            if x + spec["size"][0] > WIDTH:
                x, y = 0, y + height
            made.append(panel(len(made) + 1, spec, x, y))
            x, height = x + spec["size"][0], spec["size"][1]
        y += height
    return made


def menu(name, label, query):
    """A menu of a label's values."""
    return {"name": name, "label": label, "type": "query", "datasource": SOURCE, "definition": query,
            "query": {"query": query, "refId": name}, "refresh": 2, "sort": 1, "multi": True, "includeAll": True,
            "allValue": ".*", "current": {"selected": True, "text": ["All"], "value": ["$__all"]}}


def dashboard():
    """The whole."""
    return {
        "uid": "resnest-serve", "title": "resnest serve", "tags": ["resnest", "inference"], "schemaVersion": SCHEMA,
        "description": "Requests, images, times, batches and servers of `resnest serve`.", "editable": True,
        "graphTooltip": 1, "refresh": "30s", "time": {"from": "now-1h", "to": "now"}, "timezone": "browser",
        "annotations": {"list": []}, "links": [],
        "templating": {"list": [
            {"name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus", "refresh": 1},
            menu("job", "Job", "label_values(resnest_build_info, job)"),
            menu("instance", "Server", 'label_values(resnest_build_info{job=~"$job"}, instance)'),
            menu("model", "Model", f"label_values(resnest_model_loaded{{{SELECT}}}, model)"),
        ]},
        "panels": panels(),
    }


def text():
    """The file's text."""
    return json.dumps(dashboard(), indent=1) + "\n"


if __name__ == "__main__":
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_name("dashboard.json")
    target.write_text(text(), encoding="utf-8")
