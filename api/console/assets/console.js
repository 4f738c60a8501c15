// The keys, the live feed and the countdown of the console. Every page works without this file, apart from the live feed.
"use strict";
(() => {
  const find = (selector) => document.querySelector(selector);
  const STORE = "streamflow-keys";
  const stored = () => { try { return localStorage.getItem(STORE); } catch { return null; } };
  let areKeysOn = stored() !== "off";

  // ---- keys

  function move(step) {
    const rows = [...document.querySelectorAll("a.open")];
    if (!rows.length) return;
    const at = rows.indexOf(document.activeElement);
    const to = at < 0 ? (step > 0 ? 0 : rows.length - 1) : Math.min(rows.length - 1, Math.max(0, at + step));
    rows[to].focus();
    rows[to].scrollIntoView({ block: "nearest" });
  }

  function choose(verdict) {
    const option = find(`input[name="verdict"][value="${verdict}"]`);
    if (option) { option.checked = true; option.focus(); }
  }

  function next() {
    const form = find("#verdict");
    const button = form && form.querySelector('input[name="verdict"]:checked') ? form.querySelector("#submit-next") : find("#next button");
    if (button) button.click();
  }

  function toggle() {
    const details = find("#features");
    if (details) { details.open = !details.open; if (details.open) details.scrollIntoView({ block: "nearest" }); }
  }

  const focus = (selector) => { const found = find(selector); if (found) { found.focus(); if (found.select) found.select(); } };
  const help = () => { const dialog = find("#help"); if (dialog && !dialog.open) dialog.showModal(); };
  const KEYS = {
    j: () => move(1), k: () => move(-1), n: next, f: () => choose("fraud"), g: () => choose("genuine"), u: () => choose("unsure"),
    z: () => focus("#snooze select"), e: toggle, "/": () => focus("#q"), "?": help,
  };

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey || event.isComposing || !areKeysOn) return;
    const target = event.target;
    const isTyping = target.matches("textarea, select, input:not([type=radio]):not([type=checkbox])") || target.isContentEditable;
    if (event.key === "Escape" && isTyping) { target.blur(); return; }
    if (isTyping || find("dialog[open]")) return;
    const act = KEYS[event.key];
    if (act) { event.preventDefault(); act(); }
  });

  const button = find("#help-button");
  if (button) button.addEventListener("click", help);
  const keysOn = find("#keys-on");
  if (keysOn) {
    keysOn.checked = areKeysOn;
    keysOn.addEventListener("change", () => {
      areKeysOn = keysOn.checked;
      try { localStorage.setItem(STORE, areKeysOn ? "on" : "off"); } catch { /* this page only */ }
    });
  }

  // ---- the live feed: the server sends rows of the table, with all text escaped

  const feed = find("#feed");
  const MOST_ROWS = 200;
  if (feed) {
    const state = find("#feed-state");
    let count = 0;
    const source = new EventSource(feed.dataset.events);
    source.addEventListener("open", () => { state.textContent = `Connected. ${count} new alerts.`; });
    source.addEventListener("error", () => { if (source.readyState === EventSource.CLOSED) state.textContent = "The feed ended: reload the page."; });
    source.addEventListener("alert", (event) => {
      const row = new DOMParser().parseFromString(`<table>${event.data}</table>`, "text/html").querySelector("tr");
      if (!row || document.getElementById(row.id)) return; // the browser connected again
      feed.insertAdjacentHTML("afterbegin", event.data);
      while (feed.rows.length > MOST_ROWS) feed.deleteRow(-1);
      count += 1;
      state.textContent = `Connected. ${count} new alerts.`;
    });
  }

  // ---- the time to undo a verdict

  function countDown() {
    for (const note of document.querySelectorAll("[data-seconds]")) {
      const end = Date.now() + 1000 * Number(note.dataset.seconds);
      delete note.dataset.seconds;
      const timer = setInterval(() => {
        const left = Math.ceil((end - Date.now()) / 1000);
        const text = note.querySelector(".left");
        if (text) text.textContent = String(Math.max(0, left));
        if (left <= 0) { clearInterval(timer); note.remove(); }
      }, 250);
    }
  }
  countDown();
  document.addEventListener("htmx:afterSwap", countDown);
})();
