// The search page: results by section. BOOK, from sections.js, holds the sections, and the terms of the index.
"use strict";

const MOST = 30;
const list = document.getElementById("search-results");
const said = document.getElementById("search-status");
const field = document.getElementById("query");

const PLAIN = new Set("a an and are as at be by do does for from how in is it of on or that the this to what with"
  .split(" "));
// A plural is the same word
const asWord = (word) => word.toLowerCase().replace(/([^s])s$/, "$1");
const wordsOf = (text) => MiniSearch.getDefault("tokenize")(text).map(asWord).filter(Boolean);
const asName = (text) => wordsOf(text).join(" ") || text.trim();

const taught = new Map();
const namesOf = BOOK.sections.map(() => []);
for (const [names, places] of BOOK.terms) {
  for (const name of names) taught.set(asName(name), places);
  for (const place of places) namesOf[place].push(...names);
}
const furtherOf = BOOK.sections.map(() => []);
for (const [word, ...distances] of BOOK.words) {
  let place = 0;
  for (const distance of distances) furtherOf[place += distance].push(word);
}

const index = new MiniSearch({
  fields: ["names", "title", "page", "text"],
  processTerm: (word) => !PLAIN.has(word.toLowerCase()) && asWord(word),
  searchOptions: {
    boost: { names: 6, title: 4 },
    prefix: true,
    fuzzy: (word) => (word.length > 4 ? 0.2 : false),
    weights: { prefix: 0.3, fuzzy: 0.1 },
  },
});
index.addAll(BOOK.sections.map(([page, , title, begins], id) =>
  ({ id, title, text: [begins, ...furtherOf[id]].join(" "), names: namesOf[id].join("; "), page: BOOK.pages[page] })));

// The places of the sections for a query, best first: those that teach the term that it is; those that hold
// all its words; where none does, those that hold some
function find(query) {
  const all = index.search(query, { combineWith: "AND" });
  const found = all.length ? all : index.search(query);
  return [...new Set([...(taught.get(asName(query)) ?? []), ...found.map((one) => one.id)])];
}

function addressOf(place) {
  const [page, anchor] = BOOK.sections[place];
  return `${document.documentElement.dataset.content_root}${page}.html${anchor && `#${anchor}`}`;
}

// What finds one of the words of the query, and what follows it up to the end of the word
function finder(query) {
  const words = wordsOf(query).filter((word) => !PLAIN.has(word));
  const escaped = words.map((word) => word.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"));
  return new RegExp(`(?<![\\p{L}\\p{N}])(?:${escaped.join("|") || "(?!)"})[\\p{L}\\p{N}]*`, "giu");
}

// An element with a text, in which the words that were looked for are marked
function marked(name, text, words) {
  const element = document.createElement(name);
  let done = 0;
  for (const found of text.matchAll(words)) {
    const mark = document.createElement("mark");
    mark.textContent = found[0];
    element.append(text.slice(done, found.index), mark);
    done = found.index + found[0].length;
  }
  element.append(text.slice(done));
  return element;
}

function result(place, words) {
  const [page, , title, begins] = BOOK.sections[place];
  const link = marked("a", title, words);
  link.href = addressOf(place);
  const where = document.createElement("span");
  where.textContent = BOOK.pages[page];
  const item = document.createElement("li");
  item.append(link, where);
  if (begins) item.append(marked("p", begins, words));
  return item;
}

function show(query) {
  const places = find(query);
  const words = finder(query);
  list.replaceChildren(...places.slice(0, MOST).map((place) => result(place, words)));
  if (!query.trim()) said.textContent = "";
  else if (!places.length) said.textContent = `No section was found for “${query}”. Try other or fewer words.`;
  else if (places.length > MOST) said.textContent = `The best ${MOST} of ${places.length} sections.`;
  else said.textContent = places.length === 1 ? "1 section." : `${places.length} sections.`;
}

// The way on by keyboard: the Enter key leads to the first result, from the top of any page too
function goToFirst() {
  (list.querySelector("a") ?? field).focus();
}

field.addEventListener("input", () => {
  show(field.value);
  history.replaceState(null, "", `?q=${encodeURIComponent(field.value)}`); // for the way back to here
});
field.form.addEventListener("submit", (event) => {
  event.preventDefault();
  show(field.value);
  goToFirst();
});
field.value = new URLSearchParams(location.search).get("q") ?? "";
show(field.value);
goToFirst();
