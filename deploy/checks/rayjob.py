"""The RayJob against KubeRay's types, Kubernetes' schemas, and what it takes for granted of Ray and of our example.

KubeRay's CRD is in no package registry: the fields of ray.io/v1 that a job may have stand below, as its Go types
(`rayjob_types.go`, `raycluster_types.go`, seen in August 2026) declare them; pod templates inside go to
kubernetes-validate's schemas. With the CRD at hand (`--crds DIR` with ray.io_rayjobs.yaml in it) `crds` of kserve.py
checks against that too.
"""
import ast
import re
import shlex

from .common import REPOSITORY, at, by_kind, title
from .kserve import Core
from .manifests import restricted, volumes

EXAMPLES = REPOSITORY / "crates" / "resnest-py" / "examples"
POD = "V1PodTemplateSpec"
JOB = {
    "activeDeadlineSeconds": int, "backoffLimit": int, "clusterSelector": dict, "deletionStrategy": dict,
    "entrypoint": str, "entrypointNumCpus": (int, float), "entrypointNumGpus": (int, float),
    "entrypointResources": str, "jobId": str, "managedBy": str, "metadata": dict, "preRunningDeadlineSeconds": int,
    "rayClusterSpec": dict, "runtimeEnvYAML": str, "shutdownAfterJobFinishes": bool, "submissionMode": str,
    "submitterConfig": dict, "submitterPodTemplate": POD, "suspend": bool, "ttlSecondsAfterFinished": int,
}
CLUSTER = {
    "authOptions": dict, "autoscalerOptions": dict, "enableInTreeAutoscaling": bool, "gcsFaultToleranceOptions": dict,
    "headGroupSpec": dict, "headServiceAnnotations": dict, "managedBy": str, "rayVersion": str, "suspend": bool,
    "upgradeStrategy": dict, "workerGroupSpecs": list,
}
GROUP = {
    "enableIngress": bool, "groupName": str, "headService": dict, "idleTimeoutSeconds": int, "labels": dict,
    "maxReplicas": int, "minReplicas": int, "numOfHosts": int, "rayStartParams": dict, "replicas": int,
    "resources": dict, "scaleStrategy": dict, "serviceType": str, "suspend": bool, "template": POD,
}
MODES = ("K8sJobMode", "HTTPMode", "InteractiveMode", "SidecarMode")
UNITS = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "": 1}


def jobs(documents):
    return [(title(document), document["spec"]) for document in by_kind(documents, "RayJob")]


def templates(documents):
    """Every pod template of the RayJobs with a name for it."""
    found = []
    for owner, spec in jobs(documents):
        cluster = spec.get("rayClusterSpec", {})
        found.append((f"{owner}: submitter", spec.get("submitterPodTemplate")))
        found.append((f"{owner}: head", at(cluster, "headGroupSpec.template")))
        found += [(f"{owner}: {group.get('groupName')}", group.get("template"))
                  for group in cluster.get("workerGroupSpecs", [])]
    return [(owner, template) for owner, template in found if template]


def schemas(documents):
    """Names and types of every field, those of pods by Kubernetes' schemas."""
    core, faults = Core(), []
    for owner, spec in jobs(documents):
        faults += _fields(core, spec, JOB, owner)
        cluster = spec.get("rayClusterSpec", {})
        faults += _fields(core, cluster, CLUSTER, f"{owner}: rayClusterSpec")
        for group in [cluster.get("headGroupSpec", {}), *cluster.get("workerGroupSpecs", [])]:
            name = group.get("groupName", "head")
            faults += _fields(core, group, GROUP, f"{owner}: {name}")
            faults += [f"{owner}: {name}: {key} of rayStartParams must be a string"
                       for key, value in group.get("rayStartParams", {}).items() if not isinstance(value, str)]
    return faults


def _fields(core, value, known, path):
    faults = []
    for name, item in value.items():
        kind = known.get(name)
        if kind is None:
            faults.append(f"{path}: has no field {name}")
        elif kind == POD:
            faults += core.faults(item, POD, f"{path}: {name}")
        elif not isinstance(item, kind) or (isinstance(item, bool) and kind is not bool):
            faults.append(f"{path}: {name} is {item!r}, which is of the wrong type")
    return faults


