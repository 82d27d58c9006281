// A text whose tokens can be pointed at, while it grows.

import { heatOf, label } from "./answer_tokens.js";
import { element, inert } from "./elements.js";

/** The tokens of one text as spans; a span is a character at the least, so some are several tokens. */
export class TokenText {
  /** `pick` is told at which span a person points: {span, tokens, before, at}, where `before` is the
   * place of its first token, and `at` that of its text, after the lead. */
  constructor(pick) {
    this.node = element("div", { className: "tokens", dir: "auto" });
    this.node.onclick = (event) => this.#picked(event.target.closest(".token"));
    this.node.onkeydown = (event) => this.#moved(event);
    this.node.append(this.#lead, this.#rest);
    this.#pick = pick;
  }

  #pick;
  #groups = [];
  #open = [];
  #count = 0;
  #joined = "";
  #lead = document.createTextNode("");
  #rest = document.createTextNode("");
  #decoder = new TextDecoder();

  /** Show a text of which these are the tokens so far; `lead` characters of it have none. A token
   * of which the text shows nothing, such as its end, is only seen in the heat. */
  show(text, lead, tokens) {
    for (const token of tokens.slice(this.#count)) this.#add(token);
    const said = text.slice(lead);
    const start = said ? this.#joined.indexOf(said) : this.#joined.length;
    const fits = start >= 0 || said.startsWith(this.#joined);
    this.node.classList.toggle("plain", !fits);
    this.#fit(Math.max(start, 0), said);
    this.#lead.data = inert(fits ? text.slice(0, lead) : text);
    this.#rest.data = fits ? inert(said.slice(this.#joined.length)) : "";
  }

  #add(token) {
    this.#open.push(token);
    this.#count += 1;
    const text = this.#decoder.decode(new Uint8Array(token.bytes), { stream: true });
    if (!text) return;
    const group = { tokens: this.#open, before: this.#count - this.#open.length, text };
    this.#open = [];
    const heat = Math.max(...group.tokens.map((each) => heatOf(each.logprob)));
    group.span = element("span", { className: "token" });
    group.span.tabIndex = this.#groups.length ? -1 : 0;
    group.span.style.setProperty("--heat", heat.toFixed(3));
    group.span.classList.toggle("hot", heat > 0.5);
    this.#groups.push(group);
    this.#rest.before(group.span);
    this.#joined += text;
  }

  /** What of each span is `said`, which begins at this place of all: a stop that ended the text, and
   * marks around it, are left out. */
  #fit(start, said) {
    let place = 0;
    for (const group of this.#groups) {
      const from = Math.max(start - place, 0);
      const shown = group.text.slice(from, Math.max(start + said.length - place, 0));
      group.at = Math.max(place - start, 0);
      group.span.classList.toggle("unseen", !shown);
      const drawn = shown ? inert(shown) : label(group.text);
      if (group.span.textContent !== drawn) group.span.textContent = drawn;
      place += group.text.length;
    }
  }

  #picked(span) {
    const group = this.#groups.find((each) => each.span === span);
    if (!group) return;
    for (const each of this.#groups) each.span.tabIndex = each === group ? 0 : -1;
    this.#pick(group);
  }

  #moved(event) {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    const at = this.#groups.findIndex((each) => each.span === event.target);
    if (at < 0 || event.ctrlKey || event.altKey || event.metaKey) return;
    if (event.key === "Enter" || event.key === " ") this.#picked(event.target);
    else if (step) this.#groups[Math.min(Math.max(at + step, 0), this.#groups.length - 1)].span.focus();
    else return;
    event.preventDefault();
  }
}
