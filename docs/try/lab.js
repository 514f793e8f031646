// Colour: sRGB to CIELAB and back. The same steps and constants as portrait_gan/pixels.py (pages 02 and 03 of the
// course), so that the page and the package give the same picture; tests/test_try.py compares them.

// Linear light of sRGB's red, green and blue, as amounts of X, Y and Z; and the X, Y, Z of white (D65, 2° observer).
const XYZ_FROM_RGB = [[.412453, .357580, .180423], [.212671, .715160, .072169], [.019334, .119193, .950227]];
const WHITE = [.95047, 1, 1.08883];
const TO_XYZ = XYZ_FROM_RGB.map((row, i) => row.map(v => v/WHITE[i]));  // white becomes 1, 1, 1
const FROM_XYZ = inverse(TO_XYZ);

/** The inverse of a 3 × 3 matrix, by cofactors. */
function inverse(m) {
  const cofactor = (i, j) => m[(i + 1) % 3][(j + 1) % 3]*m[(i + 2) % 3][(j + 2) % 3]
                           - m[(i + 1) % 3][(j + 2) % 3]*m[(i + 2) % 3][(j + 1) % 3];
  const det = [0, 1, 2].reduce((sum, j) => sum + m[0][j]*cofactor(0, j), 0);
  return m.map((_, i) => m.map((_, j) => cofactor(j, i)/det));
}

const JOINT = .0404482362771082;  // where the two pieces of sRGB's curve meet
const decode = v => v <= JOINT ? v/12.92 : ((v + .055)/1.055)**2.4;  // sRGB value to linear light (IEC 61966-2-1)
const encode = v => v <= JOINT/12.92 ? v*12.92 : 1.055*v**(1/2.4) - .055;
const compress = t => t > (6/29)**3 ? Math.cbrt(t) : t*841/108 + 4/29;  // CIELAB's cube root, straight near 0 (CIE 15)
const expand = f => f > 6/29 ? f*f*f : (f - 4/29)*108/841;
const dot = (row, r, g, b) => row[0]*r + row[1]*g + row[2]*b;

// Powers are slow and a photo has millions of pixels: tables hold them for every value that occurs.
const LIGHT = Float64Array.from({length: 256}, (_, v) => decode(v/255));  // of an eight-bit value
const GRAY_L = LIGHT.map(y => 116*compress(y) - 16);  // L* of an eight-bit grey
const FINE = 2**16;  // steps of linear light; fine enough to round the darkest value to the right eight bits
const PIXEL = Uint8ClampedArray.from({length: FINE + 1}, (_, i) => Math.round(255*encode(i/FINE)));

/** L*, a*, b* of one sRGB colour, each part 0 to 255. */
export function rgbToLab(red, green, blue) {
  const [x, y, z] = TO_XYZ.map(row => compress(dot(row, LIGHT[red], LIGHT[green], LIGHT[blue])));
  return [116*y - 16, 500*(x - y), 200*(y - z)];
}

/** L* of `n` pixels from pixel `from` on: all that a black-and-white photo has, and all that the network sees. */
export function lightness(rgba, from, n) {
  const L = new Float32Array(n);
  for (let i = 0, p = 4*from; i < n; i++, p += 4) {
    const r = rgba[p], g = rgba[p + 1], b = rgba[p + 2];
    L[i] = r === g && g === b ? GRAY_L[r] : 116*compress(dot(XYZ_FROM_RGB[1], LIGHT[r], LIGHT[g], LIGHT[b])) - 16;
  }
  return L;
}

// Linear light of the last colour asked for. An object for each of twelve million pixels would cost more than the sums.
let r = 0, g = 0, b = 0;
function toLinear(L, A, B) {
  const f = (L + 16)/116, x = expand(f + A/500), y = expand(f), z = expand(f - B/200);
  r = dot(FROM_XYZ[0], x, y, z);
  g = dot(FROM_XYZ[1], x, y, z);
  b = dot(FROM_XYZ[2], x, y, z);
  // whether sRGB has no such colour, by more than rounding
  return Math.min(r, g, b) < -1e-5 || Math.max(r, g, b) > 1 + 1e-4;
}

/** The share of the chroma that sRGB can show at this L* and hue, to within 0.3 units: light and hue stay, chroma goes. */
function chromaShare(L, A, B) {
  let inside = 0, outside = Math.min(150/Math.hypot(A, B), 1);  // sRGB's largest chroma is below 134
  for (let step = 0; step < 9; step++) {
    const t = (inside + outside)/2;
    if (toLinear(L, t*A, t*B)) outside = t; else inside = t;
  }
  return inside;
}

/** a*b* as sRGB has them at this lightness. */
export function fitGamut(L, A, B) {
  const t = toLinear(L, A, B) ? chromaShare(L, A, B) : 1;
  return [t*A, t*B];
}

const byte = v => PIXEL[v <= 0 ? 0 : v >= 1 ? FINE : Math.round(v*FINE)];

/** Put one colour into `rgba` at `p`; what sRGB cannot show loses chroma, never its lightness. */
export function putLab(rgba, p, L, A, B) {
  if (toLinear(L, A, B)) {
    const t = chromaShare(L, A, B);
    toLinear(L, t*A, t*B);
  }
  rgba[p] = byte(r);
  rgba[p + 1] = byte(g);
  rgba[p + 2] = byte(b);
  rgba[p + 3] = 255;
}

/** "#rrggbb" of a colour, as far as sRGB has it. */
export function labToHex(L, A, B) {
  const rgba = [];
  putLab(rgba, 0, L, A, B);
  return rgbToHex(rgba);
}

export const rgbToHex = ([red, green, blue]) => "#" + [red, green, blue].map(v => v.toString(16).padStart(2, "0")).join("");
export const hexToRgb = hex => [1, 3, 5].map(i => parseInt(hex.slice(i, i + 2), 16));
