// Calls of the server that this page came from: JSON, and streams of events.

import { askKey, keyHeaders } from "./api_key.js";

/** What went wrong, in words for the person: the server's own, with cause and hint, or the way's. */
export class CallError extends Error {
  constructor(message, status = 0) {
    super(message);
    this.status = status;
  }
}

/** The JSON that the server answers: to a body, or to being asked for what is there. */
export async function call(path, body, signal) {
  return (await answered(path, body, signal)).json();
}

/** The same by another method than asking and telling, or with further headers. */
export async function send(method, path, body, headers = {}) {
  return (await answered(path, body, undefined, { method, headers })).json();
}

/** What is at a path, as a file. */
export async function file(path) {
  return (await answered(path)).blob();
}

/** The events that a path tells on and on, until the signal is aborted. Throws as `events` does. */
export function listen(path, signal) {
  return read(path, undefined, signal);
}

/** The events of a streamed answer, one after the other, until it is whole. Who stops listening, or
 * aborts the signal, ends it at the server too. Throws CallError; AbortError after an abort. */
export function events(path, body, signal) {
  return read(path, { ...body, stream: true }, signal);
}

async function* read(path, body, signal) {
  const answer = await answered(path, body, signal);
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    for (;;) {
      const { value, done } = await reached(() => reader.read());
      if (done) throw new CallError("The answer broke off. The server ended it before it was whole.");
      const blocks = (rest + value).split("\n\n");
      rest = blocks.pop();
      // Anything else is a comment: the server is still at it.
      for (const block of blocks.filter((each) => each.startsWith("data: "))) {
        const data = block.slice("data: ".length);
        if (data === "[DONE]") return;
        const event = JSON.parse(data);
        if (event.error) throw new CallError(event.error.message);
        yield event;
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

async function answered(path, body, signal, way = {}) {
  for (;;) {
    const answer = await reached(() => asked(path, body, signal, way));
    if (answer.ok) return answer;
    if (answer.status !== 401 || !(await askKey())) throw await refusal(answer);
  }
}

function asked(path, body, signal, way) {
  const headers = { ...keyHeaders(), ...way.headers };
  const method = way.method ?? (body === undefined ? "GET" : "POST");
  if (body === undefined) return fetch(path, { method, headers, signal, cache: "no-store" });
  headers["Content-Type"] = "application/json";
  return fetch(path, { method, headers, body: JSON.stringify(body), signal });
}

async function reached(way) {
  try {
    return await way();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new CallError(
      "The server does not answer. It has ended, or the way to it is cut. " +
      "See whether llterm serve still runs there, then try again.");
  }
}

async function refusal(answer) {
  const told = await answer.json().catch(() => null);
  const message = told?.error?.message ?? `The server answered ${answer.status}, without a reason.`;
  return new CallError(message, answer.status);
}
