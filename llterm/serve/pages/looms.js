// The page at /looms: the looms of the server's folder, and one of them.

import { byId, element, notify } from "./elements.js";
import { allLooms, deleteLoom, exportFormats, exportLoom, importLoom, makeLoom, nodeText, renameLoom, restoreLoom } from "./loom_addresses.js";
import { attempt, choose, closeLoom, grow, remove, showLoom, shownPlace, stopGrowing, undo, write } from "./loom_view.js";

async function listLooms() {
  const { looms, deleted } = await allLooms();
  byId("looms").replaceChildren(...looms.map(loomRow));
  byId("deleted").replaceChildren(...deleted.map(deletedRow));
  byId("trash").hidden = !deleted.length;
}

function loomRow(loom) {
  const row = element("button", { type: "button" }, loom.id,
    element("small", {}, loom.trouble ?? (loom.ending || "empty")));
  if (loom.id === shownPlace().loom) row.ariaCurrent = "true";
  row.onclick = () => attempt(() => open(loom.id));
  return element("li", {}, row);
}

function deletedRow(title) {
  const row = element("button", { type: "button", title: "Bring it back" }, `${title} ↩`);
  row.onclick = () => attempt(async () => open((await restoreLoom(title)).id));
  return element("li", {}, row);
}

async function open(title, node) {
  document.body.classList.remove("shelf");
  await showLoom(title, node);
  await listLooms();
}

function fromAddress() {
  const [title, node] = location.hash.slice(1).split("/").map(decodeURIComponent);
  return { title, node: Number(node) || undefined };
}

function showWriter(isShown) {
  byId("writer").hidden = !isShown;
  byId(isShown ? "written" : "write").focus();
}

function keepWritten() {
  const text = byId("written").value;
  if (text) attempt(async () => {
    await write(text);
    byId("written").value = "";
    showWriter(false);
  });
}

function save(name, data) {
  const link = element("a", { href: URL.createObjectURL(data), download: name });
  link.click();
  URL.revokeObjectURL(link.href);
}

byId("new-form").onsubmit = (event) => {
  event.preventDefault();
  attempt(async () => {
    const made = await makeLoom(byId("new-title").value.trim(), byId("new-text").value);
    byId("new-form").reset();
    await open(made.id);
  });
};
byId("take-in").onclick = () => byId("import-file").click();
byId("import-file").onchange = () => attempt(async () => {
  const [given] = byId("import-file").files;
  byId("import-file").value = "";
  const title = byId("new-title").value.trim() || given.name.replace(/\.[a-z.]+$/i, "");
  const made = await importLoom(title, await given.text());
  await open(made.id);
  if (made.notes.length) notify(made.notes.join(" "), "news");
});
byId("acts").onsubmit = (event) => {
  event.preventDefault();
  const [n, max_tokens, temperature] = ["count", "tokens", "temperature"].map((id) => Number(byId(id).value));
  attempt(() => grow({ n, max_tokens, temperature }));
};
byId("stop").onclick = stopGrowing;
byId("write").onclick = () => showWriter(true);
byId("give-up").onclick = () => showWriter(false);
byId("writer").onsubmit = (event) => {
  event.preventDefault();
  keepWritten();
};
byId("written").onkeydown = (event) => {
  if (event.key === "Enter" && event.shiftKey) {
    event.preventDefault();
    keepWritten();
  } else if (event.key === "Escape") showWriter(false);
};
byId("choose").onclick = () => attempt(choose);
byId("delete").onclick = () => attempt(remove);
byId("undo").onclick = () => attempt(() => undo("undo"));
byId("redo").onclick = () => attempt(() => undo("redo"));
byId("copy").onclick = () => attempt(async () => {
  const { loom, node } = shownPlace();
  await navigator.clipboard.writeText((await nodeText(loom, node)).text);
  notify("The text up to here is in the clipboard.", "news");
});
byId("rename").onclick = () => attempt(async () => {
  const { loom, node } = shownPlace();
  const title = prompt("Another title", loom);
  if (title === null || title === loom) return;
  await open((await renameLoom(loom, title.trim())).id, node);
});
byId("export").onclick = () => attempt(async () => {
  const { loom } = shownPlace();
  const format = byId("format").value;
  save(`${loom}.${format}`, await exportLoom(loom, format));
});
byId("remove").onclick = () => attempt(async () => {
  const { loom } = shownPlace();
  closeLoom();
  history.replaceState(null, "", " ");
  await deleteLoom(loom);
  await listLooms();
});
byId("notice-close").onclick = () => notify();
byId("looms-open").onclick = () => {
  const isOpen = document.body.classList.toggle("shelf");
  byId("looms-open").ariaExpanded = String(isOpen);
};
addEventListener("keydown", (event) => {
  if (event.key === "Escape" && !document.querySelector("dialog")) stopGrowing();
});

document.body.dataset.busy = "";
attempt(async () => {
  await listLooms();
  const formats = await exportFormats();
  byId("format").replaceChildren(...formats.map((name) => element("option", {}, name)));
  byId("format").value = "json";
  const { title, node } = fromAddress();
  if (title) await open(title, node);
});
