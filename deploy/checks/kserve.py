"""KServe's objects against KServe's own types, as its Python SDK declares them.

KServe's CRDs are in no package registry, but the SDK's models are generated from the same Go types: every field's
name and type, and which must be there. They are read as data from the package's files (`openapi_types`,
`attribute_map`, the setters that refuse None), nothing of it is imported. What belongs to Kubernetes inside
(containers, volumes, ...) goes to kubernetes-validate's schemas. The SDK does not know the lists of allowed values;
`meaning` looks at those we rely on. With the CRDs at hand (`--crds DIR`, KServe's config/crd/full) `crds` checks
against them too.
"""
import ast
import importlib.metadata
from pathlib import Path

from .common import Skipped, at, by_kind, package, title
from .manifests import KUBERNETES, restricted, volumes

ROOTS = {
    ("serving.kserve.io/v1alpha1", "ServingRuntime"): "V1alpha1ServingRuntime",
    ("serving.kserve.io/v1beta1", "InferenceService"): "V1beta1InferenceService",
}
SIMPLE = {"str": str, "int": int, "bool": bool, "float": (int, float), "object": object}


class Types:
    """KServe's types by class name: `fields` is JSON name to type, `required` the JSON names that must be there."""

    def __init__(self, folder):
        self.fields, self.required = {}, {}
        for path in sorted(folder.glob("*.py")):
            for node in ast.parse(path.read_text(encoding="utf-8")).body:
                if isinstance(node, ast.ClassDef):
                    self._read(node)

    def _read(self, node):
        tables = {target.id: ast.literal_eval(item.value) for item in node.body if isinstance(item, ast.Assign)
                  for target in item.targets if getattr(target, "id", "") in ("openapi_types", "attribute_map")}
        if len(tables) < 2:
            return
        names = tables["attribute_map"]
        self.fields[node.name] = {names[python]: kind for python, kind in tables["openapi_types"].items()}
        # a setter that refuses None: the field must be there
        self.required[node.name] = {
            names[item.name] for item in node.body if isinstance(item, ast.FunctionDef) and item.name in names
            and any(isinstance(part, ast.Raise) for part in ast.walk(item))}


def types():
    """The installed SDK's types."""
    try:
        folder = importlib.metadata.distribution("kserve").locate_file("kserve/models")
    except importlib.metadata.PackageNotFoundError as error:
        raise Skipped("kserve isn't installed (pip install --no-deps kserve==0.21.0)", lacking=True) from error
    read = Types(Path(folder))
    if not set(ROOTS.values()) <= read.fields.keys():
        raise ValueError("the kserve package has no models of ServingRuntime and InferenceService")
    return read


def schemas(documents, read):
    """Names, types and required fields of every KServe object."""
    core, faults = Core(), []
    for document in documents:
        root = ROOTS.get((document["apiVersion"], document["kind"]))
        if root is None:
            faults.append(f"{title(document)}: {document['apiVersion']} has no such kind here")
            continue
        faults += _value(read, core, document, root, title(document))
    return faults


def _value(read, core, value, kind, path):
    if kind.startswith("list["):
        if not isinstance(value, list):
            return [f"{path}: must be a list"]
        return [fault for index, item in enumerate(value)
                for fault in _value(read, core, item, kind[5:-1], f"{path}[{index}]")]
    if kind.startswith("dict("):
        if not isinstance(value, dict):
            return [f"{path}: must be a map"]
        inner = kind[5:-1].split(",", 1)[1].strip()
        return [fault for key, item in value.items() for fault in _value(read, core, item, inner, f"{path}.{key}")]
    if kind in SIMPLE:
        good = isinstance(value, SIMPLE[kind]) and not (isinstance(value, bool) and kind in ("int", "float"))
        return [] if good else [f"{path}: must be {kind}, not {value!r}"]
    if kind in read.fields:
        return _object(read, core, value, kind, path)
    return core.faults(value, kind, path)


def _object(read, core, value, kind, path):
    if not isinstance(value, dict):
        return [f"{path}: must be a map"]
    fields = read.fields[kind]
    faults = [f"{path}: {name} must be there" for name in sorted(read.required[kind] - value.keys())]
    for name, item in value.items():
        if name in fields:
            faults += _value(read, core, item, fields[name], f"{path}.{name}")
        else:
            faults.append(f"{path}: {kind} has no field {name}")
    return faults


