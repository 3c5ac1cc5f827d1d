// Makes the drawing of the lineage answer: a box that is pointed at, or has the focus, keeps only its own lines;
// one that is clicked says below the drawing which chapter makes it. Without this it is a link to its row.
"use strict";

function setUpLineage(drawing) {
  const nodes = [...drawing.querySelectorAll(".node")];
  const edges = [...drawing.querySelectorAll(".edge")];
  const said = document.createElement("div");
  said.className = "lineage-said";
  said.setAttribute("aria-live", "polite");
  drawing.after(said);

  function show(node) {
    const name = node?.dataset.node;
    const near = new Set([name]);
    for (const edge of edges) {
      const { from, to } = edge.dataset;
      const mine = from === name || to === name;
      edge.classList.toggle("near", mine);
      if (mine) near.add(from).add(to);
    }
    for (const other of nodes) other.classList.toggle("near", near.has(other.dataset.node));
    drawing.classList.toggle("narrowed", Boolean(node));
  }

  // The row of the table below has it all: the chapter, what it is made from, and what is made of it
  function tell(node) {
    const row = document.getElementById(node.getAttribute("href").slice(1))?.closest("tr");
    if (!row) return false;
    const heads = [...row.closest("table").querySelectorAll("thead th")].map((head) => head.textContent);
    const lines = [...row.cells].map((cell, place) => {
      const line = document.createElement("p");
      const head = document.createElement("strong");
      head.textContent = `${heads[place]}: `;
      line.append(head, ...(cell.querySelector("p") ?? cell).cloneNode(true).childNodes);
      line.querySelectorAll("[id]").forEach((held) => held.removeAttribute("id"));
      return line;
    });
    said.replaceChildren(...lines.filter((line, place) => row.cells[place].textContent.trim()));
    return true;
  }

  let chosen = null;
  for (const node of nodes) {
    node.addEventListener("pointerenter", () => show(node));
    node.addEventListener("focus", () => show(node));
    node.addEventListener("pointerleave", () => show(chosen));
    node.addEventListener("blur", () => show(chosen));
    node.addEventListener("click", (event) => {
      if (event.ctrlKey || event.metaKey || event.shiftKey || !tell(node)) return;
      event.preventDefault();
      chosen = node;
      show(node);
    });
  }
  drawing.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    chosen = null;
    said.replaceChildren();
    show(null);
  });
}

document.querySelectorAll(".drawing:has(.node)").forEach(setUpLineage);
