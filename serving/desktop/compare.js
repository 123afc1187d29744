// Today's plan in the first column, then cheaper, same and dearer ones: what each costs this customer, and what changes.
import { h } from "./kit.js";
import { fill, money, now, number, plain, signed } from "./words.js";

// Attributes whose name says that less of it is better.
const LESS_IS_BETTER = /price|fee|cost/;
const ENDLESS = 1_000_000;

const GROUPS = ["today", "cheaper", "same", "dearer", "unknown"];

function groupOf(plan) {
  if (plan.own) return "today";
  if (plan.saving_month === null) return "unknown";
  return plan.saving_month > 0 ? "cheaper" : plan.saving_month < 0 ? "dearer" : "same";
}

/** `plans`: null before they are known; `limit`: the caller's, or null; `suggested`: offer ids that are suggested now; `setLimit` is told of every new one. */
export function drawCompare(box, plans, limit, suggested, setLimit) {
  const words = now.words;
  if (!plans) { box.replaceChildren(h("p", {}, words.asking)); return; }
  if (!plans.length) { box.replaceChildren(h("p", {}, words.noPlans)); return; }
  const ordered = GROUPS.flatMap((group) => plans.filter((plan) => groupOf(plan) === group));
  const table = h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": words.comparing }, tableOf(ordered, limit, suggested));
  const slider = box.querySelector("input[type=range]");
  if (slider && box.dataset.locale === now.locale && box.dataset.of === ends(plans).join()) {
    box.querySelector(".scroll").replaceWith(table);  // the slider stays, so that a hand on it is not shaken off
    write(box.querySelector("output"), limit);
    return;
  }
  Object.assign(box.dataset, { locale: now.locale, of: ends(plans).join() });
  box.replaceChildren(limitBox(plans, limit, setLimit), table);
}

function ends(plans) {
  const costs = plans.map((plan) => plan.cost_month).filter((cost) => cost !== null);
  return costs.length ? [Math.floor(Math.min(...costs)), Math.ceil(Math.max(...costs)) + 1] : [0, 1];
}

function write(output, limit) { output.textContent = limit === null ? now.words.noLimit : money(limit); }

/** The last step to the right is no limit at all. */
function limitBox(plans, limit, setLimit) {
  const [low, high] = ends(plans), output = h("output", { for: "limit" });
  const slider = h("input", { type: "range", id: "limit", min: low, max: high, step: 1, "aria-keyshortcuts": "M" });
  slider.value = limit ?? high;
  const said = () => (Number(slider.value) >= high ? null : Number(slider.value));
  const tell = () => { write(output, said()); slider.setAttribute("aria-valuetext", output.textContent); };
  slider.addEventListener("input", () => { tell(); setLimit(said()); });
  tell();
  return h("div", { class: "limit" }, h("label", { for: "limit" }, now.words.limit, " ", h("kbd", { "aria-hidden": "true" }, "m")), slider, output);
}

function tableOf(plans, limit, suggested) {
  const words = now.words, own = plans.find((plan) => plan.own);
  const beyond = (plan) => limit !== null && plan.cost_month !== null && plan.cost_month > limit && !plan.own;
  const classOf = (plan, i) => [plan.own && "own", beyond(plan) && "beyond", i > 0 && groupOf(plan) !== groupOf(plans[i - 1]) && "edge"].filter(Boolean).join(" ") || null;
  const row = (label, cell, name = null) => h("tr", { class: name }, h("th", { scope: "row" }, label), plans.map((plan, i) => h("td", { class: classOf(plan, i) }, cell(plan))));
  return h("table", {},
    h("thead", {},
      h("tr", { class: "group" }, h("td", {}), GROUPS.map((group) => [group, plans.filter((plan) => groupOf(plan) === group).length]).filter(([, n]) => n)
        .map(([group, n], i) => h("th", { colspan: n, scope: "colgroup", class: [group === "today" && "own", i > 0 && "edge"].filter(Boolean).join(" ") || null }, words[group]))),
      h("tr", {}, h("td", {}, words.plan), plans.map((plan, i) => h("th", { scope: "col", class: classOf(plan, i), dir: "auto" }, plan.title, suggested.has(plan.offer_id) && h("span", { class: "said" }, words.suggested), beyond(plan) && h("span", { class: "said" }, words.beyond))))),
    h("tbody", {},
      row(words.cost, (plan) => (plan.cost_month === null ? "–" : money(plan.cost_month)), "cost"),
      row(words.month, (plan) => difference(plan.own ? null : plan.saving_month === null ? null : -plan.saving_month)),
      row(words.year, (plan) => difference(plan.own ? null : plan.difference_year)),
      row(words.enough, (plan) => (plan.cost_month === null ? "–" : plan.covers ? words.yes : h("span", { class: "lost" }, words.notEnough))),
      row(words.lost, (plan) => (plan.own || !own ? "" : changes(own, plan, true))),
      row(words.gained, (plan) => (plan.own || !own ? "" : changes(own, plan, false))),
      row(words.price, (plan) => (plan.price_month === null ? "–" : money(plan.price_month)))));
}

function difference(value) {
  return value === null ? "" : h("span", { class: value < 0 ? "less" : null }, signed(value));
}

function changes(own, plan, lost) {
  const names = [...new Set([...Object.keys(own.attributes), ...Object.keys(plan.attributes)])];
  const found = names.filter((name) => own.attributes[name] !== plan.attributes[name] && isLoss(name, own.attributes[name], plan.attributes[name]) === lost);
  if (!found.length) return lost ? now.words.nothingLost : "–";
  return h("ul", {}, found.map((name) => h("li", { dir: "auto" }, `${now.words.attributes[name] ?? plain(name)}: ${written(name, own.attributes[name])} → ${written(name, plan.attributes[name])}`)));
}

/** What a plan does not name it does not limit, and does not charge for. */
function isLoss(name, before, after) {
  if (LESS_IS_BETTER.test(name)) return Number(after ?? 0) > Number(before ?? 0);
  return Number(after ?? Infinity) < Number(before ?? Infinity);
}

function written(name, value) {
  if (LESS_IS_BETTER.test(name)) return money(value ?? 0);
  if (value === undefined || value >= ENDLESS) return now.words.endless;
  return name.endsWith("_gb") ? `${number(value)} GB` : typeof value === "number" ? number(value) : fill("{0}", value);
}
