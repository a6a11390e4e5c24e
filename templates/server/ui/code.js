// The request on the screen as a command and as programs, ready to be copied.

const LONG = 4000;

/** Return `{curl, Python, TypeScript}` for a request to `url` of an API. */
export function codeFor(api, url, base, request) {
  return { curl: curl(url, request), Python: python(api, base, request), TypeScript: typescript(api, url, request) };
}

function quoted(text) {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

function curl(url, request) {
  const lines = [`curl ${quoted(url)}`];
  if (request.parts) {
    for (const part of request.parts) lines.push(part.text !== undefined ? `--form ${quoted(`${part.name}=${part.text};type=application/json`)}` : `--form ${quoted(`${part.name}=@${part.file ? part.file.name : part.name}`)}`);
  } else {
    lines.push(`--header ${quoted(`Content-Type: ${request.type}`)}`);
    if (request.text === undefined) lines.push(`--data-binary ${quoted(`@${request.name}`)}`);
    else lines.push(request.text.length > LONG ? "--data-binary '@body.json'" : `--data ${quoted(compact(request))}`);
  }
  return lines.join(" \\\n  ");
}

/** JSON on few lines: commands and programs are read, too. */
function compact(request) {
  if (!request.type.startsWith("application/json")) return request.text;
  return request.text.replace(/\n\s*/g, " ").replace(/([[{]) /g, "$1").replace(/ ([\]}])/g, "$1").trim();
}

function python(api, base, request) {
  const isAttribute = !["apis", "call", "close", "is_ready", "metadata", "url", "get", "post", "request"].includes(api.name);
  const call = (value) => (isAttribute ? `client.${api.name}(${value})` : `client.call(${JSON.stringify(api.name)}, ${value})`);
  const imports = ["import kappa"];
  let value;
  if (request.parts) {
    imports.unshift("from pathlib import Path\n");
    value = `{${request.parts.map((part) => `${JSON.stringify(part.name)}: ${part.text !== undefined ? pythonOf(part.text) : `Path(${JSON.stringify(part.file ? part.file.name : part.name)})`}`).join(", ")}}`;
  } else if (request.text === undefined) {
    imports.unshift("from pathlib import Path\n");
    value = `Path(${JSON.stringify(request.name)})`;
  } else if (!request.type.startsWith("application/json")) value = JSON.stringify(request.text);
  else if (request.text.length > LONG) {
    imports.unshift("import json\n");
    value = 'json.load(open("body.json"))';
  } else value = pythonOf(request.text.trim());
  if (api.input.type === "dataframe" && request.text !== undefined && /^\[\s*[[{]/.test(value)) {
    imports.push("import pandas as pd");
    value = `pd.DataFrame(${value})`;
  }
  return `${imports.join("\n")}\n\nclient = kappa.client(${JSON.stringify(base.replace(/\/$/, ""))})\nprint(${call(value)})`;
}

/** JSON text as Python has it; texts are left alone. */
function pythonOf(text) {
  return text.replace(/"(?:[^"\\]|\\.)*"|\b(?:true|false|null)\b/g, (token) => ({ true: "True", false: "False", null: "None" })[token] || token);
}

function typescript(api, url, request) {
  const read = Object.keys(api.operation.responses["200"].content || {})[0] === "application/json" ? "json" : "blob";
  const send = (headers, body) => `const answer = await fetch(${JSON.stringify(url)}, {\n  method: "POST",\n${headers}  body: ${body},\n});\nif (!answer.ok) throw new Error((await answer.json()).error);\nconsole.log(await answer.${read}());`;
  if (request.parts) {
    const parts = request.parts.map((part) => part.text !== undefined
      ? `form.append(${JSON.stringify(part.name)}, new Blob([JSON.stringify(${part.text})], { type: "application/json" }));`
      : `form.append(${JSON.stringify(part.name)}, ${part.name}); // a File or Blob`);
    return `const form = new FormData();\n${parts.join("\n")}\n${send("", "form")}`;
  }
  const headers = `  headers: { "Content-Type": ${JSON.stringify(request.type)} },\n`;
  if (request.text === undefined) return send(headers, "file /* a File or Blob */");
  if (!request.type.startsWith("application/json")) return send(headers, JSON.stringify(request.text));
  return send(headers, request.text.length > LONG ? "JSON.stringify(body)" : `JSON.stringify(${request.text.trim().replace(/\n/g, "\n  ")})`);
}
