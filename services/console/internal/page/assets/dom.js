// Elements without markup in strings: nothing that comes from the server is ever read as HTML.
export function el(name, properties = {}, ...children) {
  const [tag, ...classes] = name.split(".");
  const element = document.createElement(tag || "div");
  if (classes.length) element.className = classes.join(" ");
  for (const [key, value] of Object.entries(properties)) {
    if (value == null || value === false) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (key === "class") element.classList.add(...value.split(" ").filter(Boolean));
    else element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children.flat().filter((c) => c != null && c !== false));
  return element;
}

// width is set through the object model: the page's policy forbids style attributes.
export function wide(element, fraction) {
  element.style.width = (Math.min(Math.max(fraction, 0), 1) * 100).toFixed(2) + "%";
  return element;
}

export const $ = (id) => document.getElementById(id);
export const letter = (r, look = "") => el("span.region-letter", { class: look, "aria-hidden": "true" }, r);
export const empty = (title, more) => el("p.empty", {}, el("b", {}, title), el("span", {}, more));

// ticking keeps texts that time alone changes: each element has a function that writes it anew.
const ticking = new Set();
export function tick(element, write) {
  write(element);
  ticking.add([element, write]);
  return element;
}
setInterval(() => {
  for (const entry of ticking) {
    if (entry[0].isConnected) entry[1](entry[0]);
    else ticking.delete(entry);
  }
}, 1000);
