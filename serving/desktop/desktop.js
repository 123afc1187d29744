// The agent desktop: one call at a time. The suggestions are the widget's; everything around them is drawn from here.
import { drawCompare } from "./compare.js";
import { drawExplain } from "./explain.js";
import { $, askForKey, call as ask, h, key, store } from "./kit.js";
import { drawAges, drawPerson, drawStanding } from "./person.js";
import { fill, now, plain, speak } from "./words.js";

let dismissed = false;  // who closed the question for a key is not asked by what comes in late, only after an action of their own

const panel = $("panel"), Suggestions = customElements.get("nba-suggestions");
const RETRY_MS = 2000;
const TABS = ["say", "compare", "explain"];
const state = { setup: null, call: null, view: null, answer: null, taken: 0, tab: "say", limit: null, all: false, loading: null, keysOn: store.get("keys") !== "off" };
const nextId = () => (crypto.randomUUID ? crypto.randomUUID() : String(Math.random()).slice(2)).slice(0, 13);

// ---- The call

function open(call) {
  const skew = state.answer ? Date.parse(state.answer.at) - state.taken : 0;
  dismissed = false;
  Object.assign(state, { call: { context: {}, interaction_id: `desk-${nextId()}`, began: Date.now() + skew, started: performance.now(), skew, ...call }, view: null, answer: null, limit: null, all: false });
  show("call");
  choose("say");
  for (const pane of ["compare", "explain"]) $(`pane-${pane}`).replaceChildren();
  put({ "customer-id": call.customer_id, "interaction-id": state.call.interaction_id, context: JSON.stringify(state.call.context), "max-cost-month": null });
  history.replaceState(null, "", addressOf(state.call));
  queueMicrotask(load);  // after the panel's own question, which is put in a microtask too: the sentence comes first
  draw();
  $("name").focus();
}

function close() {
  Object.assign(state, { call: null, view: null, answer: null });
  state.loading?.abort();
  put({ "customer-id": null, "interaction-id": null });
  show("start");
  ($("callers").querySelector("button") ?? $("customer")).focus();
}

function put(attributes) {
  for (const [name, value] of Object.entries(attributes)) value === null ? panel.removeAttribute(name) : panel.setAttribute(name, value);
}

async function load() {
  const call = state.call, stop = new AbortController();
  state.loading?.abort();
  state.loading = stop;
  const query = new URLSearchParams({ interaction_id: call.interaction_id, context: JSON.stringify(call.context), locale: now.locale });
  if ($("authority").value) query.set("agent_group", $("authority").value);
  try {
    const view = await ask(`/v1/desk/${encodeURIComponent(call.customer_id)}?${query}`, null, stop.signal);
    if (state.call === call) { state.view = view; draw(); }
  } catch (error) {
    if (error.status === 401) needKey();
    else if (!stop.signal.aborted) setTimeout(() => { if (state.loading === stop && state.call === call) load(); }, RETRY_MS);
  }
}

panel.addEventListener("nba-answer", ({ detail }) => {
  const missing = !state.view || state.view.customer.degraded.length > 0, first = !state.answer;
  Object.assign(state, { answer: detail.answer, taken: Date.now() });
  state.call.skew = Date.parse(detail.answer.at) - state.taken;
  if (first) state.call.began = Date.parse(detail.answer.at);
  draw();
  if (detail.news || (missing && !first)) load();
});
for (const name of ["nba-accepted", "nba-declined"]) panel.addEventListener(name, () => state.call && load());  // one that is saved late may be of a call that is over
function needKey() { if (!dismissed) askForKey(); }
panel.addEventListener("nba-token-needed", needKey);
panel.addEventListener("click", () => { dismissed = false; }, true);

function correct(intent) {
  state.call.context = { ...state.call.context, [intentField()]: intent };
  history.replaceState(null, "", addressOf(state.call));
  put({ context: JSON.stringify(state.call.context) });
  load();
}

