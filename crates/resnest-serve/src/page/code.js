// The same request from a program.

/// In quotes for a shell that POSIX describes.
const shell = (text) => `'${text.replaceAll("'", "'\\''")}'`;
/// As a string of Python: JSON's escapes are Python's too.
const python = (text) => JSON.stringify(text);

export function curlLines({ name, key, sample, address, fields }) {
  const fetched = sample ? [`curl -O ${shell(address(`samples/${name}`))}`] : [];
  const header = key ? ['  -H "Authorization: Bearer $RESNEST_API_KEY" \\'] : [];
  return [...fetched, `curl --data-binary ${shell(`@${name}`)} \\`, ...header,
    `  ${shell(address(`classify?${fields}`))}`].join("\n");
}

export function requestsLines({ name, key, address, fields }) {
  const parameters = [...new URLSearchParams(fields)].map(([field, value]) => `${python(field)}: ${python(value)}`);
  return `${key ? "import os\n" : ""}import requests

with open(${python(name)}, "rb") as photo:
    response = requests.post(
        ${python(address("classify"))},
        params={${parameters.join(", ")}},${key ? `
        headers={"Authorization": "Bearer " + os.environ["RESNEST_API_KEY"]},` : ""}
        data=photo,
    )
response.raise_for_status()
for guess in response.json()["predictions"]:
    print(f'{guess["score"]:7.2%}  {guess["description"] or guess["label"]}')`;
}

export function hubLines({ name, key, classes, hub }) {
  return `${key ? "import os\n" : ""}from huggingface_hub import InferenceClient

client = InferenceClient(
    model=${python(hub)},${key ? `
    token=os.environ["RESNEST_API_KEY"],` : ""}
)
for guess in client.image_classification(${python(name)}, top_k=${classes}):
    print(f"{guess.score:7.2%}  {guess.label}")`;
}
