// The page: it listens to the server, shows what comes, and sends commands.
import { el, $ } from "/assets/dom.js";
import * as w from "/assets/words.js";
import { writer, regions, failover } from "/assets/regions.js";
import { credentials } from "/assets/credentials.js";
import { warehouse, money } from "/assets/warehouse.js";
import { kpis, redraw } from "/assets/kpis.js";
import { events } from "/assets/events.js";
const { t } = w;

const state = {}; // the newest of each section
let token = "", version = "", sent = false;

const views = {
  writer, regions, failover, events, money: (data) => { money(data); kpis(true); }, sources: () => {},
  credentials: (data) => credentials(data, order), warehouse: (data) => warehouse(data, order),
};

function show(name) {
  if (!(name in state)) return;
  views[name](state[name]);
  if (["writer", "credentials", "warehouse", "sources"].includes(name)) { notices(); foot(); }
}

function showAll() {
  document.documentElement.lang = w.language;
  document.title = "OFITEC · " + t("console");
  for (const element of document.querySelectorAll("[data-t]")) element.textContent = t(element.dataset.t);
  for (const button of document.querySelectorAll("[data-language]")) button.setAttribute("aria-pressed", String(button.dataset.language === w.language));
  liveText();
  for (const name of Object.keys(views)) show(name);
  redraw();
}

// What needs attention stands above everything else.
function notices() {
  const list = [];
  const say = (look, title, more) => list.push(el("p.notice", { class: look }, el("b", {}, title), " ", el("span.soft", {}, more)));
  if (sent) say("", t("order.sent"), "");
  for (const s of state.sources ?? []) {
    if (!s.ok) say("bad", t("notice.source", { source: t("source." + s.name) }), t("notice.source.more", { when: w.when(s.since), reason: s.reason }));
  }
  const x = state.writer;
  if (x?.paused) say("", t("notice.paused"), t("notice.paused.more", x.paused));
  if (x?.rejoin) say("", t("notice.rejoin", { region: x.rejoin }), t("notice.rejoin.more"));
  if (x?.cooldown_until) say("", t("notice.cooldown", { when: w.when(x.cooldown_until) }), t("notice.cooldown.more"));
  for (const c of state.credentials ?? []) if (c.alarm) say(c.alarm === "page" ? "bad" : "", t("notice.alarm", c), t("notice.alarm.more", c));
  if (state.warehouse?.rejected) say("bad", t("notice.rejected", state.warehouse.rejected), t("notice.rejected.more", state.warehouse.rejected));
  if (state.warehouse?.failure) say("bad", t("notice.publish"), state.warehouse.failure);
  $("notices").replaceChildren(...list);
}

function foot() {
  $("sources").replaceChildren(...(state.sources ?? []).map((s) => el("span", { class: s.ok ? "" : "away", title: s.reason || null }, t("source." + s.name))));
  $("version").textContent = version ? t("version", { version }) : "";
}

// Listening: the stream begins with everything, then tells what changes. A stream that is silent for longer than two heartbeats is taken for lost.
let source, attempt = 0, live = "wait", watchdog;

function liveText(next = live) {
  live = next;
  $("live").className = "live " + (live === "on" ? "on" : live === "off" ? "off" : "");
  $("live-text").textContent = t("live." + live);
}

function alive() {
  clearTimeout(watchdog);
  watchdog = setTimeout(lost, 25000);
}

function listen() {
  source = new EventSource("/api/stream");
  source.addEventListener("hello", (e) => {
    const hello = JSON.parse(e.data);
    w.setClock(hello.now);
    ({ token, version } = hello);
    attempt = 0;
    liveText("on");
    foot();
    alive();
  });
  source.addEventListener("clock", (e) => { w.setClock(JSON.parse(e.data).now); alive(); });
  source.addEventListener("leave", ended);
  for (const name of Object.keys(views)) {
    source.addEventListener(name, (e) => {
      state[name] = JSON.parse(e.data);
      show(name);
      document.documentElement.classList.remove("waiting");
      alive();
    });
  }
  source.onerror = lost;
}

async function lost() {
  clearTimeout(watchdog);
  source.close();
  liveText("off");
  document.documentElement.classList.remove("waiting");
  const pause = Math.min(1000 * 2 ** attempt++, 15000) * (0.8 + Math.random() * 0.4);
  await new Promise((done) => setTimeout(done, pause));
  try {
    const answer = await fetch("/api/session");
    if (answer.status === 401) return ended();
  } catch { /* the server is away: listening says so again */ }
  listen();
}

function ended() {
  source?.close();
  clearTimeout(watchdog);
  liveText("off");
  $("notices").replaceChildren(el("p.notice.bad", {}, el("b", {}, t("ended")), " ", t("ended.more")));
  scrollTo({ top: 0 });
}

// Commands go out with a reason; what follows is told by the events.
let ordered;

function order(verb, name) {
  ordered = { verb, name };
  $("order-title").textContent = t("order." + verb, { name });
  $("order-text").textContent = t(`order.${verb}.text`);
  $("order-send").textContent = t(`order.${verb}.send`);
  $("order-problem").textContent = "";
  $("order-reason").value = "";
  $("order").showModal();
  $("order-reason").focus();
}

async function send(e) {
  e.preventDefault();
  $("order-send").disabled = true;
  try {
    const answer = await post(`/api/jobs/${ordered.verb}`, { name: ordered.name, reason: $("order-reason").value });
    if (!answer.ok) throw new Error((await answer.json()).error);
    $("order").close();
    sent = true;
    notices();
    setTimeout(() => { sent = false; notices(); }, 8000);
  } catch (problem) {
    $("order-problem").textContent = problem.message;
  } finally {
    $("order-send").disabled = false;
  }
}

const post = (path, body) => fetch(path, { method: "POST", headers: { "Content-Type": "application/json", "X-Ofitec-Token": token }, body: JSON.stringify(body) });

for (const button of document.querySelectorAll("[data-language]")) button.addEventListener("click", () => { w.choose(button.dataset.language); showAll(); });
$("order-form").addEventListener("submit", send);
$("order-cancel").addEventListener("click", () => $("order").close());
$("leave").addEventListener("click", async () => { await post("/api/leave", {}); ended(); });
showAll();
kpis(); // not only when the stream tells of them
listen();
