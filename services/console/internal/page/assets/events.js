// The last events, with the detail of those that are opened.
import { el, $, letter, empty } from "/assets/dom.js";
import * as w from "/assets/words.js";
const { t } = w;

const filters = { all: null, failover: ["failover"], credential: ["credential"], warehouse: ["export", "warehouse"] };
let filter = "all", last = [], known = new Set(), first = true;
const open = new Map(); // sequence -> text of the detail

export function events(data) {
  last = data;
  $("filters").setAttribute("aria-label", t("events.title"));
  $("filters").replaceChildren(...Object.keys(filters).map((name) => el("button", { type: "button", "aria-pressed": String(name === filter), onclick: () => { filter = name; showing = page; draw(); pressed(); } }, t("filter." + name))));
  draw();
}
const pressed = () => {
  for (const [n, name] of Object.keys(filters).entries()) $("filters").children[n].setAttribute("aria-pressed", String(name === filter));
};

const rows = new Map(); // key -> element; kept, so that focus and opened details stay when a new event comes
const page = 24;
const unfolded = new Set(); // first sequence of the bundles that are unfolded; they may grow
let drawnIn, showing = page;

// grouped joins what came in one go, so that the list stays one of events and not of files: the exports of one pull; among all domains, a whole run of the warehouse. What
// went wrong always has a line of its own.
function grouped(list) {
  const groups = [];
  const joins = (e) => e.level !== "bad" && (e.domain === "export" || (filter === "all" && e.domain === "warehouse"));
  for (const e of list) {
    const group = groups.at(-1);
    const near = group && new Date(group.at(-1).at) - new Date(e.at) < 20000;
    const alike = group && (filter === "all" || (group[0].type === e.type && group[0].region === e.region));
    if (near && alike && joins(e) && joins(group[0])) group.push(e);
    else groups.push([e]);
  }
  return groups;
}

function draw() {
  const groups = grouped(last.filter((e) => !filters[filter] || filters[filter].includes(e.domain)));
  if (drawnIn !== w.language) rows.clear();
  drawnIn = w.language;
  const used = new Set();
  const wanted = groups.slice(0, showing).map((group) => {
    const key = group.map((e) => e.seq).join();
    used.add(key);
    if (!rows.has(key)) rows.set(key, group.length > 1 ? bundle(group) : row(group[0]));
    return rows.get(key);
  });
  const root = $("events");
  if (!wanted.length) root.replaceChildren(el("li", {}, last.length ? el("p.empty", {}, t("events.none.filter")) : empty(t("events.none"), t("events.none.more"))));
  else {
    for (const child of [...root.children]) if (!wanted.includes(child)) child.remove();
    wanted.forEach((element, n) => { if (root.children[n] !== element) root.insertBefore(element, root.children[n] ?? null); });
  }
  for (const key of rows.keys()) if (!used.has(key)) rows.delete(key);
  $("events-more").hidden = groups.length <= showing;
  known = new Set(last.map((e) => e.seq));
  first = false;
}
$("events-more").addEventListener("click", () => { showing += page; draw(); });

function line(item, e, kind, brief, press) {
  if (!first && !known.has(e.seq)) item.classList.add("fresh");
  const button = el("button", { type: "button", "aria-expanded": "false", onclick: () => press(button) },
    el("time", { datetime: e.at, title: new Date(e.at).toISOString() }, w.when(e.at)), letter(e.region, "quiet"),
    el("span.kind", {}, kind), brief, el("span.mark", { "aria-hidden": "true" }, "▶"));
  item.append(button);
  return button;
}

function bundle(group) {
  const worst = ["bad", "warn", "good", "info"].find((level) => group.some((e) => e.level === level));
  const item = el("li.event", { class: worst });
  const exports = group.filter((e) => e.type === "export.ready");
  const sum = (name) => exports.reduce((total, e) => total + (e.brief?.[name] ?? 0), 0);
  const only = exports.length === group.length;
  const text = only ? w.brief({ type: "export.ready", brief: { rows: sum("rows"), bytes: sum("bytes") } })
    : [exports.length ? t("events.load", { exports: exports.length, rows: w.number(sum("rows")) }) : "", group.some((e) => e.type === "warehouse.published") ? t("events.published") : ""].filter(Boolean).join(" · ");
  const count = t(only ? "events.group" : "events.facts", { count: group.length });
  const first = group.at(-1).seq;
  const button = line(item, group[0], only ? "export.ready" : "warehouse", el("span.brief", {}, el("b", {}, count), text && " · ", text), () => {
    if (!unfolded.delete(first)) unfolded.add(first);
    fold();
  });
  const fold = () => {
    item.classList.toggle("open", unfolded.has(first));
    button.setAttribute("aria-expanded", String(unfolded.has(first)));
    item.querySelector("ol")?.remove();
    if (unfolded.has(first)) item.append(el("ol", {}, group.map(row)));
  };
  fold();
  return item;
}

function row(e) {
  const item = el("li.event", { class: e.level });
  const entity = e.entity === "erp" || e.entity === "warehouse" ? null : el("b", {}, e.entity);
  const text = w.brief(e);
  const button = line(item, e, e.type, el("span.brief", { title: text || null }, entity, entity && text ? " · " : "", text), () => toggle(item, button, e));
  if (open.has(e.seq)) {
    button.setAttribute("aria-expanded", "true");
    expand(item, open.get(e.seq));
  }
  return item;
}

function expand(item, text) {
  item.classList.add("open");
  item.querySelector("pre")?.remove();
  item.append(el("pre", { tabindex: "0" }, text));
}

async function toggle(item, button, e) {
  if (open.delete(e.seq)) {
    item.classList.remove("open");
    item.querySelector("pre")?.remove();
    button.setAttribute("aria-expanded", "false");
    return;
  }
  open.set(e.seq, t("events.wait"));
  button.setAttribute("aria-expanded", "true");
  expand(item, t("events.wait"));
  let text;
  try {
    const answer = await fetch(`/api/events/${e.seq}`);
    const body = await answer.json();
    text = answer.ok ? JSON.stringify(body, null, 2) : t("events.lost", { reason: body.error });
  } catch (problem) {
    text = t("events.lost", { reason: problem.message });
  }
  if (!open.has(e.seq)) return;
  open.set(e.seq, text);
  expand(item, text);
}
