// What the model would have said instead: the candidates of a token that a person points at.

import { isPlain, label, share } from "./answer_tokens.js";
import { byId, element } from "./elements.js";

let pointed = null;

/** Show the tokens of a span. `take(text)`, where it is given, puts a candidate in its place. */
export function showTokens(span, tokens, take) {
  hideTokens();
  pointed = span;
  span.classList.add("pointed");
  byId("token").hidden = false;
  byId("token-list").replaceChildren(...tokens.map((token, place) => (
    candidates(token, place ? null : take))));
  span.scrollIntoView({ block: "nearest" });
}

/** Close the panel; what was pointed at has the focus again if the panel had it. */
export function hideTokens() {
  const panel = byId("token");
  if (panel.contains(document.activeElement)) pointed?.focus();
  panel.hidden = true;
  pointed?.classList.remove("pointed");
  pointed = null;
}

function candidates(token, take) {
  const bits = Math.max(-token.logprob / Math.LN2, 0);
  const listed = token.top.toSorted((one, other) => other.logprob - one.logprob);
  return element("div", {},
    element("p", {},
      element("strong", {}, label(token.text)),
      ` ${share(token.logprob)} · ${bits.toFixed(1)} bits · id ${token.id}`),
    element("ul", { className: "candidates" }, ...listed.map((candidate) => row(
      candidate, candidate.text === token.text, take))));
}

function row({ text, logprob }, isTaken, take) {
  const bar = element("span", { className: "bar" });
  bar.style.setProperty("--share", Math.exp(logprob).toFixed(4));
  const parts = [bar, element("span", { className: "name" }, label(text)), share(logprob)];
  const takes = take && !isTaken && isPlain(text);
  const shown = takes
    ? element("button", { type: "button", title: "Go on with this instead", onclick: () => take(text) }, ...parts)
    : element("span", { className: "candidate" }, ...parts);
  return element("li", { ariaCurrent: isTaken ? "true" : null }, shown);
}

byId("token-close").onclick = hideTokens;
