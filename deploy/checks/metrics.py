"""Dashboard and alerts against the metrics that a server really exposes.

A query that names a metric or a label which is not there shows an empty panel and never an error: nobody notices, so
this does. Queries are parsed as Prometheus parses them; the metrics are those of a scrape of `resnest serve`.
"""
import json
import re
import shutil

from .common import DEPLOY, Skipped, package, run

# What Prometheus adds to every sample.
TARGET = {"job", "instance", "namespace", "pod", "__name__"}
# `__rate_interval` and the like stand where PromQL wants a duration.
INTERVALS = re.compile(r"\$(__rate_interval|__interval|__range)\b")
GROWS = {"rate", "irate", "increase"}


class Scrape:
    """The metrics of a text exposition: `labels` of each sample's name (None where there was no sample), `types`."""

    def __init__(self, text):
        self.labels, self.types = {}, {}
        for line in text.splitlines():
            if line.startswith("# TYPE "):
                self._type(*line.split()[2:4])
            elif line and not line.startswith("#"):
                self._sample(line)

    def _type(self, name, kind):
        suffixes = {"histogram": ["_bucket", "_sum", "_count"], "summary": ["_sum", "_count"]}
        for suffix in suffixes.get(kind, [""]):
            full = name + suffix
            # OpenMetrics leaves `_total` off the counter's name; `x_info` is a gauge named x
            if kind == "counter" and not name.endswith("_total"):
                full += "_total"
            if kind == "info" and not name.endswith("_info"):
                full += "_info"
            self.types[full] = "gauge" if kind in ("gauge", "info", "unknown", "untyped") else "counter"
            self.labels.setdefault(full, None)

    def _sample(self, line):
        name = re.match(r"[a-zA-Z_:][a-zA-Z0-9_:]*", line).group()
        found = re.findall(r'([a-zA-Z_][a-zA-Z0-9_]*)="(?:[^"\\]|\\.)*"', line[len(name):])
        self.labels[name] = (self.labels.get(name) or set()) | set(found)


def expression(query, scrape, where):
    """The faults of one query: what does not parse, what is not there, rates of gauges, bare counters."""
    promql = package("promql_parser")
    try:
        tree = promql.parse(INTERVALS.sub("5m", query))
    except ValueError as error:
        return [f"{where}: {query}: {error}"]
    return [f"{where}: {fault}" for fault in _visit(promql, tree, scrape, rated=False)[1]]


def _visit(promql, node, scrape, rated):
    """The labels that the node's result may carry (None: not known), and its faults."""
    if isinstance(node, (promql.ParenExpr, promql.UnaryExpr, promql.SubqueryExpr)):
        return _visit(promql, node.expr, scrape, rated)
    if isinstance(node, promql.MatrixSelector):
        return _selector(node.vector_selector, scrape, rated)
    if isinstance(node, promql.VectorSelector):
        return _selector(node, scrape, rated)
    if isinstance(node, promql.BinaryExpr):
        return _binary(promql, node, scrape)
    if isinstance(node, promql.AggregateExpr):
        return _aggregate(promql, node, scrape, rated)
    if isinstance(node, promql.Call):
        return _call(promql, node, scrape)
    return set(), []


def _selector(node, scrape, rated):
    if node.name not in scrape.labels:
        return None, [f"there is no metric {node.name}"]
    labels, faults = scrape.labels[node.name], []
    if labels is not None:
        unknown = {matcher.name for matcher in node.matchers.matchers} - labels - TARGET
        faults = [f"{node.name} has no label {name}, but {sorted(labels)}" for name in sorted(unknown)]
    counter = scrape.types.get(node.name) == "counter"
    if rated and not counter:
        faults.append(f"{node.name} is no counter: its rate means nothing")
    if counter and not rated:
        faults.append(f"{node.name} is a counter: only its rate tells anything")
    return (None if labels is None else labels | TARGET), faults


def _binary(promql, node, scrape):
    left, faults = _visit(promql, node.lhs, scrape, rated=False)
    right, more = _visit(promql, node.rhs, scrape, rated=False)
    return (None if left is None or right is None else left | right), faults + more


def _aggregate(promql, node, scrape, rated):
    labels, faults = _visit(promql, node.expr, scrape, rated)
    if node.modifier is None:
        return set(), faults
    named = set(node.modifier.labels)
    if labels is not None:
        faults = faults + [f"groups by {name}, which is no label of {node.expr}" for name in sorted(named - labels)]
    by = node.modifier.type == promql.AggModifierType.By
    return (named if by else None if labels is None else labels - named), faults


