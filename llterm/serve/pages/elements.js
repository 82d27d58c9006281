// Elements made of names, properties and text. Text is always text: nothing here reads markup.

// Joiners are kept, for they stand within words and emoji.
const HIDDEN = /(?![\n\t\u{200c}\u{200d}])[\p{C}\p{Zl}\p{Zp}]/gu;

/** An element with these properties and children; a child that is a string becomes text. */
export function element(name, properties = {}, ...children) {
  const made = document.createElement(name);
  const { dataset = {}, ...others } = properties;
  Object.assign(made, others);
  Object.assign(made.dataset, dataset);
  made.append(...children);
  return made;
}

/** The element of this id, which the page has. */
export function byId(id) {
  return document.getElementById(id);
}

/** A text that lays nothing out backwards and hides nothing: controls are one visible stand-in. */
export function inert(text) {
  return text.replace(HIDDEN, "\u{fffd}");
}

/** Say something in the page's notice, or take it away. */
export function notify(text = "", kind = "error") {
  const notice = byId("notice");
  notice.hidden = !text;
  notice.dataset.kind = kind;
  byId("notice-text").textContent = text;
}

/** Offer a value as a file of JSON. */
export function download(name, value) {
  const data = new Blob([JSON.stringify(value, null, 2)], { type: "application/json" });
  const link = element("a", { href: URL.createObjectURL(data), download: name });
  link.click();
  URL.revokeObjectURL(link.href);
}
