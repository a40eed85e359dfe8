// Isosurfaces by marching rays through the density, a 3-D texture that repeats: any periodic cell, no mesh.
const glass = el("surface");
const gl = glass.getContext("webgl2", { antialias: true, preserveDrawingBuffer: true });
const BOTH = "truth and forecast", camera = { azimuth: 30, elevation: 20, zoom: 1 };
const kinds = views.length > 1 ? [BOTH, "difference"] : views;
for (const kind of kinds) el("what").append(new Option(kind));

const STEPS = 80;
const RAYS = `#version 300 es
precision highp float; precision highp sampler3D;
uniform sampler3D field; uniform sampler2D colors;
uniform mat3 inverse; uniform vec3 middle, right, up, ahead, half_voxel; uniform vec2 stretch;
uniform float level, reach; uniform vec2 range; uniform bool signed_;
in vec2 place; out vec4 color;
float value(vec3 p) { return texture(field, p + half_voxel).r; }
float inside(vec3 p) { float v = value(p); return (signed_ ? abs(v) : v) - level; }
vec3 shade(float v) { return texture(colors, vec2((v - range.x) / (range.y - range.x), .5)).rgb; }
void main() {
  vec3 start = middle + right * place.x * stretch.x + up * place.y * stretch.y - ahead * reach;
  vec3 from = inverse * start, step_ = inverse * ahead;        // in fractions of the cell, per Å
  vec3 a = -from / step_, b = (1. - from) / step_, near3 = min(a, b), far3 = max(a, b);
  float near = max(max(near3.x, near3.y), near3.z), far = min(min(far3.x, far3.y), far3.z);
  if (near >= far) discard;
  float t = near, before = inside(from + near * step_), size = (far - near) / ${STEPS}.;
  bool cap = before > 0.;
  if (!cap) {
    bool hit = false;
    for (int k = 1; k <= ${STEPS}; k++) {
      t = near + size * float(k);
      if (inside(from + t * step_) > 0.) { hit = true; break; }
    }
    if (!hit) discard;
    float low = t - size, high = t;
    for (int k = 0; k < 6; k++) {
      t = .5 * (low + high);
      if (inside(from + t * step_) > 0.) high = t; else low = t;
    }
  }
  vec3 p = from + t * step_;
  float v = value(p);
  if (cap) color = vec4(shade(v) * .82, 1.);                   // where the cell cuts through
  else {
    vec3 e = half_voxel * 1.5, slope = vec3(
      inside(p + vec3(e.x, 0, 0)) - inside(p - vec3(e.x, 0, 0)), inside(p + vec3(0, e.y, 0)) - inside(p - vec3(0, e.y, 0)),
      inside(p + vec3(0, 0, e.z)) - inside(p - vec3(0, 0, e.z))) / e;
    vec3 normal = -normalize(slope * inverse);                 // gradient: transposed inverse
    float light = max(0., dot(normal, normalize(-ahead - .5 * right + .7 * up)));
    float shine = pow(light, 24.);
    color = vec4(shade(signed_ ? sign(v) * level * 1.1 : level) * (.35 + .65 * light) + .25 * shine, 1.);
  }
  gl_FragDepth = t / (2. * reach);
}`;
const CORNERS = `#version 300 es
in vec2 corner; out vec2 place;
void main() { place = corner; gl_Position = vec4(corner, 0, 1); }`;
const EDGES = `#version 300 es
in vec3 corner; uniform vec3 middle, right, up, ahead; uniform vec2 stretch; uniform float reach;
void main() {
  vec3 p = corner - middle;
  gl_Position = vec4(dot(p, right) / stretch.x, dot(p, up) / stretch.y, dot(p, ahead) / reach, 1);
}`;
const GREY = `#version 300 es
precision mediump float; out vec4 color; void main() { color = vec4(.55, .55, .55, 1); }`;

function program(vertex, fragment) {
  const made = gl.createProgram();
  for (const [kind, source] of [[gl.VERTEX_SHADER, vertex], [gl.FRAGMENT_SHADER, fragment]]) {
    const shader = gl.createShader(kind);
    gl.shaderSource(shader, source); gl.compileShader(shader); gl.attachShader(made, shader);
    if (!gl.getShaderParameter(shader, gl.COMPILE_STATUS)) throw new Error(gl.getShaderInfoLog(shader));
  }
  gl.bindAttribLocation(made, 0, "corner"); gl.linkProgram(made);
  return made;
}

