"""The Containerfile and the systemd unit: their linters, and what they must have in common with everything else."""
import json
import re
import shutil
import subprocess
import tempfile
from fnmatch import fnmatchcase
from pathlib import Path

from .common import REPOSITORY, Skipped, at, by_kind, run, tool

# systemd-analyze's exposure: 0 nothing to gain, 10 everything. This unit has 1.2 with systemd 252.
EXPOSURE = 2.0


def hadolint(path):
    """hadolint's complaints about a Containerfile."""
    status, output = run(tool("hadolint"), "--no-color", path)
    return output.splitlines() if status != 0 else []


def containerfile(text, toolchain, pods):
    """That the image's compiler is the repository's, its user the manifests', and its last stage brings no root."""
    faults = []
    channel = re.search(r'channel = "(.+)"', toolchain)[1]
    if f"ARG RUST={channel}\n" not in text:
        faults.append(f"Containerfile: rust-toolchain.toml asks for Rust {channel}")
    user = re.findall(r"^USER (.+)$", text, re.M)
    if not user or not re.fullmatch(r"[1-9]\d*:[1-9]\d*", user[-1]):
        return [*faults, f"Containerfile: USER must be two numbers other than 0, not {user}"]
    number = int(user[-1].split(":")[0])
    for owner, pod in pods:
        named = {at(pod, "securityContext.runAsUser")} | {
            at(container, "securityContext.runAsUser") for container in pod["containers"]}
        faults += [f"{owner}: runs as {each}, the image's files are {number}'s" for each in named - {None, number}]
    if f"--chown={user[-1]}" not in text:
        faults.append(f"Containerfile: the cache does not belong to {user[-1]}")
    return faults


def ignored(text, files):
    """Names among `files` that the build needs and the ignore file leaves out, and the reverse.

    The file must begin by ignoring everything, so that nothing gets into an image's build by being forgotten.
    """
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    if lines[:1] != ["*"]:
        return ["Containerfile.dockerignore: must begin with *"]
    kept = [line[1:] for line in lines if line.startswith("!")]
    faults = []
    for name in files:
        if not any(fnmatchcase(name, each) or name.startswith(each + "/") for each in kept):
            faults.append(f"Containerfile.dockerignore: leaves out {name}, which the build needs")
    for each in kept:
        if not list(REPOSITORY.glob(each)):
            faults.append(f"Containerfile.dockerignore: there is no {each}")
    return faults


def needed():
    """What the build reads, by cargo's own account: each member's manifest and targets; and what is copied."""
    if not shutil.which("cargo"):
        raise Skipped("cargo isn't installed")
    done = subprocess.run(["cargo", "metadata", "--no-deps", "--locked", "--offline", "--format-version=1"],
                          cwd=REPOSITORY, capture_output=True, text=True)
    if done.returncode != 0:
        raise ValueError(f"cargo metadata: {done.stderr.strip()}")
    names = {"Cargo.lock", "LICENSE-MIT", "LICENSE-APACHE", "crates/resnest/data/WORDNET-LICENSE", "deploy/licences.py"}
    for package in json.loads(done.stdout)["packages"]:
        names.add(package["manifest_path"])
        names |= {target["src_path"] for target in package["targets"]}
    return sorted(str(Path(name).relative_to(REPOSITORY)) if Path(name).is_absolute() else name for name in names)


def unit(text):
    """What systemd says of the unit: every line of `verify` is a fault, and so is an exposure beyond ours.

    The program need not be installed here: a copy of the unit names one that is.
    """
    if not shutil.which("systemd-analyze"):
        raise Skipped("systemd-analyze isn't installed (Debian: systemd)")
    program = re.search(r"^ExecStart=(\S+)", text, re.M)[1]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "resnest.service"
        path.write_text(text.replace(f"ExecStart={program}", "ExecStart=/bin/true"), encoding="utf-8")
        status, output = run("systemd-analyze", "verify", "--man=no", path)
        faults = [f"resnest.service: {line}" for line in output.splitlines() if "resnest.service" in line]
        if status != 0 and not faults:
            faults.append(f"resnest.service: systemd-analyze verify: {output}")
        status, output = run("systemd-analyze", "security", "--offline=true", "--no-pager", path)
    exposure = re.search(r"Overall exposure level for \S+: ([\d.]+)", output)
    if not exposure:
        faults.append(f"resnest.service: systemd-analyze security: {output[-200:]}")
    elif float(exposure[1]) > EXPOSURE:
        faults.append(f"resnest.service: is exposed to {exposure[1]}, more than {EXPOSURE}")
    return faults


def unit_times(text, environment):
    """systemd must wait longer than the server drains."""
    waits = int(re.search(r"^TimeoutStopSec=(\d+)$", text, re.M)[1])
    drains = re.search(r"^RESNEST_DRAIN_TIMEOUT=(\d+)$", environment, re.M)
    drains = int(drains[1]) if drains else 30
    return [] if waits > drains else [f"resnest.service: is killed after {waits} s, but drains {drains} s"]


def pods(documents):
    """Every pod specification among the manifests, with its owner's name."""
    found = [(f"Deployment/{each['metadata']['name']}", at(each, "spec.template.spec"))
             for each in by_kind(documents, "Deployment")]
    return found + [(f"ServingRuntime/{each['metadata']['name']}", each["spec"])
                    for each in by_kind(documents, "ServingRuntime")]
