// A table to type rows into, and to paste or import them. Cells are text until a request is made of them.

import { announce, h, icon } from "./dom.js";

const INTEGER = /^-?\d+$/;
const NUMBER = /^-?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$/;

/** Read CSV (RFC 4180), or what spreadsheets put on the clipboard, as rows of texts. */
export function parseRows(text, separator = ",") {
  const rows = [[]];
  let cell = "";
  let isQuoted = false;
  const source = text.replace(/\r\n?/g, "\n").replace(/\n$/, "");
  for (let at = 0; at < source.length; at += 1) {
    const one = source[at];
    if (isQuoted && one === '"' && source[at + 1] === '"') { cell += '"'; at += 1; }
    else if (one === '"' && (isQuoted || cell === "")) isQuoted = !isQuoted;
    else if (!isQuoted && one === separator) { rows.at(-1).push(cell); cell = ""; }
    else if (!isQuoted && one === "\n") { rows.at(-1).push(cell); rows.push([]); cell = ""; }
    else cell += one;
  }
  rows.at(-1).push(cell);
  return rows;
}

/** Return the JSON of a cell's text in a column, and whether it is what the column takes. */
export function literal(column, text) {
  const { dtype, nullable } = column;
  const quoted = JSON.stringify(text);
  if (text === "") return dtype === "str" && !nullable ? ['""', true] : ["null", dtype === null || nullable];
  if (dtype === null) {
    if (NUMBER.test(text)) return [plainNumber(text), true];
    if (/^(true|false|null)$/.test(text)) return [text, true];
    return [/^".*"$/.test(text) && isJson(text) ? text : quoted, true];
  }
  if (/int/.test(dtype)) return INTEGER.test(text) ? [String(BigInt(text)), true] : [NUMBER.test(text) ? plainNumber(text) : quoted, false];
  if (dtype.startsWith("float")) return NUMBER.test(text) ? [plainNumber(text), true] : [quoted, false];
  if (dtype === "bool") return /^(true|false)$/.test(text) ? [text, true] : [quoted, false];
  if (dtype === "object") return [isJson(text) ? text : quoted, true];
  return [quoted, true];
}

function plainNumber(text) {
  return INTEGER.test(text) ? String(BigInt(text)) : String(text).replace(/^(-?)\./, "$10.").replace(/\.(?=$|[eE])/, ".0");
}

