// <nba-suggestions customer-id="c-1001" interaction-id="call-77" token="nbt1.…">: the suggestions of one call.
// One file without dependencies, for the agent desktop and for pages of other origins. Every word that comes over the
// wire becomes a text node, never markup; styles are a constructed sheet, so a strict content security policy holds.
"use strict";
(() => {
  const SRC = document.currentScript ? new URL(document.currentScript.src) : new URL(location.href);
  const WORDS = {
    en: {
      suggestions: "Suggestions", asking: "Asking …", slow: "The service takes longer than usual …", likely: "likely to accept",
      typical: "typical rate", explored: "tried on purpose", saves: "saves {0} a month", costs: "{0} more a month",
      spoken: "Said", accepted: "Accepted", declined: "Declined", later: "Later", skipped: "Skip",
      was: { spoken: "Said", accepted: "Accepted", declined: "Declined", later: "Later", skipped: "Skipped" },
      declinedWhy: "Why did they decline?", skippedWhy: "Why skip it?", otherReason: "another reason", cancel: "Cancel", send: "Save",
      declinedReasons: { too_expensive: "Too expensive", not_needed: "Not needed", content_today: "Happy as it is", bad_experience: "Bad experience", decides_later: "Somebody else decides" },
      skippedReasons: { does_not_fit: "Does not fit this talk", no_time: "No time", discussed_before: "Discussed before", doubtful: "I doubt it" },
      notSaved: "Not saved: “{0}” for {1}. {2}", sentLater: "It is sent again by itself.", again: "Try again", dead: "The service does not answer.", deadOld: "What you see is from {0}.",
      retrying: "Trying again by itself.", nothing: "No offer now", nothingYet: "No call yet", locked: "Sales are locked",
      lockedMany: "{0} offers wait until this is settled.", lockedOne: "One offer waits until this is settled.",
      without: "Working without {0}.", base: "Typical rates stand in.", updated: "Updated: {0}", updatedNone: "Updated: no offer now",
      what: "What came of it", key: "A key is needed to ask the service.", expired: "The permission of this panel has run out.", and: " and ",
      kinds: { resolve: "Fix", inform: "Good to know", escalate: "Hand over", optimize: "Better fit", retain: "Keep", cross_sell: "Add-on", up_sell: "Bigger plan" },
      lacks: { features: "what the customer did", profile: "the profile", contacts: "earlier offers", activity: "part of the activity", thread: "part of the story",
        model: "the model", model_slow: "the model, which is slow", scores: "some estimates", activity_pending: "the newest activity" },
      stages: { eligibility: "Nothing in the catalogue fits this customer.", consent: "Only service may be offered to this customer.", service_first: "Something has to be put right first.",
        contact: "What fits has been offered before and rests.", authority: "What fits needs more authority than yours.", max_cost: "What fits costs more than the caller’s limit.",
        dominated: "What they have is already the cheapest that covers their use.", evidence: "There is no true reason to give.", arbitration: "Nothing is worth more than saying nothing." },
      blind: "Without that, nothing true could be said. It is asked again by itself.",
      rules: { issue: "Open since {1}: {0}.", intent: "The call is about this: {0}.", bad: "Something went wrong for them less than {0} hours ago.", unread: "The activity could not be read, so an open issue cannot be ruled out." },
    },
    de: {
      suggestions: "Vorschläge", asking: "Frage …", slow: "Der Dienst braucht länger als sonst …", likely: "nehmen an",
      typical: "übliche Quote", explored: "bewusst erprobt", saves: "spart {0} im Monat", costs: "{0} mehr im Monat",
      spoken: "Gesagt", accepted: "Angenommen", declined: "Abgelehnt", later: "Später", skipped: "Auslassen",
      was: { spoken: "Gesagt", accepted: "Angenommen", declined: "Abgelehnt", later: "Später", skipped: "Ausgelassen" },
      declinedWhy: "Warum wurde abgelehnt?", skippedWhy: "Warum auslassen?", otherReason: "anderer Grund", cancel: "Abbrechen", send: "Speichern",
      declinedReasons: { too_expensive: "Zu teuer", not_needed: "Nicht nötig", content_today: "Zufrieden, wie es ist", bad_experience: "Schlechte Erfahrung", decides_later: "Jemand anderes entscheidet" },
      skippedReasons: { does_not_fit: "Passt nicht ins Gespräch", no_time: "Keine Zeit", discussed_before: "Schon besprochen", doubtful: "Ich bezweifle es" },
      notSaved: "Nicht gespeichert: „{0}“ zu {1}. {2}", sentLater: "Es wird von selbst noch einmal gesendet.", again: "Noch einmal", dead: "Der Dienst antwortet nicht.", deadOld: "Was Sie sehen, ist von {0}.",
      retrying: "Er wird von selbst wieder gefragt.", nothing: "Jetzt kein Angebot", nothingYet: "Noch kein Anruf", locked: "Verkauf gesperrt",
      lockedMany: "{0} Angebote warten, bis das geklärt ist.", lockedOne: "Ein Angebot wartet, bis das geklärt ist.",
      without: "Es fehlt: {0}.", base: "Übliche Quoten springen ein.", updated: "Aktualisiert: {0}", updatedNone: "Aktualisiert: jetzt kein Angebot",
      what: "Was daraus wurde", key: "Für die Abfrage wird ein Schlüssel gebraucht.", expired: "Die Berechtigung dieser Ansicht ist abgelaufen.", and: " und ",
      kinds: { resolve: "Lösen", inform: "Gut zu wissen", escalate: "Weitergeben", optimize: "Passt besser", retain: "Halten", cross_sell: "Dazu", up_sell: "Größerer Tarif" },
      lacks: { features: "was der Kunde getan hat", profile: "das Profil", contacts: "frühere Angebote", activity: "ein Teil der Aktivität", thread: "ein Teil der Geschichte",
        model: "das Modell", model_slow: "das Modell, es ist zu langsam", scores: "manche Schätzungen", activity_pending: "die neueste Aktivität" },
      stages: { eligibility: "Nichts im Katalog passt zu diesem Kunden.", consent: "Diesem Kunden darf nur Service angeboten werden.", service_first: "Erst muss etwas in Ordnung gebracht werden.",
        contact: "Was passt, wurde schon angeboten und ruht.", authority: "Was passt, braucht mehr Befugnis als Ihre.", max_cost: "Was passt, kostet mehr als das Limit des Anrufers.",
        dominated: "Was sie haben, ist schon das Günstigste, das reicht.", evidence: "Es gibt keinen wahren Grund zu nennen.", arbitration: "Nichts ist mehr wert als nichts zu sagen." },
      blind: "Ohne das ließe sich nichts Wahres sagen. Es wird von selbst wieder gefragt.",
      rules: { issue: "Offen seit {1}: {0}.", intent: "Darum geht es im Anruf: {0}.", bad: "Vor weniger als {0} Stunden ist für sie etwas schiefgegangen.", unread: "Die Aktivität war nicht lesbar, ein offenes Problem ist nicht auszuschließen." },
    },
  };
  const ACTS = [["spoken", "s"], ["accepted", "a"], ["declined", "d"], ["later", "l"], ["skipped", "k"]];
  const STAGES = ["eligibility", "consent", "service_first", "contact", "authority", "max_cost", "dominated", "evidence", "arbitration"];
  const PASSING = ["features", "activity_pending"];  // the service mends these by itself, and no news tells of it
  const PATIENCE_MS = 6000, SLOW_MS = 1200, SKELETON_MS = 140, SILENCE_MS = 40000, SLIP_MS = 500;
  const fill = (text, ...values) => text.replace(/\{(\d)\}/g, (_, i) => values[i] ?? "");

  /** Whether asking once more would not help: it was answered, and neither time nor another key changes that. */
  const isRefusal = (status) => status >= 400 && status < 500 && ![401, 408, 429].includes(status);

  const RIGHT_TO_LEFT = /[\p{Script=Arabic}\p{Script=Hebrew}\p{Script=Nko}\p{Script=Syriac}\p{Script=Thaana}]/gu;
  /** A sentence runs as most of its letters do, not as the name that it begins with. */
  const directionOf = (text) => ((text.match(RIGHT_TO_LEFT)?.length ?? 0) * 2 > (text.match(/\p{L}/gu)?.length ?? 0) ? "rtl" : "ltr");

  /** An element with properties, attributes and children; text is only ever a text node. */
  function h(tag, props = {}, ...children) {
    const made = tag.startsWith("svg:") ? document.createElementNS("http://www.w3.org/2000/svg", tag.slice(4)) : document.createElement(tag);
    for (const [name, value] of Object.entries(props)) {
      if (value === undefined || value === null || value === false) continue;
      if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
      else made.setAttribute(name, value === true ? "" : value);
    }
    made.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
    return made;
  }

  const SHEET = new CSSStyleSheet();
  SHEET.replaceSync(`
    :host { display: block; container-type: inline-size; font: 400 1rem/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif;
      --paper: var(--nba-paper, light-dark(#fbfaf8, #141618)); --raised: var(--nba-raised, light-dark(#ffffff, #1b1e21));
      --ink: var(--nba-ink, light-dark(#1b1d20, #ecebe7)); --quiet: var(--nba-quiet, light-dark(#5b6067, #a5aab0));
      --line: var(--nba-line, light-dark(#e4e1db, #2d3136)); --edge: var(--nba-edge, light-dark(#868b92, #747a82));
      --accent: var(--nba-accent, light-dark(#0b6655, #63d2b4)); --on-accent: var(--nba-on-accent, light-dark(#ffffff, #06241d));
      --soft: var(--nba-soft, light-dark(#e7f1ee, #17302a)); --warn: var(--nba-warn, light-dark(#7d4600, #f2bd72));
      --warn-soft: var(--nba-warn-soft, light-dark(#fcf1de, #32260f)); --stop: var(--nba-stop, light-dark(#9b2226, #ffa49e));
      --stop-soft: var(--nba-stop-soft, light-dark(#fbeae9, #371b1a)); color: var(--ink); background: var(--paper); }
    :host([hidden]) { display: none; }
    :host([theme=light]) { color-scheme: light; } :host([theme=dark]) { color-scheme: dark; }
    * { box-sizing: border-box; margin: 0; }
    .out { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
    h2 { font-size: .8125rem; font-weight: 600; letter-spacing: .01em; color: var(--quiet); margin-bottom: .625rem; }
    button, input { font: inherit; color: inherit; }
    button { cursor: pointer; }
    :focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; border-radius: 6px; }
    kbd { font: 500 .6875rem/1 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; color: var(--quiet); border: 1px solid var(--line);
      border-radius: 4px; padding: .1875rem .3125rem; background: var(--paper); text-transform: uppercase; }
    :host(:not([shortcuts])) kbd { display: none; }
    .note { display: grid; grid-template-columns: 1.25rem 1fr; gap: .125rem .75rem; padding: .75rem 1rem; border-radius: 10px; margin-bottom: .875rem; font-size: .9375rem; }
    .note svg { width: 1.25rem; height: 1.25rem; margin-top: .125rem; grid-row: span 3; }
    .note strong { font-weight: 600; } .note p { color: inherit; overflow-wrap: anywhere; } .note button { justify-self: start; grid-column: 2; margin-top: .375rem; }
    .lock { background: var(--stop-soft); color: var(--stop); } .lock p { color: var(--ink); }
    .without { background: var(--warn-soft); color: var(--warn); border: 1px dashed var(--warn); }
    .dead { background: var(--stop-soft); color: var(--stop); border: 1px dashed var(--stop); }
    ol, ul { list-style: none; padding: 0; }
    .done { display: flex; flex-wrap: wrap; gap: .375rem .5rem; margin-bottom: .875rem; font-size: .875rem; }
    .done li { padding: .125rem .625rem; border-radius: 99px; background: var(--soft); color: var(--accent); max-width: 100%; overflow-wrap: anywhere; }
    .done li.declined { background: transparent; border: 1px solid var(--line); color: var(--quiet); }
    .list { border: 1px solid var(--line); border-radius: 14px; background: var(--raised); overflow: clip; transition: opacity .15s; }
    [aria-busy=true] .list { opacity: .55; }
    .weak .list { border: 1px dashed var(--warn); }
    .item { padding: 1rem 1.5rem; } .item + .item { border-top: 1px solid var(--line); }
    .item.on { padding: 1.25rem 1.5rem 1.375rem; box-shadow: inset 3px 0 var(--accent); }
    .weak .item.on { box-shadow: inset 3px 0 var(--warn); }
    .head { display: flex; align-items: baseline; flex-wrap: wrap; gap: .25rem .75rem; }
    h3 { font: inherit; min-width: 0; }
    .pick { border: 0; background: none; padding: .125rem 0; text-align: start; font-weight: 600; display: flex; gap: .625rem; align-items: baseline; min-height: 1.75rem; max-width: 100%; }
    .pick span { display: inline-block; } .pick span::first-letter { text-transform: uppercase; }
    .pick span, .say { overflow-wrap: anywhere; unicode-bidi: isolate; }
    .kind { font-size: .8125rem; color: var(--quiet); }
    .save { margin-inline-start: auto; font-size: .9375rem; font-variant-numeric: tabular-nums; color: var(--accent); font-weight: 600; }
    .save.more { color: var(--quiet); font-weight: 400; }
    .say { margin: .125rem 0 0; color: var(--quiet); font-size: .9375rem; text-wrap: pretty; }
    .on .say { margin: .625rem 0 1.125rem; color: var(--ink); font-size: 1.375rem; line-height: 1.42; letter-spacing: -.006em; max-width: 38em; }
    .because { display: grid; grid-template-columns: repeat(auto-fit, minmax(11.5rem, 1fr)); gap: .875rem 1.5rem; margin-bottom: 1.125rem; padding: 0; }
    .because > div { display: flex; flex-direction: column-reverse; justify-content: flex-end; gap: .25rem; }
    .because dt { font-size: .8125rem; line-height: 1.35; color: var(--quiet); overflow-wrap: anywhere; }
    .because dd { display: flex; align-items: flex-end; gap: .75rem; min-height: 1.5rem; font-size: 1.125rem; line-height: 1.2; font-weight: 600; font-variant-numeric: tabular-nums; margin: 0; overflow-wrap: anywhere; }
    .because svg { width: 5.5rem; height: 1.375rem; flex: none; } .because rect { fill: var(--line); } .because rect.in { fill: var(--accent); }
    .acts { display: flex; flex-wrap: wrap; gap: .5rem; align-items: center; }
    .acts button, .note button { display: inline-flex; align-items: center; gap: .5rem; min-height: 2.5rem; padding: .25rem .875rem; border-radius: 9px; border: 1px solid var(--edge); background: transparent; font-size: .9375rem; font-weight: 500; }
    .acts button:hover, .note button:hover { background: var(--soft); }
    .acts button.main { background: var(--accent); border-color: var(--accent); color: var(--on-accent); }
    .acts button.main kbd { background: transparent; color: inherit; border-color: currentColor; }
    .acts button[aria-pressed=true] { border-color: var(--accent); color: var(--accent); background: var(--soft); }
    .acts button[aria-disabled] { opacity: .6; cursor: default; }
    .meta { margin-inline-start: auto; font-size: .8125rem; color: var(--quiet); font-variant-numeric: tabular-nums; }
    fieldset { border: 0; padding: 0; margin-top: 1rem; min-width: 0; } legend { font-weight: 600; font-size: .9375rem; padding: 0; margin-bottom: .5rem; }
    fieldset input { min-height: 2.5rem; padding: .25rem .75rem; border: 1px solid var(--edge); border-radius: 9px; background: var(--paper); min-width: 0; width: 12rem; max-width: 100%; }
    .trouble { color: var(--stop); font-size: .9375rem; margin-top: .625rem; }
    .chip { font-size: .8125rem; color: var(--accent); font-weight: 600; }
    .empty { padding: 1.75rem 1.5rem; } .empty p { color: var(--quiet); max-width: 40em; } .empty strong { font-size: 1.375rem; font-weight: 600; letter-spacing: -.006em; color: var(--ink); display: block; margin-bottom: .25rem; }
    .bone { height: .875rem; border-radius: 4px; background: var(--line); margin: .75rem 0; } .bone:nth-child(2) { width: 92%; } .bone:nth-child(3) { width: 64%; }
    @container (max-width: 30rem) {
      kbd { display: none; }
      .item, .item.on { padding: .875rem 1rem 1rem; } .on .say { font-size: 1.1875rem; }
      .save { margin-inline-start: 0; width: 100%; } .meta { width: 100%; margin: 0; } .acts button { flex: 1 1 auto; justify-content: center; }
    }
    @media (prefers-reduced-motion: reduce) { * { transition: none !important; } }
    @media (forced-colors: active) { .item.on { border-inline-start: 3px solid Highlight; } .because rect.in { fill: Highlight; } .because rect { fill: GrayText; } }
  `);

  class NbaSuggestions extends HTMLElement {
    static observedAttributes = ["customer-id", "interaction-id", "token", "locale", "channel", "context", "max-cost-month", "agent-id", "agent-group", "limit", "currency"];
    /** Async function that gives a fresh token; asked once when the service refuses the one there is. */
    tokenProvider = null;
    #root = this.attachShadow({ mode: "open" });
    #live = h("div", { class: "out", role: "status" });
    #title = h("h2", {}); #alert = h("div", { role: "alert" }); #alerted = ""; #rest = h("div", {});
    #body = h("section", {}, this.#title, this.#alert, this.#rest);
    #state = { answer: null, at: null, busy: false, slow: false, bones: false, dead: null, barred: false, chosen: null, pending: null, told: new Map(), sending: new Map(), done: [], series: {} };
    #unsaved = new Set(); #troubles = h("div", {}); #sendingAgain = false; #last = { outcome: null, at: -Infinity };
    #turn = 0; #asking = null; #listening = null; #due = false; #again = null; #tries = 0; #lastId = null;

    constructor() {
      super();
      this.#root.adoptedStyleSheets = [SHEET];
      this.#root.append(this.#live, this.#body, this.#troubles);
    }

    connectedCallback() { this.#schedule(); }
    disconnectedCallback() { this.#turn += 1; this.#asking?.abort(); this.#listening?.abort(); clearTimeout(this.#again); }
    attributeChangedCallback(name, before, after) {
      if (before === after) return;
      if (name === "customer-id" || name === "interaction-id") this.#forget();
      if (name === "locale" || name === "currency") { this.#draw(); this.#drawTroubles(); }
      if (name !== "token" || this.#state.barred) this.#schedule();
    }

    /** The newest answer of POST /v1/recommend, with what was withheld. */
    get answer() { return this.#state.answer; }
    /** The suggestion that the buttons and keys are about. */
    get chosen() { return this.#chosen(); }
    /** What is waiting for a reason: "declined", "skipped" or null. */
    get pending() { return this.#state.pending; }
    /** Ask again now. */
    refresh() { return this.#ask(); }
    /** Put the suggestion of this rank (from 1) in front. */
    choose(rank) {
      const found = this.#state.answer?.suggestions[rank - 1];
      if (found) this.#pick(found.offer_id);
      return Boolean(found);
    }
    /** Say what came of the chosen suggestion; a decline and a skip ask for the reason first. */
    act(outcome, reason) {
      const about = this.#chosen();
      if (!about) return false;
      if ((outcome === "declined" || outcome === "skipped") && reason === undefined) {
        this.#state.pending = outcome;
        this.#draw();
        this.#root.querySelector("fieldset button")?.focus();
      } else this.#report(about, outcome, reason);
      return true;
    }
    /** Choose the reason of this place (from 1) while one is asked for. */
    giveReason(place) {
      const codes = Object.keys(this.#words[`${this.#state.pending}Reasons`] ?? {});
      return Boolean(codes[place - 1]) && this.act(this.#state.pending, codes[place - 1]);
    }
    /** Ask for no reason after all. */
    cancel() {
      if (!this.#state.pending) return false;
      const was = this.#state.pending;
      this.#state.pending = null;
      this.#draw();
      this.#root.querySelector(`[data-key$=":${was}"]`)?.focus();
      return true;
    }

    get #locale() { return this.getAttribute("locale") ?? (this.closest("[lang]")?.getAttribute("lang") || "en"); }
    get #words() { return WORDS[this.#locale.slice(0, 2)] ?? WORDS.en; }
    get #base() { return this.getAttribute("base") ?? SRC.origin; }
    #money(value) { return new Intl.NumberFormat(this.#locale, { style: "currency", currency: this.getAttribute("currency") ?? "EUR" }).format(value); }
    #chosen() {
      const list = this.#state.answer?.suggestions ?? [];
      return list.find((s) => s.offer_id === this.#state.chosen) ?? list[0] ?? null;
    }
    #emit(name, detail) { this.dispatchEvent(new CustomEvent(name, { detail, bubbles: true, composed: true })); }

    #forget() {
      Object.assign(this.#state, { answer: null, at: null, dead: null, barred: false, chosen: null, pending: null, told: new Map(), sending: new Map(), done: [], series: {} });
      for (const said of this.#unsaved) if (said.refused) this.#unsaved.delete(said);
      this.#drawTroubles();
      this.#lastId = null;
    }

    #schedule() {
      if (this.#due || !this.isConnected) return;
      this.#due = true;
      queueMicrotask(() => { this.#due = false; this.isConnected && this.#ask(); });
    }

    #question() {
      const of = (name) => this.getAttribute(name) || undefined;
      const cost = of("max-cost-month"), id = of("agent-id"), group = of("agent-group"), limit = of("limit");
      return {
        customer_id: of("customer-id"), interaction_id: of("interaction-id"), channel: of("channel") ?? "call", locale: this.#locale,
        context: JSON.parse(of("context") ?? "{}"), explain: true, limit: limit ? Number(limit) : undefined,
        max_cost_month: cost === undefined ? undefined : Number(cost), agent: id || group ? { id, group } : undefined,
      };
    }

    async #fetch(path, init = {}, fresh = true) {
      if (this.getAttribute("token") === "" && this.tokenProvider) this.setAttribute("token", (await this.tokenProvider()) ?? "");
      const token = this.getAttribute("token");
      const headers = { ...init.headers, ...(init.body ? { "Content-Type": "application/json" } : {}), ...(token ? { Authorization: `Bearer ${token}` } : {}) };
      const answer = await fetch(this.#base + path, { ...init, headers, credentials: "omit", cache: "no-store" });
      if (answer.status === 401 && fresh && this.tokenProvider) {
        const another = await this.tokenProvider();
        if (another) { this.setAttribute("token", another); return this.#fetch(path, init, false); }
      }
      return answer;
    }

    async #ask() {
      const question = this.#question();
      clearTimeout(this.#again);
      this.#asking?.abort();
      this.#listening?.abort();
      if (this.getAttribute("token") === "" && !this.tokenProvider) return;  // the page will say how to get one
      if (!question.customer_id) { this.#forget(); this.#draw(); return; }
      const turn = ++this.#turn, stop = this.#asking = new AbortController(), state = this.#state;
      state.busy = true;
      const timers = [
        setTimeout(() => { state.bones = true; this.#draw(); }, SKELETON_MS),
        setTimeout(() => { state.slow = true; this.#draw(); }, SLOW_MS),
        setTimeout(() => stop.abort(new DOMException("too late", "TimeoutError")), PATIENCE_MS),
      ];
      try {
        const answer = await this.#fetch("/v1/recommend", { method: "POST", body: JSON.stringify(question), signal: stop.signal });
        const body = await answer.json();
        if (turn !== this.#turn) return;
        if (answer.status === 401) { this.#bar(); return; }
        if (!answer.ok) throw Object.assign(new Error(body.detail), { status: answer.status });
        this.#take(body, false);
        this.#listen(turn);
      } catch (error) {
        if (turn !== this.#turn || !this.isConnected) return;
        this.#die(error);
      } finally {
        timers.forEach(clearTimeout);
        if (turn === this.#turn) { Object.assign(state, { busy: false, slow: false, bones: false }); this.#draw(); }
      }
    }

    #bar() {
      this.#state.barred = true;
      this.#emit("nba-token-needed", {});
    }

    #die(error) {
      const refused = isRefusal(error.status);
      this.#state.dead = refused ? error.message : "";
      this.#emit("nba-error", { message: error.message, status: error.status ?? null });
      if (refused) return;
      this.#later();
    }

    /** Ask again by itself, ever more rarely while it does not help. */
    #later() {
      this.#tries += 1;
      this.#again = setTimeout(() => this.#ask(), Math.min(1000 * 2 ** (this.#tries - 1), 15000) * (0.75 + Math.random() / 2));
    }

    #take(answer, news) {
      const state = this.#state;
      Object.assign(state, { answer, at: new Date(), dead: null, barred: false, busy: false, slow: false, bones: false });
      if (answer.degraded.some((name) => PASSING.includes(name))) this.#later(); else this.#tries = 0;
      this.#lastId = answer.decision_id;
      if (!answer.suggestions.some((s) => s.offer_id === state.chosen)) {
        state.chosen = answer.suggestions[0]?.offer_id ?? null;
        state.pending = null;
      }
      this.#draw();
      const words = this.#words, first = answer.suggestions[0];
      this.#live.textContent = first ? fill(words.updated, first.title) : words.updatedNone;
      this.#emit("nba-answer", { answer, news });
      this.#sendUnsaved();
      this.#bars(answer);
    }

    async #bars(answer) {
      const wanted = [...new Set(answer.suggestions.flatMap((s) => s.because.map((b) => b.feature)))].slice(0, 24);
      if (!wanted.length || answer.degraded.includes("features")) return;
      try {
        const query = wanted.map((name) => `feature=${encodeURIComponent(name)}`).join("&");
        const found = await this.#fetch(`/v1/series/${encodeURIComponent(answer.customer_id)}?${query}`, { signal: AbortSignal.timeout(PATIENCE_MS) });
        if (!found.ok || answer !== this.#state.answer) return;
        this.#state.series = (await found.json()).series;
        this.#draw();
      } catch { /* bars are an extra: a reason stands without them */ }
    }

    async #listen(turn) {
      const interaction = this.getAttribute("interaction-id"), customer = this.getAttribute("customer-id");
      if (!interaction) return;
      const stop = this.#listening = new AbortController();
      const path = `/v1/interactions/${encodeURIComponent(interaction)}/stream?customer_id=${encodeURIComponent(customer)}&explain=true`;
      for (let tries = 0, first = true; turn === this.#turn && !stop.signal.aborted; first = false) {
        try {
          const answer = await this.#fetch(path, { signal: stop.signal, headers: first ? {} : { "Last-Event-ID": this.#lastId ?? "0" } });
          if (answer.status === 401) { this.#bar(); this.#draw(); return; }
          if (isRefusal(answer.status)) return;
          if (!answer.ok) throw new Error(`status ${answer.status}`);
          tries = 0;
          this.#emit("nba-listening", {});
          await this.#read(answer.body, turn, stop);
        } catch { if (stop.signal.aborted) return; }
        tries += 1;
        await new Promise((done) => setTimeout(done, Math.min(500 * 2 ** tries, 15000)));
      }
    }

    /** Server-Sent Events by hand: EventSource cannot carry a key. */
    async #read(stream, turn, stop) {
      const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
      let rest = "", silence = null;
      try {
        for (;;) {
          const quiet = new Promise((_, fail) => { silence = setTimeout(() => fail(new Error("silent")), SILENCE_MS); });
          const { value, done } = await Promise.race([reader.read(), quiet]);
          clearTimeout(silence);
          if (done || turn !== this.#turn || stop.signal.aborted) return;
          const parts = (rest + value).split("\n\n");
          rest = parts.pop();
          for (const part of parts) this.#heard(part);
        }
      } finally { clearTimeout(silence); reader.cancel().catch(() => {}); }
    }

    #heard(part) {
      const fields = Object.fromEntries(part.split("\n").filter((line) => line && !line.startsWith(":")).map((line) => [line.slice(0, line.indexOf(":")), line.slice(line.indexOf(":") + 1).trimStart()]));
      if (fields.event === "recommendation") this.#take(JSON.parse(fields.data), true);
    }

    #report(about, outcome, reason) {
      const state = this.#state, { told, sending } = state, offer = about.offer_id;
      if (told.get(offer) === outcome || sending.has(offer)) return;
      const at = performance.now();
      if (outcome === this.#last.outcome && at - this.#last.at < SLIP_MS) return;  // a double click, and another offer is under it by now
      this.#last = { outcome, at };
      state.pending = null;
      const before = [...this.#unsaved].find((said) => said.told === told && said.body.offer_id === offer && said.body.outcome === outcome);
      this.#send(before ?? { title: about.title, told, sending, refused: "", body: { decision_id: state.answer.decision_id, offer_id: offer, outcome, ...(reason ? { reason } : {}) } });
    }

    /** Send what was said; the call may end before the service answers, so only its own maps are written. */
    async #send(said) {
      const { told, sending, body } = said, { offer_id, outcome } = body;
      this.#unsaved.delete(said);
      sending.set(offer_id, outcome);
      this.#draw();
      try {
        const answer = await this.#fetch("/v1/outcomes", { method: "POST", body: JSON.stringify(body), signal: AbortSignal.timeout(PATIENCE_MS) });
        if (!answer.ok) throw Object.assign(new Error((await answer.json()).detail), { status: answer.status });
      } catch (error) {
        said.refused = isRefusal(error.status) ? error.message : "";
        this.#unsaved.add(said);
      }
      sending.delete(offer_id);
      // Only now: what the service has on its disk is what the agent may rely on.
      if (!this.#unsaved.has(said)) told.set(offer_id, outcome);
      this.#draw();
      this.#drawTroubles();
      if (!this.#unsaved.has(said)) await this.#saved(said);
    }

    async #saved({ title, told, body: { decision_id, offer_id, outcome, reason } }) {
      const state = this.#state;
      this.#live.textContent = `${this.#words.was[outcome]}: ${title}`;
      this.#emit(`nba-${outcome}`, { decision_id, offer_id, title, reason: reason ?? null });
      if (told !== state.told) return;  // its call is over
      if (outcome === "accepted" || outcome === "declined") {
        state.done.push({ title, outcome });
        state.chosen = null;
        await this.#ask();
      } else if (outcome !== "spoken") this.#next(offer_id);
    }

    /** The service answers: what it has not taken yet is told again, in the order in which it was said. */
    async #sendUnsaved() {
      if (this.#sendingAgain) return;
      this.#sendingAgain = true;
      for (const said of [...this.#unsaved]) if (!said.refused && this.#unsaved.has(said)) await this.#send(said);
      this.#sendingAgain = false;
    }

    #drawTroubles() {
      const words = this.#words;
      this.#troubles.replaceChildren(...[...this.#unsaved].map((said) => h("p", { class: "trouble", role: "alert", dir: "auto" },
        fill(words.notSaved, words.was[said.body.outcome], said.title, said.refused || `${words.dead} ${words.sentLater}`), " ",
        h("button", { type: "button", onclick: () => this.#send(said) }, words.again))));
    }

    /** The first suggestion of which nothing is said yet. */
    #next(after) {
      const open = this.#state.answer.suggestions.find((s) => !["later", "skipped"].includes(this.#state.told.get(s.offer_id)));
      this.#pick(open?.offer_id ?? after);
    }

    #pick(offer) {
      Object.assign(this.#state, { chosen: offer, pending: null });
      this.#draw();
      this.#emit("nba-chosen", { offer_id: offer });
    }

    #draw() {
      const state = this.#state, words = this.#words, answer = state.answer;
      const held = this.#root.activeElement?.getAttribute("data-key"), typed = this.#root.querySelector("fieldset input")?.value;
      const weak = Boolean(answer && (answer.degraded.length || answer.source === "fallback"));
      this.#body.setAttribute("aria-label", words.suggestions);
      this.#body.setAttribute("aria-busy", String(state.busy && (state.bones || state.slow)));
      this.#body.className = weak ? "weak" : "";
      this.#body.lang = this.#locale;
      this.#title.textContent = words.suggestions;
      this.#title.className = this.hasAttribute("bare") ? "out" : "";
      this.#drawAlert();
      this.#rest.replaceChildren(...[
        this.#waitNote(), this.#weakNote(answer), this.#doneList(), this.#lockNote(answer), this.#list(answer),
      ].filter(Boolean));
      if (typed) { const field = this.#root.querySelector("fieldset input"); if (field) field.value = typed; }
      if (held) (this.#root.querySelector(`[data-key="${CSS.escape(held)}"]`) ?? this.#root.querySelector(".item.on .pick"))?.focus({ preventScroll: true });
    }

    #note(kind, icon, title, ...more) {
      return h("div", { class: `note ${kind}` }, symbol(icon), h("strong", {}, title), ...more);
    }
    #askAgain() {
      return h("button", { type: "button", "data-key": "retry", onclick: () => this.#ask() }, this.#words.again);
    }
    #waitNote() {
      const state = this.#state, words = this.#words;
      if (state.barred) return this.#note("dead", "key", this.tokenProvider ? words.expired : words.key, this.#askAgain());
      return state.dead === null && state.slow && this.#note("without", "clock", words.slow);
    }
    /** Drawn anew only when it says something else: a screen reader reads out each drawing, and every retry draws. */
    #drawAlert() {
      const state = this.#state, words = this.#words;
      const old = state.at ? fill(words.deadOld, state.at.toLocaleTimeString(this.#locale)) : "";
      const says = state.dead === null || state.barred ? [] : [state.dead || words.dead, [old, state.dead ? "" : words.retrying].join(" ").trim()];
      if (this.#alerted === says.join()) return;
      this.#alerted = says.join();
      this.#alert.replaceChildren(...(says.length ? [this.#note("dead", "break", says[0], h("p", {}, says[1]), this.#askAgain())] : []));
    }
    #weakNote(answer) {
      const words = this.#words;
      if (!answer?.degraded.length) return null;
      const missing = answer.degraded.filter((name) => name !== "model" || !answer.degraded.includes("model_slow"));
      const named = [...new Set(missing.map((name) => words.lacks[name] ?? name.replaceAll("_", " ")))];
      const list = new Intl.ListFormat(this.#locale).format(named);
      const base = answer.degraded.some((name) => name.startsWith("model")) ? h("p", {}, words.base) : null;
      return this.#note("without", "half", fill(words.without, list), base);
    }
    #lockNote(answer) {
      const words = this.#words, held = (answer?.withheld ?? []).filter((w) => w.stage === "service_first");
      if (!held.length) return null;
      const many = held.length === 1 ? words.lockedOne : fill(words.lockedMany, held.length);
      return this.#note("lock", "lock", words.locked, h("p", { dir: "auto" }, this.#lockWhy(held[0].rule)), h("p", {}, many));
    }
    #lockWhy(rule) {
      const rules = this.#words.rules;
      const issue = /^open issue: (.+) since (.+)$/.exec(rule), intent = /^service intent: (.+)$/.exec(rule), bad = /less than (\S+) hours/.exec(rule);
      if (issue) return fill(rules.issue, this.#named(issue[1]), new Date(issue[2]).toLocaleDateString(this.#locale, { day: "numeric", month: "long", timeZone: "UTC" })); // a day alone is midnight in UTC
      if (intent) return fill(rules.intent, this.#named(intent[1]));
      return bad ? fill(rules.bad, bad[1]) : rule.startsWith("the activity could not") ? rules.unread : rule;
    }
    /** Words of the host page for the names of its config, as {name: text}. */
    names = {};
    #named(name) { return this.names[name] ?? name.replaceAll("_", " "); }

    #doneList() {
      const { done } = this.#state;
      return done.length > 0 && h("ul", { class: "done" }, done.map((d) => h("li", { class: d.outcome, dir: "auto" }, `${this.#words.was[d.outcome]}: ${d.title}`)));
    }

    #list(answer) {
      const words = this.#words, state = this.#state;
      if (!answer) {
        if (state.dead !== null || state.barred) return null;
        if (state.bones || state.slow) return h("div", { class: "list empty" }, h("p", { class: "out" }, words.asking), h("div", { class: "bone" }), h("div", { class: "bone" }));
        return state.busy ? null : h("div", { class: "list empty" }, h("p", {}, words.nothingYet));
      }
      if (!answer.suggestions.length) return h("div", { class: "list empty" }, h("strong", {}, words.nothing), h("p", {}, this.#nothingWhy(answer)));
      const chosen = this.#chosen();
      return h("ol", { class: "list" }, answer.suggestions.map((s, i) => this.#item(s, i, s === chosen, answer)));
    }
    #nothingWhy(answer) {
      if (answer.degraded.includes("features")) return this.#words.blind;
      const late = STAGES.filter((stage) => (answer.withheld ?? []).some((w) => w.stage === stage)).pop();
      return this.#words.stages[late] ?? answer.nothing_because ?? "";
    }

    #item(s, place, on, answer) {
      const words = this.#words, told = this.#state.told.get(s.offer_id);
      const saving = s.saving_month === null || s.saving_month === 0 ? null
        : h("span", { class: s.saving_month > 0 ? "save" : "save more" }, fill(s.saving_month > 0 ? words.saves : words.costs, this.#money(Math.abs(s.saving_month))));
      return h("li", { class: on ? "item on" : "item" },
        h("div", { class: "head" },
          h("h3", {}, h("button", { class: "pick", type: "button", "aria-expanded": String(on), "data-key": `${s.offer_id}:pick`, onclick: () => this.#pick(s.offer_id) },
            h("kbd", { "aria-hidden": "true" }, String(place + 1)), h("span", { dir: "auto" }, s.title))),
          h("span", { class: "kind" }, words.kinds[s.kind] ?? s.kind), told && h("span", { class: "chip" }, `✓ ${words.was[told]}`), saving),
        h("p", { class: "say", dir: directionOf(s.say) }, s.say),
        on && s.because.length > 0 && h("dl", { class: "because" }, s.because.map((b) => this.#reason(b))),
        on && this.#acts(s, told, answer), on && this.#state.pending && this.#why(this.#state.pending));
    }
    #reason(because) {
      const cut = because.text.lastIndexOf(": "), label = cut > 0 ? because.text.slice(0, cut) : because.feature, value = cut > 0 ? because.text.slice(cut + 2) : because.text;
      return h("div", {}, h("dt", { dir: "auto" }, label), h("dd", { dir: "auto" }, value, spark(this.#state.series[because.feature], this.#locale)));
    }
    #acts(s, told, answer) {
      const words = this.#words, chance = new Intl.NumberFormat(this.#locale, { style: "percent" }).format(s.accept_probability);
      const meta = answer.source === "fallback" ? words.typical : `${chance} ${words.likely}${s.explored ? ` · ${words.explored}` : ""}`;
      return h("div", { class: "acts", role: "group", "aria-label": words.what },
        ACTS.map(([outcome, key], i) => h("button", {
          type: "button", class: i === 0 && told !== "spoken" ? "main" : "", "data-key": `${s.offer_id}:${outcome}`, "aria-keyshortcuts": this.hasAttribute("shortcuts") ? key.toUpperCase() : null,
          "aria-pressed": told === outcome ? "true" : null, "aria-disabled": this.#state.sending.has(s.offer_id) ? "true" : null, onclick: () => { this.#state.chosen = s.offer_id; this.act(outcome); },
        }, words[outcome], h("kbd", { "aria-hidden": "true" }, key))), h("span", { class: "meta" }, meta));
    }
    #why(outcome) {
      const words = this.#words, field = h("input", { "aria-label": words.otherReason, placeholder: words.otherReason, maxlength: "200", "data-key": "reason:other" });
      return h("fieldset", {}, h("legend", {}, words[`${outcome}Why`]), h("div", { class: "acts" },
        Object.entries(words[`${outcome}Reasons`]).map(([code, text], i) => h("button", { type: "button", "data-key": `reason:${code}`, onclick: () => this.act(outcome, code) }, h("kbd", { "aria-hidden": "true" }, String(i + 1)), text)),
        h("form", { class: "acts", onsubmit: (event) => { event.preventDefault(); this.act(outcome, field.value.trim() || ""); } }, field, h("button", {}, words.send)),
        h("button", { type: "button", "data-key": "reason:cancel", onclick: () => this.cancel() }, words.cancel, h("kbd", { "aria-hidden": "true" }, "esc"))));
    }
  }

  const PATHS = {
    lock: "M6 9V6.5a4 4 0 0 1 8 0V9M5 9h10v8H5z", half: "M10 2.5a7.5 7.5 0 1 0 0 15zM10 2.5a7.5 7.5 0 0 1 0 15", clock: "M10 2.5a7.5 7.5 0 1 0 .01 0M10 6v4.5l3 2",
    break: "M3 10h4l2-4 2 8 2-4h4M3 3l14 14", key: "M12.5 3.5a4 4 0 1 0 .01 0M9.5 10.5 3 17m3-3 2 2",
  };
  function symbol(name) {
    return h("svg:svg", { viewBox: "0 0 20 20", fill: "none", stroke: "currentColor", "stroke-width": "1.6", "stroke-linecap": "round", "stroke-linejoin": "round", "aria-hidden": "true" }, h("svg:path", { d: PATHS[name] }));
  }
  /** Small bars of how a number came about; those that it counts are strong. */
  function spark(series, locale) {
    const values = series?.values.map((v) => v ?? 0) ?? [], most = Math.max(...values, 0);
    if (!most) return null;
    const wide = 104 / values.length, gap = Math.min(2, wide / 4), day = { month: "short", ...(series.step === "month" ? {} : { day: "numeric" }) };
    const named = series.values.map((v, i) => `${new Date(series.starts[i]).toLocaleDateString(locale, { ...day, timeZone: NbaSuggestions.timeZone })}: ${v === null ? "–" : new Intl.NumberFormat(locale).format(v)}`);
    const label = `${series.of.replaceAll("_", " ")}: ${named.filter((_, i) => series.values[i]).join(", ")}`;
    return h("svg:svg", { viewBox: "0 0 104 24", preserveAspectRatio: "none", role: "img", "aria-label": label }, h("svg:title", {}, label),
      values.map((v, i) => h("svg:rect", { x: (i * wide).toFixed(2), width: (wide - gap).toFixed(2), y: (24 - Math.max(1.5, (v / most) * 24)).toFixed(2), height: Math.max(1.5, (v / most) * 24).toFixed(2), rx: "1", class: series.counted[i] && v ? "in" : null })));
  }
  /** Of calendar months in the labels of the bars; the desktop sets the one of the config. */
  NbaSuggestions.timeZone = undefined;
  NbaSuggestions.directionOf = directionOf;
  if (!customElements.get("nba-suggestions")) customElements.define("nba-suggestions", NbaSuggestions);
})();
