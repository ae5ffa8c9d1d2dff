"use strict";
// Draws the charts in the page's own colours, sorts tables, opens what is folded before printing.
const charts = JSON.parse(document.getElementById("charts").textContent);
const places = [...document.querySelectorAll(".plot")];
let onPaper = false;

function paperWidth(place) {
  // Pixels on A4; while a page is printed its layout cannot be measured.
  if (place.closest(".small")) return 220;
  return getComputedStyle(place.parentNode).gridColumnStart === "1" ? 700 : 340;
}

function themed(value) {
  // Colour names become the theme's colours, wherever they stand in a figure.
  if (Array.isArray(value)) return value.map(themed);
  if (value === null || typeof value !== "object") return value;
  const result = {};
  for (const [key, inner] of Object.entries(value)) {
    result[key] = key === "color" && typeof inner === "string" ? colour(inner) : themed(inner);
  }
  return result;
}

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue("--" + name).trim();
}

function draw() {
  for (const place of places) {
    const figure = themed(charts[place.dataset.chart]);
    const axis = { gridcolor: colour("line"), linecolor: colour("line"), zerolinecolor: colour("soft"), automargin: true };
    const layout = {
      ...figure.layout,
      xaxis: { ...axis, ...figure.layout.xaxis },
      yaxis: { ...axis, ...figure.layout.yaxis },
      paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)",
      font: { family: getComputedStyle(document.body).fontFamily, size: 12, color: colour("ink") },
      margin: { l: 10, r: 10, t: 8, b: 10 },
      legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom" },
      hovermode: figure.layout.hovermode ?? "x unified",
      autosize: !onPaper,
      width: onPaper ? paperWidth(place) : undefined,
      hoverlabel: { bgcolor: colour("card"), bordercolor: colour("line"), font: { color: colour("ink") } },
    };
    Plotly.react(place, figure.data, layout, { displayModeBar: false, responsive: true });
  }
}

function sort(heading) {
  const table = heading.closest("table"), body = table.tBodies[0], index = heading.cellIndex;
  const down = heading.getAttribute("aria-sort") !== "descending";
  for (const other of heading.parentNode.cells) other.removeAttribute("aria-sort");
  heading.setAttribute("aria-sort", down ? "descending" : "ascending");
  const key = row => row.cells[index].dataset.order ?? row.cells[index].textContent;
  const compare = (a, b) => {
    const [x, y] = [key(a), key(b)], difference = Number(x) - Number(y);
    return Number.isNaN(difference) ? x.localeCompare(y) : difference;
  };
  body.append(...[...body.rows].sort((a, b) => (down ? compare(b, a) : compare(a, b))));
}

for (const heading of document.querySelectorAll("table.sortable th")) {
  heading.tabIndex = 0;
  heading.addEventListener("click", () => sort(heading));
  heading.addEventListener("keydown", event => { if (event.key === "Enter") sort(heading); });
}
const dark = matchMedia("(prefers-color-scheme: dark)");
dark.addEventListener("change", draw);

function print(on) {
  onPaper = on;
  draw();
}

matchMedia("print").addEventListener("change", event => print(event.matches));
addEventListener("beforeprint", () => {
  for (const folded of document.querySelectorAll("details")) folded.open = true;
  print(true);
});
addEventListener("afterprint", () => print(false));
draw();
