// Who may write, the regions, and the last failover.
import { el, wide, $, letter, empty, tick } from "/assets/dom.js";
import * as w from "/assets/words.js";
const { t } = w;

const named = (text, regions) => text.split(/(\{\w+\})/).map((part) => (/^\{\w+\}$/.test(part) ? regions[part.slice(1, -1)] : part));

function headline(writer) {
  const name = (r) => [t("region.name", { region: "" }).trim() + " ", letter(r), el("span.hidden", {}, r)];
  const fill = (key, regions) => named(t(key, { region: "{region}", from: "{from}", to: "{to}" }), regions).flat();
  if (!writer.known) return [t("writer.unknown")];
  if (!writer.region && !writer.to) return [t("writer.none")];
  if (writer.phase !== "steady" && writer.to && writer.region && writer.to !== writer.region) {
    return fill("writer.moving", { from: [letter(writer.region, "quiet"), el("span.hidden", {}, writer.region)], to: [letter(writer.to), el("span.hidden", {}, writer.to)] });
  }
  if (writer.mandate === "ended") return fill("writer.ended", { region: name(writer.region) });
  return fill("writer.held", { region: name(writer.region || writer.to) });
}

export function writer(data) {
  const root = $("writer");
  root.setAttribute("aria-label", t("writer.label"));
  const since = el("p.since");
  if (!data.known && data.region) since.append(t("writer.stale", data));
  else if (!data.known) since.append(t("writer.unknown.more"));
  else if (!data.region) since.append(t("writer.none.more"));
  else if (data.mandate === "ended" && data.phase === "steady") since.append(t("writer.ended.more"));
  else if (data.since) tick(since, (e) => { e.textContent = t("writer.since", { when: `${w.when(data.since)} · ${w.span((w.now() - new Date(data.since)) / 1000)}` }); });
  const fact = (label, value) => el("div.fact", {}, el("dt", {}, label), el("dd", {}, value));
  root.replaceChildren(
    el("div", {}, el("h1", {}, headline(data)), since),
    el("dl", {}, fact(t("epoch"), data.epoch || "—"), fact(t("phase"), t("phase." + data.phase)), fact(t("mandate"), t("mandate." + data.mandate)), fact(t("sync"), data.region ? t("sync." + data.sync) : "—")),
  );
}

const pillOf = { up: "good", down: "bad", unknown: "" };
const marks = { ok: "✓", failed: "✕", unknown: "?", silent: "–" };

function card(data) {
  const quorum = data.region === "c";
  const look = data.role === "primary" ? "" : data.role === "down" ? "lost" : "quiet";
  const head = el("header", {}, letter(data.region, look),
    el("div", {}, el("h3", {}, t("region.name", { region: data.region })), el("p.role", {}, t("role." + data.role))),
    el("span.pill", { class: pillOf[data.health] }, t("health." + data.health)));
  const fact = (label, value) => el("div.fact", {}, el("dt", {}, label), el("dd", {}, value));
  const body = quorum ? null : el("dl", {},
    fact(t("lag"), data.role === "primary" ? "—" : data.lag_seconds == null ? t("unknown") : w.seconds(data.lag_seconds)),
    fact(t("p95"), data.p95_seconds == null ? "—" : w.number(data.p95_seconds * 1000, { maximumFractionDigits: 0 }) + " ms"),
    fact(t("errors"), data.error_rate == null ? "—" : w.percent(data.error_rate)));
  const note = data.reason && (data.role === "down" || data.role === "fenced") ? el("p.note", {}, data.reason) : null;
  const seen = el("div.seen");
  if (data.observers.length) {
    seen.append(t("seen"), el("ul", {}, data.observers.map((o) => el("li", { class: o.sees, title: o.why || null },
      el("span", { "aria-hidden": "true" }, `${o.region} ${marks[o.sees]}`), el("span.hidden", {}, `${w.region(o.region)} ${t("sees." + o.sees)} ${o.why || ""}`)))));
  } else seen.append(t(quorum ? "seen.quorum" : "seen.none"));
  return el("article.region", { class: data.role }, head, body, note, seen);
}

export const regions = (data) => $("regions").replaceChildren(...data.map(card));

const steps = ["detect", "decide", "fence", "promote", "switch", "stale"];
const length = (s) => s.seconds ?? Math.max((w.now() - new Date(s.since)) / 1000, 0.1);

function story(data) {
  const parts = [];
  if (data.act) parts.push(t("failover.act", data.act));
  if (data.manner) parts.push(t("manner." + data.manner));
  if (data.reason) parts.push(t("failover.reason", data));
  const { seconds, bytes } = data.loss;
  if (seconds == null || bytes == null) parts.push(data.state === "completed" ? t("loss.unknown") : "");
  else if (bytes === 0) parts.push(t("loss.none"));
  else parts.push(t("loss.some", { seconds: w.seconds(seconds), bytes: w.bytes(bytes) }));
  return parts.join(" ");
}

function bar(data) {
  const whole = Math.max(data.segments.reduce((sum, s) => sum + length(s), 0), 0.1);
  return [
    el("div.bar", { role: "img", "aria-label": `${t("failover.bar")}: ` + data.segments.map((s) => `${t("step." + s.name)} ${w.seconds(length(s))}`).join(", ") },
      data.segments.filter((s) => length(s) > 0).map((s) => wide(el("i", { class: `s-${s.name}${s.seconds == null ? " open" : ""}`, title: `${t("step." + s.name)} ${w.seconds(length(s))}` }), length(s) / whole))),
    scale(whole),
  ];
}

// scale marks whole steps of one, two or five seconds below the bar.
function scale(whole) {
  const step = [0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600].find((s) => whole / s <= 9) ?? 1800;
  const marks = [];
  for (let at = 0; at < whole - step * 0.6; at += step) marks.push([at, at / whole]);
  return el("div.scale", { "aria-hidden": "true" }, marks.map(([at, left], n) => {
    const mark = el("span", { class: n % 2 ? "middle" : "" }, w.number(at) + " s");
    mark.style.left = (left * 100).toFixed(2) + "%";
    return mark;
  }), place(el("span.end", {}, w.seconds(whole))));
}
function place(end) {
  end.style.left = "100%";
  return end;
}

export function failover(data) {
  const root = $("failover"), aside = $("failover-aside");
  if (!data) {
    aside.textContent = "";
    root.replaceChildren(empty(t("failover.none"), t("failover.none.more")));
    return;
  }
  const state = t("failover." + data.state, { seconds: w.seconds(data.total_seconds) });
  aside.textContent = `${data.from || "—"} → ${data.to} · ${t("cause." + data.cause, data)} · ${w.moment(data.decided_at)} · ${t("epoch").toLocaleLowerCase(w.language)} ${data.epoch}`;
  const known = Object.fromEntries(data.segments.map((s) => [s.name, s]));
  const draw = (target) => target.replaceChildren(
    ...bar(data),
    el("dl.steps", {}, steps.map((name) => el("div", {}, el("dt", {}, el("i", { class: "s-" + name }), t("step." + name)), el("dd", {}, known[name] ? w.seconds(length(known[name])) : t("step.pending"))))),
    el("p.story", {}, el("span.pill", { class: { running: "warn", completed: "good", aborted: "bad" }[data.state] }, state), " ", story(data)),
  );
  const box = el("div");
  root.replaceChildren(box);
  if (data.state === "running") tick(box, draw);
  else draw(box);
}
