// The funnel of the newest decision: how many offers came how far, and which rule stopped each of the others.
import { h } from "./kit.js";
import { fill, now } from "./words.js";

const STAGES = ["service_first", "consent", "contact", "authority", "max_cost", "dominated", "evidence", "arbitration", "eligibility"];

/** `titleOf`: the title of an offer by its id. */
export function drawExplain(box, answer, titleOf) {
  if (!answer) { box.replaceChildren(); return; }
  const words = now.words, open = new Set([...box.querySelectorAll("details[open]")].map((d) => d.dataset.stage)), first = !box.hasChildNodes();
  const counts = [["catalog", words.catalog], ["eligible", words.eligible], ["passed", words.passed], ["suggested", words.suggestedN]];
  const stages = STAGES.map((stage) => [stage, (answer.withheld ?? []).filter((w) => w.stage === stage)]).filter(([, held]) => held.length);
  box.replaceChildren(
    h("dl", { class: "funnel" }, counts.map(([name, label]) => h("div", {}, h("dt", {}, label), h("dd", {}, String(answer.funnel[name]))))),
    ...stages.map(([stage, held]) => h("details", { "data-stage": stage, open: first ? stage !== "eligibility" : open.has(stage) },
      h("summary", {}, words.stages[stage] ?? stage, h("span", {}, fill(words.offers, held.length))),
      h("ul", {}, held.map((w) => h("li", { dir: "auto" }, titleOf(w.offer_id), h("code", { dir: "auto" }, w.rule)))))),
    h("p", { class: "stamp" }, fill(words.decision, answer.decision_id, answer.model ?? words.noModel, answer.policy),
      answer.experiment ? ` · ${answer.experiment.name}: ${answer.experiment.arm}` : ""));
}
