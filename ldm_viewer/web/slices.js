// Flat cuts of the frame at the slider.
const canvases = Object.fromEntries(views.map((view) => {
  const canvas = document.createElement("canvas");
  canvas.id = "slice-" + view;
  el("slices").append(canvas);
  return [view, canvas];
}));
const NAME = { truth: "truth", forecast: "forecast", difference: "forecast − truth" };
const FINER = 8;
const lengths = run.cell.map((a) => Math.hypot(...a));

function cutImage(view, normal, index) {
  const axis = [0, 1, 2].filter((a) => a !== normal), n = axis.map((a) => run.grid[a]);
  const stride = [ny * nz, nz, 1], base = index * stride[normal];
  const wide = n[0] * FINER, high = n[1] * FINER;
  const across = enlarging(n[0], wide), up = enlarging(n[1], high);
  const rows = new Float32Array(wide * n[1]);
  for (let j = 0; j < n[1]; j++) {
    const line = Float32Array.from({ length: n[0] }, (_, i) =>
      at(view, state.frame, base + i * stride[axis[0]] + j * stride[axis[1]]));
    for (let i = 0; i < wide; i++) for (const [k, w] of across[i]) rows[j * wide + i] += w * line[k];
  }
  const image = new ImageData(wide, high), [low, top] = limits(view);
  const colors = table[view === "difference" ? "difference" : "field"];
  for (let j = 0; j < high; j++) for (let i = 0; i < wide; i++) {
    let sum = 0;
    for (const [k, w] of up[j]) sum += w * rows[k * wide + i];
    const shade = Math.min(255, Math.max(0, Math.round((255 * (sum - low)) / (top - low))));
    const pixel = 4 * ((high - 1 - j) * wide + i);             // upwards on the screen
    for (let c = 0; c < 3; c++) image.data[pixel + c] = colors[3 * shade + c];
    image.data[pixel + 3] = 255;
  }
  const drawn = document.createElement("canvas");
  drawn.width = wide; drawn.height = high;
  drawn.getContext("2d").putImageData(image, 0, 0);
  return drawn;
}

function colorBar(pen, view, x, y, h) {
  const colors = table[view === "difference" ? "difference" : "field"], [low, high] = limits(view);
  for (let k = 0; k < 256; k++) {
    pen.fillStyle = `rgb(${colors[3 * k]},${colors[3 * k + 1]},${colors[3 * k + 2]})`;
    pen.fillRect(x, y + h - ((k + 1) * h) / 256, 10, h / 256 + 0.6);
  }
  pen.fillStyle = pen.colors.text; pen.textAlign = "left"; pen.textBaseline = "middle";
  for (const v of ticks(low, high, 5)) pen.fillText(String(v), x + 14, y + h - ((v - low) / (high - low)) * h);
  pen.fillText(view === "difference" ? "Δρ (e/Å³)" : "ρ (e/Å³)", x - 12, y - 12);
}

function drawSlices() {
  const normal = el("plane").selectedIndex, [a, b] = [0, 1, 2].filter((k) => k !== normal);
  const index = Math.round((el("position").value / 100) * run.grid[normal]) % run.grid[normal];
  el("where").textContent = `= ${((index / run.grid[normal]) * lengths[normal]).toFixed(2)} Å`;
  const ends = [a, b].map((k) => [-lengths[k] / run.grid[k] / 2, lengths[k] - lengths[k] / run.grid[k] / 2]);
  for (const view of views) {
    const [pen, width, height] = fitted(canvases[view]);
    const side = Math.min((width - 120) / lengths[a], (height - 76) / lengths[b]);
    const box = { x: 50, y: 30, w: side * lengths[a], h: side * lengths[b] };
    if (has(view, state.frame)) {
      pen.imageSmoothingQuality = "high";
      pen.drawImage(cutImage(view, normal, index), box.x, box.y, box.w, box.h);
    } else {
      pen.fillStyle = pen.colors.soft; pen.textAlign = "center";
      pen.fillText(`no ${view === "forecast" ? view : "truth"} at this time`, box.x + box.w / 2, box.y + box.h / 2);
    }
    axes(pen, box, ends[0], ends[1], run.axes[a] + " (Å)", run.axes[b] + " (Å)");
    pen.fillStyle = run.colors[view] || pen.colors.text; pen.textAlign = "center"; pen.textBaseline = "middle";
    pen.font = "600 15px system-ui, sans-serif";
    pen.fillText(NAME[view], box.x + box.w / 2, 15);
    pen.font = "12px system-ui, sans-serif";
    colorBar(pen, view, box.x + box.w + 12, box.y, box.h);
  }
}
listeners.push(drawSlices);
for (const id of ["plane", "position"]) el(id).addEventListener("input", drawSlices);
