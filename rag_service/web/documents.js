// The documents: sending them in, and what became of each.

import * as api from "./api.js";
import { $, ago, bytes, el, facts, notice, plural, say } from "./dom.js";

const PAGE = 50;
const LIVE = ["landed", "indexed", "failed"];
const NAMES = { landed: "waiting", indexed: "indexed", failed: "failed" };
const SOON_MS = 1500;
const LATER_MS = 10_000;

let state = "";
let limit = PAGE;
let timer = null;
let shown = "";
const before = new Map();

export function start() {
  const drop = $("drop");
  $("files").addEventListener("change", () => {
    send([...$("files").files]);
    $("files").value = "";
  });
  for (const name of ["dragenter", "dragover"]) {
    document.addEventListener(name, (event) => {
      if (!event.dataTransfer?.types.includes("Files")) return;
      event.preventDefault();
      drop.classList.add("over");
    });
  }
  document.addEventListener("dragleave", (event) => event.relatedTarget === null && drop.classList.remove("over"));
  document.addEventListener("drop", (event) => {
    if (!event.dataTransfer?.files.length) return;
    event.preventDefault();
    drop.classList.remove("over");
    location.hash = "#/documents";
    send([...event.dataTransfer.files]);
  });
  $("upload").addEventListener("submit", (event) => event.preventDefault());
  $("to-topic").addEventListener("input", suggest);
  $("more").addEventListener("click", () => {
    limit = Math.min(limit + PAGE, 1000);
    refresh();
  });
  for (const button of document.querySelectorAll("[data-state]")) {
    button.addEventListener("click", () => {
      state = button.dataset.state;
      for (const other of document.querySelectorAll("[data-state]")) other.setAttribute("aria-pressed", String(other === button));
      refresh();
    });
  }
}

let topics = [];

export async function enter() {
  ({ topics } = await api.topics());
  $("topics").replaceChildren(...topics.map((one) => el("option", { value: one.topic })));
  if (!$("to-topic").value && topics.length === 1) $("to-topic").value = topics[0].topic;
  suggest();
  await refresh();
}

export function leave() {
  clearTimeout(timer);
  timer = null;
}

export function forget() {
  leave();
  topics = [];
  shown = "";
  before.clear();
  for (const id of ["list", "topics", "segments", "sending", "total", "confirm-text"]) $(id).replaceChildren();
  for (const count of document.querySelectorAll("[data-state] .count")) count.remove();
  $("upload").reset();
  $("more").hidden = true;
}

function suggest() {
  const topic = topics.find((one) => one.topic === $("to-topic").value.trim());
  $("segments").replaceChildren(...(topic?.segments ?? []).map((one) => el("option", { value: one.segment })));
}

async function refresh() {
  clearTimeout(timer);
  let wait = LATER_MS;
  try {
    const { documents, total } = await api.documents({ state: state || LIVE, limit });
    list(documents, total);
    notice("");
    if (documents.some((one) => one.state === "landed")) wait = SOON_MS;
  } catch (error) {
    if (error.status === 401) return;
    notice(error.message);
  }
  if (!$("documents").hidden) timer = setTimeout(refresh, document.hidden ? LATER_MS : wait);
}

function list(documents, total) {
  $("total").textContent = plural(total, "document");
  $("more").hidden = documents.length >= total || limit >= 1000;
  for (const one of documents) {
    if (before.get(one.document_id) === "landed" && one.state !== "landed") say(`${one.title || one.uri} is ${NAMES[one.state]}.`);
    before.set(one.document_id, one.state);
  }
  // Rebuilt only when something changed, so that focus and selection stay where they are.
  const now = JSON.stringify(documents) + Math.floor(Date.now() / 60_000);
  if (now === shown) return;
  shown = now;
  count().catch((error) => error.status === 401 || notice(error.message));
  const focused = document.activeElement?.dataset?.focus;
  const rows = documents.map(row);
  const empty = state ? "None." : "No documents yet. Drop some above.";
  $("list").replaceChildren(...(rows.length ? rows : [el("li", { class: "fine empty" }, empty)]));
  if (focused) $("list").querySelector(`[data-focus="${CSS.escape(focused)}"]`)?.focus();
}

