// Making elements. Whatever comes from the server goes in as text nodes, never as HTML.

export const $ = (id) => document.getElementById(id);

/** `el("p", {class: "fine"}, "some text", anotherElement)`; `on…` adds a listener, null and false are left out. */
export function el(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

/** Read out by screen readers, without moving anything. */
export function say(text) {
  $("live").textContent = text;
}

export function notice(text) {
  $("notice").textContent = text;
  $("notice").hidden = !text;
}

const RELATIVE = new Intl.RelativeTimeFormat("en", { numeric: "auto" });
const STEPS = [["second", 60], ["minute", 60], ["hour", 24], ["day", 30], ["month", 12], ["year", Infinity]];

export function ago(iso) {
  let amount = (new Date(iso) - Date.now()) / 1000;
  if (amount > -10) return "just now";
  for (const [unit, size] of STEPS) {
    if (Math.abs(amount) < size) return RELATIVE.format(Math.round(amount), unit);
    amount /= size;
  }
  return "";
}

export function exactly(iso) {
  return new Date(iso).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" });
}

export function bytes(count) {
  if (count < 1000) return `${count} bytes`;
  return count < 1e6 ? `${Math.round(count / 1000)} kB` : `${(count / 1e6).toFixed(1)} MB`;
}

/** With a capital at the start, but for such as pH. */
export function capital(text) {
  return /^[a-z][a-z]/.test(text) ? text[0].toUpperCase() + text.slice(1) : text;
}

export function plural(count, one, many = `${one}s`) {
  return `${count.toLocaleString("en")} ${count === 1 ? one : many}`;
}

/** Short facts in a row, each kept on one line where it can be. */
export function facts(texts) {
  return texts.filter(Boolean).map((text) => el("span", { class: text.length > 30 ? "fact long" : "fact" }, text)).flatMap((fact, at) => (at ? [" ", fact] : [fact]));
}
