// Gallery: videos of a period with filters and costs.

import { ask, asked, query, whileVisible } from "./asking.js";
import { el, fill, icon } from "./dom.js";
import { safe } from "./leaving.js";
import { announce, badge, bar, copier, header, instead, progress } from "./parts.js";
import { MODES, OUTCOMES, ago, clock, dayAfter, dayBegins, moment, money, price, zone } from "./words.js";
import { segments } from "./table.js";
import "./theme.js";

const PERIODS = { 1: "24 hours", 7: "7 days", 30: "30 days" };
const FIRST = "60";
const MOST = 500;
const EXAMPLE = `from airflow.sdk import DAG
from airflow_provider_grokvideo.operators.grokvideo import GrokVideoGenerateOperator

with DAG("my_first_video", schedule=None):
    GrokVideoGenerateOperator(
        task_id="film",
        prompt="A lighthouse on a cliff at dawn, waves below",
        duration=5,
        destination="/tmp/videos/lighthouse.mp4",
    )
`;
const EMULATOR = "grokvideo emulator --port 8900";

const still = matchMedia("(prefers-reduced-motion: reduce)");
const main = document.getElementById("main");

/** Filters from the address. */
const wanted = { search: "", dag: "", days: "7", day: "", model: "", outcome: "", limit: FIRST, ...asked() };
let loaded = null;
let asking = 0;
if (Number.isNaN(Date.parse(wanted.day))) wanted.day = "";
const cards = new Map();

const spendPlace = el("section.spend", { "aria-label": "Spend", "data-testid": "spend" });
const grid = el("ul.grid", { "data-testid": "grid" });
const count = el("p.count", { "data-testid": "count" });
const below = el("div.below");

function control(name, label, made) {
  return el("label.control", { class: `control control-${name}` }, el("span", {}, label), made);
}

function select(name, label) {
  const made = el("select", {
    "data-testid": `filter-${name}`,
    onchange: () => {
      wanted[name] = made.value;
      changed();
    },
  });
  return [control(name, label, made), made];
}

const search = el("input", {
  type: "search",
  placeholder: "Prompt or request id",
  value: wanted.search,
  "data-testid": "filter-search",
  oninput: () => {
    wanted.search = search.value;
    changed();
  },
});
const [dagControl, dag] = select("dag", "DAG");
const [modelControl, model] = select("model", "Model");
const [outcomeControl, outcome] = select("outcome", "Outcome");
const period = el(
  "select",
  {
    "data-testid": "filter-days",
    onchange: () => {
      wanted.days = period.value;
      wanted.day = "";
      day.value = "";
      changed(true);
    },
  },
  Object.entries(PERIODS).map(([days, name]) => el("option", { value: days }, `Last ${name}`)),
  el("option", { value: "", hidden: true }, "One day"),
);
const day = el("input", {
  type: "date",
  value: wanted.day,
  "data-testid": "filter-day",
  onchange: () => {
    wanted.day = day.value;
    period.value = day.value ? "" : wanted.days;
    changed(true);
  },
});
if (!Object.hasOwn(PERIODS, wanted.days)) wanted.days = "7";
if (!/^[1-9]\d*$/.test(wanted.limit) || Number(wanted.limit) > MOST) wanted.limit = FIRST;
period.value = wanted.day ? "" : wanted.days;

function build() {
  fill(
    main,
    header(),
    el("div.title-row", {}, el("h1", {}, "Grok videos"), count),
    spendPlace,
    el(
      "form.filters",
      { role: "search", "aria-label": "Filter the videos", onsubmit: (event) => event.preventDefault() },
      control("search", "Search", search),
      dagControl,
      control("days", "Period", period),
      control("day", `or one day (${zone()})`, day),
      modelControl,
      outcomeControl,
    ),
    grid,
    below,
  );
}

/** Begin and end of the period, in the days of Airflow's time zone. */
function between() {
  if (wanted.day) {
    return { since: dayBegins(wanted.day).toISOString(), until: dayBegins(dayAfter(wanted.day)).toISOString() };
  }
  return { since: new Date(Date.now() - Number(wanted.days) * 86_400_000).toISOString(), until: null };
}

