"""Deliberate mistakes, each of which a check must find: a check that cannot fail is worth nothing.

    cd deploy && python -m unittest checks.mutations

Every case changes one thing in what the repository has and names a part of the fault that must come out; the unchanged
original must come out without any.
"""
import copy
import json
import tempfile
import unittest
from pathlib import Path

from . import files, kserve, manifests, metrics, rayjob, server
from .common import DEPLOY, REPOSITORY, Skipped, at, build, by_kind, package

# A scrape as the server's documentation has it, with a sample of each metric that the dashboard and the alerts use.
COUNTERS = {"requests": "model endpoint status", "images": "model result", "rejected": "model reason"}
GAUGES = {"queue_images": "model", "connections": "", "in_flight_images": "", "model_loaded": "model",
          "model_load_seconds": "model", "build_info": "version"}
HISTOGRAMS = {"queue_seconds": "model", "decode_seconds": "model", "inference_seconds": "model",
              "request_seconds": "model endpoint", "batch_images": "model"}


def sample(name, labels):
    pairs = ",".join(f'{label}="x"' for label in labels.split())
    return f"{name}{{{pairs}}} 1" if pairs else f"{name} 1"


def scrape_text():
    lines = []
    for name, labels in COUNTERS.items():
        lines += [f"# TYPE resnest_{name} counter", sample(f"resnest_{name}_total", labels)]
    for name, labels in GAUGES.items():
        lines += [f"# TYPE resnest_{name} gauge", sample(f"resnest_{name}", labels)]
    for name, labels in HISTOGRAMS.items():
        lines += [f"# TYPE resnest_{name} histogram", sample(f"resnest_{name}_bucket", labels + " le"),
                  sample(f"resnest_{name}_sum", labels), sample(f"resnest_{name}_count", labels)]
    lines += ["# TYPE process_resident_memory_bytes gauge", "process_resident_memory_bytes 1",
              "# TYPE process_start_time_seconds gauge", "process_start_time_seconds 1",
              "# TYPE process_cpu_seconds counter", "process_cpu_seconds_total 1", "# EOF"]
    return "\n".join(lines)


def put(document, path, value):
    """Sets what lies at a path of keys and indices."""
    *way, last = path.split(".")
    inner = at(document, ".".join(way)) if way else document
    inner[int(last) if isinstance(inner, list) else last] = value


def drop(document, path):
    *way, last = path.split(".")
    del at(document, ".".join(way))[last]


class Case(unittest.TestCase):
    """With `finds`, which makes a mistake and looks for its fault."""

    def finds(self, check, original, cases):
        self.assertEqual(check(original), [], "the original is not fine")
        for part, mistake in cases:
            with self.subTest(part):
                changed = copy.deepcopy(original)
                made = mistake(changed)
                found = check(made if isinstance(changed, str) else changed)
                self.assertTrue(any(part in fault for fault in found), f"{part!r} is not among {found}")


def only(kind, change):
    """Applies a change to the one object of a kind."""
    return lambda documents: change(by_kind(documents, kind)[0])


POD = "spec.template.spec"
BOX = f"{POD}.containers.0"
FORMAT = "spec.supportedModelFormats.0"
RAY = "spec.rayClusterSpec"
HEAD = f"{RAY}.headGroupSpec"
WORKERS = f"{RAY}.workerGroupSpecs.0"


