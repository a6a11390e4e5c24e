// Light or dark: as the system says, until somebody decides otherwise here.

const KEY = "kappa-theme";
const page = document.documentElement;
const chosen = (() => {
  try {
    return localStorage.getItem(KEY);
  } catch {
    return null; // the browser keeps nothing for this page
  }
})();
if (chosen === "dark" || chosen === "light") page.dataset.theme = chosen;

document.getElementById("theme").addEventListener("click", () => {
  const isDark = page.dataset.theme ? page.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  page.dataset.theme = isDark ? "light" : "dark";
  try {
    localStorage.setItem(KEY, page.dataset.theme);
  } catch { /* it lasts until the page is left */ }
});
