// The page of a service: what it is, a form for each of its APIs, and the reference. Everything is relative to `root`.

import { announce, codeBlock, copyButton, h, icon, tabs } from "./dom.js";
import { answerView } from "./answer.js";
import { codeFor } from "./code.js";
import { formOf } from "./form.js";
import { inline, markdown } from "./markdown.js";
import { kindOf, schemaTree } from "./schema.js";

const root = new URL(document.body.dataset.root || "./", window.location.href);
const at = (path) => new URL(path.replace(/^\//, ""), root).href;

async function readJson(path) {
  const answer = await fetch(at(path), { headers: { Accept: "application/json" } });
  if (!answer.ok) throw new Error(`${path} answered ${answer.status}.`);
  return answer.json();
}

const main = document.getElementById("main");

function build(service, openapi) {
  const apis = Object.entries(openapi.paths)
    .filter(([, methods]) => methods.post && methods.post["x-kappa"])
    .map(([path, { post }]) => ({
      name: post.operationId, path, operation: post, content: post.requestBody.content, ...post["x-kappa"],
      examples: service.examples.filter((example) => example.api === post.operationId),
    }));
  document.getElementById("nav").replaceChildren(
    h("ul", {}, apis.map((api) => h("li", {}, h("a", { href: `#${api.name}` }, api.name)))),
    h("ul", { class: "minor" },
      service.artifacts.length ? h("li", {}, h("a", { href: "#models" }, "Models")) : null,
      h("li", {}, h("a", { href: "#operations" }, "Operations"))));
  main.replaceChildren(
    about(service),
    h("section", { "aria-label": "APIs" }, apis.map((api) => apiSection(api, openapi))),
    service.artifacts.length ? models(service.artifacts) : "",
    operations(openapi),
    h("footer", {}, `Served by Kappa ${service.kappa_version}`));
  watchReadiness();
  followSections();
  if (window.location.hash) document.getElementById(decodeURIComponent(window.location.hash.slice(1)))?.scrollIntoView();
}

// -- what the service is ----------------------------------------------------------------------------------------------

function about(service) {
  const labels = Object.entries(service.labels);
  return h("section", { class: "about", "aria-label": "About" },
    service.doc.trim() ? h("div", { class: "prose" }, markdown(service.doc)) : null,
    labels.length ? h("ul", { class: "labels", "aria-label": "Labels" }, labels.map(([key, value]) => h("li", {}, h("span", {}, key), " ", value))) : null);
}

function models(artifacts) {
  return h("section", { id: "models" },
    h("h2", {}, "Models"),
    h("div", { class: "cards" }, artifacts.map((artifact) => h("div", { class: "card model" },
      h("h3", {}, artifact.name), h("span", { class: "badge" }, artifact.artifactType),
      Object.keys(artifact.metadata).length
        ? h("dl", {}, Object.entries(artifact.metadata).map(([key, value]) => [h("dt", {}, key), h("dd", {}, typeof value === "string" ? value : JSON.stringify(value))]))
        : null))));
}

// -- one API ----------------------------------------------------------------------------------------------------------

function apiSection(api, openapi) {
  const { operation } = api;
  const text = operation.description || "";
  return h("section", { id: api.name, class: "card api", "aria-labelledby": `${api.name}-title` },
    h("header", {},
      h("h2", { id: `${api.name}-title` }, api.name),
      h("code", { class: "route" }, h("span", { class: "method" }, "POST"), api.path),
      copyButton(() => at(api.path), "Copy the URL"),
      h("span", { class: "badges" },
        h("span", { class: "badge", title: "The input adapter" }, api.input.type),
        h("span", { class: "arrow", "aria-hidden": "true" }, "→"),
        h("span", { class: "badge", title: "The output adapter" }, api.output.type),
        api.batch ? h("span", { class: "badge soft", title: "Requests that arrive together are answered together" }, "batched") : null)),
    text ? h("div", { class: "prose" }, markdown(text)) : null,
    tryIt(api),
    h("details", {}, h("summary", {}, "Reference"), reference(operation, openapi)));
}

function tryIt(api) {
  const output = h("div", { class: "output", "aria-live": "polite" });
  const problem = h("p", { class: "problem", role: "alert", hidden: true });
  const code = { curl: codeBlock("", "Copy the command"), Python: codeBlock("", "Copy the program"), TypeScript: codeBlock("", "Copy the program") };
  const refresh = () => {
    if (!form) return;
    const request = form.request();
    problem.hidden = true;
    for (const [language, text] of Object.entries(codeFor(api, at(api.path), root.href, request))) code[language].querySelector("code").textContent = text;
  };
  let form = null;
  form = formOf(api, refresh);
  refresh();
  const button = h("button", { type: "submit", class: "primary" }, icon("send"), "Send");
  const send = async () => {
    const request = form.request();
    problem.hidden = !request.problem;
    problem.textContent = request.problem || "";
    if (request.problem) return;
    button.disabled = true;
    output.classList.add("is-waiting");
    const began = performance.now();
    try {
      const headers = { Accept: "application/json, */*;q=0.5", ...(request.type ? { "Content-Type": request.type } : {}) };
      const answer = await fetch(at(api.path), { method: "POST", headers, body: request.body });
      output.replaceChildren(await answerView(answer, performance.now() - began));
      announce(`Answered with ${answer.status}`);
    } catch (error) {
      output.replaceChildren(h("p", { class: "problem" }, `The server did not answer: ${error.message}`));
    }
    output.classList.remove("is-waiting");
    button.disabled = false;
  };
  const element = h("form", {
    class: "try", "aria-label": `Try ${api.name}`,
    onsubmit: (event) => { event.preventDefault(); send(); },
    onkeydown: (event) => { if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) { event.preventDefault(); send(); } },
  },
  api.examples.length ? h("div", { class: "examples" }, h("span", { class: "muted", id: `${api.name}-examples` }, "Examples"),
    api.examples.map((example) => h("button", { type: "button", class: "chip", "aria-describedby": `${api.name}-examples`, onclick: () => fill(form, example, problem) }, example.name))) : null,
  form.element, problem,
  h("div", { class: "sendrow" }, button, h("span", { class: "hint" }, h("kbd", {}, "Ctrl"), " ", h("kbd", {}, "Enter"))),
  output,
  h("div", { class: "code" }, tabs("The request as code", Object.entries(code)).element));
  if (api.examples.length) fill(form, api.examples[0], problem);
  return element;
}

async function fill(form, example, problem) {
  try {
    if (example.url === undefined) return form.fill({ name: example.name, type: "application/json", text: JSON.stringify(example.input) });
    const answer = await fetch(at(example.url));
    if (!answer.ok) throw new Error("its file does not come with this bundle");
    const blob = await answer.blob();
    const isText = /^text\/|json/.test(example.media_type);
    return form.fill({ name: example.file, type: example.media_type, blob, text: isText ? await blob.text() : undefined });
  } catch (error) {
    problem.hidden = false;
    problem.textContent = `The example cannot be shown: ${error.message}.`;
    return undefined;
  }
}

// -- the reference ----------------------------------------------------------------------------------------------------

function reference(operation, openapi) {
  const bodies = Object.entries(operation.requestBody.content);
  return h("div", { class: "reference" },
    h("h3", {}, "Request"),
    h("ul", { class: "media" }, bodies.map(([type, about]) => h("li", {}, h("code", {}, type), " ", h("span", { class: "type" }, kindOf(about.schema, openapi)), about.schema && about.schema.description ? h("div", { class: "muted" }, inline(about.schema.description)) : null, schemaTree(about.schema, openapi)))),
    h("h3", {}, "Answers"),
    h("ul", { class: "media" }, Object.entries(operation.responses).map(([status, told]) => {
      const response = told.$ref ? told.$ref.split("/").slice(1).reduce((here, key) => here[key], openapi) : told;
      return h("li", {}, h("code", { class: status < "400" ? "good" : "bad" }, status), " ", MEANINGS[status] || response.description,
        status < "400" ? h("span", { class: "muted" }, ` ${Object.keys(response.content || {}).join(", ")}`) : null);
    })),
    h("p", { class: "muted" }, "Every error is JSON: ", h("code", {}, '{"error": "…", "request_id": "…"}')));
}

const MEANINGS = {
  200: "The prediction", 400: "The body cannot be read", 408: "The body took too long to arrive", 413: "The body is too large", 415: "The media type is not taken",
  422: "The body does not fit what is declared", 500: "The service failed; its log has the request id", 503: "The service is busy or loading; Retry-After says when to ask again", 504: "The prediction took too long",
};

function operations(openapi) {
  const pages = Object.entries(openapi.paths).filter(([, methods]) => methods.get);
  return h("section", { id: "operations" },
    h("h2", {}, "Operations"),
    h("ul", { class: "operations card" }, pages.map(([path, { get }]) => h("li", {}, h("a", { href: at(path) }, h("code", {}, path)), h("span", { class: "muted" }, get.summary)))));
}

// -- the frame of the page --------------------------------------------------------------------------------------------

function watchReadiness() {
  const shown = document.getElementById("state");
  const ask = async () => {
    let state = "not reachable";
    try {
      state = (await fetch(at("readyz"), { cache: "no-store" })).ok ? "ready" : "not ready";
    } catch { /* it stays unreachable */ }
    if (shown.dataset.state !== state) {
      shown.dataset.state = state;
      shown.textContent = state;
    }
  };
  ask();
  setInterval(() => { if (!document.hidden) ask(); }, 5000);
}

/** Mark in the navigation which section is being read. */
function followSections() {
  const links = new Map([...document.querySelectorAll("#nav a")].map((link) => [link.hash.slice(1), link]));
  const watcher = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) {
      if (!isIntersecting) continue;
      links.forEach((link) => link.removeAttribute("aria-current"));
      links.get(target.id)?.setAttribute("aria-current", "true");
    }
  }, { rootMargin: "-20% 0px -70% 0px" });
  links.forEach((_, id) => { const section = document.getElementById(id); if (section) watcher.observe(section); });
}

try {
  const [service, openapi] = await Promise.all([readJson("docs/service.json"), readJson("docs.json")]);
  build(service, openapi);
} catch (error) {
  main.replaceChildren(h("p", { class: "problem", role: "alert" }, `The page could not be loaded: ${error.message}`));
}
