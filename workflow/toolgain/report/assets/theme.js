/* Sets the chosen colour scheme before the first paint. */
(() => {
  "use strict";
  let choice = null;
  try { choice = localStorage.getItem("toolgain-theme"); } catch { /* file:// may forbid it */ }
  if (choice === "light" || choice === "dark") document.documentElement.dataset.theme = choice;
  document.documentElement.classList.add("scripted");
})();