class Kubernetes(Case):
    def setUp(self):
        self.documents = build_or_skip(self, "kubernetes")

    def test_schemas(self):
        self.finds(manifests.schemas, self.documents, [
            ("minReplica", only("HorizontalPodAutoscaler", lambda d: put(d, "spec.minReplica", 2))),
            ("'3' is not", only("HorizontalPodAutoscaler", lambda d: put(d, "spec.maxReplicas", "3"))),
            ("readOnlyRoot", only("Deployment", lambda d: put(d, f"{BOX}.securityContext.readOnlyRoot", True))),
            ("httpGet", only("Deployment", lambda d: put(d, f"{BOX}.livenessProbe.httpGet", {"path": "/"}))),
            ("required", only("Deployment", lambda d: drop(d, "spec.selector"))),
            ("has no policy/v9", only("PodDisruptionBudget", lambda d: put(d, "apiVersion", "policy/v9"))),
        ])

    def test_agreement(self):
        self.finds(manifests.agreement, self.documents, [
            ("PodDisruptionBudget/resnest: its selector", only("PodDisruptionBudget", lambda d: put(
                d, "spec.selector.matchLabels", {"app": "x"}))),
            ("NetworkPolicy/resnest: its selector {}", only("NetworkPolicy", lambda d: put(d, "spec.podSelector", {}))),
            ("Service/resnest: its selector", only("Service", lambda d: drop(d, "spec.selector"))),
            ("scales other", only("HorizontalPodAutoscaler", lambda d: put(d, "spec.scaleTargetRef.name", "other"))),
            ("sets replicas", only("Deployment", lambda d: put(d, "spec.replicas", 3))),
            ("has no startupProbe", only("Deployment", lambda d: drop(d, f"{BOX}.startupProbe"))),
            ("asks port web", only("Deployment", lambda d: put(d, f"{BOX}.readinessProbe.httpGet.port", "web"))),
            ("port grpc goes to rpc", only("Service", lambda d: put(d, "spec.ports.1.targetPort", "rpc"))),
            ("lets in web", only("NetworkPolicy", lambda d: put(d, "spec.ingress.0.ports.0.port", "web"))),
            ("no ConfigMap x", only("Deployment", lambda d: put(d, f"{BOX}.envFrom.0.configMapRef.name", "x"))),
            ("mounts scratch", only("Deployment", lambda d: put(d, f"{BOX}.volumeMounts.1.name", "scratch"))),
            ("nothing mounts", only("Deployment", lambda d: put(d, f"{BOX}.volumeMounts.1.name", "cache"))),
            ("ends after 30 s", only("Deployment", lambda d: put(d, f"{POD}.terminationGracePeriodSeconds", 30))),
            ("drains 60 s", only("ConfigMap", lambda d: put(d, "data.RESNEST_DRAIN_TIMEOUT", "60"))),
        ])

    def test_restricted(self):
        check = lambda documents: [f for owner, pod in files.pods(documents) for f in manifests.restricted(owner, pod)]
        context = f"{BOX}.securityContext"
        self.finds(check, self.documents, [
            ("runs as non-root", only("Deployment", lambda d: put(d, f"{POD}.securityContext.runAsUser", 0))),
            ("runs as non-root", only("Deployment", lambda d: put(d, f"{context}.runAsNonRoot", False))),
            ("gain privileges", only("Deployment", lambda d: drop(d, f"{context}.allowPrivilegeEscalation"))),
            ("not privileged", only("Deployment", lambda d: put(d, f"{context}.privileged", True))),
            ("drops all", only("Deployment", lambda d: put(d, f"{context}.capabilities", {"drop": ["NET_RAW"]}))),
            ("read-only root", only("Deployment", lambda d: drop(d, f"{context}.readOnlyRootFilesystem"))),
            ("seccomp", only("Deployment", lambda d: drop(d, f"{POD}.securityContext.seccompProfile"))),
            ("memory limit", only("Deployment", lambda d: drop(d, f"{BOX}.resources.limits"))),
            ("requests CPU", only("Deployment", lambda d: drop(d, f"{BOX}.resources.requests.cpu"))),
            ("namespace of the host", only("Deployment", lambda d: put(d, f"{POD}.hostNetwork", True))),
            ("kind hostPath", only("Deployment", lambda d: put(d, f"{POD}.volumes.0", {
                "name": "cache", "hostPath": {"path": "/"}}))),
        ])


