// A whole photo: made small for the network, and joined with the network's colours at its own resolution.
// The same steps as portrait_gan/pixels.py (page 03). A photo is {width, height, rgba}; a plane is a Float32Array.

import {lightness, putLab} from "./lab.js";

export const STRIDE = 32;  // five halvings: what the network takes is a multiple of this

function roundHalfEven(x) {  // as Python does
  const low = Math.floor(x);
  return x - low === .5 ? low + low % 2 : Math.round(x);
}

/** Width and height the network sees: at most `size` on the short side and 16 size² pixels. */
export function workingSize(width, height, size) {
  const scale = Math.min(1, size/Math.min(height, width), 4*size/Math.sqrt(height*width),
                         16*Math.max(size, STRIDE)**2/STRIDE/Math.max(height, width));
  return [width, height].map(side => Math.max(1, roundHalfEven(side*scale)));
}

// Filters as Pillow has them: how much a neighbour at distance d counts, and how far they reach.
const BICUBIC = {reach: 2, weight(d) {
  const a = -.5;
  d = Math.abs(d);
  return d < 1 ? ((a + 2)*d - (a + 3))*d*d + 1 : d < 2 ? ((a*d - 5*a)*d + 8*a)*d - 4*a : 0;
}};
export const BILINEAR = {reach: 1, weight: d => Math.max(0, 1 - Math.abs(d))};

/** For each of `m` places: the first of the `n` values it is made of, and their weights. A shrinking filter is widened. */
function filterTaps(n, m, filter) {
  const scale = Math.max(1, n/m), reach = filter.reach*scale;
  return Array.from({length: m}, (_, i) => {
    const center = (i + .5)*n/m;
    const first = Math.max(0, Math.trunc(center - reach + .5)), end = Math.min(n, Math.trunc(center + reach + .5));
    const weights = Array.from({length: end - first}, (_, k) => filter.weight((k + first - center + .5)/scale));
    const sum = weights.reduce((s, v) => s + v, 0);
    return {first, weights: Float64Array.from(weights, v => v/sum)};
  });
}

/** Resize a plane whose rows `rowOf(y)` gives, so that a large one need not be held: first along rows, then down. */
export function resize(rowOf, width, height, w, h, filter) {
  const narrow = new Float32Array(height*w), across = filterTaps(width, w, filter);
  for (let y = 0; y < height; y++) {
    const row = rowOf(y);
    across.forEach(({first, weights}, x) => {
      let sum = 0;
      for (let k = 0; k < weights.length; k++) sum += row[first + k]*weights[k];
      narrow[y*w + x] = sum;
    });
  }
  const small = new Float32Array(h*w);
  filterTaps(height, h, filter).forEach(({first, weights}, y) => {
    for (let x = 0; x < w; x++) {
      let sum = 0;
      for (let k = 0; k < weights.length; k++) sum += narrow[(first + k)*w + x]*weights[k];
      small[y*w + x] = sum;
    }
  });
  return small;
}

/** What the network sees of a photo: its L*, made small and scaled to [-1,1]. */
export function shrink(photo, size) {
  const [w, h] = workingSize(photo.width, photo.height, size);
  const rowOf = y => lightness(photo.rgba, y*photo.width, photo.width);
  const small = resize(rowOf, photo.width, photo.height, w, h, BICUBIC);
  return {w, h, L: small.map(v => Math.min(100, Math.max(0, v))/50 - 1)};
}

/** For each of `n` places, which four of `m` values it lies between, and their weights: cubic convolution, a = -0.75,
 *  with pixels as areas (Keys 1981; PyTorch's bicubic). */
function cubicTaps(n, m) {
  const a = -.75;
  const near = d => ((a + 2)*d - (a + 3))*d*d + 1, far = d => ((a*d - 5*a)*d + 8*a)*d - 4*a;
  const which = new Int32Array(4*n), weight = new Float32Array(4*n);
  for (let i = 0; i < n; i++) {
    const at = (i + .5)*(m/n) - .5, first = Math.floor(at), t = at - first;
    [far(t + 1), near(t), near(1 - t), far(2 - t)].forEach((v, k) => {
      which[4*i + k] = Math.min(m - 1, Math.max(0, first - 1 + k));
      weight[4*i + k] = v;
    });
  }
  return {which, weight};
}

/** A small plane, `w` wide, as wide as the photo: half of the enlarging, done once for an answer. */
function widen(plane, w, h, {which, weight}) {
  const width = which.length/4, wide = new Float32Array(h*width);
  for (let y = 0; y < h; y++) {
    const row = plane.subarray(y*w, (y + 1)*w);
    for (let x = 0, k = 0; x < width; x++, k += 4) {
      wide[y*width + x] = row[which[k]]*weight[k] + row[which[k + 1]]*weight[k + 1]
                        + row[which[k + 2]]*weight[k + 2] + row[which[k + 3]]*weight[k + 3];
    }
  }
  return wide;
}

/** Prepare to join a photo with a small answer {w, h, a, b}: what `joinRows` takes. Only colour is enlarged. */
export function prepareJoin(photo, {w, h, a, b}) {
  const columns = cubicTaps(photo.width, w);
  return {photo, rows: cubicTaps(photo.height, h), a: widen(a, w, h, columns), b: widen(b, w, h, columns)};
}

/** Rows `from` to `end` in colour, as RGBA: the photo's own light, the answer's colour times `saturation`.
 *  With `step` 3, every third pixel of every third row: a quick look. */
export function joinRows({photo, rows, a, b}, saturation, from, end, step = 1) {
  const {width, rgba} = photo, across = Math.ceil(width/step);
  const out = new Uint8ClampedArray(4*across*Math.ceil((end - from)/step));
  for (let y = from, p = 0; y < end; y += step) {
    const L = lightness(rgba, y*width, width), k = 4*y;
    const at = [0, 1, 2, 3].map(i => rows.which[k + i]*width), by = rows.weight.subarray(k, k + 4);
    const blend = (plane, x) => saturation*(plane[at[0] + x]*by[0] + plane[at[1] + x]*by[1]
                                          + plane[at[2] + x]*by[2] + plane[at[3] + x]*by[3]);
    for (let x = 0; x < width; x += step, p += 4) putLab(out, p, L[x], blend(a, x), blend(b, x));
  }
  return out;
}