function inverse(m) {                                        // of rows a, b, c; as columns for GLSL
  const cross = (p, q) => [p[1] * q[2] - p[2] * q[1], p[2] * q[0] - p[0] * q[2], p[0] * q[1] - p[1] * q[0]];
  const dot = (p, q) => p[0] * q[0] + p[1] * q[1] + p[2] * q[2];
  const [a, b, c] = m, volume = dot(a, cross(b, c));
  const rows = [cross(b, c), cross(c, a), cross(a, b)].map((r) => r.map((x) => x / volume));
  return [0, 1, 2].flatMap((k) => rows.map((row) => row[k]));
}

const SMOOTH = 2;                                            // points per grid point
const fine = [nx, ny, nz].map((n) => n * SMOOTH);
function volume(view) {
  let values = Float32Array.from({ length: points }, (_, i) => at(view, state.frame, i)), size = [nx, ny, nz];
  for (let axis = 2; axis >= 0; axis--) {                    // one axis after the other
    const rows = enlarging(size[axis], fine[axis]), inner = size.slice(axis + 1).reduce((p, q) => p * q, 1);
    const outer = size.slice(0, axis).reduce((p, q) => p * q, 1), out = new Float32Array(outer * fine[axis] * inner);
    for (let o = 0; o < outer; o++) for (let j = 0; j < fine[axis]; j++) for (const [k, w] of rows[j])
      for (let i = 0; i < inner; i++) out[(o * fine[axis] + j) * inner + i] += w * values[(o * size[axis] + k) * inner + i];
    values = out; size[axis] = fine[axis];
  }
  return values;
}

