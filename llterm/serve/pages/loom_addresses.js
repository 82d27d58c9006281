// The server's addresses of looms, and what is asked there.

import { call, events, file, listen, send } from "./server_calls.js";

const LOOMS = "/v1/llterm/looms";
const PAGE = 500;

function at(...parts) {
  return [LOOMS, ...parts.map((part) => encodeURIComponent(part))].join("/");
}

/** All looms, and the titles of deleted ones. */
export async function allLooms() {
  const looms = [];
  for (let after = ""; ; ) {
    const page = await call(`${LOOMS}?limit=${PAGE}&after=${encodeURIComponent(after)}`);
    looms.push(...page.data);
    if (!page.has_more) return { looms, deleted: page.deleted };
    after = page.after;
  }
}

export const makeLoom = (title, text) => call(LOOMS, { title, text });
export const importLoom = (title, data) => call(at("import"), { title, data });
export const loomFacts = (loom) => call(at(loom));
export const renameLoom = (loom, title) => send("PATCH", at(loom), { title });
export const deleteLoom = (loom) => send("DELETE", at(loom));
export const restoreLoom = (loom) => call(at(loom, "restore"), {});
export const exportLoom = (loom, format) => file(`${at(loom, "export")}?format=${format}`);
export const travel = (loom, way, revision) =>
  send("POST", at(loom, way), {}, { "If-Match": `"${revision}"` });
export const loomEvents = (loom, after, signal) => listen(`${at(loom, "events")}?after=${after}`, signal);

export const nodeFacts = (loom, node) => call(at(loom, "nodes", node));
export const nodeText = (loom, node) => call(at(loom, "nodes", node, "text"));
export const childrenPage = (loom, node, after) =>
  call(`${at(loom, "nodes", node, "children")}?limit=100${after ? `&after=${after}` : ""}`);

/** The nodes from below the root to this one. */
export async function pathNodes(loom, node) {
  const nodes = [];
  for (let after = ""; ; ) {
    const page = await call(`${at(loom, "nodes", node, "path")}?limit=${PAGE}${after}`);
    nodes.push(...page.data);
    if (!page.has_more) return nodes;
    after = `&after=${page.after}`;
  }
}

export const writeChild = (loom, node, text) => call(at(loom, "nodes", node, "children"), { text });
export const acceptNode = (loom, node) => call(at(loom, "nodes", node, "accept"), {});
export const deleteNode = (loom, node) => send("DELETE", at(loom, "nodes", node));
export const growNode = (loom, node, wishes, signal) =>
  events(at(loom, "nodes", node, "grow"), wishes, signal);

/** The formats of exports. */
export async function exportFormats() {
  const told = await call("/openapi.json");
  const { parameters } = told.paths[`${LOOMS}/{loom}/export`].get;
  return parameters.find((each) => each.name === "format").schema.enum;
}
