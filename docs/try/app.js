// The page: a photo comes in, worker.js colours it, and what can be set is set here. No framework: the elements of
// index.html, one `state` that undo goes back through, and `refresh`, which shows it.

import {MAX_HINTS} from "./hints.js";
import {fitGamut, hexToRgb, labToHex, lightness, rgbToHex, rgbToLab} from "./lab.js";

const $ = id => document.getElementById(id);
$("late").remove();
const before = $("before").getContext("2d", {willReadFrequently: true});
const after = $("after").getContext("2d", {willReadFrequently: true});
// A worker with an address has no policy but its server's; one made here obeys the one in index.html.
const start = `import ${JSON.stringify(new URL("worker.js", import.meta.url))};`;
const worker = new Worker(URL.createObjectURL(new Blob([start], {type: "text/javascript"})), {type: "module"});

const START = {hints: [], saturation: 1, size: 0};  // size 0: what the network was trained at
let model = null;  // {planes}, once it is loaded
let broken = "";  // why there is no network
let photo = null;  // {name, type, width, height, notes}, once it is open
let opening = null;  // name of the file that the worker was last told to open, until it has
let waiting = null;  // hints, [file, name], that came before their photo or the network was there
let state = START;  // never changed in place, so that undo can keep it
let past = [], future = [], gesture = null;
let chosen = -1;  // which hint is selected
let recent = [];  // colours, newest first
let asked = 0;  // number of the last wish for colours: answers to earlier ones are late
let silent = 0;  // up to which number answers leave standing what is said: it is an error

// ---- What is said ----

function say(text, bad = false) {
  if (bad) silent = asked;
  if ($("message").textContent !== text) $("message").textContent = text;  // it is read aloud at each change
  $("message").classList.toggle("bad", bad);
}
const described = () => [`${photo.name}, ${photo.width} × ${photo.height} pixels`, ...photo.notes].join("; ");
/** Something less than an error, while there is neither photo nor error to be read. */
const mention = text => photo || opening || $("message").classList.contains("bad") || say(text);

// ---- State: every change is a new one, and can be undone ----

/** Change the state; changes of one gesture, such as a drag, are undone together. */
function commit(change, name = null) {
  if (name === null || name !== gesture) {
    past.push(state);
    future = [];
  }
  gesture = name;
  state = {...state, ...change};
  refresh();
}

function travel(from, to) {  // undo is travel(past, future), redo the other way round
  if (!from.length) return;
  to.push(state);
  state = from.pop();
  gesture = null;
  refresh();
}

function refresh() {
  chosen = Math.min(chosen, state.hints.length - 1);
  $("saturation").value = state.saturation;
  $("amount").value = state.saturation.toFixed(2);
  $("size").value = state.size;
  $("undo").disabled = !past.length;
  $("redo").disabled = !future.length;
  $("restart").disabled = !state.hints.length && state.saturation === 1 && !state.size;
  $("keep").disabled = !state.hints.length;
  $("remove").disabled = chosen < 0;
  showPoints();
  showChooser();
  color();
}

function color() {
  if (!model || !photo) return;
  $("stage").setAttribute("aria-busy", "true");
  worker.postMessage({do: "color", id: ++asked, ...state});
}

// ---- What the worker tells ----

