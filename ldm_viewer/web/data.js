// What the page carries: densities as bytes, differences in time, packed; curves as 16-bit numbers.
const el = (id) => document.getElementById(id);
const run = JSON.parse(el("run").textContent);

async function unpack(text) {
  const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

const [nx, ny, nz] = run.grid, points = nx * ny * nz, frames = run.times.length;
const fields = {};
for (const name of Object.keys(run.fields)) {
  const bytes = await unpack(run.fields[name]);
  for (let i = points; i < bytes.length; i++) bytes[i] += bytes[i - points]; // modulo 256
  fields[name] = bytes;
}
const table = { field: await unpack(run.tables.field), difference: await unpack(run.tables.difference) };
for (const plot of run.plots) for (const line of plot.lines) {
  const packed = await unpack(line.values);
  const numbers = new Uint16Array(packed.buffer);
  line.y = Float64Array.from(numbers, (n) => (n === 65535 ? NaN : line.low + (n / 65534) * (line.high - line.low)));
}

const views = Object.keys(fields).length > 1 ? ["truth", "forecast", "difference"] : Object.keys(fields);
const span = run.high - run.low;                       // e/Å³ over the 256 steps
const value = (byte) => run.low + (byte / 255) * span;
const has = (view, frame) => (view === "difference" ? has("truth", frame) && has("forecast", frame)
  : run.known[view][frame]);
const limits = (view) => (view === "difference" ? [-run.reach, run.reach] : run.limits);

/** Value at a grid point, e/Å³. */
function at(view, frame, i) {
  const k = frame * points + i;
  if (view === "difference") return ((fields.forecast[k] - fields.truth[k]) / 255) * span;
  return value(fields[view][k]);
}

/** Weights of a periodic cubic (Catmull–Rom) from n points to m, voxel i over i − ½ … i + ½. */
function enlarging(n, m) {
  const rows = [];
  for (let j = 0; j < m; j++) {
    const x = ((j + 0.5) * n) / m - 0.5, i = Math.floor(x), t = x - i;
    const w = [((2 - t) * t - 1) * t, (3 * t - 5) * t * t + 2, ((4 - 3 * t) * t + 1) * t, (t - 1) * t * t];
    rows.push(w.map((weight, k) => [(((i - 1 + k) % n) + n) % n, weight / 2]));
  }
  return rows;
}

const listeners = [];
const state = { frame: 0 };
function changed() { for (const draw of listeners) draw(); }

/** Fit a canvas to its place on the screen; what draws on it gets CSS pixels. */
function fitted(canvas) {
  const ratio = window.devicePixelRatio || 1, width = canvas.clientWidth, height = canvas.clientHeight;
  const w = Math.round(width * ratio), h = Math.round(height * ratio);
  if (canvas.width !== w || canvas.height !== h) { canvas.width = w; canvas.height = h; }
  const pen = canvas.getContext("2d");
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  pen.clearRect(0, 0, width, height);
  const style = getComputedStyle(document.documentElement);
  pen.colors = { text: style.getPropertyValue("--text"), soft: style.getPropertyValue("--soft"),
    line: style.getPropertyValue("--line"), page: style.getPropertyValue("--page") };
  pen.font = "12px system-ui, sans-serif";
  return [pen, width, height];
}

/** Round numbers between two ends. */
function ticks(low, high, most) {
  const rough = (high - low) / most, decade = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map((s) => s * decade).find((s) => s >= rough * 0.999);
  const found = [];
  for (let k = Math.ceil(low / step - 1e-9); k * step <= high + 1e-9 * step; k++) found.push(+(k * step).toPrecision(6));
  return found;
}

/** A frame with numbers and names around box = {x, y, w, h}; returns places of values on it. */
function axes(pen, box, xs, ys, x_name, y_name) {
  const px = (x) => box.x + ((x - xs[0]) / (xs[1] - xs[0])) * box.w;
  const py = (y) => box.y + box.h - ((y - ys[0]) / (ys[1] - ys[0])) * box.h;
  pen.strokeStyle = pen.colors.soft; pen.lineWidth = 1; pen.fillStyle = pen.colors.text;
  pen.strokeRect(box.x, box.y, box.w, box.h);
  pen.textAlign = "center"; pen.textBaseline = "top";
  for (const x of ticks(...xs, box.w / 55)) pen.fillText(String(x), px(x), box.y + box.h + 5);
  pen.fillText(x_name, box.x + box.w / 2, box.y + box.h + 20);
  pen.textAlign = "right"; pen.textBaseline = "middle";
  for (const y of ticks(...ys, box.h / 35)) pen.fillText(String(y), box.x - 5, py(y));
  pen.save(); pen.translate(box.x - 36, box.y + box.h / 2); pen.rotate(-Math.PI / 2);
  pen.textAlign = "center"; pen.fillText(y_name, 0, 0); pen.restore();
  return [px, py];
}
