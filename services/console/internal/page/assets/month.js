// What a month's figures are made of: the projects of the company's, the documents of a project's, and of a closed month what was reported beside what is said now.
import { el, $, empty } from "/assets/dom.js";
import * as w from "/assets/words.js";
const { t } = w;

let told, chosen, asked = 0, choose;

const exact = (text) => (text == null ? "—" : w.number(text, { maximumFractionDigits: 6 }));
const money = (text) => (text == null ? "—" : w.number(text, { maximumFractionDigits: 2 }));
const share = (text) => (text == null ? "—" : w.number(text, { style: "percent", minimumFractionDigits: 1, maximumFractionDigits: 4 }));
const digits = (text) => (text.includes(".") ? text.replace(/\.?0+$/, "") : text);
const address = (path, more = {}) => path + "?" + new URLSearchParams([["month", chosen.month], ["project", chosen.project], ...Object.entries(more)].filter(([, value]) => value));

// month asks for one; project is "" for the company. pick is called with a project that the reader chooses.
export async function month(end, project, name, pick) {
  chosen = { month: end.slice(0, 7), project, name };
  choose = pick;
  await ask();
  $("month").scrollIntoView({ block: "nearest" });
}

// again asks anew after something was published, when a month is shown.
export const again = () => { if (chosen) ask(); };
export function leave() {
  chosen = told = undefined;
  asked++;
  $("month").replaceChildren();
}

async function ask() {
  const mine = ++asked;
  let next;
  try {
    const answer = await fetch(address("/api/ledger"));
    const body = await answer.json();
    next = answer.ok ? body : { problem: body.error };
  } catch (problem) {
    next = { problem: problem.message };
  }
  if (mine !== asked) return;
  told = next;
  show();
}

export function show() {
  if (!chosen || !told) return;
  const title = el("h3", { id: "month-title", tabindex: "-1" }, `${w.month(chosen.month + "-01", "long")} · ${chosen.name}`);
  const closing = el("button.plain", { type: "button", onclick: leave }, t("month.leave"));
  if (told.problem) return $("month").replaceChildren(el("header", {}, title, closing), empty(t("kpi.failed"), told.problem));
  const files = el("span.files", {},
    chosen.project === "" ? null : el("a.plain", { href: address("/api/documents.csv", { lang: w.language }), download: true, id: "month-file" }, t("month.file")),
    told.closed ? el("a.plain", { href: address("/api/closed.csv", { lang: w.language }), download: true, id: "closed-file" }, t("closed.file")) : null, closing);
  $("month").replaceChildren(el("header", {}, title, files), ...(chosen.project === "" ? projects() : documents()), ...closed(), trace());
}

const head = (...keys) => el("thead", {}, el("tr", {}, keys.map(([key, look]) => el("th", { scope: "col", class: look ?? "" }, t(key)))));
const scroll = (...parts) => el("div.scroll", { tabindex: "0" }, el("table", {}, ...parts));

function projects() {
  if (!told.projects.length) return [empty(t("kpi.none"), t("kpi.none.more"))];
  const name = (p) => (p.id === 0 ? t("kpi.unknown") : p.name || String(p.id));
  return [scroll(head(["kpi.project"], ["money.revenue", "number"], ["money.cost", "number"], ["kpi.margin", "number"], ["kpi.backlog", "number"], ["kpi.wip", "number"]),
    el("tbody", {}, told.projects.map((p) => el("tr", { "data-project": p.id },
      el("td", {}, el("button.link", { type: "button", onclick: () => choose(String(p.id), told.month_end) }, name(p))),
      [["revenue", money], ["direct_cost", money], ["gross_margin", share], ["backlog", money], ["wip", money]].map(([field, format]) => el("td.number", { "data-field": field }, format(p[field])))))))];
}