class KServe(Case):
    def setUp(self):
        self.documents = build_or_skip(self, "kserve")

    def test_types(self):
        types = skipping(self, kserve.types)()
        runtime, service = "ServingRuntime", "InferenceService"
        self.finds(lambda documents: kserve.schemas(documents, types), self.documents, [
            ("no field supportedModelFormat", only(runtime, lambda d: put(d, "spec.supportedModelFormat", []))),
            ("autoSelect: must be bool", only(runtime, lambda d: put(d, f"{FORMAT}.autoSelect", "true"))),
            ("priority: must be int", only(runtime, lambda d: put(d, f"{FORMAT}.priority", True))),
            ("protocolVersions: must be a list", only(runtime, lambda d: put(d, "spec.protocolVersions", "v2"))),
            ("port: must be str", only(runtime, lambda d: d["spec"]["annotations"].update(port=8080))),
            ("spec: containers must be there", only(runtime, lambda d: drop(d, "spec.containers"))),
            ("'argz' was unexpected", only(runtime, lambda d: put(d, "spec.containers.0.argz", []))),
            ("is not of type", only(runtime, lambda d: put(d, "spec.containers.0.args", "serve"))),
            ("'name' is a required", only(runtime, lambda d: drop(d, "spec.volumes.0.name"))),
            ("model: modelFormat must be there", only(service, lambda d: drop(d, "spec.predictor.model.modelFormat"))),
            ("no field storageURI", only(service, lambda d: put(d, "spec.predictor.model.storageURI", "x"))),
            ("no field minReplica", only(service, lambda d: put(d, "spec.predictor.minReplica", 1))),
            ("minReplicas: must be int", only(service, lambda d: put(d, "spec.predictor.minReplicas", "1"))),
            ("has no such kind", only(service, lambda d: put(d, "apiVersion", "serving.kserve.io/v1alpha1"))),
        ])

    def test_meaning(self):
        runtime, service = "ServingRuntime", "InferenceService"
        self.finds(kserve.meaning, self.documents, [
            ("named kserve-container", only(runtime, lambda d: put(d, "spec.containers.0.name", "resnest"))),
            ("does not serve /mnt", only(runtime, lambda d: put(d, "spec.containers.0.args.1", "--model={{.Name}}"))),
            ("no protocol grpc-v3", only(runtime, lambda d: put(d, "spec.protocolVersions.1", "grpc-v3"))),
            ("no runtime takes", only(runtime, lambda d: put(d, "spec.protocolVersions", ["grpc-v2"]))),
            ("looked for at port 8082", only(runtime, lambda d: d["spec"]["annotations"].update(
                {"prometheus.kserve.io/port": "8082"}))),
            ("no runtime takes", only(service, lambda d: put(d, "spec.predictor.model.modelFormat.name", "onnx"))),
            ("no runtime takes", only(runtime, lambda d: drop(d, f"{FORMAT}.autoSelect"))),
            ("before its 20 s", only(service, lambda d: put(d, "spec.predictor.terminationGracePeriodSeconds", 10))),
            ("drops all", only(runtime, lambda d: drop(d, "spec.containers.0.securityContext.capabilities"))),
        ])


