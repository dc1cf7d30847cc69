// Client of the page's server, with error messages.

export class Refused extends Error {
  /**
   * @param {number} status HTTP status; 0 where the server did not answer.
   * @param {string} told The server's message.
   */
  constructor(status, told) {
    super(told);
    this.status = status;
  }
}

/** Fetch JSON from a path beside this page. */
export async function ask(path) {
  let answer;
  try {
    answer = await fetch(path, { headers: { Accept: "application/json" } });
  } catch {
    throw new Refused(0, "Airflow does not respond.");
  }
  const told = await answer.json().catch(() => null);
  if (answer.ok && told !== null) return told;
  const said = typeof told?.detail === "string" ? told.detail : `Airflow returned status ${answer.status}.`;
  if (answer.status === 401) throw new Refused(401, "You are not logged in to Airflow.");
  if (answer.status === 403) throw new Refused(403, "You do not have permission to see the results of this DAG.");
  throw new Refused(answer.status, said);
}

/**
 * The query of this page. A plus is a plus: run ids have one, and older versions of Airflow leave it as it is.
 * @returns {Record<string, string>}
 */
export function asked() {
  const pairs = location.search.slice(1).split("&").filter(Boolean);
  return Object.fromEntries(pairs.map((pair) => pair.split("=").map((part) => decode(part))));
}

function decode(part) {
  try {
    return decodeURIComponent(part ?? "");
  } catch {
    return part;
  }
}

/** The reverse: an object as a query. */
export function query(words) {
  return Object.entries(words)
    .filter(([, value]) => value !== null && value !== undefined && value !== "")
    .map(([name, value]) => `${encodeURIComponent(name)}=${encodeURIComponent(value)}`)
    .join("&");
}

/** Call `step` every so many milliseconds while the page is visible and `wanted` says so. */
export function whileVisible(step, every, wanted) {
  let under_way = false;
  const timer = setInterval(async () => {
    if (document.hidden || under_way || !wanted()) return;
    under_way = true;
    try {
      await step();
    } finally {
      under_way = false;
    }
  }, every);
  return () => clearInterval(timer);
}