async function load() {
  const mine = (asking += 1);
  const told = await ask(`api/videos?${query({ ...between(), limit: wanted.limit })}`);
  // The response to an earlier request may arrive after that to a later one.
  if (mine !== asking) return;
  loaded = told;
  show();
}

async function changed(reload = false) {
  const kept = { ...wanted, days: wanted.day || wanted.days === "7" ? "" : wanted.days, limit: wanted.limit === FIRST ? "" : wanted.limit };
  const words = query(kept);
  history.replaceState(null, "", words ? `?${words}` : location.pathname);
  try {
    sessionStorage.setItem("grokvideo.gallery", words);
  } catch {
    // Without storage the back link leads to the unfiltered gallery.
  }
  if (reload) await attempt();
  else if (loaded) show();
}

function fits(view) {
  const words = wanted.search.trim().toLowerCase();
  const texts = [view.prompt, view.request_id, view.label, view.key.run_id];
  return (
    (!wanted.dag || view.key.dag_id === wanted.dag) &&
    (!wanted.model || view.model === wanted.model) &&
    (!wanted.outcome || view.outcome === wanted.outcome) &&
    (!words || texts.some((text) => text?.toLowerCase().includes(words)))
  );
}

function options(made, name, all, values, label = (value) => value) {
  const known = [...new Set([...values, wanted[name]])].filter(Boolean).sort();
  fill(made, el("option", { value: "" }, all), known.map((value) => el("option", { value }, label(value))));
  made.value = wanted[name];
}

function show() {
  const views = loaded.videos;
  options(dag, "dag", "All DAGs", views.map((view) => view.key.dag_id));
  options(model, "model", "All models", views.map((view) => view.model));
  options(outcome, "outcome", "All outcomes", views.map((view) => view.outcome), (value) => OUTCOMES[value]?.[0] ?? value);
  const found = views.filter(fits);
  const waiting = found.filter((view) => view.outcome === "waiting").length;
  const of = found.length === views.length ? "" : ` of ${views.length}`;
  const newest = loaded.truncated ? (of ? " of the newest " : "The newest ") : "";
  const named = `${found.length === 1 && !of ? "video" : "videos"}`;
  const number = newest ? (of ? `${found.length}${newest}${views.length}` : `${newest}${found.length}`) : `${found.length}${of}`;
  const said = `${number} ${named}${waiting ? `, ${waiting} in progress` : ""}${newest ? "; there are more" : ""}`;
  count.textContent = views.length ? said : "";
  if (document.activeElement !== search || views.length) announce(said);
  spend(loaded.spend, views.length);
  if (!views.length) return empty();
  if (!found.length) return nothingFits(views.length);
  grid.hidden = false;
  arrange(found);
  fill(below, more());
}

/** Button for older videos, or a hint. */
function more() {
  if (!loaded.truncated) return null;
  if (Number(wanted.limit) >= MOST) return el("p.muted", {}, `These are the newest ${loaded.shown} videos. Choose one day to see older ones.`);
  const button = el("button.button", { type: "button", "data-testid": "more", onclick: async () => {
    button.disabled = true;
    button.textContent = "Loading more videos…";
    announce("Loading more videos");
    wanted.limit = String(Math.min(MOST, Number(wanted.limit) * 3));
    await changed(true);
    if (!button.isConnected) return;
    button.disabled = false;
    button.textContent = "Show more";
  } }, "Show more");
  return button;
}

/** Show cards in order; unchanged ones keep their focus and their preview. */
function arrange(views) {
  const now = Date.parse(loaded.now);
  const order = views.map((view) => {
    const name = view.links.page;
    const { now: _, ...told } = view;
    const said = JSON.stringify(told) + (view.outcome === "waiting" ? loaded.now : ago(view.finished_at ?? view.submitted_at ?? view.now, now));
    const known = cards.get(name);
    if (known?.said === said) return known.node;
    const node = card(view, now);
    const focused = known?.node.contains(document.activeElement);
    if (known?.node.isConnected) known.node.replaceWith(node);
    if (focused) node.querySelector("a").focus();
    cards.set(name, { said, node });
    return node;
  });
  order.forEach((node, index) => {
    if (grid.children[index] !== node) grid.insertBefore(node, grid.children[index] ?? null);
  });
  while (grid.children.length > order.length) grid.lastChild.remove();
}

