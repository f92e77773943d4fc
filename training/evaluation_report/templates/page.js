"use strict";

// Charts take the colors of the reader's screen; on paper they are light.
const darkScreen = window.matchMedia("(prefers-color-scheme: dark)");

function themed(isDark) {
  const text = isDark ? "#e4e7eb" : "#1d2126";
  const line = isDark ? "#31373e" : "#dfe3e8";
  const axis = { color: text, gridcolor: line, linecolor: line, zerolinecolor: line };
  return { text, line, axis };
}

function withTheme(layout, isDark) {
  const { text, line, axis } = themed(isDark);
  const changed = {
    ...layout,
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    modebar: { bgcolor: "rgba(0,0,0,0)", color: isDark ? "#9aa4af" : "#5c6570", activecolor: text },
    font: { family: "system-ui, 'Segoe UI', 'Helvetica Neue', Arial, sans-serif", size: 12, color: text },
  };
  for (const name of Object.keys(layout)) {
    if (/^[xy]axis\d*$/.test(name)) changed[name] = { ...layout[name], ...axis };
  }
  if (layout.coloraxis) {
    const colorscale = isDark ? layout.meta.dark : layout.meta.light;
    changed.coloraxis = { ...layout.coloraxis, colorscale };
  }
  return changed;
}

const config = {
  responsive: true,
  displaylogo: false,
  displayModeBar: "hover",
  modeBarButtons: [["toImage", "zoomIn2d", "zoomOut2d", "resetScale2d"]],
};

const charts = [...document.querySelectorAll(".chart")];
for (const chart of charts) {
  const figure = JSON.parse(document.getElementById(`${chart.id}-figure`).textContent);
  Plotly.newPlot(chart, figure.data, withTheme(figure.layout, darkScreen.matches), config);
}

function paint(isDark) {
  for (const chart of charts) {
    Plotly.react(chart, chart.data, withTheme(chart.layout, isDark), config);
  }
}

darkScreen.addEventListener("change", () => paint(darkScreen.matches));
window.addEventListener("beforeprint", () => darkScreen.matches && paint(false));
window.addEventListener("afterprint", () => darkScreen.matches && paint(true));

// The confusion matrix of many classes: another order, a class to go to, numbers when few are seen.
const controls = document.getElementById("matrix-controls");
if (controls) {
  const MOST_WITH_NUMBERS = 30;
  const chart = document.getElementById("confusion");
  const { names, by_label: byLabel } = JSON.parse(
    document.getElementById("matrix-names").textContent
  );
  const count = names.length;
  const labels = chart.data[0].x;
  const counts = decoded(chart.data[0].z);
  let order = names.map((_, position) => position);

  function decoded(array) {
    const bytes = Uint8Array.from(atob(array.bdata), (letter) => letter.charCodeAt(0));
    const types = { u1: Uint8Array, u2: Uint16Array, u4: Uint32Array };
    return new types[array.dtype](bytes.buffer);
  }

  function inOrder() {
    return {
      labels: order.map((position) => labels[position]),
      z: order.map((row) => order.map((column) => counts[row * count + column])),
    };
  }

  function seen() {
    const [one, other] = chart.layout.yaxis.range;
    const [left, right] = chart.layout.xaxis.range;
    const first = Math.max(0, Math.round(Math.min(one, other, left, right) + 0.5));
    const last = Math.min(count - 1, Math.round(Math.max(one, other, left, right) - 0.5));
    return [first, last];
  }

  function writeNumbers() {
    const [first, last] = seen();
    const isFew = last - first < MOST_WITH_NUMBERS;
    if (!isFew && !chart.data[0].texttemplate) return;
    const text = [];
    for (let row = first; isFew && row <= last; row += 1) {
      text[row] = [];
      for (let column = first; column <= last; column += 1) {
        const number = counts[order[row] * count + order[column]];
        if (number) text[row][column] = String(number);
      }
    }
    Plotly.restyle(chart, { text: [text], texttemplate: isFew ? "%{text}" : "" }, [0]);
  }

  function show(first, last) {
    Plotly.relayout(chart, {
      "xaxis.range": [first - 0.5, last + 0.5],
      "yaxis.range": [last + 0.5, first - 0.5],
    });
  }

  chart.on("plotly_relayout", (change) => {
    if (Object.keys(change).some((key) => key.includes("axis"))) writeNumbers();
  });

  document.getElementById("matrix-order").addEventListener("change", (event) => {
    order = event.target.value === "label" ? byLabel : names.map((_, position) => position);
    const all = inOrder();
    const layout = { ...chart.layout };
    for (const name of ["xaxis", "yaxis"]) {
      layout[name] = { ...layout[name], categoryorder: "array", categoryarray: all.labels };
    }
    const trace = { ...chart.data[0], x: all.labels, y: all.labels, z: all.z, texttemplate: "" };
    Plotly.react(chart, [trace], layout, config).then(() => show(0, count - 1));
  });

  document.getElementById("matrix-all").addEventListener("click", () => show(0, count - 1));

  function goTo(name) {
    const place = order.indexOf(names.indexOf(name));
    if (place < 0) return;
    const first = Math.min(Math.max(0, place - 9), Math.max(0, count - 19));
    show(first, Math.min(count - 1, first + 18));
  }

  const input = document.getElementById("matrix-class");
  input.addEventListener("change", () => goTo(input.value));
  for (const link of document.querySelectorAll("[data-class]")) {
    link.addEventListener("click", () => goTo((input.value = link.dataset.class)));
  }
  controls.addEventListener("submit", (event) => event.preventDefault());
}

// A click on a heading sorts by its column: numbers from the largest, names from A.
for (const table of document.querySelectorAll(".sortable")) {
  const headings = [...table.tHead.rows[0].cells];
  headings.forEach((heading, column) => {
    heading.querySelector("button").addEventListener("click", () => {
      const isNumber = heading.classList.contains("number");
      const before = heading.getAttribute("aria-sort");
      const isAscending = before ? before === "descending" : !isNumber;
      const body = table.tBodies[0];
      const value = (row) => {
        const cell = row.cells[column];
        return isNumber ? Number(cell.dataset.value ?? cell.textContent.replaceAll(",", "")) : cell.textContent;
      };
      const rows = [...body.rows].sort((one, other) => {
        const [a, b] = [value(one), value(other)];
        return isNumber ? a - b : a.localeCompare(b, undefined, { numeric: true });
      });
      body.append(...(isAscending ? rows : rows.reverse()));
      headings.forEach((other) => other.removeAttribute("aria-sort"));
      heading.setAttribute("aria-sort", isAscending ? "ascending" : "descending");
    });
  });
}
