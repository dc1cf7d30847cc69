// Page of a task with a table of videos: counts, progress, costs, and its rows page by page.

import { ask, asked, query } from "./asking.js";
import { el, fill, icon } from "./dom.js";
import { safe } from "./leaving.js";
import { announce, badge, copier } from "./parts.js";
import { MODES, OUTCOMES, clock, money, moment, price } from "./words.js";

const PAGE = 60;

const words = asked();
const wanted = { status: words.status ?? "", offset: Math.max(0, Number.parseInt(words.offset, 10) || 0) };
const list = el("ul.rows", { "data-testid": "rows" });
const above = el("div", { "data-testid": "rows-notice" });
const below = el("nav.pager", { "aria-label": "Pages of rows" });
const nodes = new Map();
let place = "";
let number = 0;
let asking = 0;

/** Status: its name. The colours are in the style sheet, by `data-outcome`. */
export function named(status) {
  return OUTCOMES[status]?.[0] ?? status;
}

const count = (value) => value.toLocaleString("en-US");

/** Bar with a segment for each status; its label has the numbers as text. */
export function segments({ total, counts }) {
  const known = Object.entries(counts);
  const label = `${count(total)} rows: ${known.map(([status, many]) => `${count(many)} ${named(status).toLowerCase()}`).join(", ") || "none yet"}`;
  return el("div.segments", { role: "img", "aria-label": label, "data-testid": "segments" }, known.map(([status, many]) => {
    const part = el("span", { "data-outcome": status, title: `${named(status)}: ${count(many)}` });
    part.style.flexGrow = String(many);
    return part;
  }));
}

/** Summary above the rows; redrawn when the card has changed. */
export function summary(view) {
  const { total, counts, in_flight: flight } = view.rows;
  const share = total ? Math.floor((100 * ((counts.delivered ?? 0) + (counts.done ?? 0))) / total) : 0;
  const estimate = view.estimated_usd && Number(view.estimated_usd) !== Number(view.cost_usd) ? ` · estimate ${money(view.estimated_usd)}` : "";
  return el(
    "section.summary",
    { "aria-label": "Progress of the table", "data-testid": "summary" },
    el(
      "div.row.apart",
      {},
      el("p.summary-told", {}, el("b", {}, `${share} %`), ` of the videos are stored${flight ? `, ${count(flight)} requests are running` : ""}`),
      el("p", { "data-testid": "cost" }, el("b", {}, view.cost_usd ? money(view.cost_usd) : "unknown"), el("span.muted", {}, ` billed${estimate}`)),
    ),
    segments(view.rows),
    el("div.chips", { role: "group", "aria-label": "Show rows by status" }, chip("", total), Object.entries(counts).map(([status, many]) => chip(status, many))),
  );
}

function chip(status, many) {
  const made = el(
    "button.chip",
    {
      type: "button",
      "data-outcome": status || null,
      "data-status": status,
      "aria-pressed": String(wanted.status === status),
      onclick: () => {
        for (const each of made.parentElement.children) each.setAttribute("aria-pressed", String(each === made));
        go(status, 0);
      },
    },
    status ? el("span.chip-dot", { "aria-hidden": true }) : null,
    status ? named(status) : "All rows",
    " ",
    el("b", {}, count(many)),
  );
  return made;
}

/** Show other rows; the address keeps which. */
async function go(status, offset) {
  Object.assign(wanted, { status, offset });
  history.replaceState(null, "", `?${kept()}`);
  try {
    sessionStorage.setItem(`grokvideo.table.${place}`, kept());
  } catch {
    // Without storage the way back leads to the first rows.
  }
  list.setAttribute("aria-busy", "true");
  await rows();
  announce(range());
}

function kept() {
  return `${place}${wanted.status ? `&status=${wanted.status}` : ""}${wanted.offset ? `&offset=${wanted.offset}` : ""}`;
}

/** Address of a table with the filter and page that were last shown. */
export function back(page) {
  const of = page.split("?")[1] ?? "";
  try {
    return `video?${sessionStorage.getItem(`grokvideo.table.${of}`) ?? of}`;
  } catch {
    return page;
  }
}

/** The rows of the page. */
export function table(view) {
  place = view.links.page.split("?")[1];
  return el("section.table", { "aria-label": "Rows" }, above, list, below);
}

/** Load the wanted rows; unchanged ones keep their picture and their focus. */
export async function rows() {
  const mine = (asking += 1);
  const told = await ask(`api/rows?${place}&${query({ status: wanted.status, offset: wanted.offset, limit: PAGE })}`);
  // The response to an earlier request may arrive after that to a later one.
  if (mine !== asking) return;
  number = told.number;
  if (wanted.offset && wanted.offset >= number) {
    wanted.offset = Math.max(0, Math.floor((number - 1) / PAGE) * PAGE);
    if (number) return rows();
  }
  fill(above, told.notice ? el("p.notice", {}, icon("alert"), `${told.notice}.`) : number ? null : el("p.muted.none", { "data-testid": "no-rows" }, wanted.status ? "No row in the result table has this status." : "The result table has no rows yet."));
  const order = told.rows.map((row, index) => node(row, wanted.offset + index));
  order.forEach((each, index) => {
    if (list.children[index] !== each) list.insertBefore(each, list.children[index] ?? null);
  });
  while (list.children.length > order.length) list.lastChild.remove();
  const shown = new Set(order);
  for (const [name, known] of nodes) if (!shown.has(known.made)) nodes.delete(name);
  list.setAttribute("aria-busy", "false");
  pager();
}