function card(view, now) {
  const at = view.finished_at ?? view.submitted_at;
  const link = el(
    "a.card",
    { href: view.links.page, "data-outcome": view.outcome, "data-testid": "card", "data-label": view.label },
    picture(view, now),
    el(
      "div.card-text",
      {},
      el("p.card-prompt", { title: view.prompt }, view.rows ? `Table of ${view.rows.total.toLocaleString("en-US")} videos` : view.prompt ?? MODES[view.mode] ?? "Prompt unknown"),
      el("p.card-where", {}, `${view.key.dag_id} · ${view.label}`),
      el(
        "p.card-facts",
        {},
        [
          view.model,
          price(view.cost),
          at ? el("time", { datetime: at, title: moment(at) }, ago(at, now)) : null,
        ]
          .filter(Boolean)
          .flatMap((part, index) => (index ? [" · ", part] : [part])),
      ),
    ),
  );
  if (view.video?.kind === "file") preview(link, view);
  return el("li", {}, link);
}

function picture(view, now) {
  const frame = el("div.frame");
  const video = view.video && safe(view.video.href);
  if (view.video?.poster) {
    frame.append(el("img", { src: view.video.poster, alt: "", loading: "lazy", decoding: "async" }));
  } else if (video) {
    const made = el("video", { src: `${video}#t=0.1`, preload: "metadata", playsinline: true, tabindex: -1, "aria-hidden": true });
    made.addEventListener("error", () => {
      made.remove();
      nothing(frame, view);
    }, { once: true });
    frame.append(made);
  } else {
    nothing(frame, view);
  }
  if (view.duration && video) frame.append(el("span.length", {}, clock(view.duration)));
  frame.append(badge(view.outcome));
  if (view.rows) frame.append(el("div.frame-progress", {}, segments(view.rows)));
  if (view.waiting) {
    const { share, soon } = progress(view.waiting, now);
    frame.append(el("div.frame-progress", {}, el("span", {}, soon), bar(share, soon)));
  }
  return frame;
}

function nothing(frame, view) {
  frame.classList.add("frame-empty");
  frame.querySelector(".length")?.remove();
  frame.prepend(icon(OUTCOMES[view.outcome]?.[1] ?? "film"), el("p", {}, view.waiting ? "" : view.headline));
}

/** Play a delivered video without sound while the pointer is on its card. */
function preview(link, view) {
  let timer = null;
  const start = () => {
    if (still.matches || link.querySelector(".preview")) return;
    timer = setTimeout(() => {
      const made = el("video.preview", { src: safe(view.video.href), loop: true, playsinline: true, tabindex: -1, "aria-hidden": true });
      made.muted = true;
      made.addEventListener("playing", () => made.classList.add("visible"), { once: true });
      link.querySelector(".frame").prepend(made);
      made.play().catch(() => made.remove());
    }, 220);
  };
  const stop = () => {
    clearTimeout(timer);
    const made = link.querySelector(".preview");
    if (!made) return;
    made.pause();
    made.removeAttribute("src");
    made.load();
    made.remove();
  };
  link.addEventListener("pointerenter", start);
  link.addEventListener("focus", start);
  link.addEventListener("pointerleave", stop);
  link.addEventListener("blur", stop);
}

