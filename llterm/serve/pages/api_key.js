// The server's key: asked of the person, kept as long as this tab is open, sent with every call.

import { element } from "./elements.js";

const PLACE = "llterm.key";
let asking = null;

/** The headers that carry the key; none without one. */
export function keyHeaders() {
  const key = sessionStorage.getItem(PLACE);
  return key ? { Authorization: `Bearer ${key}` } : {};
}

/** Whether there is a key to forget. */
export function hasKey() {
  return sessionStorage.getItem(PLACE) !== null;
}

export function forgetKey() {
  sessionStorage.removeItem(PLACE);
}

/** Ask the person for the key, once for all calls that want it. Resolves to whether one was given. */
export function askKey() {
  asking ??= ask(hasKey()).finally(() => {
    asking = null;
  });
  return asking;
}

function ask(wasWrong) {
  const field = element("input", {
    type: "password", id: "key", autocomplete: "off", spellcheck: false, required: true,
    pattern: "[!-~]+", title: "A key has no spaces, and no other letters than those of ASCII.",
  });
  const dialog = element("dialog", { ariaLabel: "The server's key" },
    element("form", { method: "dialog" },
      element("h2", {}, wasWrong ? "This is not the key" : "This server asks for a key"),
      element("p", {},
        "It is the one that the server was started with, or that it printed. " +
        "It is kept in this tab alone, until the tab is closed."),
      element("label", { htmlFor: "key" }, "Key"), field,
      element("div", { className: "row end" },
        element("button", { type: "button", className: "quiet", value: "" }, "Cancel"),
        element("button", { className: "first", value: "given" }, "Use it"))));
  const { promise, resolve } = Promise.withResolvers();
  dialog.querySelector("button").onclick = () => dialog.close("");
  dialog.onclose = () => {
    const given = dialog.returnValue === "given";
    if (given) sessionStorage.setItem(PLACE, field.value);
    dialog.remove();
    resolve(given);
  };
  document.body.append(dialog);
  dialog.showModal();
  return promise;
}
