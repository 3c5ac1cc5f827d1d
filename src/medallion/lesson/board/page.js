"use strict";

const tiles = JSON.parse(document.getElementById("data").textContent);
const filters = document.getElementById("filters");
const place = document.getElementById("tiles");
// The columns that can be filtered by
const columns = [...new Set(tiles.flatMap((tile) => tile.grain.slice(1)))];
const DAY = 86_400_000;
const ANY = "";

function element(name, text, attributes = {}) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

function shown(value) {
  return value === null ? "unknown" : String(value);
}

function formatted(number, unit) {
  const digits = unit === "euros" ? 2 : 0;
  if (number === null) return "no value";
  const text = number.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits });
  return `${text} ${unit}`;
}

// What the address asks for: the value of each filter, or ANY
function asked() {
  return new URLSearchParams(location.search);
}

// The sum, or the sum over a sum, of some rows; null when nothing is there, or nothing to divide by
function number(rows, tile) {
  const sums = tile.number.map((_, n) => rows.reduce((sum, row) => sum + row[tile.grain.length + n], 0));
  if (rows.length === 0) return null;
  if (sums.length === 1) return sums[0];
  return sums[1] === 0 ? null : sums[0] / sums[1];
}

// The last time that the tile knows, whatever the filters keep
function lastTime(tile) {
  return tile.rows.map((row) => row[0]).sort().at(-1);
}

function kept(tile) {
  const wanted = asked();
  return tile.rows.filter((row) => tile.grain.every((column, n) =>
    n === 0 || (wanted.get(column) ?? ANY) === ANY || shown(row[n]) === wanted.get(column)));
}

function byTime(rows, tile) {
  const times = [...new Set(rows.map((row) => row[0]))].sort();
  return times.map((time) => [time, number(rows.filter((row) => row[0] === time), tile)]);
}

function state(tile, now) {
  if (now.length === 0) return ["empty", "No data: nothing is there for this filter. This is not a zero."];
  if (tile.as_of === null) return ["late", "Late data: no day is known up to which it goes."];
  const age = Math.floor((Date.now() - Date.parse(tile.as_of)) / DAY);
  if (!(age <= tile.fresh_days))
    return ["late", `Late data: it ends on ${tile.as_of}, ${age.toLocaleString("en")} days ago.`];
  // The alert has seen the tile without filters
  const about = columns.some((column) => tile.grain.includes(column) && (asked().get(column) ?? ANY) !== ANY)
    ? "Without a filter: " : "";
  if (tile.state !== "ok")
    return [tile.state, `${about}${tile.state === "alert" ? "Alert" : "Silent"}: ${tile.why}`];
  return ["ok", `${about}In order when this page was published.`];
}

function chart(series, tile) {
  const highest = Math.max(...series.map(([, value]) => value ?? 0));
  const top = series.find(([, value]) => value === highest) ?? series[0];
  const box = element("div", undefined, { class: "chart", role: "img" });
  const last = series.at(-1);
  box.setAttribute("aria-label", `${tile.title}: highest ${formatted(highest, tile.unit)} in ${top[0]}, `
    + `last ${formatted(last[1], tile.unit)} in ${last[0]}. The table below has all values.`);
  box.append(element("p", `up to ${formatted(highest, tile.unit)}`, { class: "axis" }));
  const bars = element("div", undefined, { class: "bars" });
  for (const [, value] of series) {
    const bar = element("span");
    bar.style.height = `${highest > 0 ? Math.max(0, (100 * (value ?? 0)) / highest) : 0}%`;
    bars.append(bar);
  }
  const ends = element("p", undefined, { class: "axis ends" });
  ends.append(element("span", series[0][0]), element("span", last[0]));
  box.append(bars, ends);
  return box;
}

function table(series, tile) {
  const fold = element("details");
  fold.append(element("summary", `Table: ${tile.title}`));
  const made = element("table");
  const head = element("tr");
  head.append(element("th", tile.grain[0], { scope: "col" }), element("th", tile.unit, { scope: "col" }));
  const top = element("thead");
  top.append(head);
  const body = element("tbody");
  for (const [time, value] of series) {
    const row = element("tr");
    row.append(element("th", time, { scope: "row" }), element("td", formatted(value, tile.unit)));
    body.append(row);
  }
  made.append(top, body);
  fold.append(made);
  return fold;
}

function drawn(tile) {
  const rows = kept(tile);
  const last = lastTime(tile);
  const now = rows.filter((row) => row[0] === last);
  const [kind, sentence] = state(tile, now);
  const made = element("section", undefined, { "data-state": kind });
  made.append(element("h2", tile.title));
  if (now.length) {
    made.append(element("p", formatted(number(now, tile), tile.unit), { class: "number" }));
    made.append(element("p", `${tile.grain[0]} ${last}`, { class: "when" }));
  }
  made.append(element("p", sentence, { class: "state" }));
  made.append(element("p", `${tile.definition}. As of ${tile.as_of ?? "no day"}.`));
  const lacking = columns.filter((column) => (asked().get(column) ?? ANY) !== ANY && !tile.grain.includes(column));
  if (lacking.length) made.append(element("p", `This tile knows no ${lacking.join(" and no ")}: it shows all.`));
  if (rows.length) {
    const series = byTime(rows, tile);
    made.append(chart(series, tile), table(series, tile));
  }
  return made;
}

function draw() {
  const open = [...place.querySelectorAll("details[open] summary")].map((summary) => summary.textContent);
  place.replaceChildren(...tiles.map(drawn));
  for (const fold of place.querySelectorAll("details"))
    fold.open = open.includes(fold.querySelector("summary").textContent);
}

// What has changed, for a screen reader
function announce() {
  const parts = [...place.querySelectorAll("h2, .number, .state")].map((part) => part.textContent);
  document.getElementById("said").textContent = parts.join(". ");
}

function choices() {
  for (const column of columns) {
    const values = new Set(tiles.flatMap((tile) => {
      const n = tile.grain.indexOf(column);
      return n < 0 ? [] : tile.rows.map((row) => shown(row[n]));
    }));
    const wanted = asked().get(column) ?? ANY;
    if (wanted !== ANY) values.add(wanted);  // also one of which there is nothing
    const label = element("label", `${column} `);
    const select = element("select", undefined, { name: column });
    select.append(element("option", "all", { value: ANY }));
    for (const value of [...values].sort()) select.append(element("option", value, { value }));
    select.value = wanted;
    select.addEventListener("change", () => {
      const address = new URL(location.href);
      if (select.value === ANY) address.searchParams.delete(column);
      else address.searchParams.set(column, select.value);
      history.replaceState(null, "", address);
      draw();
      announce();
    });
    label.append(select);
    filters.append(label);
  }
}

choices();
draw();
