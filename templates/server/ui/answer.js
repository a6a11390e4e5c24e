// What a service answered: as a table, a picture, JSON or text, with its status and headers.

import { copyButton, h, sizeOf, tabs } from "./dom.js";
import { coloured, formatted } from "./json.js";

const MOST_ROWS = 200;
const MOST_TEXT = 200_000;

/** Show an answer that took `milliseconds`. */
export async function answerView(response, milliseconds) {
  const blob = await response.blob();
  const type = (response.headers.get("Content-Type") || "").split(";")[0];
  const text = /json|^text\//.test(type) ? await blob.text() : null;
  const views = viewsOf(type, text, blob);
  const shown = views.length ? tabs("The answer as", [...views, ["Headers", headersOf(response)]]).element : h("p", { class: "muted" }, "The answer has no body.");
  return h("div", { class: `answer ${response.ok ? "is-good" : "is-bad"}` },
    h("div", { class: "answerhead" },
      h("span", { class: "status" }, `${response.status}${response.statusText ? ` ${response.statusText}` : ""}`),
      h("span", { class: "muted" }, `${Math.round(milliseconds)} ms · ${sizeOf(blob.size)}`),
      h("span", { class: "muted requestid", title: "The id under which the server logged it" }, response.headers.get("X-Request-Id") || "")),
    shown);
}

function viewsOf(type, text, blob) {
  if (!blob.size) return [];
  if (type.startsWith("image/")) return [["Picture", picture(blob)]];
  if (text === null) return [["File", download(blob, type)]];
  if (!type.endsWith("json")) return [["Text", plain(text)]];
  const table = tableOf(text);
  const json = ["JSON", jsonView(text)];
  return table ? [["Table", table], json] : [json];
}

function jsonView(text) {
  const laidOut = text.length > MOST_TEXT ? text : formatted(text);
  const shown = laidOut.length > MOST_TEXT ? [laidOut.slice(0, MOST_TEXT), " …"] : coloured(laidOut);
  return h("div", { class: "codeblock" }, h("pre", { class: "json", tabindex: "0" }, shown), copyButton(() => laidOut, "Copy the answer"));
}

function plain(text) {
  return h("div", { class: "codeblock" }, h("pre", { tabindex: "0" }, text.slice(0, MOST_TEXT)), copyButton(() => text, "Copy the answer"));
}

function picture(blob) {
  const image = h("img", { alt: "The picture that was answered", class: "picture" });
  image.src = URL.createObjectURL(blob);
  return h("div", {}, image, download(blob, blob.type));
}

function download(blob, type) {
  const url = URL.createObjectURL(blob);
  return h("p", {}, h("a", { href: url, download: `answer.${(type.split("/")[1] || "bin").replace(/^x-|\+.*/g, "")}`, class: "button quiet" }, `Save ${type || "the file"}, ${sizeOf(blob.size)}`));
}

/** A table of an answer that is a list of records; not where numbers would lose digits. */
function tableOf(text) {
  if (/(?<![\d.])-?\d{16,}(?![\d.eE])/.test(text)) return null;
  let rows;
  try {
    rows = JSON.parse(text);
  } catch {
    return null;
  }
  const isRecords = Array.isArray(rows) && rows.length && rows.every((row) => row && typeof row === "object" && !Array.isArray(row) && Object.keys(row).length);
  if (!isRecords) return null;
  const names = [...new Set(rows.flatMap((row) => Object.keys(row)))];
  const shown = rows.slice(0, MOST_ROWS);
  return h("div", {},
    h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "The answer as a table" }, h("table", { class: "data" },
      h("thead", {}, h("tr", {}, names.map((name) => h("th", { scope: "col" }, name)))),
      h("tbody", {}, shown.map((row) => h("tr", {}, names.map((name) => h("td", { class: typeof row[name] === "number" ? "number" : null }, cellText(row[name])))))))),
    rows.length > shown.length ? h("p", { class: "muted" }, `${rows.length - shown.length} more rows`) : null);
}

function cellText(value) {
  if (value === undefined) return "";
  return typeof value === "string" ? value : JSON.stringify(value);
}

function headersOf(response) {
  return h("table", { class: "data" }, h("tbody", {}, [...response.headers].map(([name, value]) => h("tr", {}, h("th", { scope: "row" }, name), h("td", {}, value)))));
}
