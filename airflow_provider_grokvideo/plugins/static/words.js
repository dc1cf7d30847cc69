// Formatting of numbers, times and outcomes.

/** Outcome: its short name, its pictogram. The colours are in the style sheet, by `data-outcome`. */
export const OUTCOMES = {
  submitting: ["Submitting", "clock"],
  waiting: ["In progress", "clock"],
  submitted: ["Submitted", "clock"],
  asking: ["Response required", "person"],
  delivered: ["Delivered", "check"],
  done: ["Link only", "link"],
  trouble: ["Stopped", "alert"],
  moderated: ["Blocked", "ban"],
  failed: ["Failed", "alert"],
  expired: ["Expired", "clock"],
  unconfirmed: ["Unconfirmed", "question"],
  refused: ["Refused", "hand"],
  not_sent: ["Not sent", "clock"],
};

export const MODES = {
  "text-to-video": "Text to video",
  "image-to-video": "Image to video",
  "reference-to-video": "Reference to video",
  edit: "Edit",
  extend: "Extension",
};

/** Exact dollars with at least two decimals. */
export function money(usd) {
  if (usd === null || usd === undefined) return "unknown";
  const [whole, part = ""] = String(usd).split(".");
  return `$${whole}.${part.padEnd(2, "0")}`;
}

export function seconds(value) {
  if (value === null || value === undefined) return null;
  const rounded = Math.round(value * 10) / 10;
  return `${rounded} s`;
}

/** A length on a poster: 0:06. */
export function clock(value) {
  const whole = Math.max(0, Math.round(value));
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
}

export function bytes(value) {
  if (value === null || value === undefined) return null;
  if (value < 1000) return `${value} bytes`;
  const units = ["kB", "MB", "GB"];
  let number = value / 1000;
  let unit = 0;
  while (number >= 999.5 && unit < units.length - 1) {
    number /= 1000;
    unit += 1;
  }
  return `${number < 10 ? number.toFixed(1) : Math.round(number)} ${units[unit]}`;
}

/** A duration in rounded units. */
export function span(value) {
  const whole = Math.max(0, Math.round(value));
  if (whole < 90) return `${whole} s`;
  if (whole < 5400) return `${Math.round(whole / 60)} min`;
  if (whole < 129600) return `${Math.round(whole / 3600)} h`;
  return `${Math.round(whole / 86400)} days`;
}

export function ago(iso, now) {
  const age = (now - Date.parse(iso)) / 1000;
  return age < 10 ? "just now" : `${span(age)} ago`;
}

/** The time zone of Airflow's UI: the one chosen there, or else the browser's, as in Airflow. */
export function zone() {
  try {
    const chosen = JSON.parse(localStorage.getItem("timezone"));
    if (typeof chosen === "string" && chosen) return new Intl.DateTimeFormat("en", { timeZone: chosen }) && chosen;
  } catch {
    // Without storage, or with a zone that this browser does not know.
  }
  return new Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC";
}

/** The parts of a moment on the clocks of a time zone. */
function parts(at, timeZone) {
  const form = { timeZone, hourCycle: "h23", year: "numeric", month: "2-digit", day: "2-digit", hour: "2-digit", minute: "2-digit", second: "2-digit" };
  return Object.fromEntries(new Intl.DateTimeFormat("en-GB", form).formatToParts(at).map(({ type, value }) => [type, value]));
}

/** A moment as Airflow writes it, with its time zone: 2026-11-29 09:33:18 Asia/Tokyo. */
export function moment(iso) {
  if (!iso) return null;
  const { year, month, day, hour, minute, second } = parts(new Date(iso), zone());
  return `${year}-${month}-${day} ${hour}:${minute}:${second} ${zone()}`;
}

export function timeOfDay(iso) {
  const { hour, minute, second } = parts(new Date(iso), zone());
  return `${hour}:${minute}:${second} ${zone()}`;
}

/** The moment at which a day (2026-11-29) begins in the time zone. */
export function dayBegins(day, timeZone = zone()) {
  const wanted = Date.parse(`${day}T00:00:00Z`);
  let at = wanted;
  // Twice, because the clocks may change between the guess and the moment.
  for (let round = 0; round < 2; round += 1) {
    const there = parts(new Date(at), timeZone);
    at += wanted - Date.parse(`${there.year.padStart(4, "0")}-${there.month}-${there.day}T${there.hour}:${there.minute}:${there.second}Z`);
  }
  return new Date(at);
}

/** The day after a day. */
export function dayAfter(day) {
  return new Date(Date.parse(`${day}T00:00:00Z`) + 86_400_000).toISOString().slice(0, 10);
}

/** Short text for the cost of a video. */
export function price({ usd, kind }) {
  const amount = money(usd);
  return { billed: amount, unbilled: amount, nothing: "no charge", elsewhere: "paid before", possible: `at most ${amount}`, estimated: `≈ ${amount}` }[kind] ?? "cost unknown";
}

addEventListener("storage", (event) => {
  if (event.key === "timezone") location.reload();
});
