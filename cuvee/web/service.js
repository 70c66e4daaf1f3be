// Requests to the service, with the visitor's key.

const KEY = "cuvee.key";

export class Problem extends Error {
  constructor(status, type, message) {
    super(message);
    this.status = status;
    this.type = type;
  }
}

// Ends what is on its way with the key when that is forgotten: nothing got with it may be shown after that.
let inForce = new AbortController();

export const key = {
  get: () => localStorage.getItem(KEY) || "",
  keep: (value) => localStorage.setItem(KEY, value),
  forget: () => {
    localStorage.removeItem(KEY);
    inForce.abort(new Problem(401, "forgotten", "The key was forgotten."));
    inForce = new AbortController();
  },
};

let onKeyRefused = () => {};
/** What to do when the service does not know the key (any more). */
export function whenKeyRefused(action) {
  onKeyRefused = action;
}

export async function request(path, options = {}) {
  let response;
  try {
    const headers = { authorization: `Bearer ${key.get()}`, ...options.headers };
    const signal = options.signal ? AbortSignal.any([options.signal, inForce.signal]) : inForce.signal;
    response = await fetch(path, { ...options, headers, signal });
  } catch (error) {
    if (error.name === "AbortError" || error instanceof Problem) throw error;
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

export const json = (body) => ({
  method: "POST",
  headers: { "content-type": "application/json" },
  body: JSON.stringify(body),
});

export const query = (values) => {
  const wanted = new URLSearchParams();
  for (const [name, value] of Object.entries(values)) {
    for (const one of [value].flat()) if (one !== null && one !== undefined && one !== "") wanted.append(name, one);
  }
  return wanted.toString();
};
export const path = (...parts) => "/" + parts.map(encodeURIComponent).join("/");

export const get = async (where, values = {}) => (await request(`${where}?${query(values)}`)).json();
