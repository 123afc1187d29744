// One call from JavaScript: ask, show, report. In a browser use the widget instead, with a token instead of a key.
export async function ask(base, customerId, interactionId, key) {
  const headers = { "Content-Type": "application/json", ...(key ? { Authorization: `Bearer ${key}` } : {}) };
  const post = async (path, body) => {
    const answer = await fetch(base + path, { method: "POST", headers, body: JSON.stringify(body), signal: AbortSignal.timeout(2000) });
    const found = await answer.json();
    if (!answer.ok) throw new Error(found.detail);
    return found;
  };
  const decision = await post("/v1/recommend", { customer_id: customerId, interaction_id: interactionId, context: { intent: "technical" } });
  const [best] = decision.suggestions;
  if (best) await post("/v1/outcomes", { decision_id: decision.decision_id, offer_id: best.offer_id, outcome: "spoken" });
  return best ? best.say : decision.nothing_because;
}
