// JSON as text: laid out and coloured without parsing numbers, so that integers beyond 2^53 stay what they are.

import { h, uniqueId } from "./dom.js";

const TOKEN = /"(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null|[{}[\],:]/g;
const NARROW = 76;

/** Lay JSON text out: what fits on a line stays on one. */
export function formatted(text) {
  const tokens = text.match(TOKEN) || [];
  let at = 0;
  function value(indent) {
    const token = tokens[at];
    at += 1;
    if (token !== "{" && token !== "[") return token ?? "";
    const close = token === "{" ? "}" : "]";
    const parts = [];
    while (at < tokens.length && tokens[at] !== close) {
      if (tokens[at] === ",") at += 1;
      else if (token === "{") {
        const key = tokens[at];
        at += 2;
        parts.push(`${key}: ${value(`${indent}  `)}`);
      } else parts.push(value(`${indent}  `));
    }
    at += 1;
    const line = `${token}${parts.join(", ")}${close}`;
    if (!line.includes("\n") && indent.length + line.length <= NARROW) return line;
    return `${token}\n${parts.map((part) => `${indent}  ${part}`).join(",\n")}\n${indent}${close}`;
  }
  return value("");
}

/** JSON text as coloured nodes. */
export function coloured(text) {
  const parts = [];
  let last = 0;
  for (const match of text.matchAll(TOKEN)) {
    parts.push(text.slice(last, match.index));
    last = match.index + match[0].length;
    const isKey = match[0][0] === '"' && /^\s*:/.test(text.slice(last, last + 20));
    const kind = match[0][0] === '"' ? (isKey ? "key" : "text") : /^[-\d]/.test(match[0]) ? "number" : /^\w/.test(match[0]) ? "word" : "";
    parts.push(kind ? h("span", { class: `json-${kind}` }, match[0]) : match[0]);
  }
  parts.push(text.slice(last));
  return parts;
}

/** Say what is wrong with JSON text, with the line; `null` if nothing is. */
export function problemOf(text) {
  if (!text.trim()) return "The body is empty.";
  try {
    JSON.parse(text);
    return null;
  } catch (error) {
    const place = /position (\d+)/.exec(error.message);
    const message = error.message.replace(/^JSON\.parse: /, "").replace(/\s*in JSON at.*|\s*at position.*|,? "[\s\S]*" is not valid JSON$/, "");
    return place ? `Line ${text.slice(0, Number(place[1])).split("\n").length}: ${message}` : message;
  }
}

/** A text area that colours and checks JSON. */
export class JsonEditor {
  constructor(text, { label, onchange = () => {}, rows = 8, optional = false }) {
    this.optional = optional;
    const id = uniqueId("json");
    this.area = h("textarea", {
      id: `${id}-area`, class: "editor-text", spellcheck: "false", autocapitalize: "off", autocomplete: "off", rows,
      "aria-label": label, "aria-describedby": `${id}-said`,
    });
    this.shade = h("pre", { class: "editor-shade", "aria-hidden": "true" });
    this.said = h("p", { id: `${id}-said`, class: "hint" });
    const format = h("button", { type: "button", class: "quiet", onclick: () => { if (!problemOf(this.text)) this.text = formatted(this.text); } }, "Format");
    this.element = h("div", { class: "editor" }, h("div", { class: "editor-box" }, this.shade, this.area), h("div", { class: "editor-foot" }, this.said, format));
    this.onchange = onchange;
    this.area.addEventListener("input", () => this.refresh());
    this.area.addEventListener("scroll", () => this.scroll());
    this.text = text;
  }

  get text() {
    return this.area.value;
  }

  set text(text) {
    this.area.value = text;
    this.area.rows = Math.min(20, Math.max(4, text.split("\n").length + 1));
    this.refresh();
  }

  get problem() {
    return this.optional && !this.text.trim() ? null : problemOf(this.text);
  }

  refresh() {
    this.shade.replaceChildren(...coloured(this.text), "\n");
    this.said.textContent = this.problem || (this.text.trim() ? "Valid JSON" : "Optional");
    this.element.classList.toggle("is-wrong", this.problem !== null);
    this.scroll();
    this.onchange();
  }

  scroll() {
    this.shade.scrollTop = this.area.scrollTop;
    this.shade.scrollLeft = this.area.scrollLeft;
  }
}
