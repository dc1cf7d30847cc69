// Current state of a request at xAI.

import { ask, asked, query, whileVisible } from "./asking.js";
import { el, fill } from "./dom.js";
import { copier, header, instead } from "./parts.js";
import { moment, money, seconds } from "./words.js";
import "./theme.js";

const SAYS = {
  pending: "xAI is processing the request.",
  done: "The request is done.",
  moderated: "The content rules blocked the request.",
  failed: "The request failed.",
  expired: "xAI no longer knows the request.",
};

const main = document.getElementById("main");
const words = asked();
const place = query({ dag_id: words.dag_id, run_id: words.run_id, task_id: words.task_id, map_index: words.map_index });
let status = "pending";

async function load() {
  const told = await ask(`api/request?${place}`);
  status = told.status ?? "unknown";
  const rows = [
    ["Request", el("span.row", {}, el("code", {}, told.request_id), copier(() => told.request_id, "Copy the request id", { quiet: true }))],
    ["Progress", told.progress === null || told.progress === undefined ? null : `${told.progress} %`],
    ["Model", told.model],
    ["Length", seconds(told.duration)],
    ["Cost", told.cost_usd ? money(told.cost_usd) : null],
    ["Code", told.code],
    ["Message", told.message],
    ["Connection", told.conn_id],
    ["Polled", told.polled_at ? moment(told.polled_at) : null],
  ];
  fill(
    main,
    header(),
    el("div.title-row", {}, el("h1", { "data-testid": "says" }, SAYS[told.status] ?? "No response yet."), el("a.all", { href: `video?${place}` }, "Video")),
    el("dl.list.narrow", {}, rows.filter(([, value]) => value !== null && value !== undefined).map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value)))),
    told.status ? null : el("p.muted", {}, `The API server polls with the connection ${told.conn_id}, at most every 10 seconds. You can also search for the request id in xAI's console.`),
  );
}

async function attempt() {
  try {
    await load();
  } catch (refused) {
    instead(main, { title: refused.message, retry: refused.status === 403 || refused.status === 404 ? null : attempt });
  }
  main.setAttribute("aria-busy", "false");
}

attempt();
whileVisible(() => load().catch(() => null), 11_000, () => status === "pending" || status === "unknown");
