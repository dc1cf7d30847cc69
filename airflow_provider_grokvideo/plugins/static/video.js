// Video page of one task instance: video, source, progress, or the error.

import { ask, asked, query, whileVisible } from "./asking.js";
import { compare } from "./compare.js";
import { el, fill, icon } from "./dom.js";
import { copy, leaving, safe } from "./leaving.js";
import { announce, badge, bar, copier, header, instead, progress } from "./parts.js";
import { MODES, OUTCOMES, bytes, moment, money, price, seconds, span, timeOfDay } from "./words.js";
import { back, rows, summary, table } from "./table.js";
import { framed } from "./theme.js";

const LIVE = new Set(["submitting", "waiting", "asking", "submitted"]);
const main = document.getElementById("main");
const words = asked();
const place = query({
  dag_id: words.dag_id,
  run_id: words.run_id,
  task_id: words.task_id,
  map_index: words.map_index,
  item: words.item,
});
let shown = null;

function gallery() {
  try {
    const kept = sessionStorage.getItem("grokvideo.gallery");
    return kept ? `./?${kept}` : "./";
  } catch {
    return "./";
  }
}

async function load() {
  const view = await ask(`api/video?${place}&poll=1`);
  const { now: _now, waiting: _waiting, ...told } = view;
  const said = JSON.stringify(told);
  const old = main.querySelector(".waiting");
  // Unchanged parts are not redrawn: a video keeps playing, and the focus stays.
  if (said !== shown?.said || !old !== !view.waiting) (view.rows ? drawTable : draw)(view);
  else if (old) old.replaceWith(waiting(view));
  shown = { said, view };
  if (view.rows) await rows();
}

function title(view) {
  document.title = `${view.label} · Video`;
  return el(
    "div.title-row",
    {},
    el("div.row", {}, badge(view.outcome), el("h1.headline", { "data-testid": "headline" }, view.label, el("span", {}, view.headline === OUTCOMES[view.outcome]?.[0] ? "" : view.headline))),
    el(
      "div.row",
      {},
      view.links.table ? el("a.all", { href: back(view.links.table), "data-testid": "whole-table" }, icon("back"), "All rows of the table") : null,
      el("a.all", { href: gallery(), "data-testid": "all" }, icon("back"), "All videos"),
    ),
  );
}

/** Page of a table; the rows stay where they are when the summary changes. */
function drawTable(view) {
  const focused = document.activeElement?.dataset?.status;
  const top = el("div.stage", {}, title(view), view.problem ? problem(view) : null, summary(view), actions(view));
  const known = main.querySelector(".table");
  if (known) main.querySelector(".stage").replaceWith(top);
  else fill(main, header(), top, table(view));
  if (focused !== undefined) main.querySelector(`.chip[data-status="${focused}"]`)?.focus();
  announce(view.headline);
}

function draw(view) {
  fill(
    main,
    header(),
    title(view),
    el(
      "div.columns",
      {},
      el(
        "div.stage",
        {},
        view.notice ? notice(view.notice) : null,
        view.problem ? problem(view) : null,
        view.waiting ? waiting(view) : null,
        view.outcome === "asking" ? asking(view) : null,
        picture(view),
        view.prompt ? prompt(view.prompt) : null,
        view.chain.length > 1 ? chain(view.chain) : null,
        view.purchases.length > 1 ? purchases(view.purchases) : null,
      ),
      el("aside.facts", { "aria-label": "About this video" }, actions(view), facts(view), parameters(view)),
    ),
  );
  announce(view.headline);
}

function picture(view) {
  const before = view.before;
  const after = view.video && safe(view.video.href) ? view.video : null;
  const still = before?.image && safe(before.image);
  if (before && (before.video || still) && after) {
    return compare(
      { name: before.label, page: before.page, video: before.video, image: still },
      { name: view.label, page: null, video: after, image: null },
      view,
    );
  }
  if (after) {
    return el(
      "figure.single",
      {},
      player(after, view, view.label),
      after.kind === "link" && view.outcome !== "waiting"
        ? el("figcaption.notice", { "data-testid": "dies" }, icon("alert"),
            "This is xAI's temporary link, which expires within hours. ",
            view.outcome === "done" ? "Set destination= on the task to store its next video." : "Retry or clear the task to store the video.")
        : null,
    );
  }
  if (before && (before.video || still)) {
    return el(
      "figure.single",
      {},
      before.video && safe(before.video.href)
        ? player(before.video, view, before.label)
        : el("img.still", { src: still, alt: "Source of the video", "data-testid": "before" }),
      el("figcaption.muted", {}, `Source: ${before.label}`),
    );
  }
  return null;
}

