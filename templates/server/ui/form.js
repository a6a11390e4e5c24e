// The form of one API: a table, JSON, text, a file or several, as its input adapter takes them.
//
// Every form has `element`, `fill(example)` and `request()`, which returns what is to be sent:
// `{type, body, text?, parts?, name?, problem?}`; `text` is the body where it is text, `parts` where it is a form.

import { h, icon, sizeOf, tabs, uniqueId } from "./dom.js";
import { JsonEditor, formatted } from "./json.js";
import { sampleOf } from "./schema.js";
import { TableEditor, parseRows } from "./table.js";

const JSON_TYPE = "application/json";
const FORM = "multipart/form-data";

/** Return the form that suits an operation of the OpenAPI document. */
export function formOf(api, onchange) {
  const { content, input } = api;
  if (input.type === "dataframe" && content[JSON_TYPE] && input.orient !== "table") return new TableForm(api, onchange);
  if (content[JSON_TYPE]) return new JsonForm(api, onchange);
  if (content["text/plain"]) return new TextForm(api, onchange);
  const form = content[FORM];
  const kinds = Object.keys(content).filter((kind) => kind !== FORM);
  if (form && !kinds.length) return new PartsForm(api, form, onchange);
  return new FileForm(api, kinds.filter((kind) => kind !== "*/*" && kind !== "application/octet-stream"), onchange);
}

class JsonForm {
  constructor(api, onchange) {
    const { schema, example } = api.content[JSON_TYPE];
    const start = example === undefined ? sampleOf(schema) : example;
    this.editor = new JsonEditor(formatted(JSON.stringify(start)), { label: `Body of the request to ${api.name}`, onchange });
    this.element = this.editor.element;
  }

  fill(example) {
    if (example.text !== undefined) this.editor.text = formatted(example.text);
  }

  request() {
    const { text, problem } = this.editor;
    return { type: JSON_TYPE, body: text, text, problem };
  }
}

class TableForm {
  constructor(api, onchange) {
    this.api = api;
    const declared = api.input.columns;
    const columns = Array.isArray(declared)
      ? declared.map((name) => ({ name, dtype: null, nullable: true }))
      : Object.entries(declared || {}).map(([name, about]) => columnOf(name, about));
    this.table = new TableEditor({ columns, fixed: columns.length > 0, label: `Rows for ${api.name}`, onchange });
    this.editor = new JsonEditor("[]", { label: `Body of the request to ${api.name}`, onchange });
    this.file = new FileField({ label: "CSV, JSON, Parquet or Arrow", accept: ".csv,.json,.parquet,.arrow,.arrows,.feather", onchange });
    this.mode = 0;
    this.tabs = tabs("How to give the rows", [["Table", this.table.element], ["JSON", this.editor.element], ["File", this.file.element]], {
      onselect: (chosen) => {
        if (chosen === 1 && this.mode === 0) this.editor.text = formatted(this.table.json(api.input.orient));
        this.mode = chosen;
        onchange();
      },
    });
    this.element = this.tabs.element;
    const { example } = api.content[JSON_TYPE];
    if (example !== undefined) this.fill({ text: JSON.stringify(example) });
    else if (!columns.length) this.table.setRows([[null, null], [null, null]]);
  }

  fill(example) {
    if (example.type === "text/csv" && example.text !== undefined) this.showTable(() => this.table.importText(example.text));
    else if (example.blob && example.text === undefined) {
      this.file.set(new File([example.blob], example.name));
      this.tabs.select(2);
    } else if (example.text !== undefined) {
      const rows = rowsOf(example.text);
      this.editor.text = formatted(example.text);
      if (rows === null) this.tabs.select(1);
      else this.showTable(() => this.table.setRows(rows));
    }
  }

  showTable(fill) {
    this.tabs.select(0);
    fill();
  }

  request() {
    if (this.mode === 2) return this.file.request();
    if (this.mode === 1) return { type: JSON_TYPE, body: this.editor.text, text: this.editor.text, problem: this.editor.problem };
    const text = this.table.json(this.api.input.orient);
    return { type: JSON_TYPE, body: text, text };
  }
}

function columnOf(name, about) {
  const dtype = typeof about === "string" ? about : about && about.dtype;
  const nullable = about && typeof about === "object" && "nullable" in about ? about.nullable : /float|str|datetime|object/.test(dtype || "");
  return { name, dtype: dtype || null, nullable };
}

/** Return rows of a body that a table can show; `null` for another layout, or for numbers that would change. */
function rowsOf(text) {
  if (/(?<![\d.])-?\d{16,}(?![\d.eE])/.test(text)) return null;
  const value = JSON.parse(text);
  if (Array.isArray(value) && value.length && value.every((row) => row && typeof row === "object")) return value;
  if (value && Array.isArray(value.columns) && Array.isArray(value.data)) {
    return value.data.map((row) => Object.fromEntries(value.columns.map((name, index) => [name, row[index]])));
  }
  return null;
}

