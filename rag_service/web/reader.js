// A document beside the answer: its text with the cited span marked, and the page of a PDF.

import * as api from "./api.js";
import { $, bytes, el, facts, plural } from "./dom.js";

const AROUND_CHARS = 2500;
const MORE_CHARS = 8000;
const PDF = "application/pdf";
const DOCUMENT = "#/documents/";

let opener = null;
let pdfUrl = null;
let opening = 0;

export function start() {
  $("reader-close").addEventListener("click", close);
  $("reader-switch").addEventListener("click", () => showPage($("reader-page").hidden));
  addEventListener("popstate", () => {
    // A document in the address is opened, and closed, by its route.
    if (!history.state?.reading && !location.hash.startsWith(DOCUMENT)) close();
  });
}

/** Open the passage that an answer cites, at one of its quotes. It has a step of its own, so that Back closes it. */
export function openPassage(source, from, quote = source.quotes[0]) {
  if (!history.state?.reading) history.pushState({ reading: true }, "");
  const marks = source.quotes.length ? source.quotes : [source];
  const place = { start: source.start_char, end: source.end_char, text: source.text, marks };
  return open(source.document_id, { ...place, own: quote?.start_char, page: quote?.page ?? source.page }, from);
}

/** Open a document, at a passage if one is given. */
export async function open(documentId, passage = null, from = null) {
  const turn = (opening += 1);
  opener = from;
  forgetPdf();
  document.body.classList.add("reading");
  $("reader").hidden = false;
  $("reader").classList.remove("paged");
  $("reader-title").textContent = "";
  $("reader-place").textContent = "";
  $("reader-switch").hidden = true;
  $("reader-page").hidden = true;
  $("reader-text").hidden = false;
  $("reader-text").replaceChildren(el("p", { class: "fine" }, "Opening…"));
  $("reader-close").focus();
  try {
    const record = await api.document_(documentId);
    const start = Math.max(0, (passage?.start ?? 0) - AROUND_CHARS);
    const slice = await api.text(documentId, start, (passage?.end ?? 0) + AROUND_CHARS);
    if (turn !== opening) return;
    head(record, slice, passage);
    show(documentId, slice, passage);
    if (slice.media_type === PDF) await page(documentId, passage?.page ?? 1, turn);
  } catch (error) {
    if (turn !== opening) return;
    const parts = [el("p", { class: "problem", role: "alert" }, error.message)];
    // Where the document is gone (404), its words are not shown either.
    if (passage?.text && error.status !== 404) parts.push(el("p", { class: "fine" }, "The passage as it was cited:"), el("blockquote", {}, passage.text));
    $("reader-title").textContent ||= "The document cannot be shown";
    $("reader-text").replaceChildren(...parts);
  }
}

export function close() {
  if ($("reader").hidden) return false;
  opening += 1;
  $("reader").hidden = true;
  document.body.classList.remove("reading");
  for (const part of ["reader-title", "reader-place", "reader-text"]) $(part).replaceChildren();
  forgetPdf();
  if (opener?.isConnected) opener.focus();
  if (history.state?.reading) history.back();
  else if (location.hash.startsWith(DOCUMENT)) history.replaceState(null, "", "#/documents");
  return true;
}

function head(record, slice, passage) {
  $("reader-title").textContent = slice.title;
  const parts = [`${record.topic} / ${record.segment}`, record.uri, bytes(record.size_bytes)];
  if (record.pages) parts.push(passage?.page ? `page ${passage.page} of ${record.pages}` : plural(record.pages, "page"));
  if (record.state === "superseded") parts.push("replaced by a newer version");
  $("reader-place").replaceChildren(...facts(parts));
}

function show(documentId, slice, passage) {
  const box = $("reader-text");
  const pieces = el("div", { class: "text" });
  const there = passage && (passage.text === undefined || slice.text.includes(passage.text));
  pieces.append(...(there ? marked(slice, passage) : [slice.text]));
  pieces.classList.toggle("around", Boolean(there));
  box.replaceChildren(pieces);
  if (passage && !there) {
    box.prepend(el("p", { class: "problem" }, "The document has changed since; this is what was cited then:"), el("blockquote", {}, passage.text));
  }
  edges(documentId, slice, box, pieces);
  const mark = box.querySelector("mark.own") ?? box.querySelector("mark");
  box.scrollTop = 0;
  if (mark) box.scrollTop = mark.getBoundingClientRect().top - box.getBoundingClientRect().top - box.clientHeight / 3;
}

/** The text in pieces: what is cited is marked, the passage around it a little. Positions count code points. */
function marked(slice, passage) {
  const points = Array.from(slice.text);
  const at = (position) => Math.min(Math.max(position - slice.start_char, 0), points.length);
  const cut = (from, to) => points.slice(at(from), at(to)).join("");
  const marks = (passage.marks ?? [{ start_char: passage.start, end_char: passage.end }])
    .map((mark) => [mark.start_char, mark.end_char])
    .sort((one, other) => one[0] - other[0]);
  const inside = [];
  let position = passage.start;
  for (const [from, to] of marks) {
    if (to <= position) continue;
    const kind = from === passage.own ? "quote own" : "quote";
    inside.push(cut(position, Math.max(from, position)), el("mark", { class: kind }, cut(Math.max(from, position), to)));
    position = to;
  }
  inside.push(cut(position, passage.end));
  const end = Math.max(position, passage.end);
  return [cut(slice.start_char, passage.start), el("span", { class: "passage" }, ...inside), cut(end, slice.end_char)];
}

function edges(documentId, slice, box, pieces) {
  let { start_char: first, end_char: last } = slice;
  const before = el("button", { type: "button", class: "quiet edge" }, "Show what comes before");
  const after = el("button", { type: "button", class: "quiet edge" }, "Show what comes next");
  before.addEventListener("click", async () => {
    const more = await api.text(documentId, Math.max(0, first - MORE_CHARS), first);
    const height = box.scrollHeight;
    pieces.prepend(more.text);
    box.scrollTop += box.scrollHeight - height;
    first = more.start_char;
    before.hidden = first === 0;
  });
  after.addEventListener("click", async () => {
    const more = await api.text(documentId, last, last + MORE_CHARS);
    pieces.append(more.text);
    last = more.end_char;
    after.hidden = last >= more.total_chars;
  });
  before.hidden = first === 0;
  after.hidden = last >= slice.total_chars;
  pieces.before(before);
  pieces.after(after);
}

async function page(documentId, number, turn) {
  const blob = await api.raw(documentId);
  if (turn !== opening) return;
  pdfUrl = URL.createObjectURL(new Blob([blob], { type: PDF }));
  const url = `${pdfUrl}#page=${number}&view=FitH&navpanes=0&pagemode=none`;
  const frame = el("iframe", { src: url, title: `Page ${number} of the PDF` });
  $("reader-page").replaceChildren(frame, el("p", { class: "fine" }, el("a", { href: url, target: "_blank", rel: "noopener" }, "Open the PDF in a tab of its own")));
  $("reader").classList.add("paged");
  $("reader-switch").hidden = false;
  showPage(matchMedia("(min-width: 80rem)").matches);
}

function showPage(shown) {
  $("reader-page").hidden = !shown;
  $("reader").classList.toggle("page-shown", shown);
  $("reader-switch").textContent = shown ? "Hide the page" : "Show the page";
  $("reader-switch").setAttribute("aria-pressed", String(shown));
}

function forgetPdf() {
  $("reader-page").replaceChildren();
  $("reader").classList.remove("paged", "page-shown");
  if (pdfUrl) URL.revokeObjectURL(pdfUrl);
  pdfUrl = null;
}
