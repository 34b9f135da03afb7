// Credentials with the time that is left to them.
import { el, wide, $, letter, empty, tick } from "/assets/dom.js";
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

function row(v) {
  const cell = (label, ...content) => el("td", { "data-label": label }, ...content);
  const whole = v.deadline_at ? (new Date(v.deadline_at) - new Date(v.minted_at)) / 1000 : 0;
  const lease = v.ttl_seconds || (v.expires_at ? (new Date(v.expires_at) - new Date(v.renewed_at || v.minted_at)) / 1000 : 0);
  return el("tr", { class: v.live ? "" : "ended" },
    el("td.first", {}, el("span.name", {}, `v${v.number}`)),
    el("td.whose", {}, el("span.user", {}, v.user || "—")),
    el("td.stage", {}, el("span.pill", { class: stagePill[v.stage] || "", title: v.reason || null }, t("stage." + v.stage))),
    cell(t("ttl"), v.live ? left(v.expires_at, lease) : "—"),
    cell(t("maxttl"), v.live ? left(v.deadline_at, whole) : "—"));
}

function rollout(r) {
  const text = el("span");
  return el("p", {}, letter(r.region, "quiet"), " ", tick(text, () => {
    text.textContent = t("rollout", { region: r.region, version: r.version, phase: t("deploy." + r.phase), colour: t("colour." + r.hot), when: w.ago(r.since) }).replace(/^[^:]*: /, "");
  }), r.reason ? ` · ${r.reason}` : "");
}

function credential(c, order) {
  const next = el("span.aside");
  if (c.next_rotation_at) tick(next, (e) => { e.textContent = t("credentials.next", { when: w.ago(c.next_rotation_at) }); });
  return el("article.credential", {},
    el("header", {}, el("h3", {}, c.name), el("span.aside", {}, c.kind), c.alarm ? el("span.pill", { class: c.alarm === "page" ? "bad" : "warn" }, c.alarm) : null, next,
      el("span.actions", {}, el("button.plain", { type: "button", onclick: () => order("rotate", c.name) }, t("credentials.rotate")))),
    el("table.stack", {},
      el("thead", {}, el("tr", {}, ["version.head", "user", "stage", "ttl", "maxttl"].map((key) => el("th", { scope: "col" }, t(key))))),
      el("tbody", {}, c.versions.map(row))),
    el("div.rollouts", {}, c.rollouts.length ? c.rollouts.map(rollout) : t("rollouts.none")));
}

export function credentials(data, order) {
  $("credentials").replaceChildren(...(data.length ? data.map((c) => credential(c, order)) : [empty(t("credentials.none"), t("credentials.none.more"))]));
}
