"use strict";
// Shows the values under the pointer. Everything is on this page; without this script the figures stay as they are.
(() => {
  const data = JSON.parse(document.getElementById("values").textContent);
  const cellOf = {};
  for (const [name, table] of Object.entries(data.tables)) {
    cellOf[name] = new Map(table.cells.map((cell, row) => [cell, row]));
  }

  function rowAt(area, x, y) {
    const table = data.tables[area.table];
    if (area.cells) {
      const day = Math.floor(x), place = Math.floor((y / 24) * table.rows);
      return cellOf[area.table].get(day * table.rows + place);
    }
    let low = 0, high = table.edges.length - 1;
    if (x < table.edges[low] || x >= table.edges[high]) return undefined;
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if (table.edges[middle] <= x) low = middle; else high = middle;
    }
    return low;
  }

  function digits(unit) { return unit === "€/kWh" ? 4 : unit === "%" ? 1 : 2; }

  function text(area, row) {
    const table = data.tables[area.table];
    const lines = [table.labels[row]];
    for (const name of area.columns) {
      const column = table.columns[name], value = column.values[row];
      if (value === null) continue;
      lines.push(`${name}: ${value.toFixed(digits(column.unit)).replace("-", "−")} ${column.unit}`);
    }
    return lines.join("\n");
  }

  document.querySelectorAll(".plot").forEach((plot, index) => {
    const image = plot.querySelector("img"), tip = plot.querySelector(".tip"), mark = plot.querySelector(".mark");
    const areas = data.pictures[index];
    const hide = () => { tip.hidden = mark.hidden = true; };
    function show(event) {
      const frame = image.getBoundingClientRect();
      const h = (event.clientX - frame.left) / frame.width, v = (event.clientY - frame.top) / frame.height;
      const area = areas.find(({ box: [l, t, r, b] }) => h >= l && h <= r && v >= t && v <= b);
      if (area === undefined) return hide();
      const [left, top, right, bottom] = area.box;
      const x = area.x[0] + ((h - left) / (right - left)) * (area.x[1] - area.x[0]);
      const y = area.y[0] + ((bottom - v) / (bottom - top)) * (area.y[1] - area.y[0]);
      const row = rowAt(area, x, y);
      if (row === undefined) return hide();
      tip.textContent = text(area, row);
      tip.hidden = mark.hidden = false;
      const over = areas.filter(({ box }) => box[0] === left && box[2] === right);
      const from = area.cells ? top : Math.min(...over.map(({ box }) => box[1]));
      const to = area.cells ? bottom : Math.max(...over.map(({ box }) => box[3]));
      mark.style.left = `${100 * h}%`;
      mark.style.top = `${100 * from}%`;
      mark.style.height = `${100 * (to - from)}%`;
      const flip = h > 0.6;
      tip.style.left = flip ? "auto" : `calc(${100 * h}% + 12px)`;
      tip.style.right = flip ? `calc(${100 * (1 - h)}% + 12px)` : "auto";
      tip.style.top = `${100 * v}%`;
    }
    plot.addEventListener("pointermove", show);
    plot.addEventListener("pointerdown", show);
    plot.addEventListener("pointerleave", hide);
  });
})();
