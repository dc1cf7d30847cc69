// Numbers, times and outcomes as people read them.

/** Outcome: its short name, its pictogram. The colours are in the style sheet, by `data-outcome`. */
export const OUTCOMES = {
  waiting: ["Under way", "clock"],
  submitted: ["Submitted", "clock"],
  asking: ["Asking", "person"],
  delivered: ["Delivered", "check"],
  done: ["Link only", "link"],
  trouble: ["Stopped", "alert"],
  moderated: ["Blocked", "ban"],
  failed: ["Failed", "alert"],
  expired: ["Forgotten", "clock"],
  doubt: ["In doubt", "question"],
  refused: ["Refused", "hand"],
};

export const MODES = {
  "text-to-video": "Text to video",
  "image-to-video": "Image to video",
  "reference-to-video": "Reference to video",
  edit: "Edit",
  extend: "Extension",
};

/** Dollars with cents at least, and with every digit there is. */
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

/** A span of time in words, for somebody who waits. */
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

/** A moment in the reader's own time zone. */
export function moment(iso) {
  if (!iso) return null;
  return new Date(iso).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "medium" });
}

export function timeOfDay(iso) {
  return new Date(iso).toLocaleTimeString(undefined, { timeStyle: "medium" });
}
