// The wine: a slider and a field for each measurement, and the colour.

import { $, capital, el } from "./dom.js";

const STEPS = 200;

let rows = [];
let labels = {};

/** Draw the form for what `GET /features` tells; `changed` is called whenever the wine is another. */
export function draw(told, changed) {
  labels = Object.fromEntries(told.features.map((feature) => [feature.name, feature.label]));
  rows = told.features.map((feature) => row(feature, changed));
  $("features").replaceChildren(...rows.map((one) => one.item));
  const radios = told.colours.map((colour) =>
    el("label", {}, el("input", { type: "radio", name: "colour", value: colour, onchange: changed }), el("span", {}, capital(colour))),
  );
  $("colour").replaceChildren($("colour").firstElementChild, ...radios);
  $("sample").onsubmit = (event) => event.preventDefault();
  $("sample").onreset = (event) => {
    event.preventDefault();
    set(told.example);
    changed();
  };
  set(told.example);
}

/** The wine as `POST /predict` takes it; null while a field holds no allowed number. */
export function sample() {
  if (rows.some((one) => !one.field.validity.valid)) return null;
  const measured = rows.map((one) => [one.feature.name, one.field.valueAsNumber]);
  return { ...Object.fromEntries(measured), colour: $("sample").elements.colour.value };
}

function set(wine) {
  for (const one of rows) {
    one.field.value = wine[one.feature.name];
    one.follow();
  }
  $("sample").elements.colour.value = wine.colour;
}

function row(feature, changed) {
  const id = `feature-${feature.name}`;
  const step = stepOf(feature);
  const name = label(feature.name);
  // The slider covers what wines usually have, the field all that is allowed.
  const slider = el("input", { type: "range", min: feature.usual_lowest, max: feature.usual_highest, step, "aria-label": name, "aria-describedby": `${id}-about` });
  const field = el("input", { id, type: "number", min: feature.lowest, max: feature.highest, step: "any", required: true, inputmode: "decimal", autocomplete: "off", "aria-describedby": `${id}-about ${id}-note` });
  const note = el("p", { id: `${id}-note`, class: "note", role: "status" });
  const item = el(
    "li", { class: "feature" },
    el("div", { class: "what" }, el("label", { for: id }, name), el("p", { id: `${id}-about`, class: "fine" }, feature.meaning)),
    slider,
    el("div", { class: "number" }, field, el("span", { class: "fine" }, feature.unit)),
    note,
  );
  const follow = () => {
    const value = field.valueAsNumber;
    const valid = field.validity.valid;
    if (valid) slider.value = value;
    field.setAttribute("aria-invalid", String(!valid));
    note.classList.toggle("problem", !valid);
    note.textContent = valid ? beyond(feature, value) : `It must be a number from ${feature.lowest} to ${feature.highest}.`;
  };
  slider.addEventListener("input", () => {
    field.value = slider.value;
    follow();
    changed();
  });
  field.addEventListener("input", () => {
    follow();
    changed();
  });
  return { feature, field, follow, item };
}

function beyond(feature, value) {
  if (value >= feature.usual_lowest && value <= feature.usual_highest) return "";
  return `Few wines have this; most lie between ${feature.usual_lowest} and ${feature.usual_highest}, so take the prediction with care.`;
}

/** 1, 2 or 5 times a power of ten, so that the slider has about as many steps as it has pixels. */
function stepOf({ usual_lowest: low, usual_highest: high }) {
  const exact = (high - low) / STEPS;
  const power = Math.floor(Math.log10(exact));
  const factor = [1, 2, 5, 10].find((one) => one * 10 ** power >= exact);
  return Number(`${factor}e${power}`);
}

/** How people call a measurement, or the colour. */
export function label(name) {
  return capital(labels[name] ?? name);
}
