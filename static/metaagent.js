/* What a page gains from a script; without one it works as well. Times are shown in the reader's own zone. */
"use strict";

const full = new Intl.DateTimeFormat(undefined, { dateStyle: "long", timeStyle: "medium" });
const day = new Intl.DateTimeFormat(undefined, { dateStyle: "medium" });
const near = new Intl.RelativeTimeFormat(undefined, { numeric: "auto" });
const steps = [[60, "second", 1], [3600, "minute", 60], [86400, "hour", 3600], [7 * 86400, "day", 86400]];

function told(element) {
  const at = new Date(element.dateTime);
  if (Number.isNaN(at.valueOf())) return;
  const ago = (Date.now() - at) / 1000;
  const step = steps.find(([most]) => Math.abs(ago) < most);
  element.title = full.format(at);
  element.textContent = step ? near.format(-Math.round(ago / step[2]), step[1]) : day.format(at);
}

function tellAll(root) {
  root.querySelectorAll("time[datetime]").forEach(told);
}

document.addEventListener("DOMContentLoaded", () => {
  tellAll(document);
  // On a phone the console's parts are one line to be moved sideways: the one that is open is in sight.
  document.querySelector(".side [aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" });
});
document.addEventListener("htmx:load", (event) => tellAll(event.detail.elt));

/* A page that somebody waits on names what it watches and what of that it shows. The socket says only that this has
   changed; then the page looks again, unless somebody is filling something in: then it says so. */
let socket = null;
let pause = 1000;
const CLOSED_FOR_GOOD = [1000, 4400, 4404, 4408]; // it has spoken, or there is nothing to hear: metaagent/live.py

function watch() {
  const watched = document.querySelector("[data-watch]");
  if (!watched || socket) return;
  socket = new WebSocket(new URL("/live/", location.href).href.replace(/^http/, "ws"));
  socket.addEventListener("open", () => {
    pause = 1000;
    socket.send(watched.dataset.watch);
  });
  socket.addEventListener("message", lookAgain);
  socket.addEventListener("close", ({ code }) => {
    socket = null;
    if (CLOSED_FOR_GOOD.includes(code) || pause > 60000) return;
    setTimeout(watch, pause);
    pause *= 2;
  });
}

async function lookAgain() {
  const main = document.getElementById("main");
  if (main.querySelector("details[open], :is(input, select, textarea):focus")) {
    document.getElementById("changed").hidden = false;
    return;
  }
  const answer = await fetch(location.href, { redirect: "manual" });
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  const fresh = page.getElementById("main");
  if (!fresh) {
    location.replace(location.pathname + location.search);
    return;
  }
  document.title = page.title;
  main.replaceWith(fresh);
  htmx.process(fresh);
  tellAll(fresh);
  fresh.focus({ preventScroll: true });
  setTimeout(watch, 1000);
}

document.addEventListener("DOMContentLoaded", watch);
document.addEventListener("visibilitychange", () => document.hidden || watch());

/* A form that is sent in the ordinary way shows what it works on, as htmx's do; a file that is too large is not sent. */
document.addEventListener("submit", ({ target }) => {
  if (!target.hasAttribute("hx-post")) target.classList.add("htmx-request");
});
addEventListener("pageshow", () => {
  document.querySelectorAll("form.htmx-request").forEach((form) => form.classList.remove("htmx-request"));
});
document.addEventListener("change", ({ target }) => {
  const { most, tooLarge } = target.dataset;
  if (most) target.setCustomValidity(target.files[0]?.size > Number(most) ? tooLarge : "");
});
