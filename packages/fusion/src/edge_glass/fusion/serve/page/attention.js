// Attention maps over the image: the patch with the least attention is the darkest, and the one
// with the most is shown as it is. The text below has the shares, because they may differ little.

const DARKEST = 0.75;
const percent = (share) => `${(100 * share).toFixed(1)}\u00a0%`;
const PLACES = [["top", "middle", "bottom"], ["left", "centre", "right"]];

/** Shows one choice per map, and draws the chosen one over the image. */
export class AttentionView {
  constructor(box, choices, canvas, summary) {
    Object.assign(this, { box, choices, canvas, summary });
  }

  clear() {
    this.box.hidden = true;
    this.choices.replaceChildren();
    this.summary.textContent = "";
    this.draw(null, null);
  }

  /** Shows what the server sent: {source, grid, box, maps: [{label, weights}]}, or null. */
  show(attention) {
    this.clear();
    if (!attention) return;
    this.box.hidden = false;
    const maps = [{ label: "Off", weights: null }, ...attention.maps];
    maps.forEach((map, number) => {
      const chip = document.createElement("label");
      chip.className = "chip";
      const radio = document.createElement("input");
      radio.type = "radio";
      radio.name = "map";
      radio.checked = number === 1;
      radio.addEventListener("change", () => this.draw(attention, map));
      chip.append(radio, map.label);
      this.choices.append(chip);
    });
    this.draw(attention, maps[1]);
  }

  draw(attention, map) {
    const { canvas } = this;
    if (!map?.weights) {
      canvas.getContext("2d").clearRect(0, 0, canvas.width, canvas.height);
      this.summary.textContent = attention ? attention.source : "";
      return;
    }
    const [rows, columns] = attention.grid;
    const [left, top, width, height] = attention.box;
    canvas.width = Math.round(480 * Math.min(1, width / height));
    canvas.height = Math.round(480 * Math.min(1, height / width));
    const context = canvas.getContext("2d");
    context.imageSmoothingQuality = "high";
    // The patches lie on a square; only the image's part of it is shown.
    const scale = [canvas.width / width, canvas.height / height];
    context.drawImage(
      patches(map.weights, rows, columns),
      -left * scale[0], -top * scale[1], scale[0], scale[1],
    );
    const best = map.weights.indexOf(Math.max(...map.weights));
    const place = where(Math.floor(best / columns), rows, 0) + where(best % columns, columns, 1);
    const least = Math.min(...map.weights);
    this.summary.textContent =
      `${attention.source}. Most attention: ${place}, ${percent(map.weights[best])}; ` +
      `least: ${percent(least)}. An even share is ${percent(1 / map.weights.length)}.`;
  }
}

function patches(weights, rows, columns) {
  const canvas = new OffscreenCanvas(columns, rows);
  const context = canvas.getContext("2d");
  const pixels = context.createImageData(columns, rows);
  const largest = Math.max(...weights);
  const range = largest - Math.min(...weights) || 1;
  weights.forEach((weight, patch) => {
    pixels.data.set([8, 18, 32, (255 * DARKEST * (largest - weight)) / range], 4 * patch);
  });
  context.putImageData(pixels, 0, 0);
  return canvas;
}

function where(place, number, axis) {
  const third = Math.min(2, Math.floor((3 * (place + 0.5)) / number));
  return PLACES[axis][third] + (axis === 0 ? " " : "");
}
