// Comparison of two videos or images, side by side or as a wipe, with shared controls.

import { el, icon } from "./dom.js";
import { safe } from "./leaving.js";
import { clock } from "./words.js";

const DRIFT = 0.12;

/**
 * @param {{name: string, page: string | null, video: any, image: string | null}} before
 * @param {{name: string, page: string | null, video: any, image: string | null}} after
 * @param {{width: number | null, height: number | null}} view
 */
export function compare(before, after, view) {
  const [first, last] = [moving(before, "before"), moving(after, "after")];
  if (view.width && view.height) {
    for (const each of [first, last]) each.style.aspectRatio = `${view.width} / ${view.height}`;
  }
  const videos = [first, last].filter((each) => each instanceof HTMLVideoElement);
  const leader = last;
  const wiped = el("input.wipe", { type: "range", min: 0, max: 100, value: 50, "aria-label": "Boundary between before and after", hidden: true, "data-testid": "wipe" });
  const seek = el("input.seek", { type: "range", min: 0, max: 1000, value: 0, "aria-label": "Position in both videos", "data-testid": "seek-both" });
  const time = el("span.time.muted", {}, "0:00");
  const play = el("button.button.strong", { type: "button", "data-testid": "play-both" }, icon("play"), el("span", {}, videos.length > 1 ? "Play both" : "Play"));
  const figure = el(
    "figure.compare",
    { "data-way": "beside", "data-testid": "compare" },
    el("div.pair", {}, side("Before", before, first), side("After", after, last)),
    wiped,
    el("div.row.controls", {}, play, seek, time, ways()),
  );

  function ways() {
    const way = (name, label) => el("button", { type: "button", "aria-pressed": String(name === "beside"), "data-testid": `way-${name}`, onclick: () => {
      figure.dataset.way = name;
      wiped.hidden = name !== "wipe";
      for (const each of videos) each.controls = name === "beside";
      for (const each of figure.querySelectorAll(".ways button")) each.setAttribute("aria-pressed", String(each.dataset.testid === `way-${name}`));
    } }, label);
    return el("div.ways", { role: "group", "aria-label": "How to compare" }, way("beside", "Side by side"), way("wipe", "Wipe"));
  }

  function together(position) {
    for (const each of videos) {
      if (Number.isFinite(each.duration)) each.currentTime = Math.min(position, Math.max(0, each.duration - 0.05));
    }
  }

  play.addEventListener("click", async () => {
    if (!leader.paused) return videos.forEach((each) => each.pause());
    const at = leader.ended ? 0 : leader.currentTime;
    together(at);
    // One sound is enough.
    if (videos.length > 1) videos[0].muted = true;
    await Promise.allSettled(videos.map((each) => each.play()));
  });
  seek.addEventListener("input", () => together((Number(seek.value) / 1000) * (leader.duration || 0)));
  wiped.addEventListener("input", () => figure.style.setProperty("--wiped", `${wiped.value}%`));
  leader.addEventListener("timeupdate", () => {
    if (document.activeElement !== seek) seek.value = String(Math.round((1000 * leader.currentTime) / (leader.duration || 1)));
    time.textContent = `${clock(leader.currentTime)} / ${clock(leader.duration || 0)}`;
    const other = videos.find((each) => each !== leader);
    if (!other || other.paused || leader.paused) return;
    if (leader.currentTime < other.duration && Math.abs(other.currentTime - leader.currentTime) > DRIFT) other.currentTime = leader.currentTime;
  });
  for (const name of ["play", "pause", "ended"]) {
    leader.addEventListener(name, () => {
      const running = !leader.paused && !leader.ended;
      play.replaceChildren(icon(running ? "pause" : "play"), el("span", {}, running ? "Pause" : videos.length > 1 ? "Play both" : "Play"));
      if (!running) videos.forEach((each) => each.pause());
    });
  }
  leader.addEventListener("loadedmetadata", () => { time.textContent = `0:00 / ${clock(leader.duration)}`; });
  return figure;
}

function moving(side, testid) {
  if (!side.video) return el("img.player", { src: side.image, alt: "Source of the video", "data-testid": testid });
  const made = el("video.player", {
    controls: true,
    playsinline: true,
    preload: "auto",
    src: safe(side.video.href),
    poster: side.video.poster,
    "aria-label": `Video of ${side.name}`,
    "data-testid": testid,
  });
  made.addEventListener("error", () => made.closest(".side")?.append(el("p.notice", { role: "alert" }, icon("alert"),
    side.video.kind === "link" ? "The temporary link has expired." : "This video cannot be played here.")), { once: true });
  return made;
}

function side(word, { name, page }, media) {
  return el("div.side", { "data-side": word.toLowerCase() }, media, el("p.side-name", {}, el("b", {}, word), " ", page ? el("a", { href: page }, name) : name));
}
