// The page of `resnest serve`: a photo goes to POST /classify, and what comes back is drawn. No library, and nothing
// from elsewhere. Addresses are relative, so that the page also works behind a proxy that serves it under a path.

import { curlLines, hubLines, requestsLines } from "./code.js";
import { colouredMap } from "./map.js";
import { withoutExif } from "./photo.js";

const $ = (id) => document.getElementById(id);
const KEY_NAME = "resnest-key";
const CLASSES = 5;
/// The longer side of the canvas in pixels: sharp on a dense screen, quick to draw anew.
const CANVAS_SIDE = 1280;
/// How bright the photo stays where the model did not look; as in `resnest classify --cam`.
const UNSEEN = 0.45;
const state = {
  /// The photo in hand, and whether it is one of the server's samples.
  file: null,
  sample: false,
  /// The photo as the browser decoded it, unturned and no larger than it is shown; null where it cannot.
  bitmap: null,
  /// Its width and height before that.
  size: null,
  /// Whether the photo's EXIF block turns it on its side.
  turned: false,
  /// The server's answer, and which of its predictions has its map shown.
  answer: null,
  chosen: 0,
  /// The map of that prediction in colours, before it is laid over the photo.
  map: null,
  models: [],
  /// The models that said they have no activation maps.
  mapless: new Set(),
  /// Whether the server wants a key.
  locked: false,
  /// Ends the request in flight when another photo comes.
  abort: null,
  /// Counts photos, so that what belongs to an earlier one is dropped.
  turn: 0,
};

// ── Words ────────────────────

