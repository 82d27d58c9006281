// What survives a reload: kept by this browser, for this address. Never the key.

const PLACE = "llterm.";
const WAIT_MILLISECONDS = 1000;
const waiting = new Map();
let timer = 0;

/** What was kept under this name, or null. */
export function kept(name) {
  return JSON.parse(localStorage.getItem(PLACE + name));
}

/** Keep soon what `value` gives then; `smaller` gives what is kept where that is too much. */
export function keep(name, value, smaller = value) {
  waiting.set(name, { value, smaller });
  timer ||= setTimeout(keepNow, WAIT_MILLISECONDS);
}

/** Keep at once whatever waits for it. */
export function keepNow() {
  clearTimeout(timer);
  timer = 0;
  for (const [name, { value, smaller }] of waiting) {
    if (!stored(name, value())) stored(name, smaller());
  }
  waiting.clear();
}

function stored(name, value) {
  try {
    localStorage.setItem(PLACE + name, JSON.stringify(value));
    return true;
  } catch {
    return false;
  }
}

/** Keep what is typed and chosen in every field with an id, and put back what was. */
export function keepFields(root, name) {
  const was = kept(name) ?? {};
  const fields = [...root.querySelectorAll("input[id], select[id], textarea[id]")];
  for (const field of fields.filter((each) => each.id in was)) {
    if (field.type === "checkbox") field.checked = was[field.id];
    else put(field, was[field.id]);
  }
  root.addEventListener("input", () => keep(name, () => Object.fromEntries(
    fields.map((each) => [each.id, each.type === "checkbox" ? each.checked : each.value]))));
}

/** Give a field this value; a list is given the entry too, until it has it by itself. */
function put(field, value) {
  field.value = value;
  if (field.tagName === "SELECT" && field.value !== value && typeof value === "string") {
    field.add(new Option(value, value));
    field.value = value;
  }
}

addEventListener("pagehide", keepNow);