class Ray(Case):
    def setUp(self):
        self.documents = build_or_skip(self, "ray")
        self.image = read("ray/Containerfile")

    def test_schemas(self):
        job = "RayJob"
        self.finds(skipping(self, rayjob.schemas), self.documents, [
            ("no field backofLimit", only(job, lambda d: put(d, "spec.backofLimit", 1))),
            ("backoffLimit is '5'", only(job, lambda d: put(d, "spec.backoffLimit", "5"))),
            ("suspend is 1", only(job, lambda d: put(d, "spec.suspend", 1))),
            ("no field workerGroups", only(job, lambda d: put(d, f"{RAY}.workerGroups", []))),
            ("replicas is True", only(job, lambda d: put(d, f"{WORKERS}.replicas", True))),
            ("no field replica", only(job, lambda d: put(d, f"{WORKERS}.replica", 1))),
            ("num-cpus of rayStartParams", only(job, lambda d: put(d, f"{HEAD}.rayStartParams.num-cpus", 0))),
            ("imagePolicy", only(job, lambda d: put(d, f"{HEAD}.template.spec.containers.0.imagePolicy", "Always"))),
            ("required", only(job, lambda d: drop(d, "spec.submitterPodTemplate.spec.containers"))),
        ])

    def test_meaning(self):
        job, box = "RayJob", f"{WORKERS}.template.spec.containers.0"
        pod = f"{WORKERS}.template.spec"
        self.finds(lambda documents: rayjob.meaning(documents, self.image), self.documents, [
            ("no backoffLimit", only(job, lambda d: drop(d, "spec.backoffLimit"))),
            ("asks for no token", only(job, lambda d: drop(d, f"{RAY}.authOptions"))),
            ("leaves its machines", only(job, lambda d: drop(d, "spec.shutdownAfterJobFinishes"))),
            ("no submissionMode", only(job, lambda d: put(d, "spec.submissionMode", "Sidecar"))),
            ("that of the image", only(job, lambda d: put(d, f"{RAY}.rayVersion", "2.59.0"))),
            ("that of the tests", only(job, lambda d: put(d, f"{RAY}.rayVersion", "2.59.0"))),
            ("the image does not have", only(job, lambda d: put(d, "spec.entrypoint", "python /app/ray.py a b"))),
            ("no option --modell", only(job, lambda d: put(d, "spec.entrypoint", "python /app/ray_data.py --modell=x"))),
            ("the head computes", only(job, lambda d: drop(d, f"{HEAD}.rayStartParams.num-cpus"))),
            ("does not fit", only(job, lambda d: put(d, f"{WORKERS}.rayStartParams.object-store-memory", "9" * 11))),
            ("alone may take", only(job, lambda d: put(d, f"{box}.resources.limits.memory", "3Gi"))),
            ("whole CPUs", only(job, lambda d: put(d, f"{box}.resources.limits.cpu", "1500m"))),
            ("not between", only(job, lambda d: put(d, f"{WORKERS}.maxReplicas", 2))),
            ("cannot be written", only(job, lambda d: put(d, f"{box}.env.2.value", "/models"))),
            ("several images", only(job, lambda d: put(d, f"{box}.image", "resnest-ray:0.2.0"))),
            ("which is no volume", only(job, lambda d: put(d, f"{pod}.volumes", []))),
            ("drops all", only(job, lambda d: drop(d, f"{box}.securityContext.capabilities"))),
            ("non-root", only(job, lambda d: put(d, f"{pod}.securityContext.runAsUser", 0))),
            ("no ServiceAccount", only(job, lambda d: put(d, f"{pod}.serviceAccountName", "nobody"))),
        ])


