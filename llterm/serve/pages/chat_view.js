// The chat: messages that are written, edited, deleted, answered anew and gone on with.

import { chatTokens } from "./answer_tokens.js";
import {
  canRedo, canUndo, chat, edit, keepConversation, message, openConversation, redo, step, undo,
  withdraw,
} from "./conversation.js";
import { byId, download, element, inert, notify } from "./elements.js";
import { chatRequest, lacksChats } from "./request_fields.js";
import { events } from "./server_calls.js";
import { hideTokens, showTokens } from "./token_panel.js";
import { TokenText } from "./token_text.js";

const PATH = "/v1/chat/completions";
const NEAR_THE_END = 60;
const NAMES = { user: "You", assistant: "Model", system: "System" };
const ENDINGS = {
  length: "ended by the length", stopped: "stopped", failed: "broken off", stop: "",
};
const list = byId("messages");
const draft = byId("draft");
let running = null;

/** Show the chat that was kept. */
export function openChat() {
  openConversation(drawChat);
}

/** Whether something is drawn, which then ends. */
export function stopChat() {
  running?.abort();
  return running !== null;
}

// What is asked

/** Have the model write the message at this place: after those before it, and after `begun`. */
async function answer(place, begun, rest) {
  const before = chat.messages.slice(0, place);
  const asked = [...before, ...(begun.content ? [begun] : [])];
  const body = chatRequest(asked.map(({ role, content }) => ({ role, content })));
  const live = { ...begun, tokens: body.logprobs ? [...begun.tokens] : [], ending: "" };
  running = new AbortController();
  step([...before, live, ...rest]);
  try {
    for await (const event of events(PATH, body, running.signal)) take(live, event);
  } catch (error) {
    live.ending = error.name === "AbortError" ? "stopped" : "failed";
    if (error.name !== "AbortError") notify(error.message);
  }
  running = null;
  keepConversation();
  if (live.content !== begun.content || live.thoughts !== begun.thoughts) {
    drawChat();
    return;
  }
  withdraw();
  if (live.ending === "stop") notify("The model ended at once, and said nothing.", "news");
}

function take(live, { choices: [choice] }) {
  if (!choice) return;
  const { content, reasoning_content: thoughts } = choice.delta;
  live.content += content ?? "";
  live.thoughts += thoughts ?? "";
  if (!thoughts) live.tokens.push(...chatTokens(choice.logprobs));
  live.ending = choice.finish_reason ?? live.ending;
  keepConversation();
  drawLater(live);
}

/** Do something, unless an answer comes or a message is edited; say what hinders. */
async function attempt(work) {
  if (running) return;
  notify();
  try {
    if (!chat.editing) await work();
    else notify("A message is being edited. Save it first, or cancel.", "news");
  } catch (error) {
    notify(error.message);
  }
}

/** Go on with the last message, or answer it where it is the person's. */
async function goOn() {
  const last = chat.messages.at(-1);
  if (last?.role === "assistant") await answer(chat.messages.length - 1, last, []);
  else if (last) await answer(chat.messages.length, message("assistant", ""), []);
}

function takeDraft() {
  if (draft.value) step([...chat.messages, message(byId("role").value, draft.value)]);
  draft.value = "";
  draft.dispatchEvent(new Event("input", { bubbles: true }));
}

// What is shown

const updates = new Map();
let waiting = 0;
let focused = null;

function drawLater(live) {
  waiting ||= requestAnimationFrame(() => {
    waiting = 0;
    const isAtEnd = list.scrollHeight - list.scrollTop - list.clientHeight < NEAR_THE_END;
    updates.get(live)?.();
    if (isAtEnd) list.scrollTop = list.scrollHeight;
  });
}