class Core:
    """Kubernetes' own types, by the name that its Python client gives them: V1Container."""

    def __init__(self):
        validator = package("kubernetes_validate")
        self.jsonschema = package("jsonschema")
        self.definitions = validator.utils.schema_contents(
            f"kubernetes-json-schema/v{KUBERNETES}.0-local-strict/_definitions.json", KUBERNETES)

    def faults(self, value, kind, path):
        name = self._definition(kind)
        if name is None:
            return [f"{path}: no schema is known for {kind}"]
        schema = {"$defs": self.definitions["$defs"], "$ref": f"#/$defs/{name}"}
        errors = self.jsonschema.Draft202012Validator(schema).iter_errors(value)
        return [f"{path}{''.join(f'.{part}' for part in error.path)}: {error.message}" for error in errors]

    def _definition(self, kind):
        if kind == "ResourceQuantity":
            return "io.k8s.apimachinery.pkg.api.resource.Quantity"
        for prefix in ("io.k8s.api.core.v1", "io.k8s.apimachinery.pkg.apis.meta.v1"):
            if f"{prefix}.{kind.removeprefix('V1')}" in self.definitions["$defs"]:
                return f"{prefix}.{kind.removeprefix('V1')}"
        return None


def crds(documents, folder, files="serving.kserve.io_*.yaml"):
    """The same objects against the CRDs' schemas, with unknown fields refused."""
    yaml, jsonschema = package("yaml"), package("jsonschema")
    schemas_of = {}
    for path in sorted(Path(folder).rglob(files)):
        for crd in yaml.safe_load_all(path.read_text(encoding="utf-8")):
            for version in crd["spec"]["versions"]:
                key = (f"{crd['spec']['group']}/{version['name']}", crd["spec"]["names"]["kind"])
                schemas_of[key] = _closed(version["schema"]["openAPIV3Schema"])
    faults = []
    for document in documents:
        key = (document["apiVersion"], document["kind"])
        if key not in schemas_of:
            faults.append(f"{title(document)}: there is no CRD for {key}")
            continue
        errors = jsonschema.Draft7Validator(schemas_of[key]).iter_errors(document)
        faults += [f"{title(document)}: {'.'.join(map(str, error.path))}: {error.message}" for error in errors]
    return faults


def _closed(schema):
    """A CRD's schema as JSON schema: objects that list their fields have no others (but for Kubernetes' metadata)."""
    if isinstance(schema, list):
        return [_closed(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {key: _closed(value) for key, value in schema.items()}
    if schema.get("x-kubernetes-int-or-string"):
        closed.pop("type", None)
    if isinstance(schema.get("properties"), dict) and schema.get("type") == "object" \
            and not schema.get("x-kubernetes-preserve-unknown-fields"):
        closed.setdefault("additionalProperties", False)
    return closed


def meaning(documents):
    """What KServe needs beyond types: the container's name, the placeholder, protocols, a runtime for the format."""
    faults, formats = [], set()
    for runtime in by_kind(documents, "ServingRuntime"):
        spec = runtime["spec"]
        names = [container["name"] for container in spec["containers"]]
        if "kserve-container" not in names:
            faults.append(f"{title(runtime)}: no container is named kserve-container, but {names}")
        arguments = at(spec, "containers.0.args", [])
        if "--model={{.Name}}=local-dir:/mnt/models" not in arguments:
            faults.append(f"{title(runtime)}: does not serve /mnt/models under the InferenceService's name")
        for protocol in spec.get("protocolVersions", []):
            if protocol not in ("v1", "v2", "grpc-v1", "grpc-v2"):
                faults.append(f"{title(runtime)}: KServe has no protocol {protocol}")
        port = at(spec, "annotations", {}).get("prometheus.kserve.io/port")
        if f"--http=0.0.0.0:{port}" not in arguments:
            faults.append(f"{title(runtime)}: metrics are looked for at port {port}, where no HTTP is")
        formats |= {(form["name"], form.get("version"), protocol) for form in spec.get("supportedModelFormats", [])
                    if form.get("autoSelect") for protocol in spec.get("protocolVersions", [])}
        faults += volumes(title(runtime), spec) + restricted(title(runtime), spec) + _drain(documents, runtime)
    for service in by_kind(documents, "InferenceService"):
        model = at(service, "spec.predictor.model", {})
        wants = (at(model, "modelFormat.name"), at(model, "modelFormat.version"), model.get("protocolVersion", "v2"))
        if wants not in formats:
            faults.append(f"{title(service)}: no runtime takes {wants} by itself")
    return faults


def _drain(documents, runtime):
    arguments = at(runtime, "spec.containers.0.args", [])
    drains = next((int(each.split("=")[1]) for each in arguments if each.startswith("--drain-timeout=")), 30)
    return [f"{title(service)}: ends before its {drains} s of draining"
            for service in by_kind(documents, "InferenceService")
            if at(service, "spec.predictor.terminationGracePeriodSeconds", 30) <= drains]