function element(name, className, text) {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

function percent(share) {
  if (share > 0 && share < 0.0005) return "< 0.1%";
  // Only a sure thing is 100%.
  return share < 1 && share >= 0.9995 ? "> 99.9%" : `${(share * 100).toFixed(1)}%`;
}

function milliseconds(ms) {
  if (ms >= 1000) return `${(ms / 1000).toFixed(2)} s`;
  return `${ms.toFixed(ms >= 100 ? 0 : ms >= 10 ? 1 : 2)} ms`;
}

function bytes(size) {
  if (size < 1000) return `${size} bytes`;
  return size < 1e6 ? `${(size / 1e3).toFixed(0)} kB` : `${(size / 1e6).toFixed(1)} MB`;
}

/// What a class is called: its first name, and the others it goes by.
function names(prediction) {
  const words = prediction.description;
  if (!words) return [String(prediction.label), ""];
  const comma = words.indexOf(",");
  return comma < 0 ? [words, ""] : [words.slice(0, comma), words.slice(comma + 1).trim()];
}

// ── The server ────────────────────

/// An answer that is not 200, in the server's words.
class Refusal extends Error {
  constructor(status, text, retryAfter) {
    super(text);
    this.status = status;
    this.retryAfter = retryAfter;
  }
}

// A browser may forbid a page its storage; the key then lasts until the page is left.
let keyWithoutStorage = "";

function savedKey() {
  try {
    return sessionStorage.getItem(KEY_NAME) ?? keyWithoutStorage;
  } catch {
    return keyWithoutStorage;
  }
}

function saveKey(key) {
  keyWithoutStorage = key;
  try {
    sessionStorage.setItem(KEY_NAME, key);
  } catch { /* kept above */ }
}

/// The JSON of an answer and its headers; anything but 200 is thrown as a Refusal.
async function ask(address, options = {}) {
  const key = savedKey();
  // Whatever the file calls itself, the body is the file and nothing around it.
  const headers = options.body ? { "Content-Type": "application/octet-stream" } : {};
  if (key) headers.Authorization = `Bearer ${key}`;
  const response = await fetch(address, { ...options, headers, cache: "no-store" });
  const text = await response.text();
  let body = null;
  try {
    body = JSON.parse(text);
  } catch { /* a proxy's page, for example; told below by its status */ }
  if (response.ok && body !== null) return { body, headers: response.headers };
  const words = body?.error ?? (response.statusText || "The server gave no reason.");
  throw new Refusal(response.status, words, response.headers.get("retry-after"));
}

/// The query of a request for the model in the menu, with what that model can tell.
function query(maps) {
  const parts = new URLSearchParams({ topk: CLASSES });
  if (maps) parts.set("cam", "true");
  parts.set("splits", "true");
  if ($("model").value) parts.set("model", $("model").value);
  return parts.toString();
}

/// Classifies the file; a model without maps refuses to draw them and is asked again without.
async function classify(file, signal) {
  const model = $("model").value;
  const send = async (maps) => {
    const start = performance.now();
    const { body, headers } = await ask(`classify?${query(maps)}`, { method: "POST", body: file, signal });
    return understood(body, headers, performance.now() - start);
  };
  if (state.mapless.has(model)) return send(false);
  try {
    return await send(true);
  } catch (error) {
    if (error.status !== 400) throw error;
    const answer = await send(false);
    state.mapless.add(model);
    return answer;
  }
}

/// One shape for the answers with and without explanations.
function understood(body, headers, elapsed) {
  const answer = Array.isArray(body) ? { predictions: body } : body;
  const header = (name) => Number.parseFloat(headers.get(name) ?? "") || 0;
  const times = answer.times ?? {};
  return {
    predictions: answer.predictions ?? [],
    image: answer.image ?? null,
    window: answer.window ?? null,
    splits: answer.splits ?? [],
    decode: times.decode_ms ?? header("x-decode-time"),
    queue: times.queue_ms ?? header("x-queue-time"),
    inference: times.inference_ms ?? header("x-inference-time"),
    server: header("x-total-time"),
    elapsed,
  };
}

async function loadModels() {
  try {
    const { body } = await ask("v2/models");
    state.models = body.models ?? [];
    $("key-form").hidden = true;
  } catch (error) {
    // Without the list there is no menu, and the server's own choice of model answers.
    if (error.status === 401) askForKey();
    return;
  }
  const menu = $("model");
  const before = menu.value;
  menu.replaceChildren(...state.models.map((model) => {
    const option = new Option(model.ready ? model.name : `${model.name} (not ready)`, model.name);
    option.disabled = !model.ready;
    return option;
  }));
  const kept = state.models.find((model) => model.name === before) ?? state.models.find((model) => model.ready);
  menu.value = kept?.name ?? "";
  menu.hidden = $("model-label").hidden = state.models.length < 2;
  showModel();
}

function showModel() {
  const model = state.models.find((one) => one.name === $("model").value);
  const [height, width] = model?.input_size ?? [];
  const facts = model && state.models.length < 2 ? [model.name] : [];
  if (model?.classes) facts.push(`${model.classes} classes`);
  if (width) facts.push(`${width} × ${height}`);
  $("model-facts").textContent = facts.join(" · ");
  showCode();
}

function askForKey() {
  $("key-why").textContent = savedKey()
    ? "The server did not accept this key."
    : "This server answers only with a key.";
  $("status").textContent = $("key-why").textContent;
  $("key-form").hidden = false;
  state.locked = true;
  showCode();
}

// ── A photo comes in ────────────────────

async function take(file, sample = false) {
  Object.assign(state, { file, sample });
  const turn = begin();
  const looked = look(file);
  showCode();
  try {
    const asked = classify(file, state.abort.signal);
    // The photo is on the screen while the server is at work.
    asked.catch(() => {});
    const seen = await looked;
    if (turn !== state.turn) {
      seen.bitmap?.close();
      return;
    }
    Object.assign(state, seen);
    showPhoto();
    const answer = await asked;
    if (turn === state.turn) show(answer);
  } catch (error) {
    if (turn === state.turn) fail(error);
  }
}

/// Ends what was going on and makes the page ready for the next answer.
function begin() {
  state.abort?.abort();
  state.bitmap?.close();
  Object.assign(state, { abort: new AbortController(), answer: null, bitmap: null, size: null, map: null });
  state.turn += 1;
  document.body.dataset.stage = "busy";
  $("error").hidden = true;
  $("results").hidden = false;
  $("results").setAttribute("aria-busy", "true");
  $("status").textContent = "Looking at the photo…";
  return state.turn;
}

/// The photo as it lies in the file. The server does not turn photos by their EXIF block and browsers do, so the block
/// is taken out first: otherwise the map would lie on the photo sideways. (`imageOrientation: "none"` asks for just
/// that, and Chromium turns the photo all the same.)
async function look(file) {
  try {
    const whole = await createImageBitmap(withoutExif(await file.arrayBuffer()));
    const { width, height } = whole;
    const turned = ![null, width].includes(await uprightWidth(file));
    return { bitmap: await reduced(whole), size: { width, height }, turned };
  } catch {
    return { bitmap: null, size: null, turned: false };
  }
}

/// The bitmap, or if it is larger than the canvas a smaller one in its place, so that drawing it stays quick.
async function reduced(whole) {
  const scale = CANVAS_SIDE / Math.max(whole.width, whole.height);
  if (scale >= 1) return whole;
  const side = (length) => Math.max(1, Math.round(length * scale));
  const size = { resizeWidth: side(whole.width), resizeHeight: side(whole.height), resizeQuality: "high" };
  return createImageBitmap(whole, size).finally(() => whole.close());
}

/// How wide the browser would show the photo, EXIF block and all.
function uprightWidth(file) {
  const address = URL.createObjectURL(file);
  const image = new Image();
  return new Promise((resolve) => {
    image.onload = () => resolve(image.naturalWidth);
    image.onerror = () => resolve(null);
    image.src = address;
  }).finally(() => URL.revokeObjectURL(address));
}

async function takeSample(name) {
  const before = state.turn;
  try {
    const response = await fetch(`samples/${name}`);
    if (!response.ok) throw new Refusal(response.status, `The sample ${name} is not there.`);
    const blob = await response.blob();
    // Another photo came in the meantime.
    if (before !== state.turn) return;
    await take(new File([blob], name, { type: blob.type }), true);
  } catch (error) {
    begin();
    fail(error);
  }
}

/// The first photo of a drop or a paste.
function takeFirst(transfer) {
  const files = [...transfer.files];
  const photo = files.find((file) => file.type.startsWith("image/")) ?? files[0];
  if (photo) take(photo);
  return Boolean(photo);
}

// ── The answer ────────────────────

function show(answer) {
  Object.assign(state, { answer, chosen: 0 });
  // Whatever makes a browser read a file otherwise than the model did: the map would not lie on it.
  const { image } = answer;
  if (state.size && image && (image.width !== state.size.width || image.height !== state.size.height)) {
    state.bitmap.close();
    Object.assign(state, { bitmap: null, turned: false });
  }
  document.body.dataset.stage = "answered";
  $("results").setAttribute("aria-busy", "false");
  showPredictions();
  showTimes();
  showSplits();
  showPhoto();
  showCode();
  const told = answer.predictions.slice(0, 3).map((one) => `${names(one)[0]} ${percent(one.score)}`);
  $("status").textContent = `${told.join(", ")}. Took ${milliseconds(answer.elapsed)}.`;
}

function fail(error) {
  document.body.dataset.stage = "failed";
  $("results").hidden = true;
  $("status").textContent = "";
  if (error.status === 401) {
    askForKey();
    $("key").focus();
    return;
  }
  const refused = error instanceof Refusal;
  const wait = Number(error.retryAfter) > 0 ? ` Try again in ${error.retryAfter} s.` : "";
  const name = state.file?.name || "the photo";
  $("error-title").textContent = refused ? `The server did not take ${name} (${error.status})` : "No answer came";
  $("error-text").textContent = refused
    ? error.message + wait
    : "The server could not be reached, or the file could not be read or is larger than the server takes.";
  $("again").hidden = refused && ![408, 429].includes(error.status) && error.status < 500;
  $("error").hidden = false;
}

function showPredictions() {
  const { predictions } = state.answer;
  const maps = predictions.some((one) => one.cam);
  $("predictions-hint").hidden = !maps;
  $("prediction-rows").replaceChildren(...predictions.map((one, place) => predictionRow(one, place, maps)));
}

function predictionRow(prediction, place, maps) {
  const row = element(maps ? "label" : "div", "prediction");
  if (maps) {
    const radio = element("input", "unseen");
    Object.assign(radio, { type: "radio", name: "map", value: place, checked: place === state.chosen });
    row.append(radio);
  }
  const [first, others] = names(prediction);
  const name = element("span", "name");
  name.append(element("b", "", first));
  if (others) name.append(" ", element("small", "", others));
  name.title = `${prediction.label}, class ${prediction.index}`;
  const score = element("data", "score", percent(prediction.score));
  score.value = prediction.score;
  const track = element("span", "track");
  track.setAttribute("aria-hidden", "true");
  const fill = element("span", "fill");
  fill.style.setProperty("--share", prediction.score);
  track.append(fill);
  row.append(name, score, track);
  return row;
}

/// Where the time went. What the browser waited beyond the server's own time is the way there and back.
function showTimes() {
  const { decode, queue, inference, server, elapsed } = state.answer;
  const known = decode + queue + inference;
  const within = Math.max(server, known);
  const parts = [
    ["decode", "Decode", decode],
    ["queue", "Queue", queue],
    ["inference", "Forward pass of the network", inference],
    ["rest", "Rest of the server", within - known],
    ["way", "Browser and connection", Math.max(elapsed - within, 0)],
  ];
  $("times-total").textContent = milliseconds(elapsed);
  $("times-bar").replaceChildren(...parts.filter(([, , ms]) => ms > 0).map(([part, , ms]) => {
    const piece = element("span", `part-${part}`);
    piece.style.setProperty("flex-grow", ms);
    return piece;
  }));
  $("times-list").replaceChildren(...parts.map(([part, words, ms]) => {
    const line = element("div");
    line.append(element("dt", `part-${part}`, words), element("dd", "", milliseconds(ms)));
    return line;
  }));
}

// ── The photo and the map over it ────────────────────

/// Draws the photo, and once there is an answer the chosen class's map; makes the words beside them fit.
function showPhoto() {
  const { file, bitmap, answer } = state;
  const size = answer?.image ?? state.size;
  const prediction = answer?.predictions[state.chosen];
  const cam = prediction?.cam && answer.window ? prediction.cam : null;
  $("photo-name").textContent = file.name || "Photo";
  const sides = size ? `${size.width} × ${size.height} · ` : "";
  $("photo-size").textContent = sides + bytes(file.size);
  $("no-photo").hidden = Boolean(bitmap);
  $("frame").hidden = !bitmap && Boolean(answer) && !cam;
  $("photo-note").hidden = !state.turned;
  $("photo-note").textContent = "Shown as it lies in the file and as the model saw it: not turned by its EXIF block.";
  $("map-words").hidden = !cam;
  $("map-strength").hidden = !cam || !bitmap;
  state.map = cam ? colouredMap(cam, bitmap) : null;
  if (cam) {
    $("map-class").textContent = names(prediction)[0];
    $("map-unseen").hidden = coversAll(answer.window, answer.image);
  }
  $("canvas").setAttribute("aria-label", photoInWords(prediction, cam));
  draw();
}

/// Whether the window leaves nothing of the image out; half a pixel is nothing.
function coversAll(window, image) {
  return window.x <= 0.5 && window.y <= 0.5
    && window.x + window.width >= image.width - 0.5 && window.y + window.height >= image.height - 0.5;
}

function photoInWords(prediction, cam) {
  const photo = state.bitmap ? `The photo ${state.file.name}` : "A photo that the browser cannot show";
  if (!cam) return photo;
  const peak = cam.values.indexOf(Math.max(...cam.values));
  const third = (at, of, words) => words[Math.min(2, Math.floor(((at + 0.5) / of) * 3))];
  const row = third(Math.floor(peak / cam.columns), cam.rows, ["top", "middle", "bottom"]);
  const column = third(peak % cam.columns, cam.columns, ["left", "centre", "right"]);
  return `${photo} under the map of ${names(prediction)[0]}, which is strongest at the ${row} ${column}`;
}

/// Sets the canvas to the photo's shape. Gives how many of its pixels one of the photo's takes, across and down.
function shapeCanvas() {
  const canvas = $("canvas");
  const size = state.answer?.image ?? state.size ?? { width: 4, height: 3 };
  const scale = CANVAS_SIDE / Math.max(size.width, size.height);
  canvas.width = Math.max(1, Math.round(size.width * scale));
  canvas.height = Math.max(1, Math.round(size.height * scale));
  return [canvas.width / size.width, canvas.height / size.height];
}

function draw() {
  const canvas = $("canvas");
  const [across, down] = shapeCanvas();
  const context = canvas.getContext("2d");
  context.imageSmoothingQuality = "high";
  if (state.bitmap) {
    context.fillStyle = "#fff";
    context.fillRect(0, 0, canvas.width, canvas.height);
    context.drawImage(state.bitmap, 0, 0, canvas.width, canvas.height);
  }
  if (!state.map) return;
  const { x, y, width, height } = state.answer.window;
  const seen = [x * across, y * down, width * across, height * down];
  dimAround(context, seen);
  // The map's own alpha holds how it varies; see colouredMap.
  context.globalAlpha = state.bitmap ? $("opacity").value / 100 : 1;
  context.drawImage(state.map, ...seen);
  context.globalAlpha = 1;
  outline(context, seen);
}

/// Darkens what lies outside the window: the whole canvas with the window left out of it.
function dimAround(context, [x, y, width, height]) {
  const { canvas } = context;
  context.beginPath();
  context.rect(0, 0, canvas.width, canvas.height);
  context.rect(x, y, width, height);
  context.fillStyle = `rgb(0 0 0 / ${1 - UNSEEN})`;
  context.fill("evenodd");
}

function outline(context, [x, y, width, height]) {
  for (const [inset, shade] of [[1.5, "#fff"], [4.5, "rgb(0 0 0 / 0.7)"]]) {
    context.strokeStyle = shade;
    context.lineWidth = 3;
    context.strokeRect(x + inset, y + inset, width - 2 * inset, height - 2 * inset);
  }
}

// ── The splits ────────────────────

function showSplits() {
  const blocks = state.answer.splits;
  $("splits").hidden = blocks.length === 0;
  if (blocks.length === 0) return;
  const radix = Math.max(...blocks.map((block) => block.means.length));
  const most = Math.max(...blocks.flatMap((block) => block.high));
  const end = Math.min(Math.max(Math.ceil(most * 10 + 0.2) / 10, 0.2), 1);
  $("splits-words").textContent = radix > 1
    ? `A softmax over ${radix} splits in every channel. The dot is the mean over a block’s channels, the bar their `
      + `middle 80%, and the line in between no preference. The scale runs from 0 to ${end}.`
    : "The one split’s gate in every channel. The dot is the mean over a block’s channels, the bar their middle 80%. "
      + `The scale runs from 0 to ${end}.`;
  const keys = Array.from({ length: radix }, (_, split) => element("li", `split-${split % 4}`, `Split ${split + 1}`));
  $("splits-key").replaceChildren(...(radix > 1 ? keys : []));
  $("splits-blocks").replaceChildren(...blocks.map((block) => blockRow(block, end)));
}

function blockRow(block, end) {
  const row = element("li");
  row.append(element("b", "", block.block));
  const even = block.means.length > 1 ? 1 / block.means.length / end : 0;
  block.means.forEach((mean, split) => {
    const [low, high] = [block.low[split], block.high[split]];
    const line = element("span", `split-${split % 4} track`);
    const marks = { "--low": low / end, "--high": high / end, "--mean": mean / end, "--even": even };
    for (const [name, value] of Object.entries(marks)) line.style.setProperty(name, value);
    for (const part of ["range", "dot"]) line.append(element("i", part));
    const words = `split ${split + 1}: mean ${mean.toFixed(3)}, from ${low.toFixed(3)} to ${high.toFixed(3)}`;
    line.title = words;
    line.append(element("span", "unseen", words));
    row.append(line, element("span", "mean", mean.toFixed(2)));
    row.lastChild.setAttribute("aria-hidden", "true");
  });
  return row;
}

// ── The same from a program ────────────────────

function codeLines(tab) {
  const model = state.models.length > 1 ? $("model").value : "";
  const request = {
    name: state.file?.name || "photo.jpg",
    key: state.locked,
    sample: state.sample,
    classes: CLASSES,
    address: (path) => new URL(path, document.baseURI).href,
    fields: query(!state.mapless.has($("model").value)),
  };
  if (!model) request.fields = request.fields.replace(/&model=.*/, "");
  request.hub = request.address(model ? `models/${encodeURIComponent(model)}` : "./");
  return { "tab-curl": curlLines, "tab-requests": requestsLines, "tab-hub": hubLines }[tab](request);
}

function showCode() {
  const tab = document.querySelector('[role="tab"][aria-selected="true"]').id;
  $("code").textContent = codeLines(tab);
  $("code").setAttribute("aria-labelledby", tab);
  // "Copied" is said of these lines only.
  $("copy").textContent = "Copy";
}

function selectTab(tab) {
  for (const one of document.querySelectorAll('[role="tab"]')) {
    one.setAttribute("aria-selected", String(one === tab));
    one.tabIndex = one === tab ? 0 : -1;
  }
  showCode();
}

/// Left and right go round the tabs, as in any row of them.
function moveTab(event) {
  const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  if (!step) return;
  const tabs = [...document.querySelectorAll('[role="tab"]')];
  const next = tabs[(tabs.indexOf(event.target) + step + tabs.length) % tabs.length];
  event.preventDefault();
  next.focus();
  selectTab(next);
}

/// Copies the lines. Over plain HTTP from another machine a page has no clipboard; there the older way, by a selection.
async function copyCode() {
  let copied = true;
  try {
    await navigator.clipboard.writeText($("code").textContent);
  } catch {
    getSelection().selectAllChildren($("code"));
    copied = document.execCommand("copy");
  }
  $("copy").textContent = copied ? "Copied" : "Press Ctrl+C";
  $("status").textContent = copied ? "Copied." : "The lines are selected.";
}

// ── What the visitor does ────────────────────

$("file").addEventListener("change", ({ target }) => {
  if (target.files.length) take(target.files[0]);
  // So that the same file can be chosen again.
  target.value = "";
});
for (const button of document.querySelectorAll("[data-sample]")) {
  button.addEventListener("click", () => takeSample(button.dataset.sample));
}
document.addEventListener("paste", (event) => {
  if (event.clipboardData && takeFirst(event.clipboardData)) event.preventDefault();
});
document.addEventListener("dragover", (event) => {
  event.preventDefault();
  document.body.classList.add("dragging");
});
document.addEventListener("dragleave", (event) => {
  // Null when the pointer leaves the page, not only an element of it.
  if (!event.relatedTarget) document.body.classList.remove("dragging");
});
document.addEventListener("drop", (event) => {
  event.preventDefault();
  document.body.classList.remove("dragging");
  if (!takeFirst(event.dataTransfer)) $("status").textContent = "What was dropped is not a file.";
});
$("prediction-rows").addEventListener("change", ({ target }) => {
  state.chosen = Number(target.value);
  showPhoto();
});
$("opacity").addEventListener("input", () => {
  const value = `${$("opacity").value}%`;
  $("opacity-value").textContent = value;
  $("opacity").setAttribute("aria-valuetext", value);
  draw();
});
$("model").addEventListener("change", () => {
  showModel();
  if (state.file) take(state.file, state.sample);
});
$("again").addEventListener("click", () => state.file && take(state.file, state.sample));
$("key-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  saveKey($("key").value);
  await loadModels();
  if (state.file && $("key-form").hidden) take(state.file, state.sample);
});
for (const tab of document.querySelectorAll('[role="tab"]')) {
  tab.addEventListener("click", () => selectTab(tab));
  tab.addEventListener("keydown", moveTab);
}
$("copy").addEventListener("click", copyCode);

showCode();
loadModels();
