// Curves: thick means that stand still, thin ones of the frame at the slider, or a mark at its time.
const DASHES = [[], [6, 4], [2, 3]];
for (const plot of run.plots) {
  plot.canvas = document.createElement("canvas");
  plot.canvas.id = "plot-" + plot.id;
  el("curves").append(plot.canvas);
  const all = plot.lines.filter((line) => !line.free).flatMap((line) => Array.from(line.y)).filter(Number.isFinite);
  const [low, high] = extremes(all);
  const room = 0.06 * (high - low || Math.abs(high) || 1);
  plot.ys = [plot.from_zero ? 0 : low - room, high + 4 * room]; // names stand above
}

function extremes(numbers) {
  let low = Infinity, high = -Infinity;
  for (const n of numbers) { if (n < low) low = n; if (n > high) high = n; }
  return [low, high];
}

function drawLine(pen, xs, ys, px, py) {
  pen.beginPath();
  let down = false;
  for (let k = 0; k < xs.length; k++) {
    if (!Number.isFinite(ys[k])) continue; // small cells have no wave vector in some shells
    if (down) pen.lineTo(px(xs[k]), py(ys[k])); else pen.moveTo(px(xs[k]), py(ys[k]));
    down = true;
  }
  pen.stroke();
}

function drawCurves() {
  for (const plot of run.plots) {
    const [pen, width, height] = fitted(plot.canvas);
    const box = { x: 52, y: 26, w: width - 70, h: height - 66 };
    const [px, py] = axes(pen, box, plot.x_limits, plot.ys, plot.x_name, plot.y_name);
    pen.fillStyle = pen.colors.text; pen.textAlign = "left"; pen.textBaseline = "middle";
    pen.font = "600 13px system-ui, sans-serif"; pen.fillText(plot.title, box.x, 12);
    pen.font = "12px system-ui, sans-serif";
    pen.save(); pen.beginPath(); pen.rect(box.x, box.y, box.w, box.h); pen.clip();
    for (const line of plot.lines) {
      pen.strokeStyle = line.color;
      pen.setLineDash(DASHES[line.free]);
      const n = plot.x.length, rows = line.y.length / n;
      pen.lineWidth = rows > 1 ? 1 : 2;
      const shown = rows > 1 ? line.y.subarray(state.frame * n, (state.frame + 1) * n) : line.y;
      drawLine(pen, plot.x, shown, px, py);
    }
    pen.setLineDash([]);
    if (plot.marked) {
      pen.strokeStyle = pen.colors.soft; pen.lineWidth = 1;
      const x = px(run.times[state.frame] - run.zero);
      pen.beginPath(); pen.moveTo(x, box.y); pen.lineTo(x, box.y + box.h); pen.stroke();
    }
    pen.restore();
    const named = plot.lines.filter((line) => line.name);
    pen.textAlign = "right"; pen.textBaseline = "top";
    named.forEach((line, k) => { pen.fillStyle = line.color; pen.fillText(line.name, box.x + box.w - 6, box.y + 5 + 15 * k); });
  }
}
listeners.push(drawCurves);
