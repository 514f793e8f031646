// Everything that takes time, beside the page, so that the page never freezes: decode a photo, ask the network, join
// its colours with the photo's own light, write the file. After loading, nothing here asks the network of computers.
//
// The page sends {do: "open", file, name, type}, {do: "color", id, hints, saturation, size} and {do: "save", type, mark, ...};
// this sends {is: "loading" | "ready" | "opened" | "rows" | "colored" | "saved" | "failed", ...}.

import * as ort from "./onnxruntime/ort.wasm.bundle.min.mjs";
import {followHints, hintPlanes} from "./hints.js";
import {marked} from "./mark.js";
import {STRIDE, hasColor, joinRows, prepareJoin, shrink} from "./pixels.js";

const MAX_PIXELS = 50e6;  // a page has less memory than a program
const STRIP = 2**18;  // pixels that are joined before looking whether something newer is asked for
const LARGE = 2**21;  // pixels from which a quick look comes first

let model, session;  // what model.json says; the network
let photo = null;  // {width, height, rgba}
let size, copy, auto;  // working size, {w, h, L} as the network sees the photo, and its answer without hints
let told, joined;  // the hints, as text, and the answer to them, ready for `joinRows`

// ---- Loading: all that is ever fetched ----

async function get(name) {
  const response = await fetch(new URL(name, import.meta.url));
  if (!response.ok) throw new Error(`${name} is missing on the server (${response.status})`);
  return response;
}

async function getBytes(name, progress) {
  const count = new TransformStream({transform(part, out) { progress(part.length); out.enqueue(part); }});
  const bytes = new Uint8Array(await new Response((await get(name)).body.pipeThrough(count)).arrayBuffer());
  if (bytes[0] !== 0x1f || bytes[1] !== 0x8b) return bytes;  // the server unpacked it already
  const unpacked = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(unpacked).arrayBuffer());
}

async function load() {
  model = await (await get("model.json")).json();
  let loaded = 0;
  const progress = n => postMessage({is: "loading", loaded: loaded += n, total: model.bytes});
  const [network, runtime] = await Promise.all([
    getBytes("model.onnx.gz", progress), getBytes("onnxruntime/ort-wasm-simd-threaded.wasm.gz", progress)]);
  // more threads need headers that a simple web server does not send
  Object.assign(ort.env.wasm, {wasmBinary: runtime, numThreads: 1});
  session = await ort.InferenceSession.create(network, {executionProviders: ["wasm"]});
  postMessage({is: "ready", planes: model.planes, size: model.size});
}

// ---- The network ----

/** a*b* {w, h, a, b} for planes of w × h; to the next multiples of STRIDE the last pixels go on. */
async function ask({w, h}, planes) {
  const W = Math.ceil(w/STRIDE)*STRIDE, H = Math.ceil(h/STRIDE)*STRIDE;
  const input = new Float32Array(model.planes*H*W);  // planes that are not given are zero: no hints
  planes.forEach((plane, c) => {
    for (let y = 0, i = c*H*W; y < H; y++) {
      const row = Math.min(y, h - 1)*w;
      for (let x = 0; x < W; x++, i++) input[i] = plane[row + Math.min(x, w - 1)];
    }
  });
  const {ab} = await session.run({L: new ort.Tensor("float32", input, [1, model.planes, H, W])});
  const crop = c => Float32Array.from({length: h*w}, (_, i) =>
    ab.data[(c*H + Math.floor(i/w))*W + i % w]*model.ab_scale);
  return {w, h, a: crop(0), b: crop(1)};
}

/** Make `joined` the answer to these hints at this working size, unless it is that already. */
async function answer(wish) {
  const wanted = wish.size || model.size;
  if (size !== wanted) {
    copy = shrink(photo, wanted);
    auto = await ask(copy, [copy.L]);
    [size, told] = [wanted, null];
  }
  const hints = JSON.stringify(wish.hints);
  if (told === hints) return;
  let colors = auto;
  if (wish.hints.length) {
    const [a, b, sure] = hintPlanes(wish.hints, auto, copy, photo), scaled = plane => plane.map(v => v/model.ab_scale);
    colors = followHints(await ask(copy, [copy.L, scaled(a), scaled(b), sure]), wish.hints, copy, photo);
  }
  joined = prepareJoin(photo, colors);
  told = hints;
}

// ---- What the page can ask for ----

const wishes = {open: null, color: null, save: null};  // of each kind the newest
const pause = () => new Promise(done => setTimeout(done));  // lets messages in

/** Rows from top to bottom, a strip at a time; false when `stop()` says that nobody wants them any more. */
async function eachStrip(put, stop = () => false) {
  const {width, height} = photo, rows = Math.max(1, Math.floor(STRIP/width));
  for (let y = 0; y < height; y += rows) {
    put(y, Math.min(height, y + rows));
    await pause();
    if (stop()) return false;
  }
  return true;
}

