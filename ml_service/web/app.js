// The page to try the model on: where things are, and what goes with the visitor's key.

import * as api from "./api.js";
import { $, notice } from "./dom.js";
import { startKey } from "./key.js";
import * as prediction from "./prediction.js";
import * as sample from "./sample.js";
import * as versions from "./versions.js";

let drawn = false;

function start() {
  prediction.start();
  $("version").addEventListener("change", () => {
    location.hash = $("version").value ? `#/?version=${$("version").value}` : "#/";
  });
  addEventListener("hashchange", route);
  startKey({ check: api.features, enter: route, forget: () => location.reload() });
}

/** `#/`, `#/?version=<number>`, `#/versions` */
async function route() {
  const [path, query] = location.hash.slice(1).split("?");
  const view = path === "/versions" ? "versions" : "try";
  const version = Number(new URLSearchParams(query).get("version")) || null;
  show(view);
  notice("");
  try {
    if (view === "versions") await versions.enter();
    else {
      await draw();
      await Promise.all([prediction.ask(version), versions.choices(version)]);
    }
  } catch (error) {
    if (error.status !== 401) notice(error.message);
  }
}

async function draw() {
  if (drawn) return;
  const told = await api.features();
  prediction.prepare(told);
  sample.draw(told, prediction.predictSoon);
  drawn = true;
}

function show(view) {
  for (const name of ["try", "versions"]) $(name).hidden = name !== view;
  for (const link of document.querySelectorAll("[data-view]")) {
    if (link.dataset.view === view) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  document.title = view === "versions" ? "Versions · Cuvée" : "Wine quality · Cuvée";
}

start();
