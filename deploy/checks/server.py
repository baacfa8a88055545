"""The real `resnest serve`: has it the options that deploy/ gives it, does it start as the manifests start it, do the
probes answer, and what does it expose at /metrics."""
import json
import os
import re
import signal
import subprocess
import tempfile
import urllib.error
import urllib.request
from pathlib import Path

from .common import DEPLOY, REPOSITORY, Skipped, at, by_kind
from .manifests import variables

STARTS_WITHIN = 60


def binary(given):
    """The command to try: the one given, or what cargo built."""
    path = Path(given) if given else REPOSITORY / "target" / "release" / "resnest"
    if not path.exists():
        raise Skipped(f"there is no {path} (cargo build --release, or --resnest PATH)", lacking=True)
    return path.resolve()


def usage(resnest):
    """The text of `resnest serve --help`."""
    done = subprocess.run([str(resnest), "serve", "--help"], capture_output=True, text=True)
    if done.returncode != 0:
        raise Skipped(f"`{resnest} serve --help`: {done.stderr.strip()[:200]}", lacking=True)
    return done.stdout


def named(documents):
    """Every option and variable of `resnest serve` that deploy/ names: (where, name)."""
    found = set()
    texts = {path: (DEPLOY / path).read_text(encoding="utf-8")
             for path in ("Containerfile", "systemd/resnest.service", "systemd/serve.env", "README.md")}
    for where, text in texts.items():
        found |= {(where, name) for name in re.findall(r"\bRESNEST_[A-Z_]+\b", text)}
        for line in re.findall(r"resnest[^\n`]* serve\b([^`\n]*)", text):
            found |= {(where, name) for name in re.findall(r"(?<!\S)--[a-z][a-z-]*", line)}
    for deployment in by_kind(documents, "Deployment"):
        found |= {("kubernetes", name) for name in variables(documents, deployment) if name.startswith("RESNEST_")}
        arguments = at(deployment, "spec.template.spec.containers.0.args", [])
        found |= {("kubernetes", each.split("=")[0]) for each in arguments if each.startswith("--")}
    for runtime in by_kind(documents, "ServingRuntime"):
        found |= {("kserve", each.split("=")[0]) for each in at(runtime, "spec.containers.0.args", [])
                  if each.startswith("--")}
    return sorted(found)


def options(names, help_text):
    """Names that the command's help does not have."""
    known = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", help_text)) | set(re.findall(r"\bRESNEST_[A-Z_]+\b", help_text))
    return [f"{where}: `resnest serve` has no {name}" for where, name in names if name not in known]


class Server:
    """A server started for a moment, as a manifest starts it but at free ports of this machine."""

    def __init__(self, resnest, arguments, environment):
        self.folder = tempfile.TemporaryDirectory()
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("RESNEST_", "HF_"))}
        own = {"HF_HOME": f"{self.folder.name}/cache", "HF_HUB_OFFLINE": "1"}
        self.log = open(Path(self.folder.name) / "log", "w+", encoding="utf-8")
        self.process = subprocess.Popen([str(resnest), *arguments], stdout=subprocess.PIPE, stderr=self.log, text=True,
                                        env={**kept, **environment, **own}, cwd=self.folder.name)

    def __enter__(self):
        signal.signal(signal.SIGALRM, lambda *_: self.process.kill())
        signal.alarm(STARTS_WITHIN)
        line = self.process.stdout.readline()
        signal.alarm(0)
        address = re.search(r"http://(\S+)", line)
        if not address:
            self.process.kill()
            self.log.seek(0)
            raise ValueError(f"`resnest serve` did not start: {line}{self.log.read()[-500:]}")
        self.address = f"http://{address[1]}"
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.process.stdout.close()
        self.log.close()
        self.folder.cleanup()

    def ask(self, path, body=None, content="application/octet-stream"):
        """Status and body of a request."""
        headers = {"content-type": content} if body else {}
        request = urllib.request.Request(self.address + path, data=body, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    def stop(self):
        """The exit status after SIGTERM."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=60)


def here(arguments, environment):
    """The same with addresses of this machine's loopback, any free port."""
    arguments = [re.sub(r"=0\.0\.0\.0:\d+$", "=127.0.0.1:0", each) for each in arguments]
    return arguments, {name: re.sub(r"^(0\.0\.0\.0|127\.0\.0\.1):\d+$", "127.0.0.1:0", value)
                       for name, value in environment.items()}


def exercise(server, probes, metrics_path):
    """Asks the probes and a few images of a running server: (faults, the scrape's text)."""
    faults = []
    for where, path in probes:
        status, _ = server.ask(path)
        if status != 200:
            faults.append(f"{where}: {path} answers {status}")
    _, photo = server.ask("/samples/chelsea.png")
    for body in (photo, photo, b"no picture"):
        server.ask("/classify", body)
    status, scrape = server.ask(metrics_path)
    if status != 200:
        faults.append(f"{metrics_path} answers {status}")
    code = server.stop()
    if code != 0:
        faults.append(f"SIGTERM: exit status {code}")
    return faults, scrape.decode()


def deployment(resnest, documents):
    """Starts what the Deployment starts."""
    faults, scrape = [], ""
    for each in by_kind(documents, "Deployment"):
        pod = at(each, "spec.template")
        container = at(pod, "spec.containers.0")
        arguments, environment = here(container.get("args", []), variables(documents, each))
        with Server(resnest, arguments, environment) as server:
            probes = _probes(container)
            found, scrape = exercise(server, probes, at(pod, "metadata.annotations")["prometheus.io/path"])
        faults += [f"kubernetes: {fault}" for fault in found]
    return faults, scrape


def runtime(resnest, documents):
    """Starts what the ServingRuntime starts for its InferenceService, with the demo model's folder as /mnt/models."""
    faults = []
    for each in by_kind(documents, "ServingRuntime"):
        container = at(each, "spec.containers.0")
        name = by_kind(documents, "InferenceService")[0]["metadata"]["name"]
        models = str(REPOSITORY / "crates" / "resnest" / "demo")
        arguments, _ = here(container["args"], {})
        arguments = [part.replace("{{.Name}}", name).replace("/mnt/models", models) for part in arguments]
        with Server(resnest, arguments, {}) as server:
            status, body = server.ask(f"/v2/models/{name}")
            if status != 200 or json.loads(body)["name"] != name:
                faults.append(f"kserve: the model {name} answers {status}: {body[:200]}")
            found, _ = exercise(server, _probes(container), at(each, "spec.annotations")["prometheus.kserve.io/path"])
        faults += [f"kserve: {fault}" for fault in found]
    return faults


def unit(resnest, text, environment_file):
    """Starts what the systemd unit starts, with its environment file."""
    pairs = [pair for line in re.findall(r"^Environment=(.+)$", text, re.M) for pair in line.split()]
    environment = dict(pair.split("=", 1) for pair in pairs)
    environment |= dict(re.findall(r"^([A-Z_]+)=(.*)$", environment_file, re.M))
    arguments = re.search(r"^ExecStart=(.+)$", text, re.M)[1].split()[1:]
    arguments, environment = here(arguments, environment)
    with Server(resnest, arguments, environment) as server:
        faults, _ = exercise(server, [("health", "/v2/health/ready")], "/metrics")
    return [f"systemd: {fault}" for fault in faults]


def _probes(container):
    names = ("startupProbe", "readinessProbe", "livenessProbe")
    return [(name, at(container[name], "httpGet.path")) for name in names if name in container]