function documents() {
  if (!told.documents.length) return [empty(t("month.none"), t("month.none.more"))];
  const rows = told.documents.map((d) => el("tr", { "data-document": `${d.kind} ${d.number}` },
    el("td", {}, w.date(d.date)), el("td", {}, t("document." + d.kind)), el("td.number", {}, String(d.number)), el("td", {}, d.about ?? "—"),
    el("td.number", {}, d.currency === "CLP" ? money(d.amount) : `${money(d.amount)} ${d.currency}`),
    el("td.number", { "data-field": "counted", class: d.counted == null ? "late" : "" }, d.counted == null ? t("month.unrated") : money(d.counted))));
  // Both sides are told: who trusts the sum need not trust the page.
  const sum = (key, documents, kpi) => el("p.sum", { "data-sum": key }, el("span", {}, t("month.sum", { what: t(key) })), " ", el("b", {}, money(documents)), " ",
    digits(documents) === digits(kpi ?? "0") ? el("span.good", {}, t("month.same")) : el("span.held", {}, t("month.other", { kpi: money(kpi) })));
  return [scroll(head(["month.date"], ["month.kind"], ["month.number", "number"], ["month.about"], ["month.amount", "number"], ["month.counted", "number"]), el("tbody", {}, rows)),
    told.all > told.documents.length ? el("p.sub", {}, t("month.more", { shown: w.number(told.documents.length), all: w.number(told.all) })) : null,
    sum("money.revenue", told.revenue_documents, told.kpi?.revenue), sum("money.cost", told.cost_documents, told.kpi?.direct_cost)].filter(Boolean);
}

function closed() {
  const c = told.closed;
  if (!c) return [el("p.sub", {}, told.kpi?.open ? t("closed.open") : t("closed.not"))];
  const figures = (list) => scroll(head(["closed.figure"], ["closed.reported", "number"], ["closed.now", "number"], ["closed.difference", "number"]),
    el("tbody", {}, list.map((f) => el("tr", { "data-measure": f.measure, class: f.differs ? "differs" : "" }, el("td", {}, w.has("measure." + f.measure) ? t("measure." + f.measure) : f.measure),
      el("td.number", {}, exact(f.reported)), el("td.number", {}, exact(f.now)), el("td.number", {}, f.differs ? exact(f.difference) : "—")))));
  const differing = c.figures.filter((f) => f.differs), same = c.figures.filter((f) => !f.differs);
  return [el("h4", {}, t("closed.title")), el("p.sub", {}, t("closed.by", { when: w.moment(c.at), who: c.by ?? "—", reason: c.reason ?? "—" })),
    differing.length ? figures(differing) : el("p", {}, t("closed.same")),
    same.length ? el("details.numbers", {}, el("summary", {}, t("closed.rest", { n: w.number(same.length) })), figures(same)) : null,
    c.documents.length ? scroll(head(["closed.document"], ["closed.what"], ["closed.reported", "number"], ["closed.now", "number"]),
      el("tbody", {}, c.documents.map((d) => el("tr", { "data-restated": `${d.dataset} ${d.document}` }, el("td", {}, `${d.dataset} ${d.document}`), el("td", {}, t("what." + d.what)),
        el("td.number", {}, exact(d.reported)), el("td.number", {}, exact(d.now)))))) : null].filter(Boolean);
}

// The way back to raw files is a command: the page may read what is published, and no more.
function trace() {
  const of = chosen.project === "" ? ["mart_kpi_company", ["revenue", "direct_cost", "cash", "backlog", "wip"]] : ["mart_kpi_project", ["gross_margin", "revenue", "direct_cost", "backlog", "wip"]];
  const line = (column) => `bin/ofitec etl trace ${of[0]}${chosen.project === "" ? "" : " --project " + chosen.project} --month ${chosen.month} --column ${column}`;
  return el("details.numbers", {}, el("summary", {}, t("month.trace")), el("pre.trace", {}, of[1].map(line).join("\n")));
}

// held tells what checks keep out of the figures above.
export function held(list) {
  const line = (h) => el("li", { "data-check": `${h.mart} ${h.check}`, class: h.blocks ? "blocks" : h.severity }, el("b", {}, t(h.blocks ? "held.blocks" : h.severity === "warn" ? "held.warns" : "held.keeps", { n: w.number(h.failing), mart: h.mart })), " ",
    el("span.soft", {}, [h.check, h.amount ? t("held.amount", { amount: money(h.amount) }) : "", h.reason].filter(Boolean).join(" · ")));
  const holding = (list ?? []).filter((h) => h.blocks || h.severity !== "warn"), warned = (list ?? []).filter((h) => !holding.includes(h));
  return el("div", { id: "kpi-held" },
    holding.length ? el("ul.held-back", {}, holding.map(line)) : el("p.sub.good", {}, t("held.none")),
    warned.length ? el("details.numbers", {}, el("summary", {}, t("held.warned", { n: w.number(warned.length) })), el("ul.held-back", {}, warned.map(line))) : null);
}
