// The slider of time, and what turns it.
el("time").max = frames - 1;
const stamp = (fs) => `${Math.round(fs * 100) / 100} fs`;

function go(frame) {
  state.frame = ((frame % frames) + frames) % frames;
  el("time").value = state.frame;
  const time = run.times[state.frame];
  el("clock").textContent = run.zero ? `${stamp(time - run.zero)} after the start (${stamp(time)})` : stamp(time);
  changed();
}
el("time").addEventListener("input", () => go(+el("time").value));

let playing = 0;
function play() {
  el("play").textContent = playing ? "Play" : "Pause";
  if (playing) { clearInterval(playing); playing = 0; } else playing = setInterval(() => go(state.frame + 1), 80);
}
el("play").addEventListener("click", play);
document.addEventListener("keydown", (event) => {
  if (event.key === " " && event.target === document.body) { event.preventDefault(); play(); }
});
addEventListener("resize", changed);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", changed);
go(0);
document.body.dataset.ready = "yes";
