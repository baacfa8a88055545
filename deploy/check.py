"""Checks everything in deploy/ that can be checked without a cluster, a container engine or a running systemd.

    pip install -r deploy/requirements.txt && pip install --no-deps kserve==0.21.0
    python deploy/check.py [--all] [--resnest PATH] [--scrape FILE] [--crds DIR]

Prints a line for each check: fine, its faults, or why it was skipped. Exits 1 if anything is wrong; with --all (as CI
does) also if the command or a package of requirements.txt is missing. checks/mutations.py holds these checks to finding
mistakes.
"""
import argparse
import json
import sys

from checks import files, kserve, manifests, metrics, rayjob, server
from checks.common import DEPLOY, REPOSITORY, Skipped, build, package


class Report:
    """Prints checks as they are made, and remembers whether all was well."""

    def __init__(self, everything):
        self.everything, self.good = everything, True

    def check(self, name, made):
        """Runs `made`, which returns faults; what it could not look at is no fault."""
        try:
            faults = made()
        except Skipped as skipped:
            missing = skipped.lacking and self.everything
            self.good &= not missing
            print(f"{'MISSING' if missing else 'skipped'}  {name}: {skipped}")
            return
        except ValueError as error:
            faults = [str(error)]
        print(f"{'FAULT' if faults else 'fine':8} {name}")
        for fault in faults:
            print(f"         {fault}")
        self.good &= not faults


def read(path):
    return (DEPLOY / path).read_text(encoding="utf-8")


def static(report, core, serving, crds):
    """What needs no server."""
    report.check("kubernetes: schemas", lambda: manifests.schemas(core))
    report.check("kubernetes: names, ports, volumes and times agree", lambda: manifests.agreement(core))
    report.check("kubernetes: Pod Security restricted",
                 lambda: [fault for owner, pod in files.pods(core) for fault in manifests.restricted(owner, pod)])
    report.check("kserve: the SDK's types", lambda: kserve.schemas(serving, kserve.types()))
    report.check("kserve: what it relies on", lambda: kserve.meaning(serving))
    if crds:
        report.check("kserve: the CRDs", lambda: kserve.crds(serving, crds))
    report.check("container: hadolint", lambda: files.hadolint(DEPLOY / "Containerfile"))
    report.check("container: compiler, user, cache", lambda: files.containerfile(
        read("Containerfile"), (REPOSITORY / "rust-toolchain.toml").read_text(encoding="utf-8"),
        files.pods(core + serving)))
    report.check("container: what is sent to the builder",
                 lambda: files.ignored(read("Containerfile.dockerignore"), files.needed()))
    report.check("systemd: verify and security", lambda: files.unit(read("systemd/resnest.service")))
    report.check("systemd: times",
                 lambda: files.unit_times(read("systemd/resnest.service"), read("systemd/serve.env")))
    report.check("prometheus: when the alerts fire", metrics.firing)
    report.check("grafana: dashboard.json is its script's", metrics.drift)


def batch(report, documents, crds):
    """The RayJob and its image."""
    core = [each for each in documents if each["kind"] != "RayJob"]
    report.check("ray: schemas", lambda: manifests.schemas(core) + rayjob.schemas(documents))
    report.check("ray: what it relies on", lambda: rayjob.meaning(documents, read("ray/Containerfile")))
    if crds:
        jobs = [each for each in documents if each["kind"] == "RayJob"]
        report.check("ray: the CRD", lambda: kserve.crds(jobs, crds, "ray.io_rayjobs.yaml"))
    report.check("ray: hadolint", lambda: files.hadolint(DEPLOY / "ray" / "Containerfile"))


def served(report, core, serving, given, scrape):
    """What the real command has to say; returns a scrape of it, if there was one."""
    texts = [scrape]

    def start():
        faults, text = server.deployment(runs(), core)
        texts[0] = texts[0] or text
        return faults

    def runs():
        resnest = server.binary(given)
        server.usage(resnest)
        return resnest

    report.check("options: `resnest serve` has them",
                 lambda: server.options(server.named(core + serving), server.usage(server.binary(given))))
    report.check("kubernetes: starts, its probes answer, ends", start)
    report.check("kserve: starts, its probes answer, ends", lambda: server.runtime(runs(), serving))
    report.check("systemd: starts, answers, ends",
                 lambda: server.unit(runs(), read("systemd/resnest.service"), read("systemd/serve.env")))
    return texts[0]


def shown(report, text):
    """Dashboard and alerts against a scrape."""
    def scraped():
        if not text:
            raise Skipped("no metrics to compare with (a built `resnest serve`, or --scrape FILE)")
        return metrics.Scrape(text)

    board = json.loads(read("grafana/dashboard.json"))
    report.check("grafana: queries, menus, layout", lambda: metrics.dashboard(board, scraped()))
    report.check("grafana: every metric is shown", lambda: metrics.unshown(board, scraped()))
    report.check("prometheus: alerts",
                 lambda: metrics.alerts(package("yaml").safe_load(read("prometheus/alerts.yaml")), scraped()))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--all", action="store_true", help="a missing package or command is a fault")
    parser.add_argument("--resnest", help="the command to try (default: target/release/resnest)")
    parser.add_argument("--scrape", help="a saved /metrics instead of one of the command")
    parser.add_argument("--crds", help="a folder with KServe's config/crd/full and KubeRay's config/crd/bases in it, to check with the CRDs too")
    options = parser.parse_args()
    report, built = Report(options.all), {"kubernetes": [], "kserve": [], "ray": []}

    def kustomize(name):
        built[name] = build(DEPLOY / name)
        return [] if built[name] else [f"{name}: nothing was built"]

    for name in built:
        report.check(f"{name}: kustomize", lambda name=name: kustomize(name))
    core, serving, ray = built.values()
    scrape = open(options.scrape, encoding="utf-8").read() if options.scrape else ""
    if core and serving:
        static(report, core, serving, options.crds)
        scrape = served(report, core, serving, options.resnest, scrape)
    if ray:
        batch(report, ray, options.crds)
    shown(report, scrape)
    sys.exit(0 if report.good else 1)


if __name__ == "__main__":
    main()