function player(video, view, name) {
  const made = el("video.player", {
    controls: true,
    playsinline: true,
    preload: "metadata",
    src: safe(video.href),
    poster: video.poster ?? null,
    "aria-label": `Video of ${name}`,
    "data-testid": "player",
  });
  if (view.width && view.height) made.style.aspectRatio = `${view.width} / ${view.height}`;
  made.addEventListener("error", () => {
    const text = video.kind === "link" ? "The temporary link has expired." : "This browser cannot play the file, or the API server cannot read it.";
    made.closest("figure")?.append(el("p.notice", { role: "alert" }, icon("alert"), text));
  }, { once: true });
  return made;
}

function prompt(text) {
  const long = text.length > 320;
  const made = el(long ? "p.prompt.folded" : "p.prompt", { "data-testid": "prompt" }, text);
  if (!long) return el("section", { "aria-label": "Prompt" }, made);
  const more = el("button.link", { type: "button", "aria-expanded": "false", onclick: () => {
    const folded = made.classList.toggle("folded");
    more.textContent = folded ? "Show more" : "Show less";
    more.setAttribute("aria-expanded", String(!folded));
  } }, "Show more");
  return el("section", { "aria-label": "Prompt" }, made, more);
}

function waiting(view) {
  const { share, age, soon, told } = progress(view.waiting, Date.parse(view.now));
  const known = told !== null && told !== undefined;
  return el(
    "section.waiting",
    { "aria-label": "Progress", "data-testid": "waiting" },
    el("div.row.apart", {}, el("strong", {}, soon || "In progress"), el("span.muted", {}, known && told < 100 ? `${told} % reported by xAI` : null)),
    bar(share, soon || "In progress"),
    el("p.muted", {},
      `${view.submitted_at ? "Submitted at" : "Waiting since"} ${timeOfDay(view.waiting.since)}, ${span(age)} ago. `,
      view.waiting.deadline ? `The task waits until ${timeOfDay(view.waiting.deadline)}; after that the request keeps running. ` : "",
      ["deferred", "up_for_reschedule"].includes(view.task.state) ? "The task uses no worker slot while it waits." : ""),
  );
}

function asking(view) {
  return el(
    "section.panel",
    { "data-outcome": "asking", "data-testid": "asking" },
    el("strong", {}, "Response required"),
    el("p", {}, view.video ? "Review the video under Required Actions." : "Approve or reject a purchase above a limit under Required Actions. Nothing was charged."),
    leaving(el("a.button", { href: actionsPage(view) }, "Respond", icon("out"))),
  );
}

function actionsPage(view) {
  return `${view.links.task.replace(/\/plugin\/grokvideo$/, "")}/required_actions`;
}

function problem(view) {
  const { type, message, advice, code } = view.problem;
  const lines = (advice || "").split("\n");
  const { usd, kind } = view.cost;
  const billed = { billed: `billed ${money(usd)}`, unbilled: "no cost was billed", possible: `may have been billed ${money(usd)}` }[kind];
  return el(
    "section.panel",
    { role: "group", "aria-label": "What went wrong", "data-outcome": view.outcome, "data-testid": "problem" },
    lines.map((line) => {
      const command = /^\s{2,}(\S[^:]*:\s*)?(grokvideo .*)$/.exec(line);
      if (!command) return line.trim() ? el("p.advice", {}, line) : null;
      return el("div.command", {}, el("span.muted", {}, command[1] ?? ""), el("code", { tabindex: 0 }, command[2]), copier(() => command[2], "Copy the command", { quiet: true }));
    }),
    message ? el("p", { "data-testid": "message" }, sentence(message)) : null,
    el("p.muted", {},
      [type, code && code !== "unknown" ? `code ${code}` : null, billed]
        .filter(Boolean).join(" · ")),
  );
}