function range() {
  if (!number) return "No rows";
  const last = Math.min(number, wanted.offset + PAGE);
  return `Rows ${count(wanted.offset + 1)} to ${count(last)} of ${count(number)}`;
}

function pager() {
  if (number <= PAGE) return fill(below, number ? el("p.muted", { "data-testid": "range" }, range()) : null);
  const end = Math.floor((number - 1) / PAGE) * PAGE;
  const focused = document.activeElement?.dataset?.testid;
  const step = (name, offset, id) => el("button.button", { type: "button", "data-testid": id, disabled: offset === null, onclick: async () => {
    await go(wanted.status, offset);
    (above.firstChild ?? list).scrollIntoView({ block: "nearest" });
  } }, name);
  const first = wanted.offset === 0;
  const last = wanted.offset >= end;
  fill(
    below,
    step("First", first ? null : 0, "first"),
    step("Previous", first ? null : Math.max(0, wanted.offset - PAGE), "previous"),
    el("p.muted", { "data-testid": "range" }, range()),
    step("Next", last ? null : wanted.offset + PAGE, "next"),
    step("Last", last ? null : end, "last"),
  );
  below.querySelector(`[data-testid="${focused}"]:not(:disabled)`)?.focus();
}

function node(row, index) {
  const name = row.id ?? `#${index}`;
  const said = JSON.stringify(row);
  const known = nodes.get(name);
  if (known?.said === said) return known.made;
  const made = el("li.row-card", { "data-outcome": row.status, "data-testid": "row", "data-id": row.id }, picture(row), told(row, index));
  const focused = known?.made.contains(document.activeElement);
  if (known?.made.isConnected) known.made.replaceWith(made);
  if (focused) made.querySelector("a, button")?.focus();
  nodes.set(name, { said, made });
  return made;
}

function told(row, index) {
  const facts = [
    row.video && row.width ? `${row.width} × ${row.height}` : null,
    row.mode === "text-to-video" ? null : MODES[row.mode] ?? row.mode,
    price(row.cost),
    row.attempts > 1 ? `${row.attempts} purchases` : null,
    row.finished_at ? el("time", { datetime: row.finished_at }, moment(row.finished_at)) : null,
  ];
  const title = row.id ?? `Row ${index + 1}`;
  return el(
    "div.row-text",
    {},
    el("div.row.apart", {}, row.page ? el("a.row-id", { href: row.page }, title) : el("span.row-id", {}, title), badge(row.status)),
    el("p.card-prompt", { title: row.prompt }, row.prompt ?? "No prompt"),
    row.error ? el("p.row-error", { "data-testid": "row-error" }, row.error) : null,
    row.advice ? el("p.row-advice", { "data-testid": "row-advice" }, el("b", {}, "What to do: "), row.advice) : null,
    el("p.row-facts", {}, facts.filter(Boolean).flatMap((part, at) => (at ? [" · ", part] : [part]))),
    row.request_id
      ? el("p.row.row-request", {}, el("code.cut", { title: row.request_id }, row.request_id), copier(() => row.request_id, `Copy the request id of ${title}`, { quiet: true }))
      : null,
  );
}

/** Frame of a row; its poster is loaded when it comes into view. */
function picture(row) {
  const video = row.video && safe(row.video.href);
  if (!video) return el("div.row-frame.row-frame-empty", {}, icon(OUTCOMES[row.status]?.[1] ?? "film"));
  const frame = el("a.row-frame", { href: row.page, tabindex: -1, "aria-hidden": true });
  if (row.duration) frame.append(el("span.length", {}, clock(row.duration)));
  frame.show = () => {
    if (!row.video.poster) return still(frame, video);
    const image = el("img", { src: row.video.poster, alt: "", decoding: "async" });
    image.addEventListener("error", () => {
      image.remove();
      still(frame, video);
    }, { once: true });
    frame.prepend(image);
  };
  inView.observe(frame);
  return frame;
}

/** Show a frame of the video, as there is no poster. */
function still(frame, video) {
  const made = el("video", { src: `${video}#t=0.1`, preload: "metadata", playsinline: true, tabindex: -1 });
  made.addEventListener("error", () => {
    made.remove();
    frame.classList.add("row-frame-empty");
    frame.prepend(icon("film"));
  }, { once: true });
  frame.prepend(made);
}

const inView = new IntersectionObserver((seen) => {
  for (const { isIntersecting, target } of seen) {
    if (!isIntersecting) continue;
    inView.unobserve(target);
    target.show();
  }
});
