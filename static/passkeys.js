/* Passkeys: their buttons are shown where the browser has them, and what went wrong is said in words. */
"use strict";

document.addEventListener("DOMContentLoaded", () => {
  if (!window.PublicKeyCredential) return;
  document.querySelectorAll("[data-passkeys]").forEach((element) => { element.hidden = false; });
});

document.addEventListener("allauth.error", (event) => {
  event.preventDefault();
  document.querySelectorAll("[data-passkey-problem]").forEach((element) => { element.hidden = false; });
});