const heard = {
  loading({loaded, total}) {
    $("loading").value = loaded/total;
    mention(`Loading the network, ${(total/1e6).toFixed(1)} MB …`);
  },
  ready({planes, size}) {
    model = {planes};
    $("loading").hidden = true;
    const sizes = [...new Set([size, 128, 256, 384])].sort((a, b) => a - b);
    $("size").replaceChildren(...sizes.map(n => n === size ? new Option(`${n} pixels, as trained`, 0) : new Option(`${n} pixels`, n)));
    const takesHints = planes === 4;
    $("tools").hidden = !takesHints;
    $("nohints").hidden = takesHints;
    $("stage").classList.toggle("hinting", takesHints);
    mention("Ready. From here on this page needs no network.");
    refresh();
    takeWaiting();
  },
  opened({name, type, width, height, notes, picture}) {
    photo = {name, type, width, height, notes};
    if (name === opening) opening = null;
    for (const canvas of [$("before"), $("after")]) [canvas.width, canvas.height] = [width, height];
    before.drawImage(picture, 0, 0);
    after.drawImage(picture, 0, 0);
    picture.close();
    $("look").style.setProperty("--w", width);
    $("look").style.setProperty("--h", height);
    $("format").value = photo.type === "image/png" ? "image/png" : "image/jpeg";
    $("work").hidden = false;
    $("download").disabled = true;
    [past, future, gesture, chosen] = [[], [], null, -1];
    state = {...state, hints: []};
    if (broken) say(broken, true);
    else say(`${described()}: ${model ? "colouring" : "the network is still being loaded"} …`);
    refresh();
    takeWaiting();
  },
  rows({y, end, step, width, rows}) {
    const strip = new ImageData(rows, width);
    if (step === 1) return after.putImageData(strip, 0, y);
    const look = new OffscreenCanvas(strip.width, strip.height);  // a quick look, enlarged until the real rows come
    look.getContext("2d").putImageData(strip, 0, 0);
    after.drawImage(look, 0, y, strip.width*step, strip.height*step);
  },
  colored({id, seconds}) {
    if (id !== asked) return;
    $("stage").setAttribute("aria-busy", "false");
    $("download").disabled = false;
    if (id > silent) say(`${described()}: coloured in ${seconds.toFixed(1)} s`);
  },
  saved({blob}) {
    $("download").disabled = false;
    const kind = blob.type === "image/png" ? "png" : "jpg";
    take(blob, `${stem()} in colour.${kind}`);
    say(`${described()}: the file is made`);
  },
  failed({doing, why, name}) {
    if (doing === "color") $("stage").setAttribute("aria-busy", "false");
    if (doing === "load") {
      $("loading").hidden = true;
      return say(broken = `The network could not be loaded: ${why}. Load the page again.`, true);
    }
    if (doing === "open" && name === opening) opening = waiting = null;
    if (photo) $("download").disabled = false;
    say(`${name ?? photo.name}: ${why}`, true);
  },
};
worker.onmessage = ({data}) => heard[data.is](data);
worker.onerror = () => heard.failed({doing: "load", why: "this browser lacks what it needs; try a recent one"});

// ---- Files in and out ----

function open(file, name, transfer = [], more = false) {
  opening = name;
  $("download").disabled = true;
  say(`${name}: opening …`);
  worker.postMessage({do: "open", file, name, more, type: file.type ?? ""}, transfer);
}

function openFiles(files) {
  const isHints = ({name}) => name.toLowerCase().endsWith(".json");
  const [first, ...more] = [...files].filter(file => !isHints(file));
  if (first) open(first, first.name, [], more.length > 0);
  for (const file of files) if (isHints(file)) openHints(file, file.name);  // they are about the photo beside them
}

function takeWaiting() {
  if (!waiting || !model || opening) return;
  const hints = waiting;
  waiting = null;
  openHints(...hints);
}

const stem = () => photo.name.replace(/\.[^.]*$/, "") || "photo";

