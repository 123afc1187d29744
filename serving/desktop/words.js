// Every word of the page in both languages, and how numbers, money and moments are written.
const EN = {
  skip: "To the call", product: "agent desktop", authority: "Authority", language: "Language", views: "Views", story: "The customer’s story",
  shortcuts: "Shortcuts", whoCalls: "Who is calling?", whoCallsLead: "Pick a call, or type the customer’s id. The first sentence is there before you say hello.",
  leadReal: "Type the customer’s id, or let your telephony open this page with #customer=…&interaction=…", customerId: "Customer id", reason: "Reason for the call", takeCall: "Take the call", endCall: "End call",
  tabSay: "Say this", tabCompare: "Compare plans", tabExplain: "Why these", nextQuestion: "They will likely ask", thread: "What happened", showAll: "Show all {0}",
  nobody: "Nothing is known of this customer", noThread: "No activity that tells a story.", unread: "The activity could not be read.", asking: "Asking …", since: "since {0}", perMonth: "{0} a month", sinceMonths: ["customer for {0} month", "customer for {0} months"],
  happens: "Something happens: {0}", happened: "Sent: {0}", mayGive: "You may give up to {0} a month", mayGiveAll: "No limit on discounts", activityAge: "Last activity: {0}", profileAge: "Profile: {0}", noActivity: "No activity known",
  theme: { auto: "Theme: system", light: "Theme: light", dark: "Theme: dark" }, normal: "standard", keysOn: "Single-key shortcuts", close: "Close",
  keyTitle: "API key", keyLead: "This service asks for a key with the scopes recommend and write. It stays in this tab.", keySave: "Use this key", keyRefused: "The service does not know this key.",
  today: "Today", cheaper: "Cheaper", same: "Same", dearer: "Dearer", unknown: "Unknown", price: "List price", cost: "For their use", month: "A month", year: "A year", enough: "Enough?", lost: "They lose", gained: "They gain",
  yes: "yes", notEnough: "not enough for their busiest month", limit: "Caller’s monthly limit", noLimit: "no limit", beyond: "above the limit", suggested: "suggested", plan: "Plan", nothingLost: "nothing", comparing: "Plans for what this customer uses",
  noPlans: "There are no plans to compare.", catalog: "in the catalogue", eligible: "fit this customer", passed: "may be said", suggestedN: "suggested", offers: "{0} withheld", decision: "Decision {0}, {1}, policy {2}", noModel: "no model",
  stages: { eligibility: "Does not fit", consent: "No consent", service_first: "Service first", contact: "Offered too often, or declined", authority: "Beyond your authority", max_cost: "Above the caller’s limit", dominated: "Something cheaper is enough", evidence: "No true reason to give", arbitration: "Not worth more than the others" },
  intents: { general: "General", billing: "Bill", cancel: "Wants to cancel", complaint: "Complaint", fault: "Fault", outage: "Outage", plan: "Plan", sim: "SIM card", technical: "Technical", travel: "Travel", usage: "Usage" },
  names: { complaint: "complaint", outage: "outage", ticket_opened: "ticket", issue_resolved: "issue settled", technical: "technical", fault: "fault", sim: "SIM card", cancel: "cancelling" },
  channels: { app: "app", web: "web", ivr: "phone menu", chat: "chat", store: "shop", call: "call", email: "e-mail", sms: "SMS", letter: "letter", social: "social media", network: "network" },
  attributes: { data_gb: "data", gb_price: "each further GB", minutes_included: "minutes", minute_price: "each further minute" }, endless: "unlimited",
  keys: { "1–3": "choose", s: "said", a: "accepted", d: "declined", l: "later", k: "skip", i: "reason", c: "compare", e: "why", m: "limit", n: "something happens", r: "ask again", esc: "back", q: "end call", "/": "customer id", "?": "all shortcuts" },
};
const DE = {
  skip: "Zum Anruf", product: "Arbeitsplatz", authority: "Befugnis", language: "Sprache", views: "Ansichten", story: "Die Geschichte des Kunden",
  shortcuts: "Tasten", whoCalls: "Wer ruft an?", whoCallsLead: "Wählen Sie einen Anruf oder geben Sie die Kundennummer ein. Der erste Satz steht da, bevor Sie grüßen.",
  leadReal: "Geben Sie die Kundennummer ein, oder lassen Sie Ihre Telefonie diese Seite mit #customer=…&interaction=… öffnen", customerId: "Kundennummer", reason: "Grund des Anrufs", takeCall: "Annehmen", endCall: "Auflegen",
  tabSay: "Sagen", tabCompare: "Tarife vergleichen", tabExplain: "Warum diese", nextQuestion: "Das werden sie wohl fragen", thread: "Was geschah", showAll: "Alle {0} zeigen",
  nobody: "Über diesen Kunden ist nichts bekannt", noThread: "Keine Aktivität, die etwas erzählt.", unread: "Die Aktivität war nicht lesbar.", asking: "Frage …", since: "seit {0}", perMonth: "{0} im Monat", sinceMonths: ["seit {0} Monat Kunde", "seit {0} Monaten Kunde"],
  happens: "Etwas geschieht: {0}", happened: "Gesendet: {0}", mayGive: "Sie dürfen bis {0} im Monat geben", mayGiveAll: "Rabatte ohne Grenze", activityAge: "Letzte Aktivität: {0}", profileAge: "Profil: {0}", noActivity: "Keine Aktivität bekannt",
  theme: { auto: "Darstellung: System", light: "Darstellung: hell", dark: "Darstellung: dunkel" }, normal: "üblich", keysOn: "Tasten ohne Strg", close: "Schließen",
  keyTitle: "API-Schlüssel", keyLead: "Dieser Dienst verlangt einen Schlüssel mit den Rechten recommend und write. Er bleibt in diesem Tab.", keySave: "Diesen nehmen", keyRefused: "Diesen Schlüssel kennt der Dienst nicht.",
  today: "Heute", cheaper: "Günstiger", same: "Gleich", dearer: "Teurer", unknown: "Unbekannt", price: "Listenpreis", cost: "Bei ihrer Nutzung", month: "Im Monat", year: "Im Jahr", enough: "Reicht es?", lost: "Sie verlieren", gained: "Sie gewinnen",
  yes: "ja", notEnough: "reicht nicht für ihren stärksten Monat", limit: "Monatslimit des Anrufers", noLimit: "kein Limit", beyond: "über dem Limit", suggested: "vorgeschlagen", plan: "Tarif", nothingLost: "nichts", comparing: "Tarife für das, was dieser Kunde nutzt",
  noPlans: "Es gibt keine Tarife zu vergleichen.", catalog: "im Katalog", eligible: "passen zum Kunden", passed: "dürfen gesagt werden", suggestedN: "vorgeschlagen", offers: "{0} zurückgehalten", decision: "Entscheidung {0}, {1}, Regeln {2}", noModel: "ohne Modell",
  stages: { eligibility: "Passt nicht", consent: "Keine Einwilligung", service_first: "Erst der Service", contact: "Zu oft angeboten oder abgelehnt", authority: "Über Ihrer Befugnis", max_cost: "Über dem Limit des Anrufers", dominated: "Etwas Günstigeres reicht", evidence: "Kein wahrer Grund zu nennen", arbitration: "Nicht mehr wert als die anderen" },
  intents: { general: "Allgemein", billing: "Rechnung", cancel: "Will kündigen", complaint: "Beschwerde", fault: "Defekt", outage: "Störung", plan: "Tarif", sim: "SIM-Karte", technical: "Technik", travel: "Reise", usage: "Nutzung" },
  names: { complaint: "Beschwerde", outage: "Störung", ticket_opened: "Ticket", issue_resolved: "Problem geklärt", technical: "Technik", fault: "Defekt", sim: "SIM-Karte", cancel: "Kündigung" },
  channels: { app: "App", web: "Web", ivr: "Telefonmenü", chat: "Chat", store: "Laden", call: "Anruf", email: "E-Mail", sms: "SMS", letter: "Brief", social: "soziale Medien", network: "Netz" },
  attributes: { data_gb: "Datenvolumen", gb_price: "jedes weitere GB", minutes_included: "Minuten", minute_price: "jede weitere Minute" }, endless: "unbegrenzt",
  keys: { "1–3": "wählen", s: "gesagt", a: "angenommen", d: "abgelehnt", l: "später", k: "auslassen", i: "Grund", c: "vergleichen", e: "warum", m: "Limit", n: "etwas geschieht", r: "neu fragen", esc: "zurück", q: "auflegen", "/": "Kundennummer", "?": "alle Tasten" },
};
const ALL = { en: EN, de: DE };