let limiting = 0;
function setLimit(limit) {
  state.limit = limit;
  clearTimeout(limiting);
  limiting = setTimeout(() => { put({ "max-cost-month": limit === null ? null : String(limit) }); draw(); }, 180);
}

async function somethingHappens() {
  const { customer_id, interaction_id, next_event: event, skew } = state.call;
  if (!event) return;
  const at = new Date(Date.now() + skew).toISOString();
  const told = h("span", {}, eventName(event)).textContent;
  try {
    await ask("/v1/activity", { events: [{ ...event, event_id: `desk-${nextId()}`, customer_id, interaction_id, at }] });
    $("says").textContent = fill(now.words.happened, told);
  } catch (error) { $("says").textContent = error.message; }
}
const eventName = (event) => [now.words.names[event.type] ?? plain(event.type), event.subject].filter(Boolean).join(", ");

// ---- Drawing

function show(section) {
  for (const id of ["start", "call"]) $(id).hidden = id !== section;
  $("keys").hidden = section !== "call";
}

function choose(tab, focus = false) {
  state.tab = tab;
  for (const name of TABS) {
    const on = name === tab;
    $(`tab-${name}`).setAttribute("aria-selected", String(on));
    $(`tab-${name}`).tabIndex = on ? 0 : -1;
    $(`pane-${name}`).hidden = !on;
  }
  if (focus) $(`tab-${tab}`).focus();
  draw();
}

function draw() {
  const { call, view, answer, setup } = state;
  if (!call) return;
  drawPerson(call, view, answer, state.all, () => { state.all = true; draw(); });
  drawStanding(answer, state.taken, view);
  const next = view?.next_question;
  $("next").hidden = !next || answer?.suggestions[0]?.offer_id === next.offer_id;
  if (next) { $("next").querySelector(".asked").textContent = next.title; Object.assign($("next").querySelector(".reply"), { textContent: next.say, dir: Suggestions.directionOf(next.say) }); }
  if (document.activeElement !== $("intent")) options($("intent"), setup?.intent.known ?? [], call.context[intentField()]);
  $("happens").hidden = !call.next_event;
  if (call.next_event) $("happens").firstElementChild.textContent = fill(now.words.happens, eventName(call.next_event));
  if (state.tab === "compare") drawCompare($("pane-compare"), view?.plans ?? null, state.limit, new Set((answer?.suggestions ?? []).map((s) => s.offer_id)), setLimit);
  if (state.toLimit && $("limit")) { state.toLimit = false; $("limit").focus(); }
  if (state.tab === "explain") drawExplain($("pane-explain"), answer, titleOf);
  document.title = `${$("name").textContent} · nba`;
}

function titleOf(offer) {
  const title = state.setup?.offers[offer]?.title ?? {};
  return title[now.locale] ?? Object.values(title)[0] ?? offer;
}

function options(select, intents, chosen) {
  const known = chosen && !intents.includes(chosen) ? [chosen, ...intents] : intents;
  select.replaceChildren(...known.map((intent) => h("option", { value: intent, selected: intent === (chosen ?? intents[0]) }, now.words.intents[intent] ?? plain(intent))));
}

function drawWords() {
  const words = now.words;
  document.documentElement.lang = now.locale;
  for (const node of document.querySelectorAll("[data-t]")) node.textContent = words[node.dataset.t];
  for (const node of document.querySelectorAll("[data-label]")) node.setAttribute("aria-label", words[node.dataset.label]);
  for (const node of document.querySelectorAll("[data-lang]")) node.setAttribute("aria-pressed", String(node.dataset.lang === now.locale));
  panel.names = words.names;
  put({ locale: now.locale });
  drawTheme();
  drawKeys();
  drawStart();
  draw();
}