function take(blob, name) {
  const link = Object.assign(document.createElement("a"), {href: URL.createObjectURL(blob), download: name});
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

/** Whatever CSS calls a colour, as #rrggbb. */
function toHex(color) {
  const pen = new OffscreenCanvas(1, 1).getContext("2d");
  const [one, other] = ["#000000", "#ffffff"].map(start => {  // what is no colour leaves what stood there
    pen.fillStyle = start;
    pen.fillStyle = color;
    return pen.fillStyle;
  });
  if (one !== other || !/^#[0-9a-f]{6}$/.test(one)) throw new Error(`${color} is no colour`);
  return one;
}

function parsed(text) {
  try { return JSON.parse(text) ?? {}; } catch { throw new Error("it is no JSON"); }
}

/** NAME.hints.json, as this page and the Python package write it. */
async function openHints(file, name) {
  if (!model || opening) return waiting = [file, name];
  try {
    if (!photo) throw new Error("open its photo first");
    if (model.planes !== 4) throw new Error("this network takes no hints");
    const {size, hints} = parsed(await file.text());
    if (!Array.isArray(size) || !Array.isArray(hints)) throw new Error("it lacks a photo's size, or hints");
    const {width, height} = photo;
    if (size[0] !== width || size[1] !== height) {
      throw new Error(`made for a photo of ${size.join(" × ")} pixels, this one has ${width} × ${height}`);
    }
    if (hints.length > MAX_HINTS) throw new Error(`${hints.length} hints; here ${MAX_HINTS} are the most`);
    const read = hints.map(hint => {
      const {x, y, color, radius} = hint ?? {};
      if (![x, y, radius ?? 0].every(v => Number.isFinite(v) && v >= 0) || color == null) {
        throw new Error("each hint needs x, y and a color, and its radius is a number");
      }
      if (x >= width || y >= height) throw new Error("a hint outside the photo");
      return {x, y, color: toHex(color), ...(radius != null && {radius})};
    });
    commit({hints: read});
  } catch (error) { say(`${name} gives no hints: ${error.message}`, true); }
}

$("file").onchange = ({target}) => {
  openFiles(target.files);
  target.value = "";  // so that the same file can be chosen again
};
$("example").onclick = async () => {
  await $("sample").decode();  // it may still be coming
  const picture = await createImageBitmap($("sample"));
  open(picture, "Eileen Collins.jpg", [picture]);
};
document.ondragover = event => {
  event.preventDefault();
  document.body.classList.add("dropping");
};
document.ondragleave = event => event.relatedTarget ?? document.body.classList.remove("dropping");
document.ondrop = event => {
  event.preventDefault();
  document.body.classList.remove("dropping");
  openFiles(event.dataTransfer.files);
};
document.onpaste = event => openFiles(event.clipboardData.files);

$("download").onclick = () => {
  $("download").disabled = true;
  say(`${described()}: making the file …`);
  worker.postMessage({do: "save", type: $("format").value, mark: $("mark").checked, ...state});
};
$("keep").onclick = () => {
  const text = JSON.stringify({size: [photo.width, photo.height], hints: state.hints}, null, 1) + "\n";
  take(new Blob([text], {type: "application/json"}), `${stem()}.hints.json`);
};

// ---- What is looked at ----

function split() {
  $("after").style.clipPath = `inset(0 0 0 ${$("split").value}%)`;
  $("line").style.left = `${$("split").value}%`;
}
$("split").oninput = split;
split();

$("zoom").onclick = () => {
  const whole = $("look").classList.toggle("whole");
  $("zoom").setAttribute("aria-pressed", whole);
  $("look").style.setProperty("--dpr", devicePixelRatio);
  if (!whole) return $("view").removeAttribute("tabindex");
  $("view").tabIndex = 0;  // arrows scroll it
  $("view").scrollTo(($("stage").offsetWidth - $("view").clientWidth)/2, ($("stage").offsetHeight - $("view").clientHeight)/2);
};

$("saturation").oninput = ({target}) => commit({saturation: +target.value}, "saturation");
// what one pull, or the arrow keys of one visit, did is undone together
$("saturation").onpointerdown = $("saturation").onblur = () => gesture = null;
$("size").onchange = ({target}) => commit({size: +target.value});
$("undo").onclick = () => travel(past, future);
$("redo").onclick = () => travel(future, past);
$("restart").onclick = () => commit(START);
document.addEventListener("keydown", event => {
  const key = event.key.toLowerCase();
  if (!(event.ctrlKey || event.metaKey) || !["z", "y"].includes(key)) return;
  event.preventDefault();
  if (key === "z" && !event.shiftKey) travel(past, future); else travel(future, past);
});

// ---- Hints ----

const lightnessAt = ({x, y}) => lightness(before.getImageData(x, y, 1, 1).data, 0, 1)[0];

/** A colour as it will be seen at a place of lightness L. */
function shown(L, color) {
  const [, a, b] = rgbToLab(...hexToRgb(color));
  return labToHex(L, ...fitGamut(L, a, b));
}

function placeOf(event) {  // in pixels of the photo
  const box = $("stage").getBoundingClientRect(), {width, height} = photo;
  const inside = (v, n) => Math.max(0, Math.min(n - 1, Math.floor(v*n)));
  return {x: inside((event.clientX - box.left)/box.width, width), y: inside((event.clientY - box.top)/box.height, height)};
}

function addHint(place) {
  if (state.hints.length >= MAX_HINTS) return say(`${MAX_HINTS} hints are the most`, true);
  // the first hint begins with the colour that stands there; further ones with the colour last chosen
  const standing = rgbToHex(after.getImageData(place.x, place.y, 1, 1).data);
  chosen = state.hints.length;
  commit({hints: [...state.hints, {...place, color: recent[0] ?? standing}]});
  $("points").children[chosen].focus({preventScroll: true});
}

function changeHint(i, change, name) {
  commit({hints: state.hints.map((hint, k) => k === i ? {...hint, ...change} : hint)}, name);
}

function removeHint(i) {
  if (i < 0) return;
  const hadFocus = $("points").contains(document.activeElement);
  chosen = Math.min(i, state.hints.length - 2);
  commit({hints: state.hints.filter((_, k) => k !== i)});
  if (hadFocus) ($("points").children[chosen] ?? $("add")).focus({preventScroll: true});
}

function choose(i) {
  chosen = i;
  $("remove").disabled = i < 0;
  showPoints();
  showChooser();
}

function giveColor(color, name) {
  recent = [color, ...recent.filter(c => c !== color)].slice(0, 7);
  changeHint(chosen, {color}, name);
}

$("stage").onclick = event => {
  if (model?.planes === 4 && !event.target.closest(".point")) addHint(placeOf(event));
};
$("add").onclick = () => addHint({x: Math.floor(photo.width/2), y: Math.floor(photo.height/2)});
$("remove").onclick = () => removeHint(chosen);
$("color").oninput = ({target}) => changeHint(chosen, {color: target.value}, "color");
$("color").onchange = ({target}) => {
  giveColor(target.value, "color");
  gesture = null;
};

function newPoint(i) {
  // without a tabIndex Safari takes the focus away when a button is pressed, and the keys with it
  const point = Object.assign(document.createElement("button"), {className: "point", tabIndex: 0});
  point.onfocus = () => choose(i);
  let touched = false;
  point.onpointerdown = event => {
    touched = event.pointerType === "touch";
    if (event.button) return;
    point.setPointerCapture(event.pointerId);
    const name = `drag ${event.timeStamp}`;
    point.onpointermove = move => changeHint(i, placeOf(move), name);
    point.focus();
  };
  point.onlostpointercapture = () => point.onpointermove = gesture = null;
  point.oncontextmenu = event => {
    event.preventDefault();
    if (!touched) removeHint(i);  // a long press is one too, and a finger that holds a hint means to drag it
  };
  const arrows = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1]};
  point.onkeydown = event => {
    if (["Delete", "Backspace"].includes(event.key)) removeHint(i);
    else if (event.key in arrows) {
      const {width, height} = photo, {x, y} = state.hints[i], [dx, dy] = arrows[event.key];
      const far = Math.max(1, Math.round(Math.min(width, height)/(event.shiftKey ? 20 : 200)));
      const inside = (v, n) => Math.max(0, Math.min(n - 1, v));
      changeHint(i, {x: inside(x + dx*far, width), y: inside(y + dy*far, height)}, `keys ${i}`);
    } else return;
    event.preventDefault();
  };
  return point;
}

