// A whole photo: made small for the network, joined with the network's colours at its own resolution, and looked over for
// colour that it has already.
// The same steps as portrait_gan/pixels.py (page 03). A photo is {width, height, rgba}; a plane is a Float32Array.

import {lightness, putLab, rgbToLab} from "./lab.js";

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

// ---- Has it colour already? ----

const GRAY_BELOW = 8.8, SPOT = 6, USUAL = 12;  // a*b* units, and a ratio, as in portrait_gan/pixels.py
const BOX = {reach: .5, weight: d => d > -.5 && d <= .5 ? 1 : 0};

/** x with A x = b, for a symmetric 3 × 3 matrix that is hardly ever singular; a little is added so that it never is. */
function solve(A, b) {
  const rows = A.map((row, i) => [...row.map((v, k) => i === k ? v + 1e-9 : v), b[i]]);
  rows.forEach((pivot, i) => rows.forEach((row, k) => {
    if (k === i) return;
    const f = row[i]/pivot[i];
    pivot.forEach((v, j) => row[j] -= f*v);
  }));
  return rows.map((row, i) => row[3]/row[i]);
}

/** Colour {w, h, a, b} of a small copy that is no parabola of lightness; each further fit gives less weight to what lies off it. */
function unexplained({width, height, rgba}, side, fits) {
  const [w, h] = [width, height].map(n => Math.max(1, Math.round(n*Math.min(1, side/Math.max(width, height)))));
  const row = new Float32Array(width);
  const channels = [0, 1, 2].map(c => Uint8ClampedArray.from(resize(y => {
    for (let x = 0, p = 4*y*width + c; x < width; x++, p += 4) row[x] = rgba[p];
    return row;
  }, width, height, w, h, BOX)));
  const labs = Array.from(channels[0], (red, i) => rgbToLab(red, channels[1][i], channels[2][i]));
  const bases = labs.map(([L]) => [(L/50 - 1)**2, L/50 - 1, 1]);
  let left, weights = bases.map(() => 1);
  for (let fit = 0; fit < fits; fit++) {
    const sum = of => bases.reduce((s, _, i) => s + weights[i]**2*of(i), 0);
    const A = [0, 1, 2].map(j => [0, 1, 2].map(k => sum(i => bases[i][j]*bases[i][k])));
    const [forA, forB] = [1, 2].map(c => solve(A, [0, 1, 2].map(j => sum(i => bases[i][j]*labs[i][c]))));
    const off = (i, c, by) => labs[i][c] - bases[i].reduce((s, v, k) => s + v*by[k], 0);
    left = labs.map((_, i) => [off(i, 1, forA), off(i, 2, forB)]);
    weights = left.map(([a, b]) => 1/Math.hypot(1, Math.hypot(a, b)/4));
  }
  return {w, h, left};
}

function percentile(values, share) {  // between its neighbours, as NumPy has it
  const sorted = Float64Array.from(values).sort(), at = share/100*(sorted.length - 1), low = Math.floor(at);
  return sorted[low] + (at - low)*((sorted[low + 1] ?? sorted[low]) - sorted[low]);
}

/** Whether a photo has colour that colouring would replace, all over or in a spot; a tint that follows lightness is none.
 *  Pillow makes large photos small in two steps, this in one: of photos at the threshold it may think otherwise. */
export function hasColor(photo) {
  const chroma = ([a, b]) => Math.hypot(a, b);
  if (percentile(unexplained(photo, 64, 1).left.map(chroma), 95) >= GRAY_BELOW) return true;
  const {w, h, left} = unexplained(photo, 128, 4), [wide, high] = [w, h].map(n => Math.min(5, n)), means = [];
  for (let y = 0; y <= h - high; y++) {
    for (let x = 0; x <= w - wide; x++) {  // averages: one pixel is no spot
      let a = 0, b = 0;
      for (let v = 0; v < high; v++) for (let u = 0; u < wide; u++) {
        const at = left[(y + v)*w + x + u];
        a += at[0]/(wide*high);
        b += at[1]/(wide*high);
      }
      means.push(chroma([a, b]));
    }
  }
  return percentile(means, 99.7) > Math.max(SPOT, USUAL*percentile(means, 75));
}