class Files(Case):
    def test_containerfile(self):
        pods = files.pods(build_or_skip(self, "kubernetes") + build_or_skip(self, "kserve"))
        toolchain = (REPOSITORY / "rust-toolchain.toml").read_text(encoding="utf-8")
        self.finds(lambda text: files.containerfile(text, toolchain, pods), read("Containerfile"), [
            ("asks for Rust", lambda text: text.replace("ARG RUST=1", "ARG RUST=0")),
            ("must be two numbers", lambda text: text.replace("USER 65532:65532", "USER nonroot")),
            ("must be two numbers", lambda text: text.replace("USER 65532:65532\n", "")),
            ("must be two numbers", lambda text: text.replace("USER 65532:65532", "USER 0:0")),
            ("the image's files are 1000's", lambda text: text.replace("65532", "1000")),
            ("cache does not belong", lambda text: text.replace("--chown=65532:65532 ", "")),
        ])

    def test_hadolint(self):
        self.finds(skipping(self, lint), read("Containerfile"), [
            ("DL3006", lambda text: text.replace("cc-debian13:nonroot", "cc-debian13")),
            ("DL3000", lambda text: text.replace("WORKDIR /src", "WORKDIR src")),
            ("DL3025", lambda text: text.replace('CMD ["serve"]', "CMD serve")),
            ("DL3002", lambda text: text.replace("USER 65532:65532", "USER root")),
            ("DL3022", lambda text: text.replace("--from=build /out/resnest", "--from=builder /out/resnest")),
            ("unexpected", lambda text: text.replace("EXPOSE 8080", "EXPOZE 8080")),
        ])

    def test_ignore(self):
        names = ["Cargo.lock", "crates/resnest-cli/Cargo.toml", "LICENSE-MIT", "deploy/licences.py"]
        self.finds(lambda text: files.ignored(text, names), read("Containerfile.dockerignore"), [
            ("must begin with *", lambda text: text.replace("*\n!Cargo.toml", "!Cargo.toml")),
            ("leaves out Cargo.lock", lambda text: text.replace("!Cargo.lock\n", "")),
            ("leaves out crates/resnest-cli/Cargo.toml", lambda text: text.replace("!crates\n", "")),
            ("there is no nothing", lambda text: text + "!nothing\n"),
        ])

    def test_unit(self):
        self.finds(skipping(self, files.unit), read("systemd/resnest.service"), [
            ("NoNewPrivilege", lambda text: text.replace("NoNewPrivileges=", "NoNewPrivilege=")),
            ("service type", lambda text: text.replace("Type=exec", "Type=execute")),
            ("parse time value", lambda text: text.replace("TimeoutStopSec=45", "TimeoutStopSec=soon")),
            ("system call group", lambda text: text.replace("@system-service", "@service")),
            ("is exposed to", lambda text: text.replace("CapabilityBoundingSet=\n", "").replace("DynamicUser=yes", "")),
        ])

    def test_unit_times(self):
        check = lambda text: files.unit_times(text, read("systemd/serve.env"))
        self.finds(check, read("systemd/resnest.service"), [
            ("is killed after 30 s", lambda text: text.replace("TimeoutStopSec=45", "TimeoutStopSec=30"))])


class Metrics(Case):
    def setUp(self):
        need(self, "promql_parser")
        self.scrape = metrics.Scrape(scrape_text())
        self.board = json.loads(read("grafana/dashboard.json"))

    def first(self, kind="timeseries"):
        return next(i for i, panel in enumerate(self.board["panels"]) if panel["type"] == kind)

    def test_queries(self):
        place = f"panels.{self.first()}.targets.0.expr"
        rate = "rate(resnest_requests_total{%s}[$__rate_interval])"
        query = lambda text: lambda board: put(board, place, text)
        self.finds(lambda board: metrics.dashboard(board, self.scrape), self.board, [
            ("no metric resnest_request_total", query("sum(rate(resnest_request_total[5m]))")),
            ("no metric resnest_batch_images", query("resnest_batch_images or vector(0)")),
            ("no label code", query(f"sum({rate % 'code=~%s' % '%s'})" % '"5.."')),
            ("groups by code", query(f"sum by (code) ({rate % ''})")),
            ("is no counter", query("rate(resnest_queue_images[5m])")),
            ("is a counter", query("sum by (model) (resnest_images_total)")),
            ("is a counter", query("histogram_quantile(0.9, resnest_queue_seconds_bucket)")),
            ("needs the label le", query(
                "histogram_quantile(0.9, sum by (model) (rate(resnest_queue_seconds_bucket[5m])))")),
            ("resnest_connections{", query("sum(resnest_connections{)")),
            ("there is no menu modell", query('resnest_queue_images{model=~"$modell"}')),
        ])

    def test_board(self):
        number = self.first()
        self.finds(lambda board: metrics.dashboard(board, self.scrape), self.board, [
            ("lies on", lambda board: put(board, f"panels.{number}.gridPos.y", 0)),
            ("beyond the grid", lambda board: put(board, f"panels.{number}.gridPos.w", 25)),
            ("is taken", lambda board: put(board, f"panels.{number}.id", 1)),
            ("no description", lambda board: put(board, f"panels.{number}.description", "")),
            ("data source", lambda board: put(board, f"panels.{number}.targets.0.datasource.uid", "abc")),
            ("has no label name", lambda board: put(board, "templating.list.3.query.query",
                                                    "label_values(resnest_model_loaded, name)")),
            ("there is no menu datasource", lambda board: put(board, "templating.list.0.name", "source")),
        ])

    def test_unshown(self):
        text = scrape_text() + "\n# TYPE resnest_new gauge\nresnest_new 1"
        self.assertEqual(metrics.unshown(self.board, self.scrape), [])
        self.assertEqual(metrics.unshown(self.board, metrics.Scrape(text)), ["no panel shows resnest_new"])

    def test_alerts(self):
        rules = package("yaml").safe_load(read("prometheus/alerts.yaml"))
        rule = "groups.0.rules.0"
        self.finds(lambda changed: metrics.alerts(changed, self.scrape), rules, [
            ("no metric resnest_loaded", lambda d: put(d, f"{rule}.expr", "resnest_loaded == 0")),
            ("label instance", lambda d: put(d, f"{rule}.expr", "min by (model) (resnest_model_loaded) == 0")),
            ("groups by pool", lambda d: put(d, f"{rule}.expr",
                                             "min by (pool, model, instance) (resnest_model_loaded) == 0")),
        ])

    def test_prometheus_text_too(self):
        """The older text format keeps `_total` in the counter's TYPE line."""
        for first in ("# TYPE a counter\n", "# TYPE a_total counter\n"):
            scrape = metrics.Scrape(first + 'a_total{b="}",c="\\""} 1\n')
            self.assertEqual((scrape.types, scrape.labels), ({"a_total": "counter"}, {"a_total": {"b", "c"}}))