let drawSurface = () => {};
if (!gl) {
  el("leveled").textContent = "this browser has no WebGL 2: no surface";
} else {
  const rays = program(CORNERS, RAYS), lines = program(EDGES, GREY);
  const square = gl.createBuffer(), frame = gl.createBuffer();
  gl.bindBuffer(gl.ARRAY_BUFFER, square);
  gl.bufferData(gl.ARRAY_BUFFER, new Float32Array([-1, -1, 3, -1, -1, 3]), gl.STATIC_DRAW);
  const corner = (k) => [0, 1, 2].map((c) => [0, 1, 2].reduce((s, a) => s + ((k >> a) & 1) * run.cell[a][c], 0));
  const pairs = [];
  for (let k = 0; k < 8; k++) for (let a = 0; a < 3; a++) if (!((k >> a) & 1)) pairs.push(...corner(k), ...corner(k | (1 << a)));
  gl.bindBuffer(gl.ARRAY_BUFFER, frame);
  gl.bufferData(gl.ARRAY_BUFFER, new Float32Array(pairs), gl.STATIC_DRAW);
  const middle = corner(7).map((x) => x / 2), reach = 1.05 * Math.max(...[0, 1, 2, 4].map((k) => Math.hypot(...corner(k).map((x, c) => x - middle[c]))));
  const palette = (colors) => {
    const texture = gl.createTexture();
    gl.bindTexture(gl.TEXTURE_2D, texture);
    gl.pixelStorei(gl.UNPACK_ALIGNMENT, 1);
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGB8, 256, 1, 0, gl.RGB, gl.UNSIGNED_BYTE, colors);
    for (const [name, how] of [["MIN_FILTER", "LINEAR"], ["MAG_FILTER", "LINEAR"], ["WRAP_S", "CLAMP_TO_EDGE"]])
      gl.texParameteri(gl.TEXTURE_2D, gl["TEXTURE_" + name], gl[how]);
    return texture;
  };
  const palettes = { field: palette(table.field), difference: palette(table.difference) };
  const textures = {}, held = {};

  const upload = (view) => {
    if (held[view] === state.frame) return;
    textures[view] = textures[view] || gl.createTexture();
    gl.bindTexture(gl.TEXTURE_3D, textures[view]);
    gl.texImage3D(gl.TEXTURE_3D, 0, gl.R16F, fine[2], fine[1], fine[0], 0, gl.RED, gl.FLOAT, volume(view));
    for (const [name, how] of [["MIN_FILTER", "LINEAR"], ["MAG_FILTER", "LINEAR"], ["WRAP_S", "REPEAT"], ["WRAP_T", "REPEAT"], ["WRAP_R", "REPEAT"]])
      gl.texParameteri(gl.TEXTURE_3D, gl["TEXTURE_" + name], gl[how]);
    held[view] = state.frame;
  };

  const paint = (view, left, width, height) => {
    const az = (camera.azimuth * Math.PI) / 180, tilt = (camera.elevation * Math.PI) / 180;
    const out = [Math.cos(tilt) * Math.sin(az), -Math.cos(tilt) * Math.cos(az), Math.sin(tilt)];
    const right = [Math.cos(az), Math.sin(az), 0];
    const up = [-Math.sin(tilt) * Math.sin(az), Math.sin(tilt) * Math.cos(az), Math.cos(tilt)];
    const half = (0.82 * reach) / camera.zoom, least = Math.min(width, height);
    gl.viewport(left, 0, width, height);
    const give = (made) => {
      const put = (name) => gl.getUniformLocation(made, name);
      gl.useProgram(made);
      gl.uniform3fv(put("middle"), middle); gl.uniform3fv(put("right"), right); gl.uniform3fv(put("up"), up);
      gl.uniform3fv(put("ahead"), out.map((x) => -x)); gl.uniform1f(put("reach"), reach);
      gl.uniform2f(put("stretch"), (half * width) / least, (half * height) / least);
      return put;
    };
    gl.enable(gl.DEPTH_TEST);
    give(lines);
    gl.bindBuffer(gl.ARRAY_BUFFER, frame);
    gl.enableVertexAttribArray(0); gl.vertexAttribPointer(0, 3, gl.FLOAT, false, 0, 0);
    gl.drawArrays(gl.LINES, 0, 24);
    const shown = view === "difference" ? has("truth", state.frame) && has("forecast", state.frame) : has(view, state.frame);
    if (!shown) return;
    upload(view);
    const put = give(rays), signed = view === "difference";
    gl.activeTexture(gl.TEXTURE0); gl.bindTexture(gl.TEXTURE_3D, textures[view]); gl.uniform1i(put("field"), 0);
    gl.activeTexture(gl.TEXTURE1); gl.bindTexture(gl.TEXTURE_2D, palettes[signed ? "difference" : "field"]); gl.uniform1i(put("colors"), 1);
    gl.activeTexture(gl.TEXTURE0);
    gl.uniformMatrix3fv(put("inverse"), false, inverse(run.cell));
    gl.uniform3f(put("half_voxel"), 0.5 / fine[2], 0.5 / fine[1], 0.5 / fine[0]);
    gl.uniform1f(put("level"), level()); gl.uniform2f(put("range"), ...limits(view));
    gl.uniform1i(put("signed_"), signed ? 1 : 0);
    gl.bindBuffer(gl.ARRAY_BUFFER, square);
    gl.vertexAttribPointer(0, 2, gl.FLOAT, false, 0, 0);
    gl.drawArrays(gl.TRIANGLES, 0, 3);
  };

  const level = () => {
    const share = el("level").value / 100;
    return el("what").value === "difference" ? share * run.reach : run.limits[0] + share * (run.limits[1] - run.limits[0]);
  };

  drawSurface = () => {
    const ratio = Math.min(window.devicePixelRatio || 1, 1.5);
    const w = Math.round(glass.clientWidth * ratio), h = Math.round(glass.clientHeight * ratio);
    if (glass.width !== w || glass.height !== h) { glass.width = w; glass.height = h; }
    const kind = el("what").value, shown = kind === BOTH ? ["truth", "forecast"] : [kind];
    el("leveled").textContent = `${kind === "difference" ? "± " : ""}${level().toFixed(3)} e/Å³` +
      (kind === BOTH ? " (left truth, right forecast)" : "");
    gl.clearColor(0, 0, 0, 0);
    gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
    shown.forEach((view, k) => paint(view, Math.round((k * w) / shown.length), Math.round(w / shown.length), h));
  };

  const turn = (dx, dy) => {
    camera.azimuth -= dx;
    camera.elevation = Math.max(-89, Math.min(89, camera.elevation + dy));
    requestAnimationFrame(drawSurface);
  };
  glass.addEventListener("pointerdown", (event) => glass.setPointerCapture(event.pointerId));
  glass.addEventListener("pointermove", (event) => { if (event.buttons) turn(event.movementX / 2, event.movementY / 2); });
  glass.addEventListener("dblclick", () => { Object.assign(camera, { azimuth: 30, elevation: 20, zoom: 1 }); drawSurface(); });
  glass.addEventListener("wheel", (event) => {
    event.preventDefault();
    camera.zoom = Math.max(0.3, Math.min(6, camera.zoom * 1.001 ** -event.deltaY));
    requestAnimationFrame(drawSurface);
  }, { passive: false });
  glass.addEventListener("keydown", (event) => {
    const way = { ArrowLeft: [-6, 0], ArrowRight: [6, 0], ArrowUp: [0, 6], ArrowDown: [0, -6] }[event.key];
    if (way) { event.preventDefault(); turn(...way); }
  });
  for (const id of ["what", "level"]) el(id).addEventListener("input", () => drawSurface());
}
listeners.push(() => drawSurface());