/** A button on the photo for each hint; those that are there stay, so that a drag goes on. */
function showPoints() {
  const points = $("points");
  while (points.children.length > state.hints.length) points.lastChild.remove();
  while (points.children.length < state.hints.length) points.append(newPoint(points.children.length));
  state.hints.forEach((hint, i) => {
    const point = points.children[i], color = shown(lightnessAt(hint), hint.color);
    point.style.left = `${100*(hint.x + .5)/photo.width}%`;
    point.style.top = `${100*(hint.y + .5)/photo.height}%`;
    point.style.background = color;
    point.setAttribute("aria-pressed", i === chosen);
    point.setAttribute("aria-label", `Hint ${i + 1} at ${hint.x}, ${hint.y}: ${color}. Arrows move it, Delete removes it`);
  });
}

// Directions of CIELAB's a*b* plane, every 30 degrees, as people call them at middle lightness.
const HUES = ["pink", "red", "orange", "yellow", "lime", "green", "turquoise", "cyan", "sky blue", "blue", "violet", "magenta"];
const CHROMAS = {pale: 18, strong: 45};

function swatch(color, label, current, value = color) {
  const button = Object.assign(document.createElement("button"), {className: "swatch", title: label});
  button.style.background = color;
  button.setAttribute("aria-label", label);
  button.setAttribute("aria-pressed", color === current);
  button.onclick = () => {
    const {id} = button.parentElement;
    gesture = null;
    giveColor(value);
    [...$(id).children].find(again => again.getAttribute("aria-label") === label)?.focus();  // they were made anew
  };
  return button;
}

/** The palette of the selected hint: only what sRGB can show at that place's lightness. */
function showChooser() {
  $("chooser").hidden = chosen < 0;
  if (chosen < 0) return;
  const hint = state.hints[chosen], L = lightnessAt(hint), current = shown(L, hint.color);
  const row = (from, [strength, chroma]) => HUES.slice(from, from + 6).map((hue, i) => {
    const angle = (from + i)*Math.PI/6;
    return [labToHex(L, ...fitGamut(L, chroma*Math.cos(angle), chroma*Math.sin(angle))), `${strength} ${hue}`];
  });
  const [pale, strong] = Object.entries(CHROMAS), grey = labToHex(L, 0, 0);
  const colors = [...row(0, pale), ...row(0, strong), ...row(6, pale), ...row(6, strong)];
  const none = colors.every(([color]) => color === grey);
  $("which").textContent = `Hint ${chosen + 1}, at ${hint.x}, ${hint.y}. `
    + (none ? "This place is black or white: it can have no colour." : "Its light stays; colours it can have:");
  $("palette").replaceChildren(...none ? [] : colors.map(([color, label]) => swatch(color, label, current)));
  const used = recent.map(color => swatch(shown(L, color), `used before: ${color}`, current, color));
  $("recent").replaceChildren(...none ? [] : [swatch(grey, "grey", current), ...used]);
  $("color").value = hint.color;
}
