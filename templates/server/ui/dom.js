// Elements, and the few widgets that several parts of the page share. Text only ever becomes text nodes.

/** Make an element: properties that begin with `on` are listeners, the others attributes; `null` and `false` are left out. */
export function h(tag, properties, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties || {})) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

const SHAPES = {
  copy: "M8 8h11v12H8z M5 16H4V4h11v1",
  done: "M4 12.5l5 5L20 6.5",
  send: "M5 12h13 M12.5 5.5L19 12l-6.5 6.5",
  plus: "M12 5v14 M5 12h14",
  cross: "M6 6l12 12 M18 6L6 18",
  file: "M6 3h8l5 5v13H6z M14 3v5h5",
  upload: "M12 16V5 M7 9.5L12 4.5l5 5 M5 15v4h14v-4",
  theme: "M12 3a9 9 0 1 0 9 9 7 7 0 0 1-9-9z",
  link: "M9 15l6-6 M10 6l2-2a5 5 0 0 1 7 7l-2 2 M14 18l-2 2a5 5 0 0 1-7-7l2-2",
};

/** Return a picture that says nothing to screen readers: the button around it has a name. */
export function icon(name) {
  const space = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(space, "svg");
  const path = document.createElementNS(space, "path");
  for (const [key, value] of Object.entries({ viewBox: "0 0 24 24", class: "icon", "aria-hidden": "true" })) svg.setAttribute(key, value);
  path.setAttribute("d", SHAPES[name]);
  svg.append(path);
  return svg;
}

let widgets = 0;

/** Return an id that nothing else on the page has. */
export function uniqueId(word) {
  widgets += 1;
  return `${word}-${widgets}`;
}

/** Tabs, as the ARIA practices describe them: arrow keys move, the panel follows. `items` are `[title, panel]`. */
export function tabs(label, items, { onselect = () => {} } = {}) {
  const names = items.map(() => uniqueId("tab"));
  const panels = items.map(([, panel], index) => {
    const made = h("div", { role: "tabpanel", id: `${names[index]}-panel`, "aria-labelledby": names[index], class: "panel" }, panel);
    made.hidden = index > 0;
    return made;
  });
  const buttons = items.map(([title], index) =>
    h("button", {
      type: "button", role: "tab", id: names[index], "aria-controls": `${names[index]}-panel`,
      "aria-selected": String(index === 0), tabindex: index === 0 ? "0" : "-1", class: "tab",
      onclick: () => select(index),
      onkeydown: (event) => {
        const steps = { ArrowRight: index + 1, ArrowLeft: index - 1, Home: 0, End: items.length - 1 };
        if (!(event.key in steps)) return;
        event.preventDefault();
        const next = (steps[event.key] + items.length) % items.length;
        select(next);
        buttons[next].focus();
      },
    }, title));
  function select(chosen) {
    buttons.forEach((button, index) => {
      button.setAttribute("aria-selected", String(index === chosen));
      button.tabIndex = index === chosen ? 0 : -1;
      panels[index].hidden = index !== chosen;
    });
    onselect(chosen);
  }
  const element = h("div", { class: "tabs" }, h("div", { role: "tablist", "aria-label": label, class: "tablist" }, buttons), panels);
  return { element, select };
}

/** A button that copies what `text()` returns, and says that it did. */
export function copyButton(text, label = "Copy") {
  const button = h("button", { type: "button", class: "quiet copy", "aria-label": label, title: label }, icon("copy"));
  button.addEventListener("click", async () => {
    await writeToClipboard(text());
    button.replaceChildren(icon("done"));
    button.classList.add("is-done");
    announce("Copied");
    setTimeout(() => {
      button.replaceChildren(icon("copy"));
      button.classList.remove("is-done");
    }, 1500);
  });
  return button;
}

async function writeToClipboard(text) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  const area = h("textarea", { class: "offscreen" }); // pages without TLS have no clipboard
  area.value = text;
  document.body.append(area);
  area.select();
  document.execCommand("copy");
  area.remove();
  return undefined;
}

const live = h("div", { class: "offscreen", role: "status", "aria-live": "polite" });

/** Say something to people who do not see the page. */
export function announce(text) {
  if (!live.isConnected) document.body.append(live);
  live.textContent = text;
}

/** Text with a copy button beside it. */
export function codeBlock(text, label) {
  const code = h("code", {}, text);
  return h("div", { class: "codeblock" }, h("pre", { tabindex: "0" }, code), copyButton(() => code.textContent, label));
}

export function sizeOf(bytes) {
  if (bytes < 1000) return `${bytes} B`;
  return bytes < 1e6 ? `${(bytes / 1000).toFixed(1)} kB` : `${(bytes / 1e6).toFixed(1)} MB`;
}