function drawStart() {
  const { setup } = state, callers = setup?.callers ?? [];
  document.querySelector("[data-t=whoCallsLead]").textContent = callers.length || !setup ? now.words.whoCallsLead : now.words.leadReal;
  $("callers").replaceChildren(...callers.map((caller, i) => h("li", {}, h("button", { type: "button", onclick: () => dial(caller) },
    h("kbd", { "aria-hidden": "true" }, String(i + 1)), h("strong", { dir: "auto" }, caller.name), h("em", {}, now.words.intents[caller.context.intent] ?? ""), h("span", { dir: "auto" }, caller.story[now.locale] ?? caller.story.en)))));
  options($("dial-intent"), setup?.intent.known ?? [], $("dial-intent").value || undefined);
  const groups = Object.keys(setup?.authority.groups ?? {}), chosen = $("authority").value || store.get("group") || "";
  $("authority-box").hidden = !groups.length;
  $("authority").replaceChildren(...["", ...groups].map((group) => h("option", { value: group, selected: group === chosen }, group ? plain(group) : now.words.normal)));
}

const UNSEEN = ["1–3", "m", "r", "esc", "?"];  // the others stand on their buttons
function drawKeys() {
  const { keys } = now.words, pairs = Object.entries(keys);
  document.body.classList.toggle("mute", !state.keysOn);
  state.keysOn ? panel.setAttribute("shortcuts", "") : panel.removeAttribute("shortcuts");
  $("keys").replaceChildren(...(state.keysOn ? pairs.filter(([k]) => UNSEEN.includes(k)).map(([k, text]) => h("span", {}, h("kbd", {}, k), " ", text)) : []));
  $("help-list").replaceChildren(...pairs.flatMap(([k, text]) => [h("dt", {}, h("kbd", {}, k)), h("dd", {}, text)]));
  $("keys-on").checked = state.keysOn;
}

const THEMES = ["auto", "light", "dark"];
function drawTheme() {
  const theme = THEMES.includes(store.get("theme")) ? store.get("theme") : "auto";
  document.documentElement.dataset.theme = theme;
  $("theme").setAttribute("aria-label", now.words.theme[theme]);
  $("theme").title = now.words.theme[theme];
}

// ---- What people do

const intentField = () => state.setup?.intent.field ?? "intent";

/** Where a call can be opened again, after a reload too: the same interaction, with the reason as it was corrected. */
function addressOf({ customer_id: customer, interaction_id: interaction, context }) {
  const intent = context[intentField()];
  return `#${new URLSearchParams({ customer, interaction, ...(intent ? { intent } : {}) })}`;
}

/** Take a call; Back leads out of it. */
function dial(call) {
  history.pushState(null, "", location.href);
  open(call);
}

/** A telephony system opens the page with #customer=…&interaction=…&intent=…. */
function fromAddress() {
  const said = new URLSearchParams(location.hash.slice(1)), customer = said.get("customer"), interaction = said.get("interaction");
  if (!customer) {
    if (state.call) close(); else show("start");
    return;
  }
  if (state.call?.customer_id === customer && [null, state.call.interaction_id].includes(interaction)) return;
  const demo = state.setup?.callers.find((caller) => caller.customer_id === customer && [null, caller.interaction_id].includes(interaction));
  const intent = said.get("intent");
  open({ customer_id: customer, ...(interaction ? { interaction_id: interaction } : {}), ...demo, context: { ...demo?.context, ...(intent ? { [intentField()]: intent } : {}) } });
}