class TextForm {
  constructor(api, onchange) {
    this.area = h("textarea", { class: "plain", rows: 6, "aria-label": `Text for ${api.name}`, oninput: onchange });
    this.area.value = api.content["text/plain"].example ?? "";
    this.element = this.area;
  }

  fill(example) {
    if (example.text === undefined) return;
    this.area.value = example.text;
    this.area.dispatchEvent(new Event("input"));
  }

  request() {
    return { type: "text/plain; charset=utf-8", body: this.area.value, text: this.area.value };
  }
}

class FileForm {
  constructor(api, kinds, onchange) {
    this.field = new FileField({ label: "Choose a file, drop it here, or paste it", accept: kinds.join(","), onchange });
    this.element = this.field.element;
  }

  fill(example) {
    if (example.blob) this.field.set(new File([example.blob], example.name, { type: example.type }));
  }

  request() {
    return this.field.request();
  }
}

class PartsForm {
  constructor(api, form, onchange) {
    const { properties = {}, required = [] } = form.schema;
    this.parts = Object.entries(properties).map(([name, schema]) => {
      const isFile = schema.contentMediaType !== undefined || schema.format === "binary";
      const optional = !required.includes(name);
      const field = isFile
        ? new FileField({ label: "Choose, drop or paste", accept: kindOf(form, name), onchange })
        : new JsonEditor("", { label: name, onchange, rows: 3, optional: true });
      return { name, isFile, optional, field };
    });
    this.element = h("div", { class: "parts" }, this.parts.map(({ name, isFile, optional, field }) => h("div", { class: "part" }, h("h5", {}, name, h("span", { class: "muted" }, isFile ? (optional ? " optional" : "") : " JSON")), field.element)));
  }

  fill() {}

  request() {
    const parts = this.parts.map(({ name, isFile, optional, field }) => {
      if (isFile) return { name, file: field.file, problem: field.file || optional ? null : `Choose a file for ${name}.` };
      return { name, text: field.text.trim() || undefined, problem: field.problem };
    }).filter((part) => part.file || part.text || part.problem);
    const body = new FormData();
    for (const part of parts) {
      if (part.file) body.append(part.name, part.file, part.file.name);
      else if (part.text) body.append(part.name, new Blob([part.text], { type: JSON_TYPE }));
    }
    return { type: null, body, parts, problem: parts.map((part) => part.problem).find(Boolean) };
  }
}

function kindOf(form, name) {
  const told = ((form.encoding || {})[name] || {}).contentType || "";
  return told.startsWith("image/") ? told : "";
}

/** A place for one file: chosen, dropped or pasted; pictures are shown. */
class FileField {
  constructor({ label, accept, onchange }) {
    this.file = null;
    this.onchange = onchange;
    const id = uniqueId("file");
    this.input = h("input", { type: "file", id, accept: accept || null, class: "offscreen", onchange: () => this.set(this.input.files[0] || null) });
    this.said = h("span", { class: "filename" }, label);
    this.preview = h("div", { class: "preview" });
    this.label = label;
    this.remove = h("button", { type: "button", class: "quiet", hidden: true, onclick: () => this.set(null) }, icon("cross"), "Remove");
    this.element = h("div", { class: "filefield" },
      h("label", { for: id, class: "drop" }, icon("upload"), this.said, this.input), this.preview, this.remove);
    this.element.addEventListener("dragover", (event) => { event.preventDefault(); this.element.classList.add("is-over"); });
    this.element.addEventListener("dragleave", () => this.element.classList.remove("is-over"));
    this.element.addEventListener("drop", (event) => {
      event.preventDefault();
      this.element.classList.remove("is-over");
      this.set(event.dataTransfer.files[0] || null);
    });
    this.element.addEventListener("paste", (event) => { if (event.clipboardData.files.length) this.set(event.clipboardData.files[0]); });
  }

  set(file) {
    this.file = file;
    this.said.textContent = file ? `${file.name} · ${sizeOf(file.size)}` : this.label;
    this.remove.hidden = !file;
    this.preview.replaceChildren();
    if (file && file.type.startsWith("image/")) {
      const picture = h("img", { alt: file.name });
      picture.src = URL.createObjectURL(file);
      picture.addEventListener("load", () => URL.revokeObjectURL(picture.src), { once: true });
      this.preview.append(picture);
    }
    if (!file) this.input.value = "";
    this.onchange();
  }

  request() {
    const { file } = this;
    if (!file) return { type: "application/octet-stream", body: null, name: "file", problem: "Choose a file first." };
    return { type: typeOf(file), body: file, name: file.name };
  }
}

const TYPES = { arrow: "vnd.apache.arrow.file", arrows: "vnd.apache.arrow.stream", feather: "vnd.apache.arrow.file", parquet: "vnd.apache.parquet", npy: "x-npy", json: "json" };

function typeOf(file) {
  const extension = file.name.split(".").pop().toLowerCase();
  if (extension in TYPES) return `application/${TYPES[extension]}`;
  return file.type || (extension === "csv" ? "text/csv" : "application/octet-stream");
}

/** How many rows a CSV text has, for what is said of an example. */
export function rowCount(text) {
  return Math.max(0, parseRows(text).length - 1);
}
