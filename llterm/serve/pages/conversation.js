// The messages of the chat, the steps that led to them, and what of that a reload keeps.

import { keep, kept } from "./kept_state.js";

const MOST_STEPS = 100;
const done = [];
const undone = [];
let show = () => {};

/** `messages` are {role, content, thoughts, tokens, lead, ending}, where the tokens are those of the
 * content after its first `lead` characters. `editing` is the place and text of one being edited. */
export const chat = { messages: [], editing: null };

/** A message that a person wrote, or an empty one. */
export function message(role, content) {
  return { role, content, thoughts: "", tokens: [], lead: content.length, ending: "" };
}

/** Begin with what was kept. `shown` is called whenever the messages have changed. */
export function openConversation(shown) {
  Object.assign(chat, kept("chat"));
  show = shown;
  show();
}

/** Keep the chat; without its tokens where they are too many. */
export function keepConversation() {
  const short = (each) => ({ ...each, tokens: [], lead: each.content.length });
  keep("chat", () => chat, () => ({ ...chat, messages: chat.messages.map(short) }));
}

function become(messages, editing = null) {
  Object.assign(chat, { messages, editing });
  keepConversation();
  show();
}

/** Change the messages by a step that can be undone. */
export function step(messages) {
  done.push(chat.messages);
  done.splice(0, done.length - MOST_STEPS);
  undone.length = 0;
  become(messages);
}

/** Take back the last step, as if it had never been. */
export function withdraw() {
  become(done.pop());
}

export function undo() {
  undone.push(chat.messages);
  become(done.pop());
}

export function redo() {
  done.push(chat.messages);
  become(undone.pop());
}

export function canUndo() {
  return done.length > 0;
}

export function canRedo() {
  return undone.length > 0;
}

/** Edit the message at this place, from this text on; without a place none is edited any more. */
export function edit(place, text) {
  become(chat.messages, place === undefined ? null : { place, text });
}
