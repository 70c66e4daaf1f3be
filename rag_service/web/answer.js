// One answer on the page: its sentences with their citations, its sources, and what its reader thinks of it.

import * as api from "./api.js";
import { el, plural, say } from "./dom.js";
import { openPassage } from "./reader.js";

const REASONS = { up: "What was good about it?", down: "What is wrong with it?" };

/** The finished answer, as elements. `response` is the body of POST /ask or of GET /questions/{id}. */
export function answerElements(response) {
  const shown = response.refused ? refusal(response) : [body(response), sources(response.sources, "Sources")];
  return [...shown, foot(response)];
}

function body(response) {
  const numbered = new Map(response.sources.map((source) => [source.number, source]));
  const answer = el("div", { class: "answer" });
  for (const sentence of response.sentences) {
    const marks = sentence.citations.flatMap((number, at) => {
      const source = numbered.get(number);
      return source ? [citation(source, source.quotes[sentence.quotes[at]])] : [];
    });
    const rows = tableRows(sentence.text);
    if (rows) addRows(answer, rows, marks);
    else addSentence(answer, sentence.text, marks);
  }
  return answer;
}

function addSentence(answer, text, marks) {
  // An item of a list stands on a line of its own, here as in its document.
  if (answer.lastElementChild?.tagName !== "P" || /^(\d+[.)]|[-•*])\s/.test(text)) answer.append(el("p"));
  const lastWord = text.match(/\S*$/)[0];
  const end = el("span", { class: lastWord.length < 20 ? "together" : null }, lastWord, ...marks);
  answer.lastElementChild.append(text.slice(0, text.length - lastWord.length), end, text.includes("\n") ? "\n" : " ");
}

/** The cells of a quoted table, its head first; null where the text is none. */
function tableRows(text) {
  const rows = text.split("\n").map((line) => line.split(" | "));
  return rows.length > 1 && rows[0].length > 1 && rows.every((row) => row.length === rows[0].length) ? rows : null;
}

function addRows(answer, [head, ...rows], marks) {
  const name = head.join(" | ");
  if (answer.lastElementChild?.dataset.head !== name) {
    const cells = head.map((cell) => el("th", { scope: "col" }, cell));
    const table = el("table", {}, el("thead", {}, el("tr", {}, ...cells)), el("tbody"));
    answer.append(el("div", { class: "table", "data-head": name, tabindex: "0", role: "region", "aria-label": "Table" }, table));
  }
  const made = rows.map((row) => el("tr", {}, ...row.map((cell) => el("td", {}, cell))));
  made.at(-1).lastElementChild.append(" ", el("span", { class: "together" }, ...marks));
  answer.lastElementChild.querySelector("tbody").append(...made);
}

/** `quote` is what the sentence rests on; answers from before that was recorded name none. */
function citation(source, quote = source.quotes[0]) {
  const page = quote?.page ?? source.page;
  const where = page ? `${source.title}, page ${page}` : source.title;
  const open = (event) => openPassage(source, event.currentTarget, quote);
  return el("button", { type: "button", class: "cite", title: where, "aria-label": `Source ${source.number}: ${where}`, onclick: open }, String(source.number));
}

function refusal(response) {
  const parts = [el("p", { class: "answer refused" }, response.answer)];
  if (response.nearest.length) parts.push(sources(response.nearest, "Nearest passages"));
  return parts;
}

/** A list of passages; each opens in its document. */
export function sources(found, title) {
  const list = el("ol", { class: "sources plain" }, ...found.map((source) => el("li", {}, card(source))));
  return el("section", { "aria-label": title }, el("h3", {}, title), list);
}

function card(source) {
  const words = [...new Set(source.quotes.map((quote) => quote.text))].join(" … ") || source.text;
  const quoted = source.deleted ? "Its document was deleted or replaced since; what it said is not kept." : words;
  const short = quoted.length > 220 ? `${quoted.slice(0, 220).trimEnd()}…` : quoted;
  return el(
    "button",
    { type: "button", class: "source", onclick: (event) => openPassage(source, event.currentTarget) },
    el("span", { class: "number" }, String(source.number)),
    el(
      "span",
      { class: "what" },
      el("span", { class: "title" }, source.title, source.page ? el("span", { class: "fine" }, ` page ${source.page}`) : null),
      el("span", { class: "quote" }, short),
    ),
  );
}

