// Who is calling: name, plan, what is open, and the story over all channels.
import { $, h } from "./kit.js";
import { ago, counted, day, fill, moment, money, now, plain } from "./words.js";

const SHOWN = 8;

export function nameOf(view, call) {
  const p = view?.customer.profile ?? {};
  const named = [p.salutation || p.given_name, p.family_name].filter(Boolean).join(" ");
  return named || call.name || call.customer_id;
}

/** `answer`: the newest recommendation, for plan and ages; `view`: what /v1/desk said; `since`: when the call began. */
export function drawPerson(call, view, answer, all, showAll) {
  const words = now.words, own = answer?.own ?? view?.plans.find((plan) => plan.own), profile = view?.customer.profile ?? {};
  $("name").textContent = nameOf(view, call);
  const facts = [own && own.title, own?.cost_month != null && fill(words.perMonth, money(own.cost_month)), profile.tenure_months && counted(words.sinceMonths, profile.tenure_months), call.customer_id.replaceAll("-", "\u2011")];
  $("facts").textContent = view && !view.customer.known && !view.customer.degraded.length ? `${words.nobody} · ${call.customer_id}` : facts.filter(Boolean).join(" · ");
  $("issues").replaceChildren(...(view?.customer.open_issues ?? []).map(issue));
  const lines = [...(view?.customer.thread ?? answer?.thread ?? [])].reverse();
  const shown = all ? lines : lines.slice(0, SHOWN);
  $("thread").replaceChildren(...shown.map((line) => entry(line, call)));
  if (!lines.length) $("thread").append(h("li", {}, h("small", {}, !view && !answer ? words.asking : isUnread(view?.customer ?? answer) ? words.unread : words.noThread)));
  if (shown.length < lines.length) $("thread").append(h("li", {}, h("button", { type: "button", onclick: showAll }, fill(words.showAll, lines.length))));
}

const isUnread = ({ degraded }) => ["features", "activity", "thread"].some((name) => degraded.includes(name));

function issue(open) {
  const words = now.words, about = open.subject ? `${words.names[open.type] ?? plain(open.type)}: ${open.subject}` : words.names[open.type] ?? plain(open.type);
  return h("div", { class: "issue" }, h("strong", { dir: "auto" }, about), h("small", {}, `${fill(words.since, day(open.since))} · ${words.channels[open.channel] ?? open.channel}`));
}

function entry(line, call) {
  const words = now.words, at = Date.parse(line.at);
  return h("li", { class: at >= call.began ? "fresh" : null }, h("span", { dir: "auto" }, line.text),
    h("small", {}, h("time", { datetime: line.at, title: moment(line.at) }, age(line.at, call)), h("span", {}, words.channels[line.channel] ?? line.channel)));
}

const age = (at, call) => ago(Math.max(0, (Date.now() + call.skew - Date.parse(at)) / 1000));

/** The ages in the story, as of now. */
export function drawAges(call) {
  for (const time of $("thread").querySelectorAll("time")) time.textContent = age(time.dateTime, call);
}

/** Age of the data and what this agent may promise. */
export function drawStanding(answer, taken, view) {
  const words = now.words, later = (Date.now() - taken) / 1000, parts = [];
  if (answer) {
    const { activity_s: activity, profile_s: profile } = answer.freshness;
    parts.push(h("span", {}, activity === null ? (isUnread(answer) ? words.unread : words.noActivity) : fill(words.activityAge, ago(activity + later))));
    if (profile !== null) parts.push(h("span", { class: profile > 30 * 86400 ? "old" : null }, fill(words.profileAge, ago(profile + later))));
  }
  if (view) parts.push(h("span", {}, view.authority.discount_month === null ? words.mayGiveAll : fill(words.mayGive, money(view.authority.discount_month))));
  $("standing").replaceChildren(...parts);
}
