// The registered versions: what they are, how good they were, what was decided about them.

import * as api from "./api.js";
import { $, ago, capital, el, exactly, facts } from "./dom.js";

const FIGURES = [
  ["rmse", "RMSE", (value) => value.toFixed(3)],
  ["mae", "MAE", (value) => value.toFixed(3)],
  ["within_half", "within half a point", percent],
  ["coverage", "in the interval", percent],
];

/** Fill the select of the other view; `chosen` null is the champion. Without MLflow there is only the champion. */
export async function choices(chosen) {
  let versions = [];
  try {
    ({ versions } = await api.versions());
  } catch (error) {
    if (error.status === 401) throw error;
  }
  const known = versions.map((one) => one.version);
  const numbers = chosen && !known.includes(chosen) ? [chosen, ...known] : known;
  const others = numbers.map((version) => {
    const aliases = versions.find((one) => one.version === version)?.aliases ?? [];
    return el("option", { value: version }, [`version ${version}`, ...aliases].join(", "));
  });
  $("version").replaceChildren(el("option", { value: "" }, "the champion"), ...others);
  $("version").value = chosen ?? "";
}

/** Show all of them. */
export async function enter() {
  const [{ versions }, served] = await Promise.all([api.versions(), model()]);
  $("versions-problem").textContent = problems(served).join(" ");
  $("versions-problem").hidden = !$("versions-problem").textContent;
  $("list").replaceChildren(...versions.map((one) => card(one, served)));
  if (!versions.length) $("list").append(el("li", { class: "fine empty" }, "No version is registered yet: run the DAG train_wine."));
}

/** What is served; null where nothing is, which the list shows by itself. */
async function model() {
  try {
    return await api.model();
  } catch (error) {
    if (error.status === 503) return null;
    throw error;
  }
}

function problems(served) {
  if (!served) return [];
  return [
    served.reload_error && `The champion could not be loaded, version ${served.version} is still served: ${served.reload_error}`,
    served.challenger_error && `The challenger could not be loaded: ${served.challenger_error}`,
  ].filter(Boolean);
}

function card(one, served) {
  const pills = one.aliases.map((alias) => el("span", { class: `pill ${alias}` }, alias));
  const champion = one.aliases.includes("champion");
  const times = el("p", { class: "fine", title: exactly(one.registered_at) }, ...facts([`Registered ${ago(one.registered_at)}, ${exactly(one.registered_at)}`, ...states(one, served)]));
  const shown = FIGURES.filter(([name]) => name in one.metrics);
  const figures = shown.map(([name, title, text]) => el("div", {}, el("dt", {}, title), el("dd", {}, text(one.metrics[name]))));
  return el(
    "li", { class: "version" },
    el("div", { class: "head" },
      el("h2", {}, `Version ${one.version}`),
      ...pills,
      el("span", { class: "space" }),
      el("a", { class: "choose", href: champion ? "#/" : `#/?version=${one.version}` }, "Try", el("span", { class: "unseen" }, ` version ${one.version}`))),
    times,
    figures.length ? el("dl", { class: "figures" }, ...figures) : null,
    one.decision ? el("p", {}, el("strong", {}, `${capital(one.decision)}. `), one.reason) : null,
    all(one.metrics),
  );
}

function states(one, served) {
  const told = [];
  if (served?.version === one.version) told.push(`served since ${exactly(served.since)}`);
  if (served?.challenger?.version === one.version) {
    const { mode, weight } = served.challenger;
    told.push(mode === "canary" ? `answers ${percent(weight)} of the requests` : "asked in shadow");
  }
  return told;
}

function all(metrics) {
  const names = Object.keys(metrics).sort();
  if (!names.length) return null;
  const lines = names.map((name) => el("tr", {}, el("th", { scope: "row" }, name), el("td", {}, Number(metrics[name].toPrecision(4)).toString())));
  return el("details", {}, el("summary", {}, "All figures, on wines it had not seen"), el("table", { class: "all" }, el("tbody", {}, ...lines)));
}

function percent(share) {
  return `${Math.round(1000 * share) / 10}%`;
}
