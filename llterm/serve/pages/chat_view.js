// The chat: messages that can be written, edited, deleted, answered anew and gone on with.

import { chatTokens } from "./answer_tokens.js";
import { byId, download, element, notify } from "./elements.js";
import { keep, kept } from "./kept_state.js";
import { chatRequest, lacksChats } from "./request_fields.js";
import { events } from "./server_calls.js";
import { hideTokens, showTokens } from "./token_panel.js";
import { TokenText } from "./token_text.js";

const MOST_STEPS = 100;
const NAMES = { user: "You", assistant: "Model", system: "System" };
const ENDINGS = {
  length: "ended by the length", stopped: "stopped", failed: "broken off", stop: "",
};

/** The messages: {role, content, thoughts, tokens, lead, ending}. The tokens are those of the
 * content after its first `lead` characters; `editing` is the place and text of one being edited. */
let messages = [];
let editing = null;
let running = null;
const undone = [];
const done = [];

const list = byId("messages");
const draft = byId("draft");

/** Begin with what was kept. */
export function openChat() {
  const was = kept("chat");
  messages = was?.messages ?? [];
  editing = was?.editing ?? null;
  draw();
}

/** Whether something is drawn, which then ends. */
export function stopChat() {
  running?.abort();
  return running !== null;
}

function message(role, content) {
  return { role, content, thoughts: "", tokens: [], lead: content.length, ending: "" };
}

/** Change the messages by a step that can be undone. */
function step(changed) {
  done.push(messages);
  done.splice(0, done.length - MOST_STEPS);
  undone.length = 0;
  show(changed);
}

function show(changed) {
  messages = changed;
  editing = null;
  hideTokens();
  save();
  draw();
}

function undo(from, to) {
  if (running || !from.length) return;
  to.push(messages);
  show(from.pop());
}

function save() {
  const short = (each) => ({ ...each, tokens: [], lead: each.content.length });
  keep("chat", () => ({ messages, editing }), () => ({ messages: messages.map(short), editing }));
}

// What is asked

/** Have the model write the message at this place: after those before it, and after `begun`. */
async function answer(place, begun, rest) {
  if (running) return;
  notify();
  let body;
  try {
    const asked = [...messages.slice(0, place), ...(begun.content ? [begun] : [])];
    body = chatRequest(asked.map(({ role, content }) => ({ role, content })));
  } catch (error) {
    notify(error.message);
    return;
  }
  const tokens = body.logprobs ? [...begun.tokens] : [];
  const live = { ...begun, tokens, ending: "" };
  step([...messages.slice(0, place), live, ...rest]);
  running = new AbortController();
  draw();
  try {
    for await (const event of events("/v1/chat/completions", body, running.signal)) take(live, event);
  } catch (error) {
    live.ending = error.name === "AbortError" ? "stopped" : "failed";
    if (error.name !== "AbortError") notify(error.message);
  }
  running = null;
  const isNew = live.content !== begun.content || live.thoughts !== begun.thoughts;
  show(isNew ? messages : done.pop());
}

function take(live, { choices: [choice] }) {
  if (!choice) return;
  const { content = "", reasoning_content: thoughts = "" } = choice.delta;
  live.content += content ?? "";
  live.thoughts += thoughts ?? "";
  if (!thoughts) live.tokens.push(...chatTokens(choice.logprobs));
  live.ending = choice.finish_reason ?? live.ending;
  save();
  drawLater(live);
}

/** Go on with the message, or answer the last one where it is the person's. */
function goOn() {
  const last = messages.at(-1);
  if (last?.role === "assistant") answer(messages.length - 1, last, []);
  else if (last) answer(messages.length, message("assistant", ""), []);
}

function takeDraft() {
  if (draft.value) step([...messages, message(byId("role").value, draft.value)]);
  draft.value = "";
  draft.dispatchEvent(new Event("input", { bubbles: true }));
}

// What is shown

const texts = new Map();
let waiting = 0;

function drawLater(live) {
  waiting ||= requestAnimationFrame(() => {
    waiting = 0;
    const isAtEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 60;
    texts.get(live)?.();
    if (isAtEnd) list.scrollTop = list.scrollHeight;
  });
}

function draw() {
  const focused = document.activeElement?.dataset?.act;
  const length = list.childElementCount;
  texts.clear();
  list.replaceChildren(...messages.map(drawn));
  if (!messages.length) list.append(emptyNote());
  if (list.childElementCount > length) list.scrollTop = list.scrollHeight;
  document.body.dataset.busy = running ? "chat" : "";
  byId("undo").disabled = !done.length;
  byId("redo").disabled = !undone.length;
  if (editing) list.querySelector("textarea")?.focus();
  else if (focused) list.querySelector(`[data-act="${focused}"]`)?.focus();
}

