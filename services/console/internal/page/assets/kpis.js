// The KPIs by month, of the company or of a project, as published: plots, the numbers to the last digit, and the file.
import { el, $, empty, tick } from "/assets/dom.js";
import * as w from "/assets/words.js";
import { month, again, leave, show, held } from "/assets/month.js";
const { t } = w;

let told, text, question, plots = [], asked = 0, watcher;

const chosen = () => new URLSearchParams([["project", $("kpi-project").value], ["from", $("kpi-from").value], ["to", $("kpi-to").value]].filter(([, value]) => value));

// kpis asks anew: at the start, when the reader chooses, and when something was published. Only the newest question's answer is shown; with news, only when it says something else.
export async function kpis(news = false) {
  const mine = ++asked, query = String(chosen());
  try {
    const answer = await fetch("/api/kpis?" + query);
    const said = await answer.text();
    if (mine !== asked || news && said === text && query === question) return;
    const body = JSON.parse(said);
    told = answer.ok ? body : { problem: body.error };
    [text, question] = [said, query];
  } catch (problem) {
    if (mine !== asked) return;
    told = { problem: problem.message };
    text = undefined;
  }
  redraw();
  again();
}

// pick shows what a month is made of, of the company or the project that is chosen.
function pick(end) {
  const select = $("kpi-project");
  month(end, select.value, select.selectedOptions[0]?.textContent ?? "", (project, at) => { select.value = project; kpis().then(() => pick(at)); });
}

const money = (text) => (text == null ? "—" : w.number(text, { maximumFractionDigits: 2 }));
const share = (text) => (text == null ? "—" : w.number(text, { style: "percent", minimumFractionDigits: 1, maximumFractionDigits: 4 }));
const days = (text) => (text == null ? "—" : w.number(text, { maximumFractionDigits: 1 }));
const compact = (n) => w.compact(n);

const columns = [
  ["money.revenue", "revenue", money], ["money.cost", "direct_cost", money], ["kpi.margin", "gross_margin", share], ["kpi.backlog", "backlog", money], ["kpi.wip", "wip", money],
  ["kpi.cash", "cash", money, "company"], ["kpi.days", "days_of_cash", days, "company"], ["kpi.pv", "pv", money, "project"], ["kpi.ev", "ev", money, "project"], ["kpi.ac", "ac", money, "project"],
];
const charts = [
  [["kpi.cash", "cash", money, compact], "company"], [["kpi.days", "days_of_cash", days, (n) => w.number(n)], "company"], [["kpi.margin", "gross_margin", share, (n) => w.percent(n, 0)]],
  [["kpi.backlog", "backlog", money, compact]], [["kpi.wip", "wip", money, compact]],
  [["kpi.pv", "pv", money, compact], ["kpi.ev", "ev", money, compact], ["kpi.ac", "ac", money, compact], "project"],
];
const whose = () => ($("kpi-project").value === "" ? "company" : "project");
const fits = (list) => list.filter((entry) => { const scope = entry.find((e) => e === "company" || e === "project"); return !scope || scope === whose(); });

function choices() {
  const select = $("kpi-project"), value = select.value;
  const option = (id, name) => { const o = el("option", { value: id }, name); o.selected = String(id) === value; return o; };
  select.replaceChildren(option("", t("kpi.company")), ...(told?.projects ?? []).map((p) => option(p.id, p.id === 0 ? t("kpi.unknown") : p.name || String(p.id))));
  const query = chosen();
  query.set("lang", w.language);
  $("kpi-file").href = "/api/figures.csv?" + query;
}

export function redraw() {
  watcher?.disconnect();
  for (const plot of plots) plot.destroy();
  plots = [];
  if (!told) return;
  if (!told.problem) choices();
  const root = $("kpi"), aside = $("kpi-aside"), when = el("span");
  const p = told.publication;
  if (p) tick(when, (e) => { e.textContent = t("kpi.published", { when: w.ago(p.at), load: p.load }); });
  aside.replaceChildren(when);
  $("kpi-checks").replaceChildren(...(told.problem ? [] : [held(told.held)]));
  show();
  if (told.problem) return root.replaceChildren(empty(t("kpi.failed"), told.problem));
  if (!told.months?.length) return root.replaceChildren(empty(t("kpi.none"), t("kpi.none.more")));
  watcher = new ResizeObserver(() => { for (const u of plots) { const box = u.root.parentElement; if (box.clientWidth) u.setSize({ width: box.clientWidth, height: box.clientHeight }); } });
  const figures = fits(charts).map((entry) => entry.filter(Array.isArray));
  const boxes = figures.map((series) => el("div.plot", { role: "img", "aria-label": t("kpi.chart", { what: series.map(([key]) => t(key)).join(", ") }) }));
  const legends = figures.map(() => el("div.legend"));
  root.replaceChildren(...figures.map((_, n) => el("section.kpi", {}, legends[n], boxes[n])), table());
  figures.forEach((series, n) => chart(series, legends[n], boxes[n]));
}

