// Elements, and calls to the service. Text becomes text nodes only.

export const $ = (id) => document.getElementById(id);

export function h(tag, props = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return made;
}

const PATIENCE_MS = 6000;

/** What the service refused, or that it did not answer (`status` 0). */
export class Refusal extends Error {
  constructor(status, message) { super(message); this.status = status; }
}

export const key = {
  get value() { return sessionStorage.getItem("nba-key") ?? ""; },
  set value(text) { text ? sessionStorage.setItem("nba-key", text) : sessionStorage.removeItem("nba-key"); },
};

/** Ask for the key in the page's dialog; one that there was, the service did not know. */
export function askForKey() {
  if ($("key-box").open) return;
  $("key-refused").hidden = !key.value;
  $("key").value = "";
  $("key-box").showModal();
  $("key").focus();
}

/** One call; the JSON of its answer. Throws Refusal. */
export async function call(path, body, signal) {
  const headers = { ...(body ? { "Content-Type": "application/json" } : {}), ...(key.value ? { Authorization: `Bearer ${key.value}` } : {}) };
  const signals = [AbortSignal.timeout(PATIENCE_MS), ...(signal ? [signal] : [])];
  let answer, found;
  try {
    answer = await fetch(path, { method: body ? "POST" : "GET", body: body && JSON.stringify(body), headers, signal: AbortSignal.any(signals), credentials: "omit" });
    found = await answer.json();
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new Refusal(answer?.status ?? 0, error.message);
  }
  if (!answer.ok) throw new Refusal(answer.status, found.detail);
  return found;
}

export const store = {
  get: (name) => { try { return localStorage.getItem(`nba-${name}`); } catch { return null; } },
  set: (name, value) => { try { localStorage.setItem(`nba-${name}`, value); } catch { /* private mode: it is asked again next time */ } },
};
