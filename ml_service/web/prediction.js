// What the model says: the quality, its interval on the scale, and what each measurement adds.

import * as api from "./api.js";
import { $, el, say } from "./dom.js";
import { label, sample } from "./sample.js";

const WAIT_MS = 100;
const SAY_MS = 700;

let quality = null;
let level = 0;
let version = null;
let number = 0;
let asking = null;
let waiting = 0;
let saying = 0;

export function start() {
  $("again").addEventListener("click", predict);
}

/** What `GET /features` tells of the scale. */
export function prepare(told) {
  quality = told.quality;
  level = told.interval_level;
}

/** Ask this version from now on; null: the champion. */
export function ask(wanted) {
  version = wanted;
  return predict();
}

/** Ask once the wine has not changed for a moment. */
export function predictSoon() {
  clearTimeout(waiting);
  // What was asked of the former wine counts no more.
  drop();
  waiting = setTimeout(predict, WAIT_MS);
}

function drop() {
  number += 1;
  asking?.abort();
  clearTimeout(saying);
  $("result").setAttribute("aria-busy", "true");
}

async function predict() {
  clearTimeout(waiting);
  drop();
  const mine = number;
  const wine = sample();
  if (!wine) return;
  asking = new AbortController();
  try {
    const answer = await api.predict(wine, version, asking.signal);
    if (mine === number) show(answer);
  } catch (error) {
    if (mine === number && error.name !== "AbortError") fail(error);
  }
}

function show({ predictions: [found], model }) {
  $("problem").hidden = true;
  $("answer").hidden = $("why").hidden = false;
  $("quality").textContent = found.quality.toFixed(2);
  $("most").textContent = quality.highest;
  const share = `${Math.round(level * 100)}%`;
  const ends = `between ${found.low.toFixed(1)} and ${found.high.toFixed(1)}`;
  $("interval").textContent = `${share} of wines like this one should be judged ${ends}.`;
  drawScale(found, `Expected quality ${found.quality.toFixed(2)}; ${share} ${ends}, on a scale from ${quality.lowest} to ${quality.highest}`);
  drawWhy(found);
  $("served").textContent = `${model.name}, version ${model.version}`;
  $("result").removeAttribute("aria-busy");
  saying = setTimeout(() => say(`Quality ${found.quality.toFixed(1)}, ${ends}.`), SAY_MS);
}

function fail(error) {
  $("answer").hidden = $("why").hidden = true;
  $("problem").hidden = false;
  $("served").textContent = "";
  $("problem-text").textContent = error.status === 401 ? "Enter your key first." : error.message;
  $("result").removeAttribute("aria-busy");
}

function drawScale(found, description) {
  const at = (value) => `${(100 * (value - quality.lowest)) / (quality.highest - quality.lowest)}%`;
  const within = (value) => Math.min(Math.max(value, quality.lowest), quality.highest);
  const range = el("span", { class: "range" });
  range.style.left = at(within(found.low));
  range.style.right = `calc(100% - ${at(within(found.high))})`;
  const dot = el("span", { class: "dot" });
  dot.style.left = at(within(found.quality));
  const ticks = [];
  for (let value = quality.lowest; value <= quality.highest; value += 1) {
    const tick = el("span", { class: "tick" }, String(value));
    tick.style.left = at(value);
    ticks.push(tick);
  }
  $("scale").setAttribute("aria-label", description);
  $("scale").replaceChildren(el("span", { class: "track" }), range, dot, ...ticks);
}

function drawWhy(found) {
  const { base, contributions } = found.explanation;
  const all = Object.entries(contributions);
  // A few fixed widths, so that bars do not jump with each move.
  const largest = Math.max(...all.map(([, value]) => Math.abs(value)));
  const full = [0.25, 0.5, 0.75, 1, 1.5, 2, 3].find((one) => one >= largest) ?? largest;
  const bars = all.map(([name, value]) => {
    const bar = el("span", { class: value < 0 ? "bar less" : "bar more" });
    bar.style.width = `${(50 * Math.abs(value)) / full}%`;
    return line(label(name), signed(value), bar);
  });
  const first = line("Any wine", base.toFixed(2));
  const last = line("This wine", found.quality.toFixed(2));
  for (const one of [first, last]) one.classList.add("sum");
  $("contributions").replaceChildren(first, ...bars, last);
}

function line(name, text, bar = null) {
  return el("tr", {}, el("th", { scope: "row" }, name), el("td", { class: "bars", "aria-hidden": "true" }, bar), el("td", { class: "points" }, text));
}

function signed(value) {
  const text = Math.abs(value).toFixed(2);
  if (text === "0.00") return text;
  return `${value < 0 ? "−" : "+"}${text}`;
}