function isJson(text) {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

/** Return the text of a cell that holds a value. */
function textOf(value, column) {
  if (value === null || value === undefined) return "";
  if (typeof value === "string") return column.dtype === null && literal(column, value)[0] !== JSON.stringify(value) ? JSON.stringify(value) : value;
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}

export class TableEditor {
  /** `columns` are `{name, dtype, nullable}`; those that the service declares are `fixed`. */
  constructor({ columns, fixed, label, onchange = () => {} }) {
    this.fixed = fixed;
    this.label = label;
    this.onchange = onchange;
    this.columns = columns;
    this.rows = [];
    this.body = h("tbody");
    this.head = h("thead");
    this.element = h("div", { class: "tableeditor" },
      h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": label }, h("table", { class: "cells" }, this.head, this.body)),
      h("div", { class: "tools" },
        h("button", { type: "button", class: "quiet", onclick: () => { this.addRow(); this.focus(this.rows.length - 1, 0); } }, icon("plus"), "Row"),
        fixed ? null : h("button", { type: "button", class: "quiet", onclick: () => this.addColumn() }, icon("plus"), "Column"),
        h("label", { class: "quiet button" }, icon("upload"), "CSV", h("input", {
          type: "file", accept: ".csv,.tsv,text/csv", class: "offscreen",
          onchange: async (event) => { const [file] = event.target.files; if (file) this.importText(await file.text()); event.target.value = ""; },
        }))));
    this.setRows([]);
  }

  /** Show rows of values by column name, or rows of values alone. */
  setRows(rows) {
    if (!this.fixed && rows.length && !Array.isArray(rows[0])) {
      const names = [...new Set(rows.flatMap((row) => Object.keys(row)))];
      this.columns = names.map((name) => ({ name, dtype: null, nullable: true }));
    } else if (!this.fixed && rows.length) {
      const width = Math.max(...rows.map((row) => row.length));
      this.columns = Array.from({ length: width }, () => ({ name: "", dtype: null, nullable: true }));
    }
    this.rows = rows.map((row) => this.columns.map((column, index) => textOf(Array.isArray(row) ? row[index] : row[column.name], column)));
    if (!this.rows.length) this.rows.push(this.columns.map(() => ""));
    this.draw();
  }

  /** Take a CSV or TSV text, whose first line names the columns. */
  importText(text) {
    const separator = text.split("\n", 1)[0].includes("\t") ? "\t" : ",";
    const [names, ...rows] = parseRows(text, separator);
    if (this.fixed) this.rows = rows.map((row) => this.columns.map((column, index) => row[names.includes(column.name) ? names.indexOf(column.name) : index] ?? ""));
    else {
      this.columns = names.map((name) => ({ name, dtype: null, nullable: true }));
      this.rows = rows.map((row) => names.map((_, index) => row[index] ?? ""));
    }
    announce(`${this.rows.length} rows`);
    this.draw();
  }

  addRow() {
    this.rows.push(this.columns.map(() => ""));
    this.draw();
  }

  addColumn() {
    this.columns = [...this.columns, { name: this.columns.some((one) => one.name) || !this.columns.length ? `column ${this.columns.length + 1}` : "", dtype: null, nullable: true }];
    this.rows.forEach((row) => row.push(""));
    this.draw();
  }

  draw() {
    const columns = this.columns;
    this.head.replaceChildren(h("tr", {}, h("th", { class: "rownumber", scope: "col" }, h("span", { class: "offscreen" }, "Row")), columns.map((column, index) => h("th", { scope: "col" }, this.header(column, index))), h("th", { class: "rowtools" }, h("span", { class: "offscreen" }, "Remove"))));
    this.body.replaceChildren(...this.rows.map((row, at) => h("tr", {},
      h("th", { scope: "row", class: "rownumber" }, String(at + 1)),
      row.map((_, index) => h("td", {}, this.cell(at, index))),
      h("td", { class: "rowtools" }, h("button", {
        type: "button", class: "quiet", "aria-label": `Remove row ${at + 1}`, title: "Remove this row",
        onclick: () => { this.rows.splice(at, 1); if (!this.rows.length) this.rows.push(columns.map(() => "")); this.draw(); },
      }, icon("cross"))))));
    this.onchange();
  }

  header(column, index) {
    if (this.fixed) return [h("span", { class: "columnname" }, column.name), h("span", { class: "dtype", title: column.nullable ? "A value may be missing" : null }, column.dtype ? `${column.dtype}${column.nullable ? "?" : ""}` : "")];
    const input = h("input", { class: "columnname", "aria-label": `Name of column ${index + 1}`, placeholder: String(index) });
    input.value = column.name;
    input.addEventListener("input", () => { column.name = input.value; this.onchange(); });
    const remove = h("button", {
      type: "button", class: "quiet", "aria-label": `Remove column ${column.name || index + 1}`, title: "Remove this column",
      onclick: () => { this.columns.splice(index, 1); this.rows.forEach((row) => row.splice(index, 1)); this.draw(); },
    }, icon("cross"));
    return h("div", { class: "header" }, input, this.columns.length > 1 ? remove : null);
  }

  cell(at, index) {
    const column = this.columns[index];
    const label = `${column.name || `column ${index + 1}`}, row ${at + 1}`;
    const field = column.dtype === "bool"
      ? h("select", { "aria-label": label }, (column.nullable ? ["", "true", "false"] : ["true", "false"]).map((word) => h("option", { value: word }, word || "–")))
      : h("input", { "aria-label": label, inputmode: column.dtype && /int|float/.test(column.dtype) ? "decimal" : "text", placeholder: column.nullable && column.dtype !== null ? "null" : "", type: "text" });
    field.value = this.rows[at][index];
    if (column.dtype === "bool" && field.value !== this.rows[at][index]) this.rows[at][index] = field.value = column.nullable ? "" : "false";
    const check = () => field.classList.toggle("is-wrong", field.value !== "" && !literal(column, field.value)[1]);
    field.addEventListener("input", () => { this.rows[at][index] = field.value; check(); this.onchange(); });
    field.addEventListener("paste", (event) => this.paste(event, at, index));
    field.addEventListener("keydown", (event) => this.move(event, at, index));
    check();
    return field;
  }

  paste(event, at, index) {
    const text = event.clipboardData.getData("text/plain");
    if (!/[\t\n]/.test(text.trimEnd())) return;
    event.preventDefault();
    parseRows(text, "\t").forEach((row, below) => {
      if (at + below >= this.rows.length) this.rows.push(this.columns.map(() => ""));
      row.forEach((cell, beside) => { if (index + beside < this.columns.length) this.rows[at + below][index + beside] = cell.trim(); });
    });
    this.draw();
    this.focus(at, index);
  }

  move(event, at, index) {
    const isPlain = !event.ctrlKey && !event.metaKey && !event.altKey;
    const step = { ArrowDown: 1, ArrowUp: -1, Enter: 1 }[event.key];
    if (!isPlain || step === undefined || (event.target.tagName === "SELECT" && event.key !== "Enter")) return;
    event.preventDefault();
    if (event.key === "Enter" && at + 1 === this.rows.length) this.addRow();
    this.focus(at + step, index);
  }

  focus(at, index) {
    const row = this.body.children[at];
    if (row) row.children[index + 1].firstElementChild.focus();
  }

  /** The JSON of all rows, in the layout that the service wants: `records` unless it says otherwise. */
  json(orient) {
    const named = this.columns.some((column) => column.name);
    const cells = this.rows.map((row) => row.map((text, index) => literal(this.columns[index], text)[0]));
    const names = this.columns.map((column, index) => JSON.stringify(column.name || String(index)));
    const object = (keys, values) => `{${keys.map((key, index) => `${key}: ${values[index]}`).join(", ")}}`;
    const list = (items) => (items.length ? `[\n  ${items.join(",\n  ")}\n]` : "[]");
    const arrays = cells.map((row) => `[${row.join(", ")}]`);
    const labels = cells.map((_, at) => `"${at}"`);
    if (orient === "split") return object(['"columns"', '"data"'], [`[${names.join(", ")}]`, list(arrays)]);
    if (orient === "columns") return object(names, names.map((_, index) => object(labels, cells.map((row) => row[index]))));
    if (orient === "index") return object(labels, cells.map((row) => object(names, row)));
    if (orient === "values" || !named) return list(arrays);
    return list(cells.map((row) => object(names, row)));
  }
}
