"use strict";
// Two conveniences; the page says everything without them: values beside the mouse, and tables sorted by a click.
const tip = document.body.appendChild(Object.assign(document.createElement("div"), { className: "tip", hidden: true }));
const SVG = "http" + "://www.w3.org/2000/svg";

for (const svg of document.querySelectorAll("svg[data-plot]")) {
  const plot = JSON.parse(svg.dataset.plot), [left, top, right, bottom] = plot.box;
  const rule = document.createElementNS(SVG, "line");
  for (const [key, value] of Object.entries({ y1: top, y2: bottom, stroke: "#97a0ab", "stroke-width": 1, visibility: "hidden" }))
    rule.setAttribute(key, value);
  svg.append(rule);
  const hide = () => { tip.hidden = true; rule.setAttribute("visibility", "hidden"); };
  svg.addEventListener("pointerleave", hide);
  svg.addEventListener("pointermove", event => {
    const place = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
    if (place.x < left - 8 || place.x > right + 8) return hide();
    const nearest = points => points.reduce((best, point) =>
      Math.abs(point[0] - place.x) < Math.abs(best[0] - place.x) ? point : best);
    const found = plot.lines.filter(line => line.points.length).map(line => [line, nearest(line.points)]);
    if (!found.length) return;
    const at = found.reduce((best, pair) => Math.abs(pair[1][0] - place.x) < Math.abs(best[1][0] - place.x) ? pair : best)[1];
    rule.setAttribute("x1", at[0]); rule.setAttribute("x2", at[0]); rule.setAttribute("visibility", "visible");
    tip.replaceChildren(document.createTextNode(plot.x + " " + at[2]));
    for (const [line, point] of found) {
      const row = document.createElement("div"), dot = document.createElement("i");
      dot.style.background = line.colour;
      row.append(dot, (line.name ? line.name + "  " : "") + point[3]);
      tip.append(row);
    }
    tip.hidden = false;
    const x = event.pageX + 16, width = tip.offsetWidth;
    tip.style.left = (x + width > document.documentElement.clientWidth ? event.pageX - width - 12 : x) + "px";
    tip.style.top = event.pageY + 14 + "px";
  });
}

for (const head of document.querySelectorAll("th")) {
  head.querySelector("button")?.addEventListener("click", () => {
    const table = head.closest("table"), body = table.tBodies[0], index = head.cellIndex;
    const down = head.getAttribute("aria-sort") === "descending" || (!head.hasAttribute("aria-sort") && !head.classList.contains("number"));
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", down ? "ascending" : "descending");
    const worth = row => row.cells[index].dataset.value ?? row.cells[index].textContent;
    const compare = (a, b) => {
      const x = worth(a), y = worth(b), gap = Number(x) - Number(y);
      return Number.isNaN(gap) ? x.localeCompare(y, undefined, { numeric: true }) : gap;
    };
    body.append(...[...body.rows].sort((a, b) => down ? compare(a, b) : compare(b, a)));
  });
}
