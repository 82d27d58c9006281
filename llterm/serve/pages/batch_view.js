// The batch: several prompts at once, each as often as one likes, as they come.

import { chatTokens, completionTokens, share } from "./answer_tokens.js";
import { byId, download, element, inert, notify } from "./elements.js";
import { chatRequest, completionRequest, number } from "./request_fields.js";
import { CallError, events } from "./server_calls.js";
import { hideTokens, showTokens } from "./token_panel.js";
import { TokenText } from "./token_text.js";

const CHATS_AT_ONCE = 4;
const results = byId("results");

let running = null;
/** The last one: {requests, seconds, texts}; a text is {prompt, text, tokens, count, ending}. */
let batch = null;

/** Whether something is drawn, which then ends. */
export function stopBatch() {
  running?.abort();
  return running !== null;
}

/** The prompts: blocks between lines of `---`, or lines. */
function prompts() {
  const text = byId("prompts").value;
  const cut = byId("by-line").checked ? text.split("\n") : text.split(/^---+[ \t]*$\n?/m);
  return cut.map((each) => each.replace(/\n$/, "")).filter((each) => each.trim());
}

async function start() {
  notify();
  hideTokens();
  const asked = prompts();
  if (!asked.length) throw new CallError("There is no prompt. Write one or several.");
  const copies = number("copies");
  const isChat = byId("kind").value === "chat";
  const requests = isChat
    ? asked.map((content) => ({ n: copies, ...chatRequest([{ role: "user", content }]) }))
    : [{ n: copies, ...completionRequest(asked) }];
  const texts = asked.flatMap((prompt) => Array.from({ length: copies }, () => (
    { prompt, text: "", tokens: [], count: 0, ending: "" })));
  batch = { requests, seconds: 0, texts };
  results.replaceChildren(...texts.map(drawn));
  running = new AbortController();
  byId("batch").classList.add("running");
  const began = performance.now();
  const tick = () => {
    batch.seconds = (performance.now() - began) / 1000;
    showProgress();
  };
  const ticking = setInterval(tick, 250);
  try {
    await (isChat ? drawChats(requests, copies) : drawTexts(requests[0]));
  } catch (error) {
    running.abort();
    if (error.name !== "AbortError") notify(error.message);
  }
  clearInterval(ticking);
  for (const each of texts.filter(({ ending }) => !ending)) finish(each, "stopped");
  running = null;
  byId("batch").classList.remove("running");
  tick();
}

async function drawTexts(request) {
  for await (const { choices: [choice] } of events("/v1/completions", request, running.signal)) {
    if (choice) take(batch.texts[choice.index], choice.text, completionTokens(choice.logprobs), choice);
  }
}

/** Ask for some chats at a time: a browser keeps few connections to a server. */
async function drawChats(requests, copies) {
  const left = requests.entries();
  const worker = async () => {
    for (const [place, request] of left) await drawChat(request, place * copies);
  };
  await Promise.all(Array.from({ length: CHATS_AT_ONCE }, worker));
}

async function drawChat(request, first) {
  const path = "/v1/chat/completions";
  for await (const { choices: [choice] } of events(path, request, running.signal)) {
    if (!choice) continue;
    const { content, reasoning_content: thoughts } = choice.delta;
    const tokens = chatTokens(choice.logprobs);
    const each = batch.texts[first + choice.index];
    if (thoughts) each.count += tokens.length || 1;
    else take(each, content ?? "", tokens, choice);
  }
}

function take(each, text, tokens, { finish_reason: ending }) {
  each.text += text;
  each.tokens.push(...tokens);
  each.count += tokens.length || (text ? 1 : 0);
  if (ending) finish(each, ending);
  drawLater(each);
}

function finish(each, ending) {
  each.ending = ending;
  drawLater(each);
}

const changed = new Set();
const updates = new WeakMap();
let waiting = 0;

function drawLater(each) {
  changed.add(each);
  waiting ||= requestAnimationFrame(() => {
    waiting = 0;
    for (const one of changed) updates.get(one)();
    changed.clear();
    showProgress();
  });
}

function drawn(each, place) {
  const text = new TokenText(({ span, tokens }) => showTokens(span, tokens));
  const told = element("span", { className: "ending" });
  updates.set(each, () => {
    text.show(each.text, 0, each.tokens);
    told.textContent = summary(each);
  });
  return element("article", { className: "result" },
    element("header", {}, element("h2", {}, `${place + 1}`), told),
    element("pre", { className: "prompt" }, inert(each.prompt)), text.node);
}

function summary({ tokens, count, ending }) {
  if (!count) return ending;
  const mean = tokens.reduce((sum, token) => sum + token.logprob, 0) / tokens.length;
  const figures = tokens.length ? [`${share(mean)} a token`] : [];
  return [`${count} ${count === 1 ? "token" : "tokens"}`, ...figures, ...(ending ? [ending] : [])].join(" · ");
}

function showProgress() {
  const { texts, seconds } = batch;
  const ended = texts.filter(({ ending }) => ending).length;
  const count = texts.reduce((sum, each) => sum + each.count, 0);
  const rate = seconds ? `${(count / seconds).toFixed(1)} tokens/s` : "";
  byId("progress").textContent = [
    `${ended} of ${texts.length} texts`, `${count} tokens`, `${seconds.toFixed(1)} s`, rate,
  ].join(" · ");
}

byId("batch-form").onsubmit = (event) => {
  event.preventDefault();
  if (!running) start().catch((error) => notify(error.message));
};
byId("batch-stop").onclick = stopBatch;
byId("batch-clear").onclick = () => {
  if (running) return;
  batch = null;
  results.replaceChildren();
  byId("progress").textContent = "";
  hideTokens();
};
byId("batch-download").onclick = () => {
  if (batch) download("batch.json", batch);
  else notify("There is nothing to download yet. Draw some texts first.");
};
