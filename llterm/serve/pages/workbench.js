// The page at the server's address: a chat, and batches of texts.

import { forgetKey, hasKey } from "./api_key.js";
import { stopBatch } from "./batch_view.js";
import { drawChat, openChat, stopChat } from "./chat_view.js";
import { byId, notify } from "./elements.js";
import { keep, keepFields, kept } from "./kept_state.js";
import { loadChoices } from "./request_fields.js";
import { hideTokens } from "./token_panel.js";

const TABS = ["chat", "batch"];
const AGAIN_MILLISECONDS = 1000;

function showTab(name) {
  for (const each of TABS) {
    const tab = byId(`tab-${each}`);
    byId(each).hidden = each !== name;
    tab.ariaSelected = String(each === name);
    tab.tabIndex = each === name ? 0 : -1;
  }
  hideTokens();
  keep("tab", () => name);
}

function showHeat() {
  document.body.classList.toggle("heat", byId("heat").checked);
}

/** Ask what the server has, again and again while it loads its models. */
async function connect() {
  try {
    await loadChoices();
    notify();
  } catch (error) {
    if (error.status === 503) {
      notify("The models are being loaded. This page asks again until they are there.", "news");
      setTimeout(connect, AGAIN_MILLISECONDS);
    } else {
      notify(error.message);
    }
  }
  byId("forget-key").hidden = !hasKey();
  drawChat();
}

for (const name of TABS) {
  byId(`tab-${name}`).onclick = () => showTab(name);
  byId(`tab-${name}`).onkeydown = (event) => {
    if (!["ArrowLeft", "ArrowRight"].includes(event.key)) return;
    const other = TABS.find((each) => each !== name);
    showTab(other);
    byId(`tab-${other}`).focus();
  };
}
byId("heat").addEventListener("input", showHeat);
byId("model").addEventListener("input", drawChat);
byId("reload").onclick = connect;
byId("notice-close").onclick = () => notify();
byId("settings-open").onclick = () => {
  const isOpen = document.body.classList.toggle("settings");
  byId("settings-open").ariaExpanded = String(isOpen);
};
byId("forget-key").onclick = () => {
  forgetKey();
  byId("forget-key").hidden = true;
};
addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || document.querySelector("dialog")) return;
  if (!byId("token").hidden) hideTokens();
  else if (byId("chat").hidden ? stopBatch() : stopChat()) event.preventDefault();
});

keepFields(document, "fields");
showHeat();
showTab(kept("tab") ?? "chat");
openChat();
connect();