/** How many there are in each state, on the buttons that show them. */
async function count() {
  ({ topics } = await api.topics());
  const segments = topics.flatMap((topic) => topic.segments);
  for (const button of document.querySelectorAll("[data-state]")) {
    const counted = button.dataset.state ? segments.reduce((sum, one) => sum + one[button.dataset.state], 0) : 0;
    button.querySelector(".count")?.remove();
    if (counted) button.append(el("span", { class: "count" }, ` ${counted.toLocaleString("en")}`));
  }
}

function row(one) {
  const name = one.title || one.uri;
  const title =
    one.state === "indexed"
      ? el("a", { href: `#/documents/${encodeURIComponent(one.document_id)}`, "data-focus": `open ${one.document_id}` }, name)
      : el("span", {}, name);
  const known = [`${one.topic} / ${one.segment}`, one.title ? one.uri : null, bytes(one.size_bytes)];
  known.push(one.chunks === null ? null : plural(one.chunks, "passage"), ago(one.updated_at));
  const buttons = el("div", { class: "row-actions" });
  if (one.state === "failed") buttons.append(action("Try again", one, () => api.retry(one.document_id)));
  buttons.append(action("Delete", one, () => confirmed(name, () => api.remove(one.document_id))));
  return el(
    "li",
    { class: "document", "data-document": one.document_id },
    el("span", { class: `pill ${one.state}` }, NAMES[one.state] ?? one.state),
    el(
      "div",
      { class: "what" },
      el("p", { class: "title" }, title),
      el("p", { class: "fine" }, ...facts(known)),
      one.state === "failed" && one.error ? el("p", { class: "problem" }, one.error) : null,
    ),
    buttons,
  );
}

function action(label, one, does) {
  const act = async (event) => {
    const button = event.currentTarget;
    button.disabled = true;
    try {
      if ((await does()) !== null) await refresh();
    } catch (error) {
      if (error.status !== 401) notice(error.message);
    } finally {
      button.disabled = false;
    }
  };
  const name = `${label}: ${one.title || one.uri}`;
  return el("button", { type: "button", class: "quiet", "aria-label": name, "data-focus": `${label} ${one.document_id}`, onclick: act }, label);
}

/** What `does` gives, or null when the visitor would rather not. */
function confirmed(name, does) {
  const dialog = $("confirm");
  $("confirm-text").textContent = `“${name}” is gone from the answers after the next run of the index, and its file is removed. This cannot be undone.`;
  dialog.returnValue = "";
  dialog.showModal();
  $("confirm-no").focus();
  return new Promise((resolve, reject) => {
    $("confirm-yes").onclick = () => dialog.close("yes");
    $("confirm-no").onclick = () => dialog.close("");
    dialog.onclose = () => (dialog.returnValue === "yes" ? does().then(resolve, reject) : resolve(null));
  });
}

async function send(files) {
  const [topic, segment] = [$("to-topic").value.trim(), $("to-segment").value.trim()];
  if (!topic || !segment) {
    const missing = topic ? $("to-segment") : $("to-topic");
    $("sending").replaceChildren(el("li", { class: "problem" }, "Say first which topic and segment they belong to, then drop them again."));
    missing.focus();
    return;
  }
  $("sending").replaceChildren();
  // One request each, one after the other: a large or broken file does not hold the others up.
  for (const file of files) await sendOne(file, topic, segment);
}

async function sendOne(file, topic, segment) {
  const status = el("span", { class: "fine" }, "sending…");
  const line = el("li", {}, el("span", {}, file.name), " ", status);
  $("sending").append(line);
  try {
    const { documents } = await api.upload(file, topic, segment);
    if (documents[0].state === "indexed") status.textContent = "is there already, and indexed";
    else line.remove();
    await refresh();
  } catch (error) {
    line.classList.add("problem");
    status.textContent = `was not taken: ${error.message.replace(`${file.name}: `, "")}`;
  }
}

