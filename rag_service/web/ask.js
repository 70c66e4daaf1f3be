// Asking: the composer, the conversation, and the answer as it comes.

import * as api from "./api.js";
import { answerElements, found } from "./answer.js";
import { $, ago, el, exactly, plural, say } from "./dom.js";
import { Problem } from "./service.js";

const MOST_TURNS = 20;
const MOST_TURN_CHARS = 4000;

let history = [];
let conversation = 0;
let stopping = null;
let places = [];

export function start() {
  $("composer").addEventListener("submit", (event) => {
    event.preventDefault();
    send();
  });
  $("question").addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      send();
    }
  });
  $("question").addEventListener("input", grow);
  $("stop").addEventListener("click", () => stopping?.abort());
  $("fresh").addEventListener("click", () => {
    location.hash = "#/";
    clear();
    $("question").focus();
  });
  $("topic").addEventListener("change", showSegments);
}

/** What there is to ask about, and what was asked lately. */
export async function refresh() {
  const [{ topics }, { questions }] = await Promise.all([api.topics(), api.questions(30)]);
  places = topics;
  options($("topic"), "All topics", topics.filter((t) => t.segments.some((s) => s.indexed)).map((t) => t.topic));
  showSegments();
  const count = topics.flatMap((t) => t.segments).reduce((sum, segment) => sum + segment.indexed, 0);
  const topicCount = topics.filter((t) => t.segments.some((s) => s.indexed)).length;
  $("holdings").replaceChildren(...holdings(count, topicCount));
  const first = (asked, at) => questions.findIndex((other) => other.question === asked.question) === at;
  const latest = questions.filter(first).slice(0, 5);
  const lines = latest.map((asked) =>
    el("li", {}, el("a", { href: `#/questions/${asked.question_id}` }, asked.question), el("span", { class: "fine" }, ago(asked.asked_at))),
  );
  $("recent-list").replaceChildren(...lines);
  $("recent").hidden = !lines.length;
}

function holdings(count, topicCount) {
  if (count) {
    return [`${plural(count, "document")} in ${plural(topicCount, "topic")}. Every sentence of an answer shows the passage it comes from. What the documents do not say, no answer says.`];
  }
  return ["Nothing is indexed yet. ", el("a", { href: "#/documents" }, "Add some documents"), " first."];
}

function options(select, all, names) {
  const chosen = select.value;
  select.replaceChildren(el("option", { value: "" }, all), ...names.map((name) => el("option", { value: name }, name)));
  select.value = names.includes(chosen) ? chosen : "";
}

function showSegments() {
  const topic = places.find((place) => place.topic === $("topic").value);
  options($("segment"), "All segments", topic ? topic.segments.filter((s) => s.indexed).map((s) => s.segment) : []);
  $("segment").disabled = !topic;
}

function grow() {
  const box = $("question");
  box.style.height = "auto";
  box.style.height = `${Math.min(box.scrollHeight, 220)}px`;
}

export function clear() {
  conversation += 1;
  stopping?.abort();
  history = [];
  $("conversation").replaceChildren();
  $("welcome").hidden = false;
  $("fresh").hidden = true;
  document.body.classList.remove("talking");
}

/** Also what was asked lately, and what there is to ask about. */
export function forget() {
  clear();
  places = [];
  options($("topic"), "All topics", []);
  showSegments();
  $("holdings").replaceChildren();
  $("recent-list").replaceChildren();
  $("recent").hidden = true;
}

function talk() {
  $("welcome").hidden = true;
  $("fresh").hidden = false;
  document.body.classList.add("talking");
}

/** Show an answer that was given before, word for word but for what was deleted since. */
export async function replay(questionId) {
  clear();
  talk();
  const own = conversation;
  const turn = addTurn("…");
  try {
    const logged = await api.question(questionId);
    if (own !== conversation) return;
    turn.heading.textContent = logged.question;
    const place = [logged.topic, logged.segment].filter(Boolean).join(" / ");
    const lost = [...logged.sources, ...logged.nearest].some((source) => source.deleted) ? ", without what was deleted since" : "";
    turn.status.textContent = `Asked ${exactly(logged.asked_at)}${place ? ` in ${place}` : ""}; shown as it was answered then${lost}.`;
    turn.out.replaceChildren(...answerElements(logged));
    remember(logged.question, logged);
  } catch (error) {
    turn.heading.textContent = "An earlier question";
    fail(turn, error);
  }
}

async function send() {
  const question = $("question").value.trim();
  if (!question || stopping) return;
  $("question").value = "";
  grow();
  await put({ question, topic: $("topic").value || null, segment: $("segment").value || null });
}

async function put(asked) {
  talk();
  const turn = addTurn(asked.question);
  turn.item.scrollIntoView({ block: "start", behavior: "smooth" });
  const controller = new AbortController();
  busy(controller);
  try {
    const answer = await follow(turn, { ...asked, history: history.slice(-MOST_TURNS) }, controller.signal);
    remember(asked.question, answer);
    say(answer.refused ? `No answer. ${answer.answer}` : `Answered: ${answer.answer}`);
  } catch (error) {
    if (error.name === "AbortError") turn.status.textContent = "Stopped.";
    else fail(turn, error, () => {
      if (stopping) return;
      turn.item.remove();
      put(asked);
    });
  } finally {
    turn.out.removeAttribute("aria-busy");
    if (stopping === controller) busy(null);
  }
}

async function follow(turn, body, signal) {
  const draft = el("p", { class: "answer draft" });
  turn.out.setAttribute("aria-busy", "true");
  turn.status.textContent = "Searching…";
  for await (const { event, data } of api.ask(body, signal)) {
    if (event === "sources") {
      turn.status.textContent = found(data.sources.length);
      turn.out.replaceChildren(draft);
    } else if (event === "token") {
      turn.status.textContent = "Drafting; each sentence is checked before it counts…";
      draft.append(data.text);
    } else if (event === "answer") {
      turn.status.textContent = "";
      turn.out.replaceChildren(...answerElements(data));
      return data;
    }
  }
  throw new Problem(0, "unreachable", "The answer broke off. Ask again.");
}

function addTurn(question) {
  const heading = el("h2", { class: "asked" }, question);
  const status = el("p", { class: "fine status" });
  const out = el("div", { class: "out" });
  const item = el("li", { class: "turn" }, heading, status, out);
  $("conversation").append(item);
  return { item, heading, status, out };
}

function fail(turn, error, again = null) {
  turn.status.textContent = "";
  const retry = again && el("button", { type: "button", onclick: again }, "Ask again");
  turn.out.replaceChildren(el("p", { class: "problem", role: "alert" }, error.message), retry ?? "");
}

function remember(question, answer) {
  const text = answer.refused ? answer.answer : answer.sentences.map((sentence) => sentence.text).join(" ");
  const titles = [...new Set(answer.sources.map((source) => source.title.slice(0, 300)))].slice(0, 20);
  history.push({ role: "user", text: question.slice(0, MOST_TURN_CHARS) });
  history.push({ role: "assistant", text: text.slice(0, MOST_TURN_CHARS), titles });
}

function busy(controller) {
  stopping = controller;
  $("stop").hidden = !controller;
  $("send").hidden = Boolean(controller);
}
