// Credentials: where each one is, how old against max_ttl, how many rollouts still fit, and the gates of the last deployment.
import { el, wide, $, letter, empty, tick } from "/assets/dom.js";
import { gates, clear } from "/assets/gates.js";
import * as w from "/assets/words.js";
const { t } = w;

const stagePill = { current: "good", canary: "warn", draining: "warn", rejected: "bad", rolledback: "bad" };

// left is a time that runs out, and a meter of it.
function left(until, whole) {
  if (!until || !(whole > 0)) return el("div.left.sub", {}, "—");
  const text = el("span"), fill = el("i"), meter = el("div.meter", { "aria-hidden": "true" }, fill);
  return tick(el("div.left", {}, text, meter), () => {
    const rest = (new Date(until) - w.now()) / 1000;
    text.textContent = rest <= 0 ? t("over") : t("of", { left: w.span(rest), whole: w.span(whole) });
    meter.className = "meter " + (rest < whole * 0.1 ? "bad" : rest < whole * 0.25 ? "warn" : "");
    wide(fill, rest / whole);
  });
}

// age is how old a version is against max_ttl, which no renewal goes past.
function age(v) {
  const since = new Date(v.minted_at);
  if (!v.deadline_at) return tick(el("div.left.sub"), (e) => { e.textContent = w.span((w.now() - since) / 1000); });
  const whole = (new Date(v.deadline_at) - since) / 1000;
  const text = el("span"), fill = el("i"), meter = el("div.meter", { "aria-hidden": "true" }, fill);
  return tick(el("div.left", {}, text, meter), () => {
    const old = (w.now() - since) / 1000;
    text.textContent = t("of", { left: w.span(old), whole: w.span(whole) });
    meter.className = "meter " + (old > whole * 0.9 ? "bad" : old > whole * 0.75 ? "warn" : "");
    wide(fill, old / whole);
  });
}

// attempts is how many rollouts still fit before max_ttl; the same rule as the rotator's alarm.
function attempts(c, v) {
  if (v.stage !== "current" || !v.deadline_at || !(c.attempt_seconds > 0)) return "—";
  return tick(el("span.attempts"), (e) => {
    const n = Math.max(Math.trunc(((new Date(v.deadline_at) - w.now()) / 1000 - c.grace_seconds) / c.attempt_seconds), 0);
    e.textContent = w.number(n);
    e.className = "attempts " + (n <= 1 ? "bad" : n <= 3 ? "warn" : "");
  });
}

function row(c, v) {
  const cell = (label, ...content) => el("td", { "data-label": label }, ...content);
  const lease = v.ttl_seconds || (v.expires_at ? (new Date(v.expires_at) - new Date(v.renewed_at || v.minted_at)) / 1000 : 0);
  return el("tr", { class: v.live ? "" : "ended" },
    el("td.first", {}, el("span.name", {}, `v${v.number}`)),
    el("td.whose", {}, el("span.user", {}, v.user || "—")),
    el("td.stage", {}, el("span.pill", { class: stagePill[v.stage] || "", title: v.reason || null }, t("stage." + v.stage))),
    cell(t("ttl"), v.live ? left(v.expires_at, lease) : "—"),
    cell(t("age"), v.live ? age(v) : "—"),
    cell(t("attempts"), v.live ? attempts(c, v) : "—"));
}

function rollout(r) {
  const text = el("span");
  return el("p", {}, letter(r.region, "quiet"), " ", tick(text, () => {
    text.textContent = t("rollout", { region: r.region, version: r.version, phase: t("deploy." + r.phase), colour: t("colour." + r.hot), when: w.ago(r.since) }).replace(/^[^:]*: /, "");
  }), r.reason ? ` · ${r.reason}` : "");
}

// opened remembers what the reader has opened or closed, for the page is made anew whenever something happens.
const opened = new Map();

function deployment(c, newest) {
  const parts = c.rollouts.map(gates);
  const details = el("details.deployment", {}, el("summary", {}, t("gate.last")), el("div.gates", {}, parts.map((p) => p.node)));
  let drawn = false;
  const draw = () => {
    if (!details.open || drawn) return;
    drawn = true;
    for (const p of parts) p.draw();
  };
  details.open = opened.get(c.name) ?? newest;
  details.addEventListener("toggle", () => { opened.set(c.name, details.open); draw(); });
  return { node: details, draw };
}

function credential(c, order, deployed) {
  const next = el("span.aside");
  if (c.next_rotation_at) tick(next, (e) => { e.textContent = t("credentials.next", { when: w.ago(c.next_rotation_at) }); });
  return el("article.credential", {},
    el("header", {}, el("h3", {}, c.name), el("span.aside", {}, c.kind), c.alarm ? el("span.pill", { class: c.alarm === "page" ? "bad" : "warn" }, c.alarm) : null, next,
      el("span.actions", {}, el("button.plain", { type: "button", onclick: () => order("rotate", c.name) }, t("credentials.rotate")))),
    el("table.stack", {},
      el("thead", {}, el("tr", {}, ["version.head", "user", "stage", "ttl", "age", "attempts"].map((key) => el("th", { scope: "col" }, t(key))))),
      el("tbody", {}, c.versions.map((v) => row(c, v)))),
    el("div.rollouts", {}, c.rollouts.length ? c.rollouts.map(rollout) : t("rollouts.none")), deployed?.node);
}

let shown, sender;

export function credentials(data, order) {
  [shown, sender] = [data, order];
  clear();
  if (!data.length) {
    $("credentials").replaceChildren(empty(t("credentials.none"), t("credentials.none.more")));
    return;
  }
  const last = (c) => Math.max(0, ...c.rollouts.map((r) => new Date(r.since).getTime()));
  const newest = data.reduce((best, c) => (last(c) > last(best) ? c : best));
  const drawings = [];
  $("credentials").replaceChildren(...data.map((c) => {
    const deployed = c.rollouts.length ? deployment(c, c === newest) : null;
    if (deployed) drawings.push(deployed.draw);
    return credential(c, order, deployed);
  }));
  for (const draw of drawings) draw();
}

matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { if (shown) credentials(shown, sender); });
