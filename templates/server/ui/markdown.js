// The Markdown that descriptions are written in, as elements: headings, lists, tables, code, links, emphasis.
// Nothing is ever parsed as HTML, so a description cannot do anything but be read.

import { codeBlock, h } from "./dom.js";

export function markdown(text) {
  const lines = text.replace(/\r\n?/g, "\n").split("\n");
  const blocks = [];
  let at = 0;
  const upTo = (isPart) => {
    const start = at;
    while (at < lines.length && isPart(lines[at])) at += 1;
    return lines.slice(start, at);
  };
  while (at < lines.length) {
    const line = lines[at];
    const fence = /^\s*(```+|~~~+)/.exec(line);
    const heading = /^(#{1,6})\s+(.*?)\s*#*$/.exec(line);
    if (!line.trim()) at += 1;
    else if (fence) {
      at += 1;
      const code = upTo((one) => !one.trim().startsWith(fence[1]));
      at += 1;
      blocks.push(codeBlock(code.join("\n"), "Copy the code"));
    } else if (heading) {
      at += 1;
      blocks.push(h(`h${Math.min(6, heading[1].length + 2)}`, {}, inline(heading[2])));
    } else if (/^\s*([-*_])(\s*\1){2,}\s*$/.test(line)) {
      at += 1;
      blocks.push(h("hr"));
    } else if (/^\s*>/.test(line)) {
      blocks.push(h("blockquote", {}, markdown(upTo((one) => /^\s*>/.test(one)).map((one) => one.replace(/^\s*> ?/, "")).join("\n"))));
    } else if (ITEM.test(line)) blocks.push(list(upTo((one) => ITEM.test(one) || (/^\s{2,}\S/.test(one)))));
    else if (/^\s*\|.*\|\s*$/.test(line) && /^\s*\|[\s:|-]+\|\s*$/.test(lines[at + 1] || "")) blocks.push(table(upTo((one) => /^\s*\|/.test(one))));
    else blocks.push(h("p", {}, inline(upTo((one) => one.trim() && !ITEM.test(one) && !/^\s*(```|~~~|#{1,6}\s|>)/.test(one)).join("\n"))));
  }
  return blocks;
}

const ITEM = /^\s*([-*+]|\d+[.)])\s+/;

function list(lines) {
  const items = [];
  for (const line of lines) {
    if (ITEM.test(line) && (!items.length || indent(line) <= indent(lines[0]))) items.push([line.replace(ITEM, "")]);
    else items[items.length - 1].push(line.replace(/^\s{1,4}/, ""));
  }
  const isNumbered = /^\s*\d/.test(lines[0]);
  return h(isNumbered ? "ol" : "ul", {}, items.map(([first, ...rest]) => h("li", {}, inline(first), rest.length ? markdown(rest.join("\n")) : null)));
}

function indent(line) {
  return line.length - line.trimStart().length;
}

function table(lines) {
  const rows = lines.map((line) => line.trim().replace(/^\||\|$/g, "").split(/(?<!\\)\|/).map((cell) => cell.trim().replaceAll("\\|", "|")));
  const [head, , ...body] = rows;
  return h("div", { class: "scroll" }, h("table", { class: "data" },
    h("thead", {}, h("tr", {}, head.map((cell) => h("th", {}, inline(cell))))),
    h("tbody", {}, body.map((row) => h("tr", {}, row.map((cell) => h("td", {}, inline(cell))))))));
}

const INLINE = /(`+)([^`]|[^`][\s\S]*?[^`])\1(?!`)|\[([^\]]+)\]\(([^)\s]+)(?:\s+"[^"]*")?\)|(https?:\/\/[^\s<>)]+[^\s<>).,;:!?])|\*\*([\s\S]+?)\*\*|__([\s\S]+?)__|\*([^\s*][\s\S]*?)\*|\b_([^\s_][\s\S]*?)_\b|\\([\\`*_{}[\]()#+.!|-])/g;

/** Text with links, code and emphasis in it. */
export function inline(text) {
  const parts = [];
  let last = 0;
  for (const match of text.matchAll(INLINE)) {
    parts.push(text.slice(last, match.index));
    last = match.index + match[0].length;
    const [, , code, label, target, bare, strong, strongToo, soft, softToo, escaped] = match;
    if (code !== undefined) parts.push(h("code", {}, code.trim()));
    else if (label !== undefined) parts.push(link(target, inline(label)));
    else if (bare !== undefined) parts.push(link(bare, bare));
    else if (strong || strongToo) parts.push(h("strong", {}, inline(strong || strongToo)));
    else if (soft || softToo) parts.push(h("em", {}, inline(soft || softToo)));
    else parts.push(escaped);
  }
  parts.push(text.slice(last));
  return parts;
}

function link(target, label) {
  const isSafe = /^(https?:|mailto:|#|\.{0,2}\/|[\w-]+(\/|$|\.))/i.test(target);
  return isSafe ? h("a", { href: target, rel: "noopener noreferrer", target: /^https?:/i.test(target) ? "_blank" : null }, label) : label;
}