class Options(Case):
    def test_names(self):
        help_text = "      --model <NAME>  a model [env: RESNEST_MODEL=]\n      --http <ADDRESS> [env: RESNEST_HTTP=]"
        good = [("a", "--model"), ("b", "RESNEST_HTTP")]
        self.finds(lambda names: server.options(names, help_text), good, [
            ("a: `resnest serve` has no --models", lambda names: names.append(("a", "--models"))),
            ("c: `resnest serve` has no RESNEST_MODELS", lambda names: names.append(("c", "RESNEST_MODELS"))),
        ])

    def test_named(self):
        """The options are found in every kind of place."""
        found = server.named(build_or_skip(self, "kubernetes") + build_or_skip(self, "kserve"))
        for each in [("Containerfile", "RESNEST_GRPC"), ("systemd/serve.env", "RESNEST_API_KEY_FILE"),
                     ("kubernetes", "RESNEST_DRAIN_TIMEOUT"), ("kserve", "--drain-timeout"), ("README.md", "--model")]:
            self.assertIn(each, found)

    def test_probe_that_fails(self):
        """`exercise` says which probe did not answer 200, and that the server ended badly."""
        class Stub:
            def ask(self, path, *_):
                return (404 if path == "/healthz" else 200), b""

            def stop(self):
                return 143

        faults, _ = server.exercise(Stub(), [("livenessProbe", "/healthz")], "/metrics")
        self.assertEqual(faults, ["livenessProbe: /healthz answers 404", "SIGTERM: exit status 143"])


def read(path):
    return (DEPLOY / path).read_text(encoding="utf-8")


def lint(text):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "Containerfile"
        path.write_text(text, encoding="utf-8")
        return files.hadolint(path)


def build_or_skip(case, folder):
    need(case, "yaml")
    need(case, "kubernetes_validate")
    return skipping(case, build)(DEPLOY / folder)


def need(case, name):
    skipping(case, package)(name)


def skipping(case, made):
    """`made`, whose Skipped skips the test."""
    def call(*given):
        try:
            return made(*given)
        except Skipped as skipped:
            return case.skipTest(str(skipped))
    return call


if __name__ == "__main__":
    unittest.main()
