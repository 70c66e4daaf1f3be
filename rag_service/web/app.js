// The page that people use: where things are, and the keyboard.

import * as api from "./api.js";
import * as ask from "./ask.js";
import * as documents from "./documents.js";
import { $, notice, say } from "./dom.js";
import { startKey } from "./key.js";
import * as reader from "./reader.js";

function start() {
  ask.start();
  documents.start();
  reader.start();
  addEventListener("hashchange", route);
  addEventListener("keydown", shortcuts);
  startKey({ check: api.topics, enter: route, forget });
}

/** Remove everything that was got with the key. */
function forget() {
  reader.close();
  ask.forget();
  documents.forget();
  notice("");
  say("");
}

/** `#/`, `#/questions/<id>`, `#/documents`, `#/documents/<id>?start=&end=&page=` */
async function route() {
  const [path, query] = location.hash.slice(1).split("?");
  const parts = decoded(path);
  const [view, id] = parts ?? [];
  if (view !== "documents" || !id) reader.close();
  show(view === "documents" ? "documents" : "ask");
  notice(parts ? "" : "This link is damaged; it may have been cut off.");
  try {
    if (view === "documents") {
      await documents.enter();
      if (id) await reader.open(id, passageOf(new URLSearchParams(query)));
    } else {
      await (view === "questions" && id ? ask.replay(id) : ask.refresh());
    }
  } catch (error) {
    if (error.status !== 401) notice(error.message);
  }
}

/** The parts of a path; null where it breaks off within an escape such as %C3%A9. */
function decoded(path) {
  try {
    return path.split("/").slice(1).map(decodeURIComponent);
  } catch {
    return null;
  }
}

function passageOf(query) {
  if (!query.get("end")) return null;
  return { start: Number(query.get("start")), end: Number(query.get("end")), page: Number(query.get("page")) || null };
}

function show(view) {
  for (const name of ["ask", "documents"]) $(name).hidden = name !== view;
  for (const link of document.querySelectorAll("[data-view]")) {
    if (link.dataset.view === view) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  document.title = view === "documents" ? "Documents · Cuvée" : "Cuvée";
  if (view !== "documents") documents.leave();
  if (view === "ask" && matchMedia("(hover: hover)").matches) $("question").focus();
}

function shortcuts(event) {
  if (event.key === "Escape" && !document.querySelector("dialog[open]") && reader.close()) event.preventDefault();
  const typing = event.target.closest("input, textarea, select, dialog");
  if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey && !event.altKey) {
    event.preventDefault();
    if ($("ask").hidden) location.hash = "#/";
    show("ask");
    $("question").focus();
  }
}

start();
