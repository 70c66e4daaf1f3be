// The service's API.

import { get, json, path, Problem, request } from "./service.js";

export const topics = () => get("/topics");
export const documents = (values) => get("/documents", values);
export const document_ = (id) => get(path("documents", id));
export const text = (id, start, end) => get(path("documents", id, "text"), { start, end });
export const questions = (limit) => get("/questions", { limit });
export const question = (id) => get(path("questions", id));
export const feedback = async (body) => (await request("/feedback", json(body))).json();
export const retry = async (id) => (await request(path("documents", id, "retry"), { method: "POST" })).json();
export const remove = async (id) => (await request(path("documents", id), { method: "DELETE" })).json();
export const raw = async (id) => (await request(path("documents", id, "raw"))).blob();

export async function upload(file, topic, segment) {
  const body = new FormData();
  body.append("topic", topic);
  body.append("segment", segment);
  body.append("files", file, file.name);
  return (await request("/documents", { method: "POST", body })).json();
}

/** Ask; yields `{event, data}`: sources, token (several), answer. A failure on the way is thrown. */
export async function* ask(body, signal) {
  const response = await request("/ask", { ...json({ ...body, stream: true }), signal });
  for await (const { event, data } of events(response.body)) {
    if (event === "error") throw new Problem(500, data.error.type, data.error.message);
    yield { event, data };
  }
}

async function* events(stream) {
  const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  let waiting = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const blocks = (waiting + value).split(/\r?\n\r?\n/);
    waiting = blocks.pop();
    for (const block of blocks) {
      const lines = block.split(/\r?\n/);
      const field = (name) => lines.filter((l) => l.startsWith(`${name}:`)).map((l) => l.slice(name.length + 1).trim());
      const data = field("data").join("\n");
      if (data) yield { event: field("event")[0], data: JSON.parse(data) };
    }
  }
}