function sentence(text) {
  const said = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?]$/.test(said) ? said : `${said}.`;
}

function notice(text) {
  return el("p.notice", { "data-testid": "notice" }, icon("alert"), sentence(text));
}

function chain(links) {
  return el(
    "nav.chain",
    { "aria-label": "Chain of edits", "data-testid": "chain" },
    el("h2", {}, "From the first clip to the last edit"),
    el("ol", {}, links.map((link) =>
      el("li", {}, el(
        "a.step",
        { href: link.page, "aria-current": link.this ? "step" : null, title: link.prompt },
        step(link),
        el("span.step-label", {}, link.label),
        el("span.step-prompt", {}, link.prompt ?? MODES[link.mode] ?? ""),
      )))),
  );
}

function step(link) {
  const href = link.href && safe(link.href);
  if (link.poster) return el("img", { src: link.poster, alt: "", loading: "lazy" });
  if (href) return el("video", { src: `${href}#t=0.1`, preload: "metadata", playsinline: true, tabindex: -1, "aria-hidden": true });
  return el("span.step-empty", {}, icon("film"));
}

function purchases(list) {
  return el(
    "section",
    { "data-testid": "purchases" },
    el("h2", {}, "All purchases of this task"),
    el("div.scroll", { tabindex: 0 }, el(
      "table",
      {},
      el("thead", {}, el("tr", {}, ["#", "When", "Request", "Outcome", "Cost"].map((name) => el("th", { scope: "col" }, name)))),
      el("tbody", {}, list.map((each) => el(
        "tr",
        { "data-this": each.this },
        el("td", {}, String(each.number)),
        el("td", {}, each.at ? moment(each.at) : "unknown"),
        el("td", {}, el("code", {}, each.request_id ?? "unknown")),
        el("td", {}, each.outcome ?? { intent: "unconfirmed", submitted: "in progress", delivered: "delivered", ended: "ended" }[each.phase] ?? each.phase),
        el("td", {}, each.cost_usd ? money(each.cost_usd) : each.estimated_usd ? `≈ ${money(each.estimated_usd)}` : "unknown"),
      ))),
    )),
  );
}

function actions(view) {
  const share = el("button.button", { type: "button", "data-testid": "copy-link", onclick: async () => {
    const done = await copy(view.key.item ? new URL(view.links.page, document.baseURI).href : new URL(view.links.task, location.origin).href);
    const said = share.querySelector("span");
    said.textContent = done ? "Copied" : "Not copied";
    announce(said.textContent);
    setTimeout(() => { said.textContent = "Copy link"; }, 1600);
  } }, icon("link"), el("span", {}, "Copy link"));
  return el(
    "div.actions",
    {},
    view.video?.download ? leaving(el("a.button.strong", { href: view.video.download, download: "", "data-testid": "download" }, icon("download"), "Download")) : null,
    share,
    view.rows?.download ? leaving(el("a.button", { href: view.rows.download, download: "", "data-testid": "download-table" }, icon("download"), view.rows.file)) : null,
    view.sidecar ? el("button.button", { type: "button", "data-testid": "sidecar", onclick: () => sidecar(view.sidecar) }, icon("file"), "Sidecar") : null,
    inTab(view) ? null : leaving(el("a.button", { href: view.links.task, "data-testid": "in-airflow" }, icon("out"), "Task in Airflow")),
  );
}

/** Whether the page is in this task instance's own tab, not in the gallery's frame or on its own. */
function inTab(view) {
  return framed && window.parent.location.pathname === new URL(view.links.task, location.origin).pathname;
}

