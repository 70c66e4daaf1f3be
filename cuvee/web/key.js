// The visitor's key: asked for once, tried, kept in this browser. Needs a button with the id `key-button`.

import { $, el } from "./dom.js";
import { key, whenKeyRefused } from "./service.js";

/** `check` throws if the key is not taken, `enter` goes on with it, `forget` removes what was got with it. */
export function startKey({ check, enter, forget }) {
  document.body.append(dialog());
  whenKeyRefused(askForKey);
  $("key-button").addEventListener("click", () => askForKey());
  $("key-cancel").addEventListener("click", () => $("key-dialog").close());
  $("key-dialog").addEventListener("cancel", (event) => key.get() || event.preventDefault());
  $("key-forget").addEventListener("click", () => {
    forget();
    key.forget();
    askForKey();
  });
  $("key-form").addEventListener("submit", async (event) => {
    event.preventDefault();
    const typed = $("key").value.trim();
    // The header that carries it takes no other characters.
    if (!/^[\x20-\x7e]+$/.test(typed)) {
      askForKey("A key has only plain letters, digits and signs. Copy it again, whole.");
      return;
    }
    const before = key.get();
    key.keep(typed);
    try {
      await check();
      $("key-dialog").close();
      enter();
    } catch (error) {
      if (before) key.keep(before);
      else key.forget();
      askForKey(error.message);
    }
  });
  if (key.get()) enter();
  else askForKey();
}

function askForKey(message = "") {
  $("key-problem").textContent = message;
  $("key-problem").hidden = !message;
  $("key-forget").hidden = !key.get();
  $("key-cancel").hidden = !key.get();
  $("key").value = "";
  if (!$("key-dialog").open) $("key-dialog").showModal();
  $("key").focus();
}

function dialog() {
  const field = el("input", { id: "key", type: "password", autocomplete: "off", spellcheck: "false", required: true });
  const where = ["It stays in this browser. ", el("code", {}, "make demo"), " prints one, and ", el("code", {}, ".env"), " holds it as ", el("code", {}, "CUVEE_API_KEY"), "."];
  const form = el(
    "form", { method: "dialog", id: "key-form" },
    el("h2", { id: "key-title" }, "Your key"),
    el("p", {}, ...where),
    el("label", {}, el("span", {}, "API key"), " ", field),
    el("p", { id: "key-problem", class: "problem", role: "alert", hidden: true }),
    el("div", { class: "actions" },
      el("button", { id: "key-forget", class: "quiet", type: "button", hidden: true }, "Forget key"),
      el("span", { class: "space" }),
      el("button", { id: "key-cancel", type: "button", hidden: true }, "Cancel"),
      el("button", { class: "primary", type: "submit" }, "Use this key")),
  );
  return el("dialog", { id: "key-dialog", "aria-labelledby": "key-title" }, form);
}