/** Show the messages as they are now; the button that was pressed has the focus when it can. */
export function drawChat() {
  const { activeElement } = document;
  if (activeElement !== document.body) focused = activeElement.dataset.act ?? null;
  const length = list.childElementCount;
  hideTokens();
  updates.clear();
  list.replaceChildren(...(chat.messages.length ? chat.messages.map(drawn) : [emptyNote()]));
  if (list.childElementCount > length) list.scrollTop = list.scrollHeight;
  byId("chat").classList.toggle("running", running !== null);
  byId("undo").disabled = !canUndo();
  byId("redo").disabled = !canRedo();
  if (chat.editing) list.querySelector("textarea")?.focus();
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
    thoughts.textContent = inert(each.thoughts);
    details.hidden = !each.thoughts;
    ending.textContent = ENDINGS[each.ending] ?? each.ending;
  };
  update();
  updates.set(each, update);
  const isEdited = chat.editing?.place === place;
  return element("article", { className: `message ${each.role}` },
    element("header", {},
      element("h2", {}, NAMES[each.role]), ending,
      element("span", { className: "acts" }, ...(isEdited ? [] : acts(place, each)))),
    details, isEdited ? editor(each, chat.editing) : text.node);
}

function acts(place, each) {
  const before = chat.messages.slice(0, place);
  const after = chat.messages.slice(place + 1);
  const act = (name, work) => element("button", {
    type: "button", className: "quiet", disabled: running !== null, onclick: () => attempt(work),
    dataset: { act: `${name}-${place}` },
  }, name);
  const own = [];
  if (each.role === "assistant") {
    own.push(act("Continue", () => answer(place, each, after)));
    own.push(act("Regenerate", () => answer(place, message("assistant", ""), after)));
  } else if (after[0]?.role !== "assistant") {
    own.push(act("Answer", () => answer(place + 1, message("assistant", ""), after)));
  }
  return [
    ...own,
    act("Edit", () => edit(place, each.content)),
    act("Delete", () => step([...before, ...after])),
  ];
}

function editor(each, { place, text }) {
  const rows = Math.min(text.split("\n").length + 2, 16);
  const field = element("textarea", { value: text, rows, ariaLabel: "The message" });
  const finish = (isKept) => {
    notify();
    if (isKept && field.value !== each.content) {
      step(chat.messages.with(place, message(each.role, field.value)));
    } else {
      edit();
    }
    list.querySelector(`[data-act="Edit-${place}"]`)?.focus();
  };
  field.oninput = () => {
    chat.editing.text = field.value;
    keepConversation();
  };
  field.onkeydown = (event) => {
    if (event.key === "Escape") finish(false);
    else if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) finish(true);
    else return;
    event.preventDefault();
    event.stopPropagation();
  };
  const button = (name, className, isKept) => element("button", {
    type: "button", className, onclick: () => finish(isKept),
  }, name);
  return element("div", { className: "editor" }, field,
    element("div", { className: "row" },
      button("Save", "first", true), button("Cancel", "quiet", false)));
}

/** Show a token's candidates; one that is taken stands in its place, and the model goes on there. */
function pointed(place, each, { span, tokens, before, at }) {
  const kept = each.content.slice(0, each.lead + at);
  const take = (text) => attempt(() => {
    const taken = tokens[0].top.find((candidate) => candidate.text === text);
    const instead = { ...tokens[0], ...taken, bytes: [...new TextEncoder().encode(text)] };
    const begun = { ...each, content: kept + text, tokens: [...each.tokens.slice(0, before), instead] };
    return answer(place, begun, chat.messages.slice(place + 1));
  });
  showTokens(span, tokens, running || each.role !== "assistant" ? null : take);
}

// What a person does

byId("composer").onsubmit = (event) => {
  event.preventDefault();
  attempt(() => {
    takeDraft();
    return goOn();
  });
};
draft.onkeydown = (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  byId("composer").requestSubmit();
};
byId("add").onclick = () => attempt(takeDraft);
byId("chat-stop").onclick = stopChat;
byId("undo").onclick = () => attempt(undo);
byId("redo").onclick = () => attempt(redo);
byId("clear").onclick = () => attempt(() => step([]));
byId("chat-download").onclick = () => download("chat.json", {
  model: byId("model").value, system: byId("system").value, messages: chat.messages,
});
