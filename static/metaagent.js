/* What a page gains from a script; without one it works as well. Times are shown in the reader's own zone. */
"use strict";

const full = new Intl.DateTimeFormat(undefined, { dateStyle: "long", timeStyle: "medium" });
const near = new Intl.RelativeTimeFormat(undefined, { numeric: "auto" });
const steps = [[60, "second", 1], [3600, "minute", 60], [86400, "hour", 3600], [7 * 86400, "day", 86400]];

function told(element) {
  const at = new Date(element.dateTime);
  if (Number.isNaN(at.valueOf())) return;
  const ago = (Date.now() - at) / 1000;
  const step = steps.find(([most]) => Math.abs(ago) < most);
  element.title = full.format(at);
  element.textContent = step ? near.format(-Math.round(ago / step[2]), step[1]) : full.format(at);
}

function tellAll(root) {
  root.querySelectorAll("time[datetime]").forEach(told);
}

document.addEventListener("DOMContentLoaded", () => tellAll(document));
document.addEventListener("htmx:load", (event) => tellAll(event.detail.elt));