/** The language and currency of the page; changed by `speak`, read by everybody. */
export const now = { locale: "en", currency: "EUR", zone: undefined, words: EN };

export function speak(locale) {
  now.locale = locale in ALL ? locale : "en";
  now.words = ALL[now.locale];
}

export const fill = (text, ...values) => text.replace(/\{(\d)\}/g, (_, i) => values[i] ?? "");
export const plain = (name) => String(name).replaceAll("_", " ");
export const money = (value) => new Intl.NumberFormat(now.locale, { style: "currency", currency: now.currency }).format(value);
export const signed = (value) => new Intl.NumberFormat(now.locale, { style: "currency", currency: now.currency, signDisplay: "exceptZero" }).format(value).replace("-", "−");
export const number = (value) => new Intl.NumberFormat(now.locale, { maximumFractionDigits: 2 }).format(value);
/** A number in a text that has a form for one and a form for more. */
export const counted = ([one, more], value) => fill(value === 1 ? one : more, number(value));
export const day = (at) => new Date(at).toLocaleDateString(now.locale, { day: "numeric", month: "long", timeZone: now.zone });
export const moment = (at) => new Date(at).toLocaleString(now.locale, { dateStyle: "medium", timeStyle: "short", timeZone: now.zone });

/** So many seconds back, in words: 5 hours ago. An age is no day of the calendar: 46 hours ago is not always yesterday. */
export function ago(seconds) {
  const steps = [["second", 60], ["minute", 60], ["hour", 24], ["day", 30], ["month", 12], ["year", Infinity]];
  let amount = seconds;
  for (const [unit, size] of steps) {
    if (amount < size) return new Intl.RelativeTimeFormat(now.locale, { numeric: unit === "second" ? "auto" : "always" }).format(-Math.floor(amount), unit);
    amount /= size;
  }
  return "";
}