$("dial").addEventListener("submit", (event) => {
  event.preventDefault();
  dial({ customer_id: $("customer").value.trim(), context: { [intentField()]: $("dial-intent").value || "general" } });
});
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();  // the address is the call's: a fragment of its own would end it
  $("main").focus();
});
$("end").addEventListener("click", () => { history.pushState(null, "", location.pathname); close(); });
$("happens").addEventListener("click", somethingHappens);
let correcting = 0;
$("intent").addEventListener("change", () => { clearTimeout(correcting); correcting = setTimeout(() => correct($("intent").value), 120); });
$("authority").addEventListener("change", () => {
  store.set("group", $("authority").value);
  put({ "agent-group": $("authority").value || null });
  if (state.call) load();
});
$("theme").addEventListener("click", () => { store.set("theme", THEMES[(THEMES.indexOf(document.documentElement.dataset.theme) + 1) % 3]); drawTheme(); });
$("help").addEventListener("click", () => $("help-box").showModal());
$("keys-on").addEventListener("change", () => { state.keysOn = $("keys-on").checked; store.set("keys", state.keysOn ? "on" : "off"); drawKeys(); });
$("key-box").addEventListener("close", () => {
  const typed = $("key").value.trim();
  dismissed = !typed;
  if (dismissed) return;  // the panel offers to ask once more
  key.value = typed;
  put({ token: typed });
  begin();
  if (state.call) load();
});
for (const node of document.querySelectorAll("[data-lang]")) {
  node.addEventListener("click", () => { speak(node.dataset.lang); store.set("locale", now.locale); drawWords(); if (state.call) load(); });
}
for (const tab of TABS) $(`tab-${tab}`).addEventListener("click", () => choose(tab));
$("tabs").addEventListener("keydown", (event) => {
  const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  if (step) choose(TABS[(TABS.indexOf(state.tab) + step + TABS.length) % TABS.length], true);
});
addEventListener("popstate", fromAddress);
addEventListener("hashchange", fromAddress);

const OUTCOMES = { s: "spoken", a: "accepted", d: "declined", l: "later", k: "skipped" };
function pressed(name) {
  if (name === "?") return $("help-box").showModal();
  if (!state.call) {
    if (/^[1-9]$/.test(name)) $("callers").querySelectorAll("button")[name - 1]?.click();
    else if (name === "/") $("customer").focus();
    else return false;
    return true;
  }
  if (name === "escape") { if (!panel.cancel() && state.tab !== "say") choose("say", true); return true; }
  if (/^[1-9]$/.test(name)) { choose("say"); return panel.pending ? panel.giveReason(Number(name)) : panel.choose(Number(name)); }
  if (name in OUTCOMES) { choose("say"); return panel.act(OUTCOMES[name]); }
  const also = { c: () => choose("compare", true), e: () => choose("explain", true), i: () => $("intent").focus(), n: somethingHappens, r: () => { dismissed = false; panel.refresh(); load(); }, q: () => $("end").click(), m: () => { state.toLimit = true; choose("compare"); } };
  also[name]?.();
  return name in also;
}
addEventListener("keydown", (event) => {
  const target = event.composedPath()[0], writes = target.matches?.("input:not([type=range]), select, textarea");
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing || event.repeat || document.querySelector("dialog[open]")) return;
  const name = event.key.length === 1 ? event.key.toLowerCase() : event.key === "Escape" ? "escape" : "";
  if (!name || (!state.keysOn && name !== "escape") || (writes && name !== "escape")) return;
  if (writes) target.blur();
  if (pressed(name) !== false) event.preventDefault();
});
setInterval(() => {
  if (!state.call) return;
  const seconds = Math.floor((performance.now() - state.call.started) / 1000);
  $("clock").textContent = `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
  if (seconds % 10 === 0) { drawStanding(state.answer, state.taken, state.view); drawAges(state.call); }
}, 1000);

async function begin() {
  try {
    state.setup = await ask("/v1/desk");
    Object.assign(now, { currency: state.setup.currency, zone: state.setup.timezone });
    Suggestions.timeZone = state.setup.timezone;
    put({ currency: now.currency });
  } catch (error) { if (error.status === 401) needKey(); else setTimeout(begin, RETRY_MS); }
  drawWords();
}

speak(store.get("locale") ?? navigator.language.slice(0, 2));
put({ "agent-group": store.get("group") || null, token: key.value || null });
drawWords();
const known = begin();
if (location.hash.includes("customer=")) known.then(fromAddress);
else show("start");