function emptyNote() {
  return element("p", { className: "empty" }, lacksChats()
    ? "This model has no chat template: how it wants chats is not known. Draw texts of it in Batch, "
      + "or serve it with one: llterm serve -m NAME,chat_template=plain"
    : "Write a message below. Each one can be edited, deleted, answered anew and gone on with.");
}

function drawn(each, place) {
  const text = new TokenText((group) => pointed(place, each, group));
  const thoughts = element("pre");
  const details = element("details", { className: "thoughts" }, element("summary", {}, "Thoughts"), thoughts);
  const ending = element("span", { className: "ending" });
  const update = () => {
    text.show(each.content, each.lead, each.tokens);
    thoughts.textContent = each.thoughts;
    details.hidden = !each.thoughts;
    ending.textContent = ENDINGS[each.ending] ?? each.ending;
  };
  update();
  texts.set(each, update);
  const isEdited = editing?.place === place;
  return element("article", { className: `message ${each.role}` },
    element("header", {},
      element("h2", {}, NAMES[each.role]), ending,
      element("span", { className: "acts" }, ...(isEdited ? [] : acts(place, each)))),
    details, isEdited ? editor(each) : text.node);
}

function acts(place, each) {
  const before = messages.slice(0, place);
  const after = messages.slice(place + 1);
  const act = (name, onclick) => element("button", {
    type: "button", className: "quiet", disabled: running !== null, onclick,
    dataset: { act: `${name}-${place}` },
  }, name);
  const own = [];
  if (each.role === "assistant") {
    own.push(act("Continue", () => answer(place, each, after)));
    own.push(act("Regenerate", () => answer(place, message("assistant", ""), after)));
  } else if (after[0]?.role !== "assistant") {
    own.push(act("Answer", () => answer(place + 1, message("assistant", ""), after)));
  }
  return [...own, act("Edit", () => edit(place, each)), act("Delete", () => step([...before, ...after]))];
}

function edit(place, { content }) {
  editing = { place, text: content };
  hideTokens();
  save();
  draw();
}

function editor(each) {
  const { place } = editing;
  const field = element("textarea", {
    value: editing.text, rows: Math.min(editing.text.split("\n").length + 2, 16), ariaLabel: "The message",
  });
  const finish = (changed) => {
    const act = `Edit-${place}`;
    if (changed) step(messages.with(place, { ...message(each.role, field.value) }));
    else show(messages);
    list.querySelector(`[data-act="${act}"]`)?.focus();
  };
  field.oninput = () => {
    editing.text = field.value;
    save();
  };
  field.onkeydown = (event) => {
    if (event.key === "Escape") finish(false);
    else if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) finish(true);
    else return;
    event.preventDefault();
    event.stopPropagation();
  };
  return element("div", { className: "editor" }, field,
    element("div", { className: "row" },
      element("button", { type: "button", className: "first", onclick: () => finish(true) }, "Save"),
      element("button", { type: "button", className: "quiet", onclick: () => finish(false) }, "Cancel")));
}

/** Show a token's candidates; one that is taken stands in its place, and the model goes on there. */
function pointed(place, each, { span, tokens, before, at }) {
  const kept = each.content.slice(0, each.lead + at);
  const take = (text) => {
    const taken = tokens[0].top.find((candidate) => candidate.text === text);
    const instead = { ...tokens[0], ...taken, id: null, bytes: [...new TextEncoder().encode(text)] };
    const begun = { ...each, content: kept + text, tokens: [...each.tokens.slice(0, before), instead] };
    answer(place, begun, messages.slice(place + 1));
  };
  showTokens(span, tokens, running || each.role !== "assistant" ? null : take);
}

// What a person does

byId("composer").onsubmit = (event) => {
  event.preventDefault();
  if (running) return;
  takeDraft();
  goOn();
};
draft.onkeydown = (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  byId("composer").requestSubmit();
};
byId("add").onclick = () => {
  if (!running) takeDraft();
};
byId("chat-stop").onclick = stopChat;
byId("undo").onclick = () => undo(done, undone);
byId("redo").onclick = () => undo(undone, done);
byId("clear").onclick = () => {
  if (!running && messages.length) step([]);
};
byId("chat-download").onclick = () => download("chat.json", {
  model: byId("model").value, system: byId("system").value, messages,
});
