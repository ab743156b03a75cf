"use strict";
// The list of answers. Every text is set as text, never as HTML.
(() => {
  const PAGE = 25;
  const CHANGES = { better: "▲ better", worse: "▼ worse", equal: "= same score" };
  const rows = JSON.parse(document.getElementById("data").textContent);
  const filters = document.getElementById("filters");
  const list = document.getElementById("list");
  const more = document.getElementById("more");
  const count = document.getElementById("count");
  let found = [];
  let shown = 0;

  for (const row of rows) {
    const sides = [row.base, row.tuned].flatMap((side) => [side.parts.join(""), side.explanation]);
    const documents = row.documents.flatMap((each) => [each.id, each.title]);
    row.text = [row.item, row.question, row.expected, ...documents, ...sides].join("\n").toLowerCase();
  }

  function make(name, className, ...content) {
    const element = document.createElement(name);
    if (className) element.className = className;
    element.append(...content);
    return element;
  }

  function makeSide(name, side, mark) {
    const answer = make("pre", "");
    side.parts.forEach((part, place) => answer.append(place % 2 ? make(mark, "", part) : part));
    if (!side.parts.length) answer.append(make("em", "", "no answer"));
    const box = make("section", `side ${name}`, make("h4", "", `${name}: ${side.value.toFixed(2)}`), answer);
    if (side.explanation) box.append(make("details", "", make("summary", "", "why"), make("pre", "", side.explanation)));
    return box;
  }

  function makeDocuments(documents) {
    const list = make("ol", "documents");
    for (const { id, title, right } of documents) {
      const item = make("li", "", title ? `${title} (${id})` : id);
      if (right) item.append(" ", make("strong", "", "✓ says it"));
      list.append(item);
    }
    return list;
  }

  function makeCard(row) {
    const about = make("p", "about", [row.kind.replace("_", "/"), row.family, row.arm].filter(Boolean).join(" · "), " ");
    about.append(make("span", `badge ${row.change}`, CHANGES[row.change]));
    const card = make("article", "answer", make("h3", "", row.item), about);
    if (row.question) card.append(make("p", "question", row.question));
    if (row.documents.length) card.append(makeDocuments(row.documents));
    card.append(make("div", "sides", makeSide("base", row.base, "del"), makeSide("tuned", row.tuned, "ins")));
    if (row.expected) {
      const expected = make("details", "", make("summary", "", "expected answer"), make("pre", "", row.expected));
      expected.open = row.expected.length < 200;
      card.append(expected);
    }
    return card;
  }

  function showMore() {
    const next = found.slice(shown, shown + PAGE);
    list.append(...next.map(makeCard));
    shown += next.length;
    more.hidden = shown === found.length;
    more.textContent = `Show more (${found.length - shown} left)`;
  }

  function matches(row, kind, family, arm, change, words) {
    if (kind && row.kind !== kind) return false;
    if (arm && row.arm !== arm) return false;
    if (family && row.family !== family) return false;
    if (change === "differs" && !row.differs) return false;
    if (change === "same" && row.differs) return false;
    if ((change === "better" || change === "worse") && row.change !== change) return false;
    return words.every((word) => row.text.includes(word));
  }

  function update() {
    const given = new FormData(filters);
    const words = given.get("search").toLowerCase().split(/\s+/).filter(Boolean);
    const [kind, family, arm, change] = ["kind", "family", "arm", "change"].map((name) => given.get(name));
    found = rows.filter((row) => matches(row, kind, family, arm, change, words));
    count.textContent = `${found.length} of ${rows.length} answers.`;
    list.replaceChildren();
    shown = 0;
    showMore();
  }

  filters.addEventListener("input", update);
  filters.addEventListener("submit", (event) => event.preventDefault());
  more.addEventListener("click", showMore);
  update();
})();
