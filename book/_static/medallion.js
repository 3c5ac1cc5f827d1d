// What every page does: the theme, the copy buttons, the boxes that scroll. All of it can be missing.
"use strict";

const THEMES = ["system", "light", "dark"];
const SCROLLERS = ".scroller, .drawing, pre";
const root = document.documentElement;

function setUpTheme(button) {
  const show = () => {
    button.setAttribute("aria-label", `Theme: ${root.dataset.theme}`);
    button.title = `Theme: ${root.dataset.theme}`;
  };
  button.addEventListener("click", () => {
    const next = THEMES[(THEMES.indexOf(root.dataset.theme) + 1) % THEMES.length];
    root.dataset.theme = next;
    try {
      localStorage.setItem("theme", next);
    } catch {
      // A browser that keeps nothing still changes this page
    }
    show();
    document.dispatchEvent(new Event("themechange"));
  });
  root.dataset.theme ||= "system";
  show();
  button.hidden = false;
}

function addCopyButton(block) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "copy";
  button.textContent = "Copy";
  button.setAttribute("aria-label", "Copy this code");
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(block.querySelector("pre").innerText.trimEnd());
    button.textContent = "Copied";
    setTimeout(() => (button.textContent = "Copy"), 1500);
  });
  block.append(button);
}

// On each side where a box hides something its edge lies in shade
function shade(box) {
  const hidden = box.scrollWidth - box.clientWidth - box.scrollLeft;
  box.classList.toggle("more-left", box.scrollLeft > 1);
  box.classList.toggle("more-right", hidden > 1);
}

// What does not scroll is no stop for the Tab key; what does is one
function markScrollers() {
  for (const box of document.querySelectorAll(SCROLLERS)) {
    const scrolls = box.scrollWidth > box.clientWidth + 1 || box.scrollHeight > box.clientHeight + 1;
    if (scrolls) box.tabIndex = 0;
    else box.removeAttribute("tabindex");
    shade(box);
  }
}

setUpTheme(document.querySelector("button.theme"));
if (navigator.clipboard) {
  document.querySelectorAll(".cell_input .highlight, .highlight-sh .highlight, .highlight-python .highlight")
    .forEach(addCopyButton);
}
markScrollers();
window.addEventListener("resize", markScrollers);
document.addEventListener("toggle", markScrollers, true);
document.addEventListener("scroll", ({ target }) => target.matches?.(SCROLLERS) && shade(target), {
  capture: true,
  passive: true,
});
for (const drawer of document.querySelectorAll("[popover]")) {
  drawer.addEventListener("click", (event) => {
    if (event.target.closest("a") && drawer.matches(":popover-open")) drawer.hidePopover();
  });
}
