// Hints: points whose colour somebody knows, carried to what looks alike. The same steps as portrait_gan/hints.py
// (page 06). A hint is {x, y, color: "#rrggbb", radius?}, in pixels of the upright photo; only its a*b* counts.

import {fitGamut, hexToRgb, rgbToLab} from "./lab.js";
import {BILINEAR, resize} from "./pixels.js";

export const MAX_HINTS = 100;  // in one photo: here each makes every answer slower
const CELL = 4;  // pixels a side for which one number is found
const FAR = 1.2;  // short sides at which likeness is 1/e
const LIGHT = 26, COLOR = 11;  // spread of likeness in L* and in a*b*
const DOUBT = .025;  // variance of a hint, against 1 of what is not known

/** Solve A X = B by elimination with pivots; `rows` holds each row of A followed by that of B, and becomes X. */
function solve(rows) {
  const n = rows.length, m = rows[0].length;
  for (let i = 0; i < n; i++) {
    let best = i;
    for (let k = i + 1; k < n; k++) if (Math.abs(rows[k][i]) > Math.abs(rows[best][i])) best = k;
    [rows[i], rows[best]] = [rows[best], rows[i]];
    for (let j = m - 1; j >= i; j--) rows[i][j] /= rows[i][i];
    for (let k = 0; k < n; k++) {
      const factor = rows[k][i];
      if (k !== i && factor) for (let j = i; j < m; j++) rows[k][j] -= factor*rows[i][j];
    }
  }
  return rows.map(row => row.subarray(n));
}

/** The hints as the small copy has them: pixel, colour that sRGB has there, radius; of two in one pixel the later one. */
function asked(hints, {w, h, L}, {width, height}) {
  const points = new Map();
  for (const hint of hints) {
    const y = Math.min(Math.trunc(hint.y*h/height), h - 1), x = Math.min(Math.trunc(hint.x*w/width), w - 1);
    const [, a, b] = rgbToLab(...hexToRgb(hint.color)), light = L[y*w + x];
    const radius = (hint.radius ?? Math.min(width, height)/80)*Math.min(h/height, w/width);
    points.set(y*w + x, {y, x, light, ab: fitGamut(light*50 + 50, a, b), radius: Math.max(1, radius)});
  }
  return [...points.values()];
}

/** Means over squares of CELL pixels; beyond the edge its last pixels go on. */
function cells(plane, w, h) {
  const columns = Math.ceil(w/CELL), rows = Math.ceil(h/CELL), means = new Float64Array(rows*columns);
  for (let y = 0; y < rows*CELL; y++) {
    for (let x = 0; x < columns*CELL; x++) {
      const value = plane[Math.min(y, h - 1)*w + Math.min(x, w - 1)];
      means[Math.floor(y/CELL)*columns + Math.floor(x/CELL)] += value/CELL**2;
    }
  }
  return means;
}

/** What the network is told beside L: planes of a* and b* to add to the answer without hints, and of how sure that is.
 *  What the answer misses at the hints is carried to places that are near and look alike (a Gaussian process). */
export function hintPlanes(hints, auto, copy, photo) {
  const {w, h, L} = copy, columns = Math.ceil(w/CELL), rows = Math.ceil(h/CELL), n = rows*columns;
  const points = asked(hints, copy, photo), K = points.length, reach = FAR*Math.min(rows, columns)*CELL;
  const light = cells(L, w, h), a = cells(auto.a, w, h), b = cells(auto.b, w, h);
  const place = (y, x, i) => ({y, x, L: (light[i]*50 + 50)/LIGHT, a: a[i]/COLOR, b: b[i]/COLOR});
  const likeness = (p, q) => Math.exp(-Math.hypot(p.y - q.y, p.x - q.x)/reach
                                      - ((p.L - q.L)**2 + (p.a - q.a)**2 + (p.b - q.b)**2)/2);
  const squares = Array.from({length: n}, (_, i) => place(Math.floor(i/columns)*CELL + (CELL - 1)/2,
                                                          (i % columns)*CELL + (CELL - 1)/2, i));
  const theirs = points.map(({y, x}) => place(y, x, Math.floor(y/CELL)*columns + Math.floor(x/CELL)));
  const toHints = theirs.map(q => squares.map(p => likeness(p, q)));  // K rows of n
  const solved = solve(points.map(({y, x, ab}, i) => Float64Array.from([
    ...theirs.map((q, k) => likeness(theirs[i], q) + (i === k ? DOUBT : 0)),
    ab[0] - auto.a[y*w + x], ab[1] - auto.b[y*w + x], ...toHints[i]])));
  const planes = [0, 1, 2].map(() => new Float32Array(n));
  for (let i = 0; i < n; i++) {
    let moreA = 0, moreB = 0, sure = 0;
    for (let k = 0; k < K; k++) {
      moreA += toHints[k][i]*solved[k][0];
      moreB += toHints[k][i]*solved[k][1];
      sure += toHints[k][i]*solved[k][2 + i];
    }
    [planes[0][i], planes[1][i], planes[2][i]] = [moreA, moreB, sure];
  }
  return planes.map(plane => {
    const rowOf = y => plane.subarray(y*columns, (y + 1)*columns);
    const whole = resize(rowOf, columns, rows, columns*CELL, rows*CELL, BILINEAR);
    return Float32Array.from({length: h*w}, (_, i) => whole[Math.floor(i/w)*columns*CELL + i % w]);
  });
}

/** The network's answer {w, h, a, b}, corrected where it still differs from the hints: around each, and where the light
 *  is alike (radial basis functions). At each hint then stands the colour it asks for, as far as sRGB has it there. */
export function followHints(answer, hints, copy, photo, reach = 8, alike = 10) {
  const {w, h, L} = copy, points = asked(hints, copy, photo);
  const weight = (y, x, light, p) => Math.exp(-(((y - p.y)**2 + (x - p.x)**2)/(reach*p.radius)**2
                                                + ((light - p.light)*50/alike)**2)/2);
  const needed = solve(points.map((q, i) => Float64Array.from([
    ...points.map((p, k) => weight(q.y, q.x, q.light, p) + (i === k ? 1e-3 : 0)),
    q.ab[0] - answer.a[q.y*w + q.x], q.ab[1] - answer.b[q.y*w + q.x]])));
  const a = answer.a.slice(), b = answer.b.slice();
  points.forEach((p, k) => {
    for (let y = 0, i = 0; y < h; y++) {
      for (let x = 0; x < w; x++, i++) {
        const share = weight(y, x, L[i], p);
        a[i] += share*needed[k][0];
        b[i] += share*needed[k][1];
      }
    }
  });
  return {w, h, a, b};
}
