"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const rowsOfPage = 100;
  const columns = [
    "trial", "state", "metric", "resource", "attempts", "seconds", "worker", "combination", "error", "folder",
  ];
  // A metric comes as Python writes it: JSON has no NaN and no infinities.
  const numbers = new Set(["trial", "metric", "resource", "attempts", "seconds"]);
  const element = (id) => document.getElementById(id);
  const texts = data.trials.map((row) => row.map((cell) => cell ?? "").join("\n").toLowerCase());
  let found = data.trials.map((_, index) => index);
  let page = 0;
  let sorted = { column: 0, sign: 1 };

  const comparable = (row) => {
    const cell = data.trials[row][sorted.column];
    if (cell === null || cell === "nan") return null;
    if (!numbers.has(columns[sorted.column])) return cell;
    return Number(String(cell).replace("inf", "Infinity"));
  };

  const compare = (one, other) => {
    const a = comparable(one);
    const b = comparable(other);
    if (a === null || b === null) return (a === null) - (b === null) || one - other; // last, either way
    return (a < b ? -sorted.sign : a > b ? sorted.sign : 0) || one - other;
  };

  const show = () => {
    const pages = Math.max(1, Math.ceil(found.length / rowsOfPage));
    page = Math.min(Math.max(page, 0), pages - 1);
    const start = page * rowsOfPage;
    const body = document.createElement("tbody");
    for (const index of found.slice(start, start + rowsOfPage)) {
      const line = body.insertRow();
      for (const cell of data.trials[index]) line.insertCell().textContent = cell ?? "";
    }
    element("trials").tBodies[0]?.remove();
    element("trials").append(body);
    element("shown").textContent = `page ${page + 1} of ${pages}, ${found.length} of ${texts.length} trials`;
  };

  const search = () => {
    const words = element("words").value.toLowerCase().split(/\s+/);
    const fits = (text) => words.every((word) => text.includes(word));
    found = [...texts.keys()].filter((index) => fits(texts[index])).sort(compare);
    page = 0;
    show();
  };

  const turn = (pages) => () => {
    page += pages;
    show();
  };

  const head = element("trials").createTHead().insertRow();
  columns.forEach((name, column) => {
    const cell = document.createElement("th");
    cell.textContent = name;
    cell.onclick = () => {
      sorted = { column, sign: sorted.column === column ? -sorted.sign : 1 };
      search();
    };
    head.append(cell);
  });
  element("words").oninput = search;
  element("back").onclick = turn(-1);
  element("on").onclick = turn(1);
  search();

  // One after the other, so that the page answers meanwhile.
  const draw = async () => {
    for (const [id, figure] of Object.entries(data.figures)) {
      await new Promise((resume) => setTimeout(resume));
      await Plotly.newPlot(element(id), figure.data, figure.layout, { responsive: true, displaylogo: false });
    }
    document.body.dataset.drawn = Object.keys(data.figures).length;
  };
  draw();
})();
