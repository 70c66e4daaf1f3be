// The service's API.

import { get, json, query, request } from "./service.js";

export const features = () => get("/features");
export const model = () => get("/model");
export const versions = () => get("/versions");

/** What is tried here is no traffic: nothing is recorded. `version` null asks the champion. */
export async function predict(sample, version, signal) {
  const asked = query({ explain: true, record: false, version });
  return (await request(`/predict?${asked}`, { ...json({ samples: [sample] }), signal })).json();
}