function chart(series, legend, box) {
  const months = told.months, css = getComputedStyle(document.documentElement), colour = (name) => css.getPropertyValue(name).trim();
  const values = series.map(([key], n) => el("b", { "data-kpi": key }));
  const month = el("span.when");
  legend.replaceChildren(...series.map(([key], n) => el("span", { class: "k" + (n + 1) }, el("i"), t(key), values[n])), month);
  const read = (n) => {
    month.textContent = w.month(months[n].month_end, "long") + (months[n].open ? ` · ${t("money.open")}` : "");
    series.forEach(([, field, format], i) => { values[i].textContent = format(months[n][field]); });
  };
  const latest = Math.max(months.findLastIndex((m) => !m.open), 0);
  read(latest);
  const axis = { stroke: colour("--soft"), font: `12px ${getComputedStyle(document.body).fontFamily}`, ticks: { show: false }, grid: { stroke: colour("--line"), width: 1 } };
  const look = (name) => ({ scale: "y", stroke: colour(name), width: 2, points: { show: months.length < 40, size: 5, fill: colour("--card"), stroke: colour(name), width: 2 } });
  const step = (u) => Math.max(Math.ceil(months.length / Math.max(Math.floor((u.width - 112) / 62), 1)), 1);
  const every = (u) => months.map((_, n) => n).filter((n) => (months.length - 1 - n) % step(u) === 0);
  const u = new uPlot({
    width: box.clientWidth || 500, height: box.clientHeight || 190, padding: [10, 14, 0, 0], legend: { show: false },
    cursor: { y: false, drag: { x: false, y: false }, points: { size: 7 } },
    scales: { x: { time: false, range: [-0.4, months.length - 0.6] }, y: { range: (_, min, max) => [Math.min(0, min ?? 0) * 1.08, Math.max((max ?? 0) * 1.12, max > 0 ? 0 : 0.1)] } },
    axes: [{ ...axis, grid: { show: false }, gap: 8, size: 34, splits: every, values: (_, at) => at.map((n) => w.month(months[n].month_end)) },
      { ...axis, scale: "y", size: 62, gap: 6, space: 40, values: (_, at) => at.map(series[0][3]) }],
    series: [{}, ...series.map((_, n) => look(["--accent", "--margin", "--s5"][n]))],
    hooks: { setCursor: [(v) => read(v.cursor.idx ?? latest)], ready: [(v) => v.over.addEventListener("click", () => { if (v.cursor.idx != null) pick(months[v.cursor.idx].month_end); })] },
  }, [months.map((_, n) => n), ...series.map(([, field]) => months.map((m) => (m.open || m[field] == null ? null : Number(m[field]))))], box);
  plots.push(u);
  watcher.observe(box);
}

function table() {
  const shown = fits(columns);
  const before = document.querySelector("#kpi details");
  return el("details.numbers", { open: before?.open }, el("summary", {}, t("money.numbers")), el("div.scroll", { tabindex: "0" }, el("table", {},
    el("thead", {}, el("tr", {}, el("th", { scope: "col" }, t("money.month")), shown.map(([key]) => el("th.number", { scope: "col" }, t(key))))),
    el("tbody", {}, [...told.months].reverse().map((m) => el("tr", { "data-month": m.month_end }, el("td", {}, el("button.link", { type: "button", onclick: () => pick(m.month_end) }, w.month(m.month_end)), m.open ? el("div.sub", {}, t("money.open")) : null),
      shown.map(([, field, format]) => el("td.number", { "data-field": field }, format(m[field])))))))));
}

$("kpi-form").addEventListener("change", (e) => { if (e.target.id === "kpi-project" || e.target === e.currentTarget) leave(); kpis(); });
$("kpi-form").addEventListener("submit", (e) => e.preventDefault());
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
