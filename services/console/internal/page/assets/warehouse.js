// How fresh the data is, and gross margin and cash by month.
import { el, $, empty, tick } from "/assets/dom.js";
import * as w from "/assets/words.js";
const { t } = w;

const late = 45 * 60 * 1000; // three pulls of the earlier delivery's fifteen minutes

function dataset(d) {
  const asof = el("span");
  if (d.asof) tick(asof, (e) => {
    e.textContent = w.ago(d.asof);
    e.className = w.now() - new Date(d.asof) > late ? "late" : "";
  });
  else asof.textContent = "—";
  return el("tr", {},
    el("td", {}, el("span.name", {}, d.name), d.failure ? el("div.sub.held", { title: d.failure.reason }, t("failed.pull", { attempts: d.failure.attempts, reason: d.failure.code })) : null),
    el("td.number", {}, w.number(d.rows)),
    el("td", { title: d.asof ? w.moment(d.asof) : null }, asof),
    el("td.number.optional", {}, d.last_rows == null ? "—" : t("last.rows", { rows: w.number(d.last_rows) })),
    el("td.number", {}, d.quarantined ? el("span.held", {}, w.number(d.quarantined)) : d.quarantined === 0 ? "0" : "—"));
}

export function warehouse(data, order) {
  const root = $("warehouse"), aside = $("warehouse-aside");
  const published = el("span");
  if (data.published_at) tick(published, (e) => { e.textContent = t("warehouse.published", { when: w.ago(data.published_at) }); });
  aside.replaceChildren(published, " ", el("button.plain", { type: "button", onclick: () => order("export", "all") }, t("warehouse.export")));
  if (!data.datasets.length) {
    root.replaceChildren(empty(t("warehouse.none"), t("warehouse.none.more")));
    return;
  }
  const head = (key, look = "") => el("th", { scope: "col", class: look }, t(key));
  root.replaceChildren(el("table", {},
    el("thead", {}, el("tr", {}, head("dataset"), head("rows", "number"), head("asof"), head("last", "number optional"), head("quarantine", "number"))),
    el("tbody", {}, data.datasets.map(dataset))));
}

let plot, watcher, shown;

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const font = (size) => `${size}px ${getComputedStyle(document.body).fontFamily}`;

export function money(data) {
  shown = data;
  const root = $("money"), aside = $("money-aside");
  plot?.destroy();
  plot = undefined;
  watcher?.disconnect();
  if (!data.months.length) {
    aside.textContent = "";
    const state = data.state === "ok" ? "unpublished" : data.state;
    root.replaceChildren(empty(t("money." + state), t(`money.${state}.more`)));
    return;
  }
  aside.textContent = data.from ? t("money.from", { region: data.from }) : "";
  const cash = el("b"), margin = el("b"), month = el("span.when");
  const box = el("div.plot", { role: "img", "aria-label": t("money.chart") });
  root.replaceChildren(el("div.legend", {}, el("span.cash", {}, el("i"), t("money.cash"), cash), el("span.margin", {}, el("i"), t("money.margin"), margin), month), box, numbers(data.months));
  const read = (n) => {
    const m = data.months[n];
    month.textContent = w.month(m.month_end, "long") + (m.open ? ` · ${t("money.open")}` : "");
    cash.textContent = w.number(m.cash, { maximumFractionDigits: 0 });
    margin.textContent = m.gross_margin == null ? "—" : w.percent(m.gross_margin);
  };
  const latest = Math.max(data.months.findLastIndex((m) => m.gross_margin != null && !m.open), 0);
  read(latest);
  plot = new uPlot(options(data.months, box, (n) => read(n ?? latest)), values(data.months), box);
  watcher = new ResizeObserver(() => { if (plot && box.clientWidth) plot.setSize({ width: box.clientWidth, height: box.clientHeight }); });
  watcher.observe(box);
}

// A month that is not over has a paler column and no point on the line: costs come before the invoice, and its margin would hide all others.
const values = (months) => [
  months.map((_, n) => n), months.map((m) => (m.open ? null : m.cash)), months.map((m) => (m.open ? m.cash : null)), months.map((m) => (m.open ? null : m.gross_margin)),
];

function options(months, box, read) {
  const width = box.clientWidth || 600;
  const axis = { stroke: colour("--soft"), font: font(12), ticks: { show: false }, grid: { stroke: colour("--line"), width: 1 } };
  const low = (min) => Math.min(0, min ?? 0);
  const high = (max, least) => Math.max((max ?? 0) * 1.12, least);
  return {
    width, height: box.clientHeight || 252, padding: [10, 0, 0, 0], legend: { show: false },
    cursor: { y: false, drag: { x: false, y: false }, points: { size: 8, fill: colour("--margin"), stroke: colour("--card") } },
    scales: {
      x: { time: false, range: [-0.6, months.length - 0.4] },
      cash: { range: (_, min, max) => [low(min), high(max, 1)] },
      margin: { range: (_, min, max) => [Math.max(low(min), -1), Math.min(high(max, 0.1), 1)] },
    },
    axes: [
      { ...axis, grid: { show: false }, gap: 8, size: 34, splits: (u) => every(months.length, u.width), values: (_, at) => at.map((n) => w.month(months[n].month_end)) },
      { ...axis, scale: "cash", size: 62, gap: 6, space: 44, values: (_, at) => at.map((n) => w.compact(n)) },
      { ...axis, scale: "margin", side: 1, size: 42, gap: 6, space: 44, grid: { show: false }, values: (_, at) => at.map((n) => w.percent(n, 0)) },
    ],
    series: [
      {},
      ...["--cash", "--cash-open"].map((name) => ({ scale: "cash", fill: colour(name), stroke: colour(name), width: 0, paths: uPlot.paths.bars({ size: [0.62, 44], radius: 0.12 }), points: { show: false } })),
      { scale: "margin", stroke: colour("--margin"), width: 2, spanGaps: false, points: { show: true, size: 6, fill: colour("--card"), stroke: colour("--margin"), width: 2 } },
    ],
    hooks: { setCursor: [(u) => read(u.cursor.idx)] },
  };
}

// every chooses which months have their name below the plot: as many as fit, the last one always.
function every(count, width) {
  const step = Math.max(Math.ceil(count / Math.max(Math.floor((width - 112) / 62), 1)), 1);
  const list = [];
  for (let n = count - 1; n >= 0; n -= step) list.unshift(n);
  return list;
}

function numbers(months) {
  const head = (key, look = "number") => el("th", { scope: "col", class: look }, t(key));
  const whole = { maximumFractionDigits: 0 };
  return el("details.numbers", {}, el("summary", {}, t("money.numbers")), el("div.scroll", { tabindex: "0" }, el("table", {},
    el("thead", {}, el("tr", {}, head("money.month", ""), head("money.revenue"), head("money.cost"), head("money.margin"), head("money.cash"))),
    el("tbody", {}, [...months].reverse().map((m) => el("tr", {}, el("td", {}, w.month(m.month_end)), el("td.number", {}, w.number(m.revenue, whole)),
      el("td.number", {}, w.number(m.direct_cost, whole)), el("td.number", {}, m.gross_margin == null ? "—" : w.percent(m.gross_margin)), el("td.number", {}, w.number(m.cash, whole))))))));
}

matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { if (shown) money(shown); });
