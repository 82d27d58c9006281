// One loom, seen from one of its nodes: the text up to there in chunks, and what hangs below it.

import { byId, element, notify } from "./elements.js";
import { acceptNode, childrenPage, deleteNode, growNode, loomEvents, loomFacts, nodeFacts, pathNodes, travel, writeChild } from "./loom_addresses.js";

const ROOT = 1;
const AGAIN_MILLISECONDS = 2000;
let loom = null;
let node = ROOT;
let facts = null;
let growing = null;
let listening = null;
let showing = 0;

/** The title of the loom that is shown, and its node. */
export function shownPlace() {
  return { loom, node };
}

/** Show a loom at a node; without one, where its story ends. */
export async function showLoom(title, at) {
  growing?.abort();
  listening?.abort();
  loom = title;
  node = at ?? null;
  await show();
  listen(title);
}

/** Show no loom. */
export function closeLoom() {
  growing?.abort();
  listening?.abort();
  loom = null;
  byId("loom").hidden = true;
  byId("nothing").hidden = false;
  byId("title").textContent = "";
}

/** Show another node of the same loom. */
export async function showNode(id) {
  node = id;
  await show();
}

async function show() {
  const turn = ++showing;
  facts = await loomFacts(loom);
  node ??= facts.head;
  let at, path, children;
  try {
    [at, path, children] = await Promise.all([
      nodeFacts(loom, node), pathNodes(loom, node), childrenPage(loom, node),
    ]);
  } catch (error) {
    if (error.status !== 404 || node === ROOT) throw error;
    // Somebody took the node away.
    node = facts.head;
    return show();
  }
  if (turn !== showing) return;
  byId("loom").hidden = false;
  byId("nothing").hidden = true;
  byId("title").textContent = loom;
  history.replaceState(null, "", `#${encodeURIComponent(loom)}/${node}`);
  byId("story").replaceChildren(rootChunk(), ...path.map(chunk));
  byId("story").lastElementChild.scrollIntoView({ block: "nearest" });
  if (!growing) byId("children").replaceChildren();
  for (const each of byId("children").querySelectorAll(":not(.growing)")) each.remove();
  byId("children").prepend(...children.data.map(child));
  if (children.has_more) byId("children").append(more(children.after));
  byId("undo").disabled = facts.undo === null;
  byId("undo").title = facts.undo ?? "";
  byId("redo").disabled = facts.redo === null;
  byId("redo").title = facts.redo ?? "";
  byId("grow").disabled = at.terminal;
  byId("grow").title = at.terminal ? "The model ended its text here" : "";
  byId("choose").disabled = at.is_head;
  byId("delete").disabled = node === ROOT;
}

function rootChunk() {
  const text = facts.message ? `${facts.message}\n\n` : "⌂ ";
  return link(ROOT, text, ["chunk", "root"], facts.message ? "The chat" : "The root");
}

function chunk(each) {
  const kinds = ["chunk"];
  if (each.author === "person") kinds.push("person");
  if (each.branches > 1) kinds.push("fork");
  return link(each.id, each.text, kinds, describe(each));
}

function child(each) {
  const kinds = each.in_story ? ["child", "story"] : ["child"];
  const made = link(each.id, each.text, kinds, "");
  made.append(element("small", {}, describe(each)));
  return made;
}

/** A node, as a link that flows with the text. */
function link(id, text, kinds, title) {
  const href = `#${encodeURIComponent(loom)}/${id}`;
  const made = element("a", { href, className: kinds.join(" "), title }, text);
  if (id === node) made.ariaCurrent = "true";
  made.onclick = (event) => {
    if (event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    attempt(() => showNode(id));
  };
  return made;
}

function describe(each) {
  const parts = [each.author];
  if (each.p_per_token !== null) parts.push(`${(100 * each.p_per_token).toPrecision(2)}% a token`);
  if (each.children) parts.push(`${each.children} below`);
  return parts.join(" · ");
}

function more(after) {
  const made = element("button", { type: "button", className: "more quiet" }, "More");
  made.onclick = () => attempt(async () => {
    const page = await childrenPage(loom, node, after);
    made.replaceWith(...page.data.map(child), ...(page.has_more ? [more(page.after)] : []));
  });
  return made;
}

/** Follow the loom's steps, whoever does them. */
async function listen(title) {
  const ending = listening = new AbortController();
  while (!ending.signal.aborted) {
    try {
      for await (const _ of loomEvents(title, facts.revision, ending.signal)) {
        if (!ending.signal.aborted) await show();
      }
    } catch (error) {
      if (ending.signal.aborted) return;
      if (error.status === 404) return;
      await new Promise((resume) => setTimeout(resume, AGAIN_MILLISECONDS));
    }
  }
}

/** Draw children here, side by side, each as its tokens come. */
export async function grow(wishes) {
  const ending = growing = new AbortController();
  const boxes = Array.from({ length: wishes.n }, () =>
    element("div", { className: "child growing" }, element("span"), element("small", {}, "…")));
  document.body.dataset.busy = "yes";
  byId("children").append(...boxes);
  try {
    for await (const part of growNode(loom, node, wishes, ending.signal)) {
      if (part.type === "token") boxes[part.index].firstChild.textContent += part.text;
    }
  } catch (error) {
    if (error.name !== "AbortError") throw error;
  } finally {
    boxes.forEach((box) => box.remove());
    if (growing === ending) {
      growing = null;
      document.body.dataset.busy = "";
      if (loom) await show();
    }
  }
}

/** Stop drawing. Returns whether anything was drawn. */
export function stopGrowing() {
  growing?.abort();
  return growing !== null;
}

/** Write a child here, and go to it. */
export async function write(text) {
  const made = await writeChild(loom, node, text);
  await showNode(made.nodes[0].id);
}

/** Let the story go this way. */
export async function choose() {
  await acceptNode(loom, node);
  await show();
}

/** Delete the node, and go to the one above it. */
export async function remove() {
  const { parent } = await nodeFacts(loom, node);
  await deleteNode(loom, node);
  await showNode(parent);
}

/** Take back the last step, or do it again. */
export async function undo(way) {
  facts = await travel(loom, way, facts.revision);
  await show();
}

/** Do this; what goes wrong is told. */
export async function attempt(work) {
  try {
    await work();
    notify();
  } catch (error) {
    notify(error.message);
    if (error.status === 409 && loom) await show().catch(() => {});
  }
}
