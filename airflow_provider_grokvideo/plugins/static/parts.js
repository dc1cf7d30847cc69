// Shared parts of the pages: badges, progress, notices, buttons.

import { el, fill, icon } from "./dom.js";
import { copy, leaving } from "./leaving.js";
import { framed } from "./theme.js";
import { OUTCOMES, span } from "./words.js";

export function badge(outcome, text) {
  const [name, picture] = OUTCOMES[outcome] ?? [outcome, "question"];
  return el("span.badge", { "data-outcome": outcome, "data-testid": "outcome" }, icon(picture), text ?? name);
}

/** A button that copies a text and confirms it. */
export function copier(text, label, { title = label, quiet = false } = {}) {
  const said = el("span", {}, quiet ? "" : label);
  const button = el(
    quiet ? "button.icon-button" : "button.button",
    {
      type: "button",
      title,
      "aria-label": title,
      onclick: async () => {
        const done = await copy(text());
        button.dataset.done = String(done);
        if (!quiet) said.textContent = done ? "Copied" : "Not copied";
        announce(done ? "Copied" : "This browser does not allow copying");
        setTimeout(() => {
          delete button.dataset.done;
          if (!quiet) said.textContent = label;
        }, 1600);
      },
    },
    icon("copy"),
    quiet ? null : said,
  );
  return button;
}

const live = el("div.offscreen", { role: "status", "aria-live": "polite" });

/** Announce a text to screen readers. */
export function announce(text) {
  if (!live.isConnected) document.body.append(live);
  if (live.textContent !== text) live.textContent = text;
}

/** Progress of a request: a share from 0 to below 1, and a text. */
export function progress(waiting, now) {
  const since = Date.parse(waiting.since);
  const age = Math.max(0, (now - since) / 1000);
  const expected = waiting.expected_at ? (Date.parse(waiting.expected_at) - since) / 1000 : null;
  const late = waiting.late_at ? (Date.parse(waiting.late_at) - since) / 1000 : null;
  // By its age a request is at most 95 % done: half of all requests take longer than expected.
  const byAge = expected ? Math.min(0.95, 1 - Math.exp((-0.8 * age) / expected)) : null;
  const told = waiting.progress;
  const share = told !== null && told !== undefined ? Math.min(told, 99) / 100 : byAge;
  let soon = "";
  if (told === 100) soon = "Done at xAI; the task is fetching it";
  else if (expected !== null && age < expected) soon = `Expected in about ${span(expected - age)}`;
  else if (late !== null && age < late) soon = "Expected any moment";
  else if (late !== null) soon = "Slower than 90 % of similar requests";
  return { share, age, soon, told };
}

export function bar(share, label) {
  const percent = share === null ? null : Math.round(share * 100);
  const inner = el("div.bar-inner");
  if (percent !== null) inner.style.width = `${Math.max(2, percent)}%`;
  return el(
    share === null ? "div.bar.bar-unknown" : "div.bar",
    { role: "progressbar", "aria-label": label, "aria-valuemin": 0, "aria-valuemax": 100, "aria-valuenow": percent },
    inner,
  );
}

/** Header outside of Airflow's frame, with a link back. */
export function header() {
  if (framed) return null;
  const home = location.pathname.split("/grokvideo")[0] || "";
  return el("header.standalone", {}, leaving(el("a.back", { href: `${home}/` }, icon("back"), "Airflow")));
}

/** Message in place of a page that cannot be shown. */
export function instead(place, { title, text, retry = null, link = null }) {
  fill(
    place,
    el(
      "div.instead",
      { "data-testid": "instead" },
      el("div.instead-picture", {}, icon("film")),
      el("h1", {}, title),
      text ? el("p", {}, text) : null,
      el("div.row.centered", {}, [
        retry ? el("button.button", { type: "button", onclick: retry }, "Try again") : null,
        link ? el("a.button.quiet", { href: link[0] }, link[1]) : null,
      ]),
    ),
  );
}