async function sidecar(href) {
  let text;
  try {
    text = JSON.stringify(await ask(href), null, 2);
  } catch (refused) {
    text = refused.message;
  }
  const dialog = el(
    "dialog",
    { "aria-label": "Sidecar", "data-testid": "sidecar-dialog", onclose: () => dialog.remove(), onclick: (event) => {
      if (event.target === dialog) dialog.close();
    } },
    el("div.row.apart", {}, el("h2", {}, "Sidecar"), el("div.row", {}, copier(() => text, "Copy"), el("button.icon-button", { type: "button", "aria-label": "Close", onclick: () => dialog.close() }, icon("close")))),
    el("pre", { tabindex: 0 }, el("code", {}, text)),
  );
  document.body.append(dialog);
  dialog.showModal();
}

const SURE = {
  elsewhere: "by the task that made the video",
  unbilled: "xAI billed nothing",
  possible: "if it was billed",
  estimated: "estimated; no bill yet",
};

function cost(view) {
  const { usd, kind } = view.cost;
  const estimated = view.estimated_usd;
  const estimate = estimated === null || estimated === undefined ? "" : Number(usd) === Number(estimated) ? "as estimated" : `estimated ${money(estimated)}`;
  return el("span", { "data-testid": "cost" }, el("b", {}, price(view.cost)),
    el("small", {}, view.reused ? "paid before; no new charge" : kind === "billed" ? estimate : kind === "nothing" ? (estimated ? `estimated ${money(estimated)}` : "") : SURE[kind] ?? ""));
}

function facts(view) {
  const size = view.width && view.height ? `${view.width} × ${view.height}` : null;
  const rows = [
    ["DAG", view.key.dag_id],
    ["Run", leaving(el("a", { href: view.links.run, "data-testid": "run" }, view.key.run_id))],
    ["Task", view.key.item ? view.key.task_id : view.label],
    ["Row", view.key.item],
    ["Cost", cost(view)],
    ["Mode", MODES[view.mode] ?? view.mode],
    ["Model", view.model],
    ["Length", view.duration ? seconds(view.duration) : null],
    ["Size", size],
    ["File", [bytes(view.bytes), view.has_audio === null ? null : view.has_audio ? "with sound" : "silent"].filter(Boolean).join(", ") || null],
    ["Request", view.request_id ? el("span.row", {}, el("code.cut", { title: view.request_id, "data-testid": "request-id" }, view.request_id), copier(() => view.request_id, "Copy the request id", { quiet: true })) : null],
    ["Connection", view.conn_id],
    ["Submitted", view.submitted_at ? moment(view.submitted_at) : null],
    ["Took", view.took_seconds ? span(view.took_seconds) : null],
    ["Try", view.task.try_number ? `${view.task.try_number} of ${Math.max(view.task.max_tries ?? 1, view.task.try_number)}${view.task.state ? `, ${view.task.state}` : ""}` : null],
    ["Checked", { decoded: "all frames decoded", structure: "file structure" }[view.checked] ?? null],
    ["SHA-256", view.sha256 ? el("span.row", {}, el("code.cut", { title: view.sha256 }, view.sha256.slice(0, 12)), copier(() => view.sha256, "Copy the hash", { quiet: true })) : null],
  ];
  return list(rows);
}

function parameters(view) {
  if (!view.parameters.length) return null;
  return el("section", {}, el("h2", {}, "Parameters"), list(view.parameters.map(({ name, value }) => [name, el("span.value", {}, value)])));
}

function list(rows) {
  return el("dl.list", {}, rows.filter(([, value]) => value !== null && value !== undefined && value !== "").map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value))));
}

async function attempt() {
  main.setAttribute("aria-busy", "true");
  try {
    await load();
  } catch (refused) {
    shown = null;
    const quiet = refused.status === 404;
    instead(main, {
      title: refused.message,
      text: refused.status === 401 ? "Log in to Airflow, then come back." : null,
      retry: quiet || refused.status === 403 ? null : attempt,
      link: refused.status === 401 ? null : [gallery(), "All Grok videos"],
    });
    main.dataset.quiet = String(quiet);
  }
  main.setAttribute("aria-busy", "false");
}

fill(main, header(), el("p.loading", { "data-testid": "loading" }, "Loading the video…"));
attempt();
whileVisible(() => load().catch(() => null), 5_000, () => shown !== null && LIVE.has(shown.view.outcome));