def meaning(documents, containerfile):
    """That versions, images, volumes, memory and the command fit each other, and that the job bears losses."""
    faults = []
    for owner, spec in jobs(documents):
        faults += _losses(owner, spec) + _versions(owner, spec, containerfile) + _command(owner, spec, containerfile)
        cluster = spec["rayClusterSpec"]
        if at(cluster, "headGroupSpec.rayStartParams.num-cpus") != "0":
            faults.append(f"{owner}: the head computes (num-cpus is not \"0\"), and its end ends the run")
        for group in [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]:
            faults += _group(f"{owner}: {group.get('groupName', 'head')}", group)
    for owner, template in templates(documents):
        faults += restricted(owner, template["spec"]) + volumes(owner, template["spec"])
        faults += _account(documents, owner, template["spec"])
    images = {container["image"] for _, template in templates(documents) for container in template["spec"]["containers"]}
    if len(images) != 1:
        faults.append(f"pods of one job have several images: {', '.join(sorted(images))}")
    return faults


def _losses(owner, spec):
    faults = []
    if not spec.get("backoffLimit"):
        faults.append(f"{owner}: has no backoffLimit: a lost head would be the end")
    if at(spec, "rayClusterSpec.authOptions.mode") != "token":
        faults.append(f"{owner}: asks for no token (authOptions): whoever reaches the head runs what he likes")
    if not spec.get("shutdownAfterJobFinishes"):
        faults.append(f"{owner}: leaves its machines running (shutdownAfterJobFinishes)")
    if spec.get("submissionMode", MODES[0]) not in MODES:
        faults.append(f"{owner}: KubeRay has no submissionMode {spec['submissionMode']}")
    return faults


def _versions(owner, spec, containerfile):
    """Ray's in the manifest, the image and the tests."""
    declared = at(spec, "rayClusterSpec.rayVersion")
    tested = re.search(r"ray\[data\]==([\d.]+)", _read(REPOSITORY / "crates/resnest-py/tests/engines/conftest.py"))[1]
    image = re.search(r"^FROM \S+/ray:([\d.]+)-", containerfile, re.M)
    named = {"the image": image and image[1], "the tests": tested}
    return [f"{owner}: rayVersion is {declared}, that of {what} {version}"
            for what, version in named.items() if version != declared]


def _command(owner, spec, containerfile):
    """That the image has the program, and the program the options."""
    words = shlex.split(spec.get("entrypoint", ""))
    program = next((word for word in words if word.endswith(".py")), "")
    source = re.search(rf"^COPY (\S+) {re.escape(program)}$", containerfile, re.M) if program else None
    if not source or not (REPOSITORY / source[1]).is_file():
        return [f"{owner}: runs {program or 'no program'}, which the image does not have"]
    names = {argument.value for node in ast.walk(ast.parse(_read(REPOSITORY / source[1])))
             if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "add_argument"
             for argument in node.args if isinstance(argument, ast.Constant)}
    given = {word.split("=")[0] for word in words if word.startswith("--")}
    return [f"{owner}: {source[1]} has no option {name}" for name in sorted(given - names)]


def _group(owner, group):
    container = at(group, "template.spec.containers.0")
    store = int(at(group, "rayStartParams.object-store-memory", 0))
    shm = [volume for volume in at(group, "template.spec.volumes", []) if at(volume, "emptyDir.medium") == "Memory"]
    room, limit = sum(_bytes(at(each, "emptyDir.sizeLimit", "0")) for each in shm), at(container, "resources.limits", {})
    faults = []
    if not 0 < store < room:
        faults.append(f"{owner}: an object store of {store} bytes does not fit into /dev/shm, {room}")
    if room >= _bytes(limit.get("memory", "0")):
        faults.append(f"{owner}: /dev/shm alone may take the limit of memory")
    if not str(limit.get("cpu", "")).isdigit():
        faults.append(f"{owner}: Ray wants whole CPUs as a limit, not {limit.get('cpu')}")
    least, most = group.get("minReplicas", 0), group.get("maxReplicas", 1 << 31)
    if "replicas" in group and not least <= group["replicas"] <= most:
        faults.append(f"{owner}: {group['replicas']} replicas are not between {least} and {most}")
    mounted = [mount["mountPath"] for mount in container.get("volumeMounts", [])]
    faults += [f"{owner}: {variable['name']} is {variable['value']}, which cannot be written to"
               for variable in container.get("env", []) if variable.get("value", "").startswith("/")
               and not any(f"{variable['value']}/".startswith(f"{path}/") for path in mounted)]
    return faults


def _account(documents, owner, pod):
    names = {each["metadata"]["name"] for each in by_kind(documents, "ServiceAccount")}
    name = pod.get("serviceAccountName")
    return [] if name in names else [f"{owner}: there is no ServiceAccount {name}"]


def _bytes(quantity):
    number, unit = re.fullmatch(r"(\d+)(\D*)", str(quantity)).groups()
    return int(number) * UNITS[unit]


def _read(path):
    return path.read_text(encoding="utf-8")
