"use strict";

const data = JSON.parse(document.getElementById("data").textContent);
const picture = document.getElementById("picture");
const tokens = document.getElementById("tokens");
const sliders = ["block", "row", "column"].map((id) => document.getElementById(id));

/** {shape, values} of an array that stands in the data as little-endian float32 in base64. */
function array(entry) {
  const bytes = Uint8Array.from(atob(entry.float32), (letter) => letter.charCodeAt(0));
  const view = new DataView(bytes.buffer);
  return { shape: entry.shape, values: Array.from({ length: bytes.length / 4 }, (_, i) => view.getFloat32(4 * i, true)) };
}

function color(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

/** Draw a map of numbers from zero to its largest value. */
function drawMap(canvas) {
  const [kind, index] = canvas.dataset.map.split(" ");
  const { shape, values } = array(index === undefined ? data[kind] : data.blocks[index][kind]);
  [canvas.height, canvas.width] = shape;
  const pen = canvas.getContext("2d");
  const largest = Math.max(...values, Number.MIN_VALUE);
  pen.fillStyle = color("--wash");
  pen.fillRect(0, 0, canvas.width, canvas.height);
  pen.fillStyle = color("--accent");
  values.forEach((value, i) => {
    pen.globalAlpha = kind === "field" ? Math.sqrt(value / largest) : value / largest;
    pen.fillRect(i % shape[1], Math.floor(i / shape[1]), 1, 1);
  });
}

/** The tokens that token (row, column) takes from in one branch: [row, column, strength]. */
function taken(branch, row, column, across) {
  if (branch.strength === null) return [[row, column, 1]];
  const { shape, values } = array(branch.strength);
  const at = { height: row, width: column }[branch.kind] ?? row * across + column;
  const place = {
    height: (i) => [i, column],
    width: (i) => [row, i],
  }[branch.kind] ?? ((i) => [Math.floor(i / across), i % across]);
  return values.slice(at * shape[1], (at + 1) * shape[1]).map((value, i) => [...place(i), value]);
}

function drawTokens() {
  const [block, row, column] = sliders.map((slider) => Number(slider.value));
  const { name, grid, branches, attention } = data.blocks[block];
  const scale = Math.max(1, Math.round(960 / picture.naturalWidth));
  tokens.width = picture.naturalWidth * scale;
  tokens.height = picture.naturalHeight * scale;
  const pen = tokens.getContext("2d");
  pen.imageSmoothingEnabled = false;
  pen.drawImage(picture, 0, 0, tokens.width, tokens.height);
  const height = tokens.height / grid[0];
  const width = tokens.width / grid[1];
  pen.fillStyle = color("--paper");
  pen.globalAlpha = 0.35;
  pen.fillRect(0, 0, tokens.width, tokens.height);
  const texts = branches.map((branch, k) => {
    const cells = taken(branch, row, column, grid[1]);
    const largest = Math.max(...cells.map(([, , value]) => value), Number.MIN_VALUE);
    pen.fillStyle = color(`--curve${k}`);
    for (const [y, x, value] of cells) {
      if (branch.kind !== "channel" && y === row && x === column) continue;
      pen.globalAlpha = 0.9 * (value / largest);
      pen.fillRect(x * width, y * height, width, height);
    }
    const weight = attention === null ? "" : `, weight ${(100 * attention[k]).toFixed(0)} % in this image`;
    const [y, x] = cells.reduce((best, cell) => (cell[2] > best[2] ? cell : best));
    const most = { height: `most from row ${y + 1}`, width: `most from column ${x + 1}`, channel: "from the token itself" };
    const elsewhere = `most from row ${y + 1}, column ${x + 1}`;
    return [branch.place, `${branch.place}: ${branch.kind}${weight}`, most[branch.kind] ?? elsewhere];
  });
  pen.globalAlpha = 1;
  for (const [stroke, wide] of [["--paper", 0.16], ["--ink", 0.06]]) {
    pen.strokeStyle = color(stroke);
    pen.lineWidth = wide * Math.min(width, height);
    pen.strokeRect(column * width, row * height, width, height);
  }
  document.getElementById("branches").replaceChildren(
    ...texts.map(([place, title, detail]) => {
      const item = document.createElement("li");
      const mark = document.createElement("i");
      mark.className = place;
      const text = document.createElement("span");
      text.textContent = detail;
      item.append(mark, title, text);
      return item;
    }),
  );
  const said = [name.replace("network.", ""), `${row + 1} of ${grid[0]}`, `${column + 1} of ${grid[1]}`];
  sliders.forEach((slider, i) => {
    slider.parentElement.querySelector("output").textContent = said[i];
    slider.setAttribute("aria-valuetext", said[i]);
  });
}

/** Another block may have another grid: the token stays where it is in the image. */
function setGrid() {
  const { grid } = data.blocks[Number(sliders[0].value)];
  sliders.slice(1).forEach((slider, i) => {
    const share = (Number(slider.value) + 0.5) / (Number(slider.max) + 1);
    slider.max = grid[i] - 1;
    slider.value = Math.floor(share * grid[i]);
  });
}

function pointed(event) {
  const box = tokens.getBoundingClientRect();
  const { grid } = data.blocks[Number(sliders[0].value)];
  const shares = [(event.clientY - box.top) / box.height, (event.clientX - box.left) / box.width];
  shares.forEach((share, i) => {
    sliders[i + 1].value = Math.min(grid[i] - 1, Math.max(0, Math.floor(share * grid[i])));
  });
  drawTokens();
}

function drawAll() {
  document.querySelectorAll("canvas.map").forEach(drawMap);
  drawTokens();
}

sliders[0].max = data.blocks.length - 1;
sliders.slice(1).forEach((slider, i) => {
  slider.max = data.blocks[0].grid[i] - 1;
  slider.value = Math.floor(data.blocks[0].grid[i] / 2);
});
sliders[0].addEventListener("input", setGrid);
sliders.forEach((slider) => slider.addEventListener("input", drawTokens));
tokens.addEventListener("pointermove", pointed);
tokens.addEventListener("pointerdown", pointed);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
picture.decode().then(drawAll);
