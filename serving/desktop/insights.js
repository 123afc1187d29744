// Today in numbers, asked again every few seconds while somebody looks.
import { $, askForKey, call as ask, h, key, store } from "./kit.js";
import { counted, fill, moment, now, number, plain, speak } from "./words.js";

const EN = {
  place: "today", title: "Today", language: "Language", asOf: "As of {0}", version: "{0}, policy {1}", model: "Model {0}", noModel: "No model", lacks: {}, dead: "The service does not answer; it is asked again every few seconds.", away: "The service does not answer; what you see is from {0}.", none: "No suggestion has been asked for today.",
  suggestions: "suggestions", inDecisions: ["in {0} decision", "in {0} decisions"], silent: "{0} without an offer", acceptance: "accepted of what was answered", of: "{0} of {1}", violations: "broken guarantees", checked: ["{0} decision checked again", "{0} decisions checked again"], others: "{0} waiting, {1} made otherwise",
  latency: "a decision at p95", more: "p50 {0} ms, p99 {1} ms, since the start", degraded: "degraded", without: "without {0}", experiments: "Experiments", noExperiment: "No experiment is running.", byKind: "By kind", byChannel: "By channel", byHour: "Decisions by hour, UTC",
  kind: "Kind", channel: "Channel", experiment: "Experiment", arm: "Arm", decisions: "Decisions", suggested: "Suggested", spoken: "Said", accepted: "Accepted", declined: "Declined", later: "Later", skipped: "Skipped", share: "Accepted share",
  kinds: { resolve: "Fix", inform: "Good to know", escalate: "Hand over", optimize: "Better fit", retain: "Keep", cross_sell: "Add-on", up_sell: "Bigger plan" },
};
const DE = {
  place: "heute", title: "Heute", language: "Sprache", asOf: "Stand {0}", version: "{0}, Regeln {1}", model: "Modell {0}", noModel: "Kein Modell", lacks: { features: "Merkmale", profile: "Profil", contacts: "Kontakte", activity: "Aktivität", thread: "Geschichte", model: "Modell", model_slow: "schnelles Modell", scores: "Schätzungen", activity_pending: "neueste Aktivität" }, dead: "Der Dienst antwortet nicht; er wird alle paar Sekunden wieder gefragt.", away: "Der Dienst antwortet nicht; was Sie sehen, ist von {0}.", none: "Heute wurde noch nichts gefragt.",
  suggestions: "Vorschläge", inDecisions: ["in {0} Entscheidung", "in {0} Entscheidungen"], silent: "{0} ohne Angebot", acceptance: "angenommen von dem, was beantwortet wurde", of: "{0} von {1}", violations: "verletzte Garantien", checked: ["{0} Entscheidung nachgeprüft", "{0} Entscheidungen nachgeprüft"], others: "{0} noch nicht, {1} anders entstanden",
  latency: "eine Entscheidung im p95", more: "p50 {0} ms, p99 {1} ms, seit dem Start", degraded: "eingeschränkt", without: "ohne {0}", experiments: "Experimente", noExperiment: "Es läuft kein Experiment.", byKind: "Nach Art", byChannel: "Nach Kanal", byHour: "Entscheidungen je Stunde, UTC",
  kind: "Art", channel: "Kanal", experiment: "Experiment", arm: "Arm", decisions: "Entscheidungen", suggested: "Vorgeschlagen", spoken: "Gesagt", accepted: "Angenommen", declined: "Abgelehnt", later: "Später", skipped: "Ausgelassen", share: "Anteil angenommen",
  kinds: { resolve: "Lösen", inform: "Gut zu wissen", escalate: "Weitergeben", optimize: "Passt besser", retain: "Halten", cross_sell: "Dazu", up_sell: "Größerer Tarif" },
};
const EVERY_MS = 3000;
let words = EN, report = null, away = false, dismissed = false;
const percent = (share) => (share === null ? "–" : new Intl.NumberFormat(now.locale, { style: "percent", maximumFractionDigits: 1 }).format(share));

function draw() {
  words = now.locale === "de" ? DE : EN;
  document.documentElement.lang = now.locale;
  $("place").textContent = words.place;
  $("title").textContent = words.title;
  $("languages").setAttribute("aria-label", words.language);
  $("key-title").textContent = now.words.keyTitle;
  $("key-lead").textContent = now.words.keyLead;
  $("key-save").textContent = now.words.keySave;
  for (const node of document.querySelectorAll("[data-lang]")) node.setAttribute("aria-pressed", String(node.dataset.lang === now.locale));
  $("key-refused").textContent = now.words.keyRefused;
  if (!report) { drawNothing(); return; }
  const stamp = fill(words.version, report.model ? fill(words.model, report.model) : words.noModel, report.policy);
  $("standing").replaceChildren(...(away ? [h("span", { class: "old" }, fill(words.away, moment(report.at)))] : [h("span", {}, fill(words.asOf, moment(report.at)))]), h("span", {}, stamp));
  $("numbers").replaceChildren(figures(), hours(), byKind(), byChannel(), experiments());
}