/** Some browsers answer with noise when a page reads pixels: then 64 known ones come back changed. */
function hidesPixels() {
  const pen = new OffscreenCanvas(8, 8).getContext("2d", {willReadFrequently: true});
  pen.fillStyle = "#123456";
  pen.fillRect(0, 0, 8, 8);
  return pen.getImageData(0, 0, 8, 8).data.some((v, i) => v !== [0x12, 0x34, 0x56, 255][i % 4]);
}

async function open({file, name, more, type}) {
  let picture;
  try { picture = await createImageBitmap(file, {imageOrientation: "from-image"}); }  // upright, as its EXIF says
  catch { throw new Error("this browser cannot read it as a photo: it is damaged, or neither JPEG, PNG nor WebP"); }
  finally { file.close?.(); }  // the example comes as a bitmap; they hold memory until they are closed
  const {width, height} = picture, tooLarge = most =>
    new Error(`${Math.round(width*height/1e6)} megapixels are too many for ${most}; make it smaller, or use the Python package`);
  if (width*height > MAX_PIXELS) {
    picture.close();
    throw tooLarge(`a page (at most ${MAX_PIXELS/1e6})`);
  }
  const canvas = new OffscreenCanvas(width, height), context = canvas.getContext("2d", {willReadFrequently: true});
  context.drawImage(picture, 0, 0);
  picture.close();
  if (hidesPixels()) {
    throw new Error("this browser hides a photo's pixels from pages (protection against fingerprinting); "
                    + "allow this page to read the canvas, or use another browser");
  }
  let {data: rgba} = context.getImageData(0, 0, width, height), notes = [];
  if (new Uint32Array(rgba.buffer).some(pixel => pixel >>> 24 !== 255)) {
    context.globalCompositeOperation = "destination-over";  // what is transparent lies on white
    context.fillStyle = "white";
    context.fillRect(0, 0, width, height);
    ({data: rgba} = context.getImageData(0, 0, width, height));
    notes.push("white where it was transparent");
  }
  if (rgba[3] !== 255 || rgba.at(-1) !== 255) throw tooLarge("a canvas of this browser");  // it stayed empty, without a word
  photo = {width, height, rgba};
  if (more) notes.push("one photo at a time: the others were left");
  if (hasColor(photo)) notes.push("it had colour, which is replaced");
  size = told = joined = null;
  wishes.color = wishes.save = null;  // those were about the photo before
  const shown = canvas.transferToImageBitmap();
  postMessage({is: "opened", name, type, width, height, notes, picture: shown}, [shown]);
}

/** Colour the photo; false when something newer was asked for before it was done. */
async function color(wish) {
  const begun = performance.now();
  await answer(wish);
  const {width, height} = photo;
  const newer = () => wishes.open || wishes.color;
  const post = (y, end, step) => {
    const rows = joinRows(joined, wish.saturation, y, end, step);
    postMessage({is: "rows", y, end, step, width: Math.ceil(width/step), rows}, [rows.buffer]);
  };
  if (width*height > LARGE) {
    post(0, height, Math.ceil(Math.sqrt(width*height/STRIP)));
    await pause();
    if (newer()) return false;
  }
  if (!await eachStrip((y, end) => post(y, end, 1), newer)) return false;
  postMessage({is: "colored", id: wish.id, seconds: (performance.now() - begun)/1e3});
  return true;
}

async function save(wish) {
  await answer(wish);
  const canvas = new OffscreenCanvas(photo.width, photo.height), context = canvas.getContext("2d");
  await eachStrip((y, end) =>
    context.putImageData(new ImageData(joinRows(joined, wish.saturation, y, end), photo.width), 0, y));
  const blob = await canvas.convertToBlob({type: wish.type, quality: .95}), n = wish.hints.length;
  const note = model.weights + (n ? `, ${n} hint${n > 1 ? "s" : ""}` : "");
  postMessage({is: "saved", blob: wish.mark ? await marked(blob, `portrait_gan ${model.version}`.trim(), note) : blob});
}

// ---- One thing at a time ----

const loading = load();
let working = false;
self.onmessage = async ({data}) => {
  wishes[data.do] = data;
  if (working) return;
  working = true;
  for (let wish; (wish = wishes.open ?? wishes.color ?? wishes.save); ) {
    wishes[wish.do] = null;
    try {
      if (wish.do === "open") await open(wish);
      else {
        await loading;
        if (wish.do === "save") await save(wish);
        else if (!await color(wish)) wishes.color ??= wish;  // if a file came between that is no photo, this goes on
      }
    } catch (error) { postMessage({is: "failed", doing: wish.do, why: error.message, name: wish.name}); }
  }
  working = false;
};
loading.catch(error => postMessage({is: "failed", doing: "load", why: error.message}));
