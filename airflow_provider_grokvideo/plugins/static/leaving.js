// Links that leave Airflow's frame: its sandbox forbids navigation and, on some versions, downloads. The surrounding
// window follows the link instead.

import { framed } from "./theme.js";

/** Follow a link in the surrounding window. */
function follow(anchor) {
  const around = window.parent.document;
  const twin = around.createElement("a");
  twin.href = anchor.href;
  if (anchor.hasAttribute("download")) twin.download = anchor.getAttribute("download");
  around.body.append(twin);
  twin.click();
  twin.remove();
}

/** Make an anchor leave the frame, if there is one. Opening it in a new tab still works. */
export function leaving(anchor) {
  if (framed) {
    anchor.addEventListener("click", (event) => {
      if (event.ctrlKey || event.metaKey || event.shiftKey || event.button !== 0) return;
      event.preventDefault();
      follow(anchor);
    });
  }
  return anchor;
}

/** Copy a text to the clipboard; return whether it worked. */
export async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const area = document.createElement("textarea");
    area.value = text;
    area.className = "offscreen";
    document.body.append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    return done;
  }
}

/** A safe link: this page's, Airflow's, https, or this machine. */
export function safe(href) {
  if (typeof href !== "string") return null;
  const url = new URL(href, document.baseURI);
  const local = url.protocol === "http:" && ["127.0.0.1", "localhost"].includes(url.hostname);
  return url.origin === location.origin || url.protocol === "https:" || local ? url.href : null;
}