def _call(promql, node, scrape):
    rated = node.func.name in GROWS
    labels, faults = set(), []
    for argument in node.args:
        found, more = _visit(promql, argument, scrape, rated)
        faults += more
        labels = None if labels is None or found is None else labels | found
    if node.func.name == "histogram_quantile":
        if labels is not None and "le" not in labels:
            faults.append(f"a quantile needs the label le: {node.args[1]}")
        labels = None if labels is None else labels - {"le"}
    return labels, faults


def dashboard(board, scrape):
    """The dashboard's queries, its menus, and what Grafana needs to show it."""
    faults = []
    for panel in _panels(board):
        for target in panel.get("targets", []):
            faults += expression(target["expr"], scrape, panel["title"])
            if target["datasource"]["uid"] != "${datasource}":
                faults.append(f"{panel['title']}: its data source is not the menu's")
    for menu in board["templating"]["list"]:
        if menu["type"] == "query":
            faults += _menu(menu, scrape)
    return faults + _layout(board) + _used_menus(board)


def _panels(board):
    return [panel for row in board["panels"] for panel in [row, *row.get("panels", [])]]


def _menu(menu, scrape):
    asked = re.fullmatch(r"label_values\((.+), (\w+)\)", menu["query"]["query"])
    if not asked:
        return [f"menu {menu['name']}: {menu['query']['query']} is not understood"]
    metric = re.match(r"\w+", asked[1]).group()
    labels = scrape.labels.get(metric)
    faults = expression(asked[1], scrape, f"menu {menu['name']}")
    if labels is not None and asked[2] not in labels | TARGET:
        faults.append(f"menu {menu['name']}: {metric} has no label {asked[2]}")
    return faults


def _layout(board):
    faults, taken, seen = [], {}, set()
    for panel in board["panels"]:
        place = panel["gridPos"]
        if panel["id"] in seen:
            faults.append(f"{panel['title']}: the id {panel['id']} is taken")
        seen.add(panel["id"])
        if place["x"] + place["w"] > 24:
            faults.append(f"{panel['title']}: reaches beyond the grid")
        for cell in ((x, y) for x in range(place["x"], place["x"] + place["w"])
                     for y in range(place["y"], place["y"] + place["h"])):
            if cell in taken:
                faults.append(f"{panel['title']}: lies on {taken[cell]}")
                break
            taken[cell] = panel["title"]
        if panel["type"] != "row" and not (panel.get("description") and panel["fieldConfig"]["defaults"].get("unit")):
            faults.append(f"{panel['title']}: has no description or no unit")
    return faults


def _used_menus(board):
    """Each `$name` must be a menu, or Grafana leaves the text as it is and the query finds nothing."""
    names = {menu["name"] for menu in board["templating"]["list"]}
    used = set(re.findall(r"\$\{?(\w+)\}?", json.dumps(board["panels"]) + json.dumps(board["templating"])))
    return [f"there is no menu {name}" for name in sorted(used - names) if not name.startswith("__")]


def alerts(rules, scrape):
    """The alerts' expressions, and that labels named in their texts are there."""
    faults = []
    for rule in (rule for group in rules["groups"] for rule in group["rules"]):
        faults += expression(rule["expr"], scrape, rule["alert"])
        carried = _visit(package("promql_parser"), package("promql_parser").parse(rule["expr"]), scrape, False)[0]
        for name in re.findall(r"\$labels\.(\w+)", json.dumps(rule["annotations"])):
            if carried is not None and name not in carried:
                faults.append(f"{rule['alert']}: its text names the label {name}, which its expression drops")
    return faults


def firing():
    """Prometheus' own tool on the alerts: when they fire, by alerts.test.yaml."""
    if not shutil.which("promtool"):
        raise Skipped("promtool isn't installed (Debian: prometheus)")
    status, output = run("promtool", "test", "rules", DEPLOY / "prometheus" / "alerts.test.yaml")
    return [] if status == 0 else output.splitlines()


def unshown(board, scrape):
    """Metrics of ours that no panel shows."""
    text = json.dumps(board)
    families = {re.sub(r"_(bucket|sum|count)$", "", name) for name in scrape.labels}
    return [f"no panel shows {name}" for name in sorted(families)
            if name.startswith("resnest_") and name not in text]


def drift():
    """dashboard.json must be what make_dashboard.py writes."""
    folder = DEPLOY / "grafana"
    code = {"__name__": "make_dashboard", "__file__": str(folder / "make_dashboard.py")}
    exec(compile((folder / "make_dashboard.py").read_text(encoding="utf-8"), "make_dashboard.py", "exec"), code)
    if code["text"]() != (folder / "dashboard.json").read_text(encoding="utf-8"):
        return ["dashboard.json is not what make_dashboard.py writes: run it"]
    return []
