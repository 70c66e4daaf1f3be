// The service's API, with the visitor's key.

const KEY = "cuvee.key";

export class Problem extends Error {
  constructor(status, type, message) {
    super(message);
    this.status = status;
    this.type = type;
  }
}

export const key = {
  get: () => localStorage.getItem(KEY) || "",
  keep: (value) => localStorage.setItem(KEY, value),
  forget: () => localStorage.removeItem(KEY),
};

let onKeyRefused = () => {};
/** What to do when the service does not know the key (any more). */
export function whenKeyRefused(action) {
  onKeyRefused = action;
}

async function request(path, options = {}) {
  let response;
  try {
    const headers = { authorization: `Bearer ${key.get()}`, ...options.headers };
    response = await fetch(path, { ...options, headers });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem(0, "unreachable", "The service does not answer. Is it running?");
  }
  if (response.ok) return response;
  const problem = await problemOf(response);
  if (problem.status === 401) onKeyRefused(problem.message);
  throw problem;
}

async function problemOf(response) {
  try {
    const { error } = await response.json();
    return new Problem(response.status, error.type, error.message);
  } catch {
    return new Problem(response.status, "http_error", `The service answered with status ${response.status}.`);
  }
}

const json = (body) => ({
  method: "POST",
  headers: { "content-type": "application/json" },
  body: JSON.stringify(body),
});

const query = (values) => {
  const wanted = new URLSearchParams();
  for (const [name, value] of Object.entries(values)) {
    for (const one of [value].flat()) if (one !== null && one !== undefined && one !== "") wanted.append(name, one);
  }
  return wanted.toString();
};
const path = (...parts) => "/" + parts.map(encodeURIComponent).join("/");

export const get = async (where, values = {}) => (await request(`${where}?${query(values)}`)).json();
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
