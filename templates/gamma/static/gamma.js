// What the pages do beyond HTML: results while one types, and buttons that copy a command.
"use strict";

for (const form of document.querySelectorAll("form[data-live]")) {
  const shown = form.dataset.live;
  let asked = 0;
  let timer = 0;
  const search = async () => {
    const number = ++asked;
    const address = `${location.pathname}?${new URLSearchParams(new FormData(form))}`;
    const answer = await fetch(address, { headers: { Accept: "text/html" } });
    if (!answer.ok || number !== asked) return;
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    document.querySelector(shown).replaceWith(page.querySelector(shown));
    history.replaceState(null, "", address);
  };
  form.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(search, 150);
  });
}

for (const button of document.querySelectorAll("button.copy")) {
  if (!navigator.clipboard) continue;
  button.hidden = false;
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(button.previousElementSibling.textContent);
    button.textContent = "Copied";
  });
}
