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
  $("filters").replaceChildren(...Object.keys(filters).map((name) => el("button", { type: "button", "aria-pressed": String(name === filter), onclick: () => { filter = name; draw(); focusFilter(); } }, t("filter." + name))));
  draw();
}
const focusFilter = () => {
  for (const [n, name] of Object.keys(filters).entries()) $("filters").children[n].setAttribute("aria-pressed", String(name === filter));
};

const rows = new Map(); // sequence -> element; kept, so that focus and opened details stay when a new event comes
let drawnIn;

function draw() {
  const list = last.filter((e) => !filters[filter] || filters[filter].includes(e.domain)).slice(0, 40);
  if (drawnIn !== w.language) rows.clear();
  drawnIn = w.language;
  const wanted = list.map((e) => {
    if (!rows.has(e.seq)) rows.set(e.seq, row(e));
    return rows.get(e.seq);
  });
  const root = $("events");
  if (!wanted.length) root.replaceChildren(el("li", {}, last.length ? el("p.empty", {}, t("events.none.filter")) : empty(t("events.none"), t("events.none.more"))));
  else {
    for (const child of [...root.children]) if (!wanted.includes(child)) child.remove();
    wanted.forEach((element, n) => { if (root.children[n] !== element) root.insertBefore(element, root.children[n] ?? null); });
  }
  const living = new Set(last.map((e) => e.seq));
  for (const seq of rows.keys()) if (!living.has(seq)) rows.delete(seq);
  known = living;
  first = false;
}

function row(e) {
  const item = el("li.event", { class: e.level });
  if (!first && !known.has(e.seq)) item.classList.add("fresh");
  const entity = e.entity === "erp" || e.entity === "warehouse" ? null : el("b", {}, e.entity);
  const text = w.brief(e);
  const button = el("button", { type: "button", "aria-expanded": String(open.has(e.seq)), onclick: () => toggle(item, button, e) },
    el("time", { datetime: e.at, title: new Date(e.at).toISOString() }, w.when(e.at)), letter(e.region, "quiet"),
    el("span.kind", {}, e.type), el("span.brief", { title: text || null }, entity, entity && text ? " · " : "", text), el("span.mark", { "aria-hidden": "true" }, "▶"));
  item.append(button);
  if (open.has(e.seq)) expand(item, open.get(e.seq));
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