function spend(told, listed) {
  if (!listed && !told.purchases) return fill(spendPlace);
  const total = told.by_dag.reduce((sum, line) => sum + Number(line.billed_usd) + Number(line.possible_usd), 0);
  const ended = told.moderated + told.failed;
  const tiles = [
    ["Billed", money(told.billed_usd), "spend-billed"],
    ["Possible", money(told.possible_usd), "spend-possible"],
    [told.purchases === 1 ? "Purchase" : "Purchases", String(told.purchases), "spend-purchases"],
    ["Without a video", ended ? `${ended}` : "none", "spend-ended"],
  ];
  const lines = told.by_dag.filter((line) => Number(line.billed_usd) + Number(line.possible_usd) > 0);
  const shown = lines.slice(0, 5);
  const strip = el("div.strip", { "aria-hidden": true });
  shown.forEach((line, index) => {
    const part = el("span", { "data-part": index, title: `${line.dag_id}: ${money(line.billed_usd)}` });
    part.style.flexGrow = String((Number(line.billed_usd) + Number(line.possible_usd)) / total);
    strip.append(part);
  });
  const source =
    told.source === "ledger"
      ? "From the ledger. \"Possible\" counts pending, unconfirmed and unpriced requests."
      : "Sum of the videos listed here: the API server cannot read a ledger.";
  return fill(
    spendPlace,
    el("dl.tiles", {}, tiles.map(([name, value, id]) => el("div", {}, el("dt", {}, name), el("dd", { "data-testid": id }, value)))),
    lines.length
      ? el(
          "div.by-dag",
          {},
          strip,
          el("ul", {}, shown.map((line, index) =>
            el("li", {}, el("span.dot", { "data-part": index }), `${line.dag_id} `, el("b", {}, money(line.billed_usd)),
              Number(line.possible_usd) ? el("span.muted", {}, ` + ${money(line.possible_usd)} possible`) : null)),
            lines.length > shown.length ? el("li.muted", {}, `and ${lines.length - shown.length} more`) : null),
        )
      : null,
    el("p.muted.source", {}, source),
  );
}

function empty() {
  grid.hidden = true;
  const somewhere = wanted.day ? "on that day" : `in the last ${PERIODS[wanted.days]}`;
  fill(
    below,
    el(
      "div.teach",
      { "data-testid": "empty" },
      el("div.instead-picture", {}, icon("film")),
      el("h2", {}, `No videos ${somewhere}`),
      el("p", {}, "Each task of this provider appears here when it submits a request, with its video, cost and progress. This DAG makes your first video:"),
      el("div.code", {}, copier(() => EXAMPLE, "Copy the DAG", { quiet: true }), el("pre", { tabindex: 0 }, el("code", {}, EXAMPLE))),
      el("p", {}, "No API key? The emulator replaces xAI's API on your machine, renders real MP4s and costs nothing. Start it and set it as the connection's Base URL:"),
      el("div.code", {}, copier(() => EMULATOR, "Copy the command", { quiet: true }), el("pre", { tabindex: 0 }, el("code", {}, EMULATOR))),
    ),
  );
}

function nothingFits(searched) {
  grid.hidden = true;
  fill(
    below,
    el(
      "div.instead",
      { "data-testid": "nothing-fits" },
      el("h2", {}, loaded.truncated ? `None of the newest ${searched} videos match these filters` : "No videos match these filters"),
      loaded.truncated ? el("p", {}, "Older videos are not loaded and were not searched.") : null,
      el("div.row.centered", {}, el("button.button", { type: "button", "data-testid": "clear", onclick: () => {
        Object.assign(wanted, { search: "", dag: "", model: "", outcome: "" });
        search.value = "";
        changed();
      } }, "Clear the filters"), more()),
    ),
  );
}

async function attempt() {
  main.setAttribute("aria-busy", "true");
  try {
    await load();
    if (!grid.isConnected) build();
  } catch (refused) {
    loaded = null;
    instead(main, {
      title: refused.message,
      text: refused.status === 401 ? "Log in to Airflow, then come back." : null,
      retry: refused.status === 403 ? null : () => {
        build();
        fill(below, el("p.loading", { "data-testid": "loading" }, "Loading videos…"));
        attempt();
      },
    });
  }
  main.setAttribute("aria-busy", "false");
}

build();
fill(below, el("p.loading", { "data-testid": "loading" }, "Loading videos…"));
announce("Loading videos");
changed(true);
whileVisible(() => load().catch(() => null), 15_000, () => loaded?.videos.some((view) => ["submitting", "waiting", "asking"].includes(view.outcome)));
