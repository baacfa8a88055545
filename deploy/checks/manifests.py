"""Kubernetes manifests: their schemas, what no schema sees (names that must agree), and Pod Security's `restricted`."""
from .common import at, by_kind, package, title

KUBERNETES = "1.37"


def schemas(documents):
    """Every object against Kubernetes' own schemas; unknown fields are faults (`strict`)."""
    validator = package("kubernetes_validate")
    faults = []
    for document in documents:
        try:
            validator.validate(document, KUBERNETES, strict=True)
        except validator.ValidationError as error:
            faults.append(f"{title(document)}: {'.'.join(map(str, error.path))}: {error.message}")
        except validator.SchemaNotFoundError:
            faults.append(f"{title(document)}: Kubernetes {KUBERNETES} has no {document['apiVersion']}")
    return faults


def agreement(documents):
    """That selectors, ports, volumes, maps and times fit each other."""
    faults = []
    for deployment in by_kind(documents, "Deployment"):
        pod = deployment["spec"]["template"]
        faults += _selectors(documents, deployment, pod["metadata"].get("labels", {}))
        faults += _ports(documents, pod["spec"])
        faults += _maps(documents, pod["spec"])
        faults += volumes(title(deployment), pod["spec"])
        faults += _times(documents, deployment)
    return faults


def _selectors(documents, deployment, labels):
    """Whatever selects pods must select this Deployment's, and by at least one label: `{}` is every pod."""
    faults = []
    for document in documents:
        spec = document.get("spec", {})
        if document["kind"] == "Service":
            selector = spec.get("selector", {})
        elif document["kind"] in ("Deployment", "PodDisruptionBudget"):
            selector = at(spec, "selector.matchLabels", {})
        elif document["kind"] == "NetworkPolicy":
            selector = at(spec, "podSelector.matchLabels", {})
        elif document["kind"] == "HorizontalPodAutoscaler":
            if (spec["scaleTargetRef"]["kind"], spec["scaleTargetRef"]["name"]) != ("Deployment", _name(deployment)):
                faults.append(f"{title(document)}: scales {spec['scaleTargetRef']['name']}, not {_name(deployment)}")
            if "replicas" in deployment["spec"]:
                faults.append(f"{title(deployment)}: sets replicas, which are the autoscaler's")
            continue
        else:
            continue
        if not selector or not selector.items() <= labels.items():
            faults.append(f"{title(document)}: its selector {selector} does not select the pods, labelled {labels}")
    return faults


def _name(document):
    return document["metadata"]["name"]


def _ports(documents, pod):
    """Ports that are named must be the container's."""
    names = {port["name"] for container in pod["containers"] for port in container.get("ports", [])}
    faults = []
    for container in pod["containers"]:
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            if probe not in container:
                faults.append(f"{container['name']}: has no {probe}")
            elif at(container[probe], "httpGet.port") not in names:
                faults.append(f"{container['name']}: {probe} asks port {at(container[probe], 'httpGet.port')}")
    for service in by_kind(documents, "Service"):
        for port in service["spec"]["ports"]:
            if port["targetPort"] not in names:
                faults.append(f"{title(service)}: port {port['name']} goes to {port['targetPort']}, which nobody has")
    for policy in by_kind(documents, "NetworkPolicy"):
        for port in (port for rule in policy["spec"].get("ingress", []) for port in rule.get("ports", [])):
            if port["port"] not in names:
                faults.append(f"{title(policy)}: lets in {port['port']}, which nobody has")
    return faults


def _maps(documents, pod):
    """The maps that variables come from must be among the objects."""
    maps = {_name(document) for document in by_kind(documents, "ConfigMap")}
    named = [at(source, "configMapRef.name") for container in pod["containers"]
             for source in container.get("envFrom", [])]
    return [f"envFrom: there is no ConfigMap {name}" for name in named if name not in maps]


def volumes(owner, pod):
    """Every mount has its volume, every volume is mounted."""
    given = {volume["name"] for volume in pod.get("volumes", [])}
    used = {mount["name"] for container in pod["containers"] for mount in container.get("volumeMounts", [])}
    return ([f"{owner}: mounts {name}, which is no volume" for name in sorted(used - given)]
            + [f"{owner}: nothing mounts the volume {name}" for name in sorted(given - used)])


def _times(documents, deployment):
    """A pod must live as long as it waits and drains, or requests in flight are cut off."""
    pod = at(deployment, "spec.template.spec")
    options = variables(documents, deployment)
    waits = at(pod, "containers.0.lifecycle.preStop.sleep.seconds", 0)
    drains = int(options.get("RESNEST_DRAIN_TIMEOUT", 30))
    grace = pod.get("terminationGracePeriodSeconds", 30)
    if grace <= waits + drains:
        return [f"{title(deployment)}: ends after {grace} s, but waits {waits} s and drains {drains} s"]
    return []


def variables(documents, deployment):
    """The variables of the first container, from its maps and its own."""
    container = at(deployment, "spec.template.spec.containers.0")
    maps = {_name(document): document.get("data", {}) for document in by_kind(documents, "ConfigMap")}
    found = {}
    for source in container.get("envFrom", []):
        found.update(maps.get(at(source, "configMapRef.name"), {}))
    found.update({variable["name"]: variable.get("value", "") for variable in container.get("env", [])})
    return found


def restricted(owner, pod):
    """Pod Security's level `restricted`, and a root that cannot be written to, with limits."""
    outer, faults = pod.get("securityContext", {}), []
    for container in pod["containers"]:
        inner = container.get("securityContext", {})
        setting = {**outer, **inner}
        wants = {
            "runs as non-root": setting.get("runAsNonRoot") is True and setting.get("runAsUser", 0) > 0,
            "cannot gain privileges": inner.get("allowPrivilegeEscalation") is False,
            "is not privileged": not inner.get("privileged"),
            "drops all capabilities": at(inner, "capabilities.drop") == ["ALL"] and not at(inner, "capabilities.add"),
            "has a read-only root": inner.get("readOnlyRootFilesystem") is True,
            "has the default seccomp profile": at(setting, "seccompProfile.type") == "RuntimeDefault",
            "has a memory limit": bool(at(container, "resources.limits.memory")),
            "requests CPU and memory": {"cpu", "memory"} <= set(at(container, "resources.requests", {})),
        }
        faults += [f"{owner}: {container['name']}: not so: {what}" for what, so in wants.items() if not so]
    if any(pod.get(name) for name in ("hostNetwork", "hostPID", "hostIPC")):
        faults.append(f"{owner}: shares a namespace of the host")
    kinds = {kind for volume in pod.get("volumes", []) for kind in volume if kind != "name"}
    faults += [f"{owner}: has a volume of kind {kind}" for kind in kinds & {"hostPath"}]
    return faults
