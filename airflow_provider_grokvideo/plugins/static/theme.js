// Light or dark theme: Airflow's in its frame, otherwise the system's.

const system = matchMedia("(prefers-color-scheme: dark)");

function outer() {
  try {
    return window.parent === window ? null : window.parent.document.documentElement;
  } catch {
    return null;
  }
}

function isDark() {
  const around = outer();
  if (around?.classList.contains("dark") || around?.dataset.theme === "dark") return true;
  if (around?.classList.contains("light") || around?.dataset.theme === "light") return false;
  return system.matches;
}

function apply() {
  document.documentElement.dataset.theme = isDark() ? "dark" : "light";
}

apply();
system.addEventListener("change", apply);
const around = outer();
if (around) new MutationObserver(apply).observe(around, { attributes: true, attributeFilter: ["class", "data-theme"] });

/** Whether the page is in Airflow's frame. */
export const framed = around !== null;
document.documentElement.dataset.framed = String(framed);
