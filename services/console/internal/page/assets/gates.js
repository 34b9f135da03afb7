// The gates of a credential's last rollout in each region: what the canary did, the colour with traffic as a control, and the bars that both must stay below.
import { el, letter } from "/assets/dom.js";
import * as w from "/assets/words.js";
const { t } = w;

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const font = (size) => `${size}px ${getComputedStyle(document.body).fontFamily}`;

const figures = [
  { key: "p95_seconds", title: "gate.p95", say: (v) => (v == null ? "—" : w.milliseconds(v)), least: 0.05 },
  { key: "error_rate", title: "gate.errors", say: (v) => (v == null ? "—" : w.percent(v, v > 0 && v < 0.1 ? 1 : 0)), least: 0.01 },
];

const other = (c) => (c === "blue" ? "green" : "blue");

// living are the plots that stand in the page; all are drawn anew with it.
let living = [];
export function clear() {
  for (const one of living) { one.watcher.disconnect(); one.plot.destroy(); }
  living = [];
}

function chart(r, figure) {
  const limit = r.limits?.[figure.key];
  const begin = new Date(r.samples[0].at).getTime();
  const at = r.samples.map((s) => (new Date(s.at).getTime() - begin) / 1000);
  const of = (side) => r.samples.map((s) => s[side][figure.key] ?? null);
  const canary = of("canary"), control = of("control");
  const read = { canary: el("b"), control: el("b"), when: el("span.when") };
  const tell = (n) => {
    read.canary.textContent = figure.say(canary[n]);
    read.control.textContent = figure.say(control[n]);
    read.when.textContent = w.clock(r.samples[n].at);
  };
  const last = at.length - 1;
  tell(last);
  const box = el("div.plot", { role: "img", "aria-label": t("gate.chart", { figure: t(figure.title), region: r.region, canary: figure.say(canary[last]), control: figure.say(control[last]), limit: figure.say(limit) }) });
  const node = el("figure.gate", {},
    el("figcaption.legend", {}, el("span.what", {}, t(figure.title)),
      el("span.canary", {}, el("i"), t("gate.canary", { colour: t("colour." + r.colour) }), read.canary),
      el("span.control", {}, el("i"), t("gate.control", { colour: t("colour." + other(r.colour)) }), read.control),
      limit == null ? null : el("span.limit", {}, el("i"), t("gate.limit", { limit: figure.say(limit) })), read.when),
    box);
  const top = Math.max(limit ?? 0, figure.least, ...canary.map((v) => v ?? 0), ...control.map((v) => v ?? 0)) * 1.12;
  const axis = { stroke: colour("--soft"), font: font(11), ticks: { show: false }, grid: { stroke: colour("--line"), width: 1 } };
  const line = (name, more = {}) => ({ stroke: colour(name), width: 2, spanGaps: false, points: { show: at.length < 40, size: 5, fill: colour("--card"), stroke: colour(name), width: 2 }, ...more });
  const options = () => ({
    width: box.clientWidth || 400, height: box.clientHeight || 132, padding: [8, 4, 0, 0], legend: { show: false },
    cursor: { y: false, drag: { x: false, y: false }, points: { size: 7, fill: colour("--card") } },
    scales: { x: { time: false, range: [0, Math.max(at[last], 1)] }, y: { range: [0, top] } },
    axes: [
      { ...axis, grid: { show: false }, gap: 5, size: 24, space: 60, values: (_, list) => list.map((s) => w.span(s)) },
      { ...axis, size: 56, gap: 5, space: 34, values: (_, list) => list.map((v) => figure.say(v)) },
    ],
    series: [{}, line("--stale"), line("--accent"), { stroke: colour("--bad"), width: 1, dash: [5, 4], points: { show: false } }],
    hooks: { setCursor: [(u) => tell(u.cursor.idx ?? last)], draw: [(u) => marks(u, r, begin)] },
  });
  return { node, draw() {
    const plot = new uPlot(options(), [at, control, canary, at.map(() => limit ?? null)], box);
    const watcher = new ResizeObserver(() => { if (box.clientWidth) plot.setSize({ width: box.clientWidth, height: box.clientHeight }); });
    watcher.observe(box);
    living.push({ plot, watcher });
  } };
}

// marks draws where the traffic moved: a line at each step of the weights and at the switch.
function marks(u, r, begin) {
  const moves = r.samples.filter((s, n) => n > 0 && (s.weight ?? 0) !== (r.samples[n - 1].weight ?? 0)).map((s) => s.at);
  if (r.switched_at) moves.push(r.switched_at);
  u.ctx.save();
  u.ctx.strokeStyle = colour("--line-strong");
  u.ctx.lineWidth = devicePixelRatio;
  for (const move of moves) {
    const x = Math.round(u.valToPos((new Date(move).getTime() - begin) / 1000, "x", true));
    if (x < u.bbox.left || x > u.bbox.left + u.bbox.width) continue;
    u.ctx.beginPath();
    u.ctx.moveTo(x, u.bbox.top);
    u.ctx.lineTo(x, u.bbox.top + u.bbox.height);
    u.ctx.stroke();
  }
  u.ctx.restore();
}

// strip is every verdict in order, one mark a reading.
function strip(r) {
  const c = r.readings ?? { green: 0, red: 0, inconclusive: 0 };
  return el("div.verdicts", {}, el("p.sub", {}, t("gate.readings", c)),
    el("div.strip", { "aria-hidden": "true" }, r.samples.map((s) => el("i", { class: s.verdict, title: `${w.clock(s.at)} · ${t("verdict." + s.verdict)}${s.reason ? " · " + s.reason : ""}` }))));
}

function numbers(r) {
  const head = (key, look = "number") => el("th", { scope: "col", class: look }, t(key));
  const cell = (text) => el("td.number", {}, text);
  const own = (f) => (f.sent ? t("gate.sent", { failed: f.failed, sent: f.sent }) : "—");
  return el("details.numbers", {}, el("summary", {}, t("money.numbers")), el("div.scroll", { tabindex: "0" }, el("table", {},
    el("thead", {}, el("tr", {}, head("gate.at", ""), head("gate.verdict", ""), head("gate.weight"), head("gate.p95.canary"), head("gate.p95.control"), head("gate.errors.canary"), head("gate.errors.control"), head("gate.own"))),
    el("tbody", {}, [...r.samples].reverse().map((s) => el("tr", {}, el("td", {}, w.clock(s.at)), el("td", { title: s.reason || null }, t("verdict." + s.verdict)), cell(s.weight ? s.weight + " %" : "—"),
      cell(figures[0].say(s.canary.p95_seconds)), cell(figures[0].say(s.control.p95_seconds)), cell(figures[1].say(s.canary.error_rate)), cell(figures[1].say(s.control.error_rate)), cell(own(s.canary))))))));
}

// gates gives the region's figures and what draws its plots, once they stand in the page.
export function gates(r) {
  const title = el("h4", {}, letter(r.region, "quiet"), " ", t("gate.title", { version: r.version, region: r.region }), r.standby ? el("span.sub", {}, t("gate.standby")) : null);
  if (!r.samples?.length) return { node: el("section", {}, title, el("p.sub", {}, t("gate.none"))), draw() {} };
  const charts = figures.map((figure) => chart(r, figure));
  return { node: el("section", {}, title, charts.map((c) => c.node), strip(r), numbers(r)), draw() { for (const c of charts) c.draw(); } };
}