/** Before there is any report: what it waits for. */
function drawNothing() {
  const waits = dismissed ? h("button", { type: "button", onclick: askForKey }, now.words.keyTitle) : words.dead;
  if (away && !(dismissed && $("standing").querySelector("button"))) $("standing").replaceChildren(waits);
}

function figure(value, label, note, kind) {
  return h("div", { class: kind }, h("dt", {}, label, note && h("small", {}, note)), h("dd", {}, value));
}

function figures() {
  const sum = (name) => report.kinds.reduce((all, kind) => all + kind[name], 0);
  const answered = sum("accepted") + sum("declined") + sum("later"), { violations: audit, latency, degraded } = report;
  const without = Object.entries(degraded.without).map(([name, count]) => `${words.lacks[name] ?? plain(name)} (${count})`).join(", ");
  return h("dl", { class: "figures" },
    figure(number(report.suggestions), words.suggestions, report.decisions ? `${counted(words.inDecisions, report.decisions)}, ${fill(words.silent, number(report.nothing))}` : words.none),
    figure(percent(answered ? sum("accepted") / answered : null), words.acceptance, fill(words.of, sum("accepted"), answered)),
    figure(number(audit.found), words.violations, `${counted(words.checked, audit.checked)}, ${fill(words.others, number(audit.waiting), number(audit.skipped))}`, audit.found ? "bad" : "good"),
    figure(latency.p95 === null ? "–" : `${number(latency.p95)} ms`, words.latency, latency.p95 === null ? "" : fill(words.more, number(latency.p50), number(latency.p99))),
    figure(percent(report.decisions ? degraded.decisions / report.decisions : null), words.degraded, without ? fill(words.without, without) : ""));
}

function hours() {
  const most = Math.max(...report.hours, 1);
  const bars = report.hours.map((count, hour) => { const bar = h("i", { class: count ? null : "none", title: `${hour}:00 ${count}` }); bar.style.height = `${(count / most) * 100}%`; return bar; });
  const label = `${words.byHour}: ${report.hours.map((count, hour) => [hour, count]).filter(([, count]) => count).map(([hour, count]) => `${hour}:00 ${count}`).join(", ")}`;
  return h("section", { class: "block" }, h("h2", {}, words.byHour), h("div", { class: "hours", role: "img", "aria-label": label }, bars), h("div", { class: "axis", "aria-hidden": "true" }, ["0", "6", "12", "18", "24"].map((at) => h("span", {}, at))));
}

const OUTCOMES = ["spoken", "accepted", "declined", "later", "skipped"];
function table(title, heads, rows) {
  return h("section", { class: "block" }, h("h2", {}, title), h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": title }, h("table", {},
    h("thead", {}, h("tr", {}, heads.map((head, i) => h("th", { scope: "col", class: i ? "num" : null }, head)))),
    h("tbody", {}, rows.map(([first, ...others]) => h("tr", {}, h("th", { scope: "row", dir: "auto" }, first), others.map((cell) => h("td", {}, typeof cell === "number" ? number(cell) : cell))))))));
}
const outcomes = (row) => [...OUTCOMES.map((name) => row[name]), percent(row.acceptance)];
const heads = () => [...OUTCOMES.map((name) => words[name]), words.share];
const byKind = () => table(words.byKind, [words.kind, words.suggested, ...heads()], report.kinds.map((row) => [words.kinds[row.kind] ?? row.kind, row.suggested, ...outcomes(row)]));
const byChannel = () => table(words.byChannel, [words.channel, words.decisions, ...heads()], report.channels.map((row) => [now.words.channels[row.channel] ?? row.channel, row.decisions, ...outcomes(row)]));
function experiments() {
  if (!report.experiments.length) return h("section", { class: "block" }, h("h2", {}, words.experiments), h("p", {}, words.noExperiment));
  return table(words.experiments, [words.experiment, words.arm, words.decisions, ...heads()], report.experiments.map((row) => [row.experiment, row.arm, row.decisions, ...outcomes(row)]));
}

async function look() {
  if (!document.hidden) {
    try { report = await ask("/v1/insights"); away = false; } catch (error) {
      away = true;
      if (error.status === 401 && !dismissed) askForKey();
    }
    draw();
  }
  setTimeout(look, EVERY_MS);
}

$("key-box").addEventListener("close", () => { const typed = $("key").value.trim(); dismissed = !typed; key.value = typed || key.value; draw(); });
for (const node of document.querySelectorAll("[data-lang]")) node.addEventListener("click", () => { speak(node.dataset.lang); store.set("locale", now.locale); draw(); });
document.documentElement.dataset.theme = store.get("theme") ?? "auto";
speak(store.get("locale") ?? navigator.language.slice(0, 2));
draw();
look();
