// Words, numbers and times in the chosen language.
import { texts, briefs } from "/assets/texts.js";

const stored = () => { try { return localStorage.getItem("language"); } catch { return null; } };
const preferred = () => (navigator.languages || [navigator.language]).map((l) => l.slice(0, 2)).find((l) => texts[l]) || "en";
export let language = texts[stored()] ? stored() : preferred();

// The server's clock less ours: times left are by its clock.
let offset = 0;
export const setClock = (now) => { offset = new Date(now) - Date.now(); };
export const now = () => Date.now() + offset;

export function choose(next) {
  language = next;
  try { localStorage.setItem("language", next); } catch { /* a browser without storage asks again */ }
}

export function t(key, values = {}) {
  const text = texts[language][key] ?? texts.en[key] ?? key;
  return text.replace(/\{(\w+)\}/g, (_, name) => values[name] ?? "");
}
export const has = (key) => key in texts.en;

const locale = () => (language === "es" ? "es-CL" : "en-GB");
export const number = (n, options) => (n == null ? "—" : new Intl.NumberFormat(locale(), options).format(n));
export const percent = (n, digits = 1) => number(n, { style: "percent", minimumFractionDigits: digits, maximumFractionDigits: digits });
export const seconds = (s) => (s == null ? "—" : number(s, { minimumFractionDigits: s < 100 ? 1 : 0, maximumFractionDigits: s < 0.1 && s > 0 ? 2 : 1 }) + " s");
export const milliseconds = (s) => (s < 1 ? number(s * 1000, { maximumFractionDigits: 0 }) + " ms" : number(s, { maximumFractionDigits: 2 }) + " s");
export const compact = (n) => {
  const [divisor, unit] = Math.abs(n) >= 1e9 ? [1e9, language === "es" ? "mil M" : "B"] : Math.abs(n) >= 1e6 ? [1e6, "M"] : Math.abs(n) >= 1e3 ? [1e3, "k"] : [1, ""];
  return number(n / divisor, { maximumFractionDigits: Math.abs(n / divisor) < 10 && unit ? 1 : 0 }) + (unit && "\u202f" + unit);
};
export const bytes = (n) => {
  if (n == null) return "—";
  for (const unit of ["B", "KB", "MB", "GB"]) {
    if (n < 1000 || unit === "GB") return number(n, { maximumFractionDigits: n < 10 && unit !== "B" ? 1 : 0 }) + " " + unit;
    n /= 1000;
  }
};

// span says a duration in its one or two greatest units.
export function span(total) {
  if (total == null) return "—";
  let rest = Math.max(Math.round(total), 0);
  const parts = [];
  for (const [unit, size] of [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]]) {
    if (unit === "d" && rest < 2 * size) continue; // 26 h says more than 1 d 2 h
    if (rest >= size || (unit === "s" && !parts.length)) {
      parts.push(t("unit." + unit, { n: Math.floor(rest / size) }));
      rest %= size;
    } else if (parts.length) break;
    if (parts.length === 2) break;
  }
  return parts.join(" ");
}
export function ago(at) {
  const passed = (now() - new Date(at)) / 1000;
  if (Math.abs(passed) < 5) return t("now");
  return passed > 0 ? t("ago", { time: coarse(passed) }) : t("in", { time: coarse(-passed) });
}
// coarse is span without seconds where minutes are enough.
const coarse = (s) => (s < 60 ? span(s) : span(s < 3600 ? Math.floor(s / 60) * 60 : s < 86400 ? Math.floor(s / 60) * 60 : Math.floor(s / 3600) * 3600));

const format = (at, options) => new Intl.DateTimeFormat(locale(), options).format(new Date(at));
export const clock = (at) => format(at, { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false });
export const moment = (at) => format(at, { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false });
export const day = (at) => format(at, { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", hour12: false });
export const date = (text) => new Intl.DateTimeFormat(locale(), { day: "2-digit", month: "2-digit", year: "numeric", timeZone: "UTC" }).format(new Date(text + "T00:00:00Z"));
export const month = (end, style = "short") => new Intl.DateTimeFormat(locale(), { month: style, year: style === "long" ? "numeric" : "2-digit", timeZone: "UTC" }).format(new Date(end + "T00:00:00Z"));
const sameDay = (at) => new Date(at).toDateString() === new Date(now()).toDateString();
export const when = (at) => (sameDay(at) ? clock(at) : day(at));

export const region = (r) => t("region.name", { region: r }).toLocaleLowerCase(language);
export const code = (c) => (has("code." + c) ? t("code." + c) : c);
export function brief(entry) {
  const tell = briefs[language][entry.type];
  const words = { t, code, region, seconds, span, number, bytes };
  if (tell && entry.brief) return tell(entry.brief, words);
  return entry.brief?.reason ? `${entry.brief.actor ?? ""}: ${entry.brief.reason}` : "";
}
