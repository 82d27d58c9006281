// The tokens of an answer, in one shape whatever the dialect: {text, bytes, id, logprob, top}, where
// `top` are the candidates as {text, logprob}, and in chats their id.

import { inert } from "./elements.js";

const HOTTEST_BITS = 12;
const BYTES = /^(?:bytes:)((?:\\x[0-9a-f]{2})+)$/;
const utf8 = new TextEncoder();

/** Of a chat's logprobs. */
export function chatTokens(logprobs) {
  return (logprobs?.content ?? []).map((entry) => ({
    text: entry.token, bytes: entry.bytes, id: entry.id, logprob: entry.logprob,
    top: entry.top_logprobs.map(({ token, logprob, id }) => ({ text: token, logprob, id })),
  }));
}

/** Of a completion's logprobs. */
export function completionTokens(logprobs) {
  return (logprobs?.tokens ?? []).map((text, place) => ({
    text, bytes: bytesOf(text), id: logprobs.ids[place], logprob: logprobs.token_logprobs[place],
    top: Object.entries(logprobs.top_logprobs[place]).map(([other, logprob]) => (
      { text: other, logprob })),
  }));
}

function bytesOf(text) {
  const named = BYTES.exec(text);
  if (!named) return [...utf8.encode(text)];
  return named[1].match(/[0-9a-f]{2}/g).map((digits) => Number.parseInt(digits, 16));
}

/** Whether a token's text is text, and no name of bytes or of a mark such as <|end|>. */
export function isPlain(text) {
  return !BYTES.test(text) && !/^<\S+>$/.test(text);
}

/** Surprisal as heat, 0 to 1; the scale of llterm's other pages. */
export function heatOf(logprob) {
  return Math.min(-logprob / Math.LN2 / HOTTEST_BITS, 1);
}

/** A probability for a person: with three digits, or as one in so many. */
export function share(logprob) {
  const p = Math.exp(logprob);
  if (p >= 0.9995) return "100%";
  if (p >= 0.001) return `${(100 * p).toFixed(1)}%`;
  return p > 1e-300 ? `1 in ${oneIn.format(1 / p)}` : "0%";
}

const oneIn = new Intl.NumberFormat("en", { notation: "compact", maximumSignificantDigits: 2 });

/** A token's text as a label: spaces, line breaks and what shows nothing are seen. */
export function label(text) {
  return inert(text).replaceAll("\n", "⏎").replaceAll("\t", "⇥").replace(/^ +| +$/g, (run) => (
    "␣".repeat(run.length)));
}
