// What the settings beside the page ask for, as fields of a request.

import { byId, element } from "./elements.js";
import { CallError, call } from "./server_calls.js";

const NUMBERS = [
  "max_tokens", "temperature", "top_k", "top_p", "min_p", "repeat_penalty", "presence_penalty",
  "frequency_penalty", "seed",
];
const SHAPES = {
  json_schema: (text) => ({ json: text }),
  json_object: () => ({ json_object: true }),
  regex: (text) => ({ regex: text }),
  choice: (text) => ({ choice: lines(text) }),
  grammar: (text) => ({ grammar: text }),
};
const ESCAPES = { n: "\n", t: "\t", "\\": "\\" };
const ofModel = new Map();

/** The lines of a text that say something; `\n` in one is a line break. */
function lines(text) {
  return text.split("\n").filter((line) => line).map((line) => (
    line.replace(/\\([nt\\])/g, (_, letter) => ESCAPES[letter])));
}

/** What `/v1/chat/completions` is asked for these messages, after the system's. Throws CallError. */
export function chatRequest(messages) {
  const system = byId("system").value;
  const before = system ? [{ role: "system", content: system }] : [];
  const listed = byId("listed").value;
  const logprobs = listed ? { logprobs: true, top_logprobs: Number(listed) } : {};
  return { messages: [...before, ...messages], ...logprobs, ...commonFields() };
}

/** What `/v1/completions` is asked for these prompts. Throws CallError. */
export function completionRequest(prompt) {
  const listed = byId("listed").value;
  return { prompt, ...(listed ? { logprobs: Number(listed) } : {}), ...commonFields() };
}

function commonFields() {
  const fields = { model: byId("model").value };
  if (byId("preset").value) fields.preset = byId("preset").value;
  for (const name of NUMBERS) {
    if (byId(name).value) fields[name] = number(name);
  }
  const stops = lines(byId("stops").value);
  if (stops.length) fields.stop = stops;
  if (byId("leading").value) fields.leading_prompt = byId("leading").value;
  const shape = byId("shape").value;
  const text = byId("shape-text").value;
  if (shape && shape !== "json_object" && !text.trim()) {
    throw new CallError("The form that answers are to fit is empty. Write it, or choose none.");
  }
  if (shape) fields.structured_outputs = SHAPES[shape](text);
  return { ...fields, ...furtherFields() };
}

/** The number in a field. Throws CallError where it is none. */
export function number(id) {
  const field = byId(id);
  if (!field.checkValidity()) throw new CallError(`${field.labels[0].textContent}: ${field.validationMessage}`);
  return Number(field.value);
}

function furtherFields() {
  const text = byId("further").value.trim();
  if (!text) return {};
  try {
    const fields = JSON.parse(text);
    if (fields && typeof fields === "object" && !Array.isArray(fields)) return fields;
  } catch {
    // Said below.
  }
  throw new CallError('The further fields are no JSON object, such as {"min_tokens": 5}.');
}

/** Fill the lists of models and presets with what the server has. */
export async function loadChoices() {
  const { models, presets, preset } = await call("/v1/llterm/status");
  ofModel.clear();
  const texts = models.filter((model) => (model.kind ?? "text") === "text");
  for (const model of texts) ofModel.set(model.name, model);
  fill(byId("model"), texts.map((model) => [
    model.name, model.state === "loaded" ? model.name : `${model.name} (${model.state})`]));
  fill(byId("preset"), [["", `usual: ${preset}`], ...presets.map((name) => [name, name])]);
}

function fill(list, entries) {
  const chosen = list.value;
  list.replaceChildren(...entries.map(([value, text]) => element("option", { value }, text)));
  if (entries.some(([value]) => value === chosen)) list.value = chosen;
}

/** Whether the chosen model is known to have no way to write chats. */
export function lacksChats() {
  return ofModel.get(byId("model").value)?.chat_template === false;
}

function showShape() {
  byId("shape-text").hidden = ["", "json_object"].includes(byId("shape").value);
}

byId("shape").addEventListener("input", showShape);
showShape();
