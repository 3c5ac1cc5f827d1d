// Draws the figures of a page before they come into view, in the colours of the page's theme. Until then the box of
// each shows its text. Plotly's script is fetched once a reader has begun to scroll, and run with the first figure.
"use strict";

const plotlyAddress = document.currentScript.dataset.plotly;
let plotly;

function loadPlotly() {
  plotly ??= new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = plotlyAddress;
    script.onload = () => resolve(window.Plotly);
    script.onerror = reject;
    document.head.append(script);
  });
  return plotly;
}

// Of a preload that is not used at once browsers warn
function prefetchPlotly() {
  if (plotly || navigator.connection?.saveData) return;
  const hint = document.createElement("link");
  hint.rel = "prefetch";
  hint.href = plotlyAddress;
  document.head.append(hint);
}

function colour(name) {
  const probe = document.createElement("span");
  probe.style.color = `var(${name})`;
  document.body.append(probe);
  const found = getComputedStyle(probe).color;
  probe.remove();
  return found;
}

// The parts of a layout that follow the page: text, grid, and the box beside the pointer
function themed(layout) {
  const ink = colour("--ink-2");
  const changes = {
    "font.color": ink,
    "font.family": getComputedStyle(document.body).fontFamily,
    "hoverlabel.bgcolor": colour("--card"),
    "hoverlabel.font.color": colour("--ink"),
    "hoverlabel.bordercolor": colour("--edge"),
  };
  const axes = Object.keys(layout).filter((key) => /^[xy]axis\d*$/.test(key));
  for (const axis of axes) {
    changes[`${axis}.gridcolor`] = colour("--rule");
    changes[`${axis}.linecolor`] = colour("--edge");
    // Given a distance, the title of an axis keeps one to the frame as well
    if (axis.startsWith("x")) changes[`${axis}.title.standoff`] = 10;
  }
  return changes;
}

async function draw(figure) {
  const area = figure.querySelector(".plot-area");
  const held = JSON.parse(figure.querySelector(".plot-data").textContent);
  // The caption above the figure is its title, and wraps where there is little room
  // The titles of the parts of a figure stand above it and need room
  const parts = held.layout.annotations?.some((note) => note.yref === "paper" && note.y >= 1);
  const margin = { ...held.layout.template?.layout?.margin, ...held.layout.margin, t: parts ? 32 : 16, b: 16 };
  const layout = { ...held.layout, title: undefined, margin };
  const Plotly = await loadPlotly();
  area.replaceChildren(); // its text
  await Plotly.newPlot(area, held.data, layout, { ...held.config, responsive: true });
  await Plotly.relayout(area, themed(layout));
  figure.classList.add("drawn");
}

const figures = document.querySelectorAll("figure.plot");
const watcher = new IntersectionObserver(
  (entries) => {
    for (const entry of entries) {
      if (!entry.isIntersecting) continue;
      watcher.unobserve(entry.target);
      draw(entry.target);
    }
  },
  { rootMargin: "1500px" },
);
figures.forEach((figure) => watcher.observe(figure));

const whenIdle = window.requestIdleCallback ?? ((run) => setTimeout(run, 200));
document.addEventListener("scroll", () => whenIdle(prefetchPlotly), { once: true, passive: true });

function recolour() {
  for (const area of document.querySelectorAll("figure.drawn .plot-area")) {
    window.Plotly.relayout(area, themed(area.layout));
  }
}
document.addEventListener("themechange", recolour);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", recolour);
