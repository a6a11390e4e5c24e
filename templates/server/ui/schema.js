// JSON Schemas: as a tree to read, and as a value to begin with.

import { h } from "./dom.js";
import { inline } from "./markdown.js";

export function resolve(schema, document) {
  if (!schema || !schema.$ref) return schema || {};
  return schema.$ref.replace(/^#\//, "").split("/").reduce((at, key) => (at || {})[key.replace(/~1/g, "/").replace(/~0/g, "~")], document) || {};
}

/** Say what a schema allows in a few words. */
export function kindOf(schema, document) {
  const made = resolve(schema, document);
  if (made.const !== undefined) return JSON.stringify(made.const);
  if (made.enum) return made.enum.map((value) => JSON.stringify(value)).join(" | ");
  for (const word of ["anyOf", "oneOf"]) if (made[word]) return [...new Set(made[word].map((part) => kindOf(part, document)))].join(" or ");
  if (made.allOf) return made.allOf.map((part) => kindOf(part, document)).join(" and ");
  if (made.prefixItems) return `[${made.prefixItems.map((part) => kindOf(part, document)).join(", ")}]`;
  const types = [].concat(made.type || []);
  if (types.includes("array") || made.items) return `list of ${made.items && Object.keys(made.items).length ? kindOf(made.items, document) : "anything"}`;
  const named = types.map((type) => (type === "string" && made.format) || (type === "string" && made.contentMediaType ? "file" : type));
  return named.join(" or ") || (made.properties ? "object" : "anything");
}

/** The properties of a schema, nested, with what is said about each. */
export function schemaTree(schema, document, depth = 0) {
  const made = resolve(schema, document);
  const alternatives = made.anyOf || made.oneOf;
  if (alternatives && alternatives.length > 1) {
    return h("ul", { class: "schema" }, alternatives.map((part) => h("li", {}, h("span", { class: "type" }, kindOf(part, document)), depth < 4 ? schemaTree(part, document, depth + 1) : null)));
  }
  const items = made.items || (alternatives && alternatives[0]);
  if (items && (items.properties || items.anyOf || items.$ref)) return schemaTree(items, document, depth);
  const entries = Object.entries(made.properties || {});
  if (!entries.length || depth > 5) return null;
  const required = made.required || [];
  return h("ul", { class: "schema" }, entries.map(([name, property]) => {
    const about = resolve(property, document);
    const limits = ["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "minLength", "maxLength", "pattern", "default"]
      .filter((word) => about[word] !== undefined && Math.abs(Number(about[word])) !== 2 ** 63).map((word) => `${word} ${about[word]}`);
    return h("li", {},
      h("code", {}, name), " ", h("span", { class: "type" }, kindOf(property, document)),
      required.includes(name) ? h("span", { class: "required" }, "required") : null,
      limits.length ? h("span", { class: "muted" }, limits.join(", ")) : null,
      about.description ? h("div", { class: "muted" }, inline(about.description)) : null,
      schemaTree(about, document, depth + 1));
  }));
}

/** A value that a form begins with. */
export function sampleOf(schema, depth = 0) {
  if (!schema || depth > 6) return null;
  for (const word of ["example", "default", "const"]) if (schema[word] !== undefined) return schema[word];
  if (schema.examples && schema.examples.length) return schema.examples[0];
  if (schema.enum) return schema.enum[0];
  const first = (schema.anyOf || schema.oneOf || schema.allOf || [])[0];
  if (first) return sampleOf(first, depth + 1);
  const [type] = [].concat(schema.type || []);
  if (type === "object" || schema.properties) {
    const kept = Object.entries(schema.properties || {}).filter(([name]) => !schema.required || schema.required.includes(name));
    return Object.fromEntries(kept.map(([name, property]) => [name, sampleOf(property, depth + 1)]));
  }
  if (type === "array") {
    const item = schema.items && Object.keys(schema.items).length ? sampleOf(schema.items, depth + 1) : 0;
    return Array.from({ length: Math.min(schema.minItems ?? 1, 64) }, () => item);
  }
  return { string: "", integer: schema.minimum > 0 ? schema.minimum : 0, number: 0, boolean: false, null: null }[type] ?? {};
}