function foot(response) {
  const { versions, timings_ms: timings } = response;
  const seconds = timings.total >= 1000 ? `${(timings.total / 1000).toFixed(1)} s` : `${Math.round(timings.total)} ms`;
  const made = `${versions.answer_model.split("@")[0]}, generation ${versions.generation}, ${seconds}`;
  const reason = el("div", { class: "reason" });
  return el("div", { class: "foot" }, verdict(response, reason), el("span", { class: "fine" }, made), reason);
}

function verdict(response, place) {
  const given = { verdict: null, comment: null, correct_document_id: null, ...response.feedback };
  const buttons = ["up", "down"].map((value) => {
    const label = value === "up" ? "This answer is right" : "This answer is wrong";
    const judge = () => give(response.question_id, value, given, buttons, place);
    return el("button", { type: "button", class: "thumb", "data-verdict": value, "aria-label": label, title: label, onclick: judge }, thumb(value === "down"));
  });
  press(buttons, given.verdict);
  return el("div", { class: "thumbs", role: "group", "aria-label": "Is this right?" }, ...buttons);
}

function press(buttons, value) {
  for (const button of buttons) button.setAttribute("aria-pressed", String(button.dataset.verdict === value));
}

async function give(questionId, value, given, buttons, place) {
  press(buttons, value);
  try {
    // A verdict replaces the former one and its reason; the same one again is only a way to the reason.
    if (value !== given.verdict) {
      await api.feedback({ question_id: questionId, verdict: value });
      Object.assign(given, { verdict: value, comment: null, correct_document_id: null });
    }
    place.replaceChildren(await reasonForm(questionId, value, given, place));
    place.querySelector("textarea").focus({ preventScroll: true });
    place.scrollIntoView({ block: "nearest" });
    say("Thank you. You can say why.");
  } catch (error) {
    press(buttons, given.verdict);
    place.replaceChildren(el("p", { class: "problem", role: "alert" }, error.message));
  }
}

async function reasonForm(questionId, value, given, place) {
  const comment = el("textarea", { rows: 2, maxlength: 2000, "aria-label": REASONS[value], placeholder: `${REASONS[value]} (optional)` }, given.comment);
  const correct = value === "down" ? await documentChoice(given.correct_document_id) : null;
  const send = async (event) => {
    event.preventDefault();
    try {
      const wanted = { comment: comment.value.trim() || null, correct_document_id: correct?.querySelector("select").value || null };
      await api.feedback({ question_id: questionId, verdict: value, ...wanted });
      Object.assign(given, wanted);
      place.replaceChildren(el("p", { class: "fine", role: "status" }, "Thank you, it is noted."));
    } catch (error) {
      place.append(el("p", { class: "problem", role: "alert" }, error.message));
    }
  };
  const skip = el("button", { type: "button", class: "quiet", onclick: () => place.replaceChildren() }, "Skip");
  const actions = el("div", { class: "actions" }, el("button", { type: "submit" }, "Send"), skip);
  return el("form", { onsubmit: send }, comment, correct, actions);
}

async function documentChoice(before) {
  const { documents, total } = await api.documents({ state: "indexed", limit: 500 });
  if (!total) return null;
  const named = documents.map((d) => el("option", { value: d.document_id, selected: d.document_id === before }, `${d.title || d.uri} (${d.topic} / ${d.segment})`));
  // What was said before stays, though its document may have been replaced since.
  if (before && !documents.some((d) => d.document_id === before)) named.push(el("option", { value: before, selected: true }, "the document named before"));
  return el("label", {}, el("span", {}, "The answer would be in"), el("select", {}, el("option", { value: "" }, "not said"), ...named));
}

export function found(count) {
  return count ? `Reading ${plural(count, "passage")}…` : "Nothing found…";
}

const THUMB = "M7 10v11M3 11h4v10H3zM7 11l4.2-8c1.6 0 2.6 1.1 2.6 2.6V9.5h5.4a2 2 0 0 1 2 2.4l-1.5 7.5a2 2 0 0 1-2 1.6H7";

/** A thumb, up or down. */
function thumb(down) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  if (down) svg.classList.add("down");
  path.setAttribute("d", THUMB);
  svg.append(path);
  return svg;
}
