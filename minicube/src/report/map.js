// Draws every `.pointmap` of the page from the JSON inside it; map.rs says how that is packed.
"use strict";
(() => {
  const GREY = "#b0b0b0";
  const STEPS = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30];
  /** Pixels a degree beyond which nobody zooms: coordinates have steps of 0.0001 degrees. */
  const CLOSEST = 1e5;
  const HOVER_PX = 8;
  const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

  function bytes(base64) {
    const text = atob(base64);
    const out = new Uint8Array(text.length);
    for (let i = 0; i < out.length; i++) out[i] = text.charCodeAt(i);
    return out;
  }

  /** Three little-endian bytes a number, in 0.0001 degrees. */
  function degrees(base64) {
    const raw = bytes(base64);
    const out = new Float64Array(raw.length / 3);
    for (let i = 0, b = 0; i < out.length; i++, b += 3) {
      out[i] = ((raw[b] << 8 | raw[b + 1] << 16 | raw[b + 2] << 24) >> 8) / 1e4;
    }
    return out;
  }

  /** Class of each point; the number of classes stands for "no class". */
  function column({name, classes, wide, of_point}) {
    const raw = bytes(of_point);
    const of = wide ? Uint16Array.from({length: raw.length / 2}, (_, i) => raw[2 * i] | raw[2 * i + 1] << 8) : raw;
    const counts = new Array(classes.length + 1).fill(0);
    for (const value of of) counts[value]++;
    return {name, classes, of, counts, hidden: new Array(counts.length).fill(false)};
  }

  function add(parent, tag, className, text) {
    const element = document.createElement(tag);
    if (className) element.className = className;
    if (text !== undefined) element.textContent = text;
    if (tag === "button") element.type = "button";
    parent.append(element);
    return element;
  }

  function button(parent, text, label, action) {
    const element = add(parent, "button", "", text);
    element.title = label;
    element.setAttribute("aria-label", label);
    element.addEventListener("click", action);
    return element;
  }

  function degreeText(value, [positive, negative], decimals) {
    const text = Math.abs(value).toFixed(decimals);
    const plain = Number(text) === 0 || (positive === "E" && Number(text) === 180);
    return text + "°" + (plain ? "" : value > 0 ? positive : negative);
  }

  function start(root) {
    const data = JSON.parse(root.querySelector("script").textContent);
    const lonLat = degrees(data.points);
    const rings = data.outlines.map(degrees);
    const count = lonLat.length / 2;
    const names = data.names.split("\n");
    const columns = data.columns.map(column);
    let shown = columns[0] || {classes: [], of: new Uint8Array(count), counts: [count], hidden: [false]};
    const colorOf = cls => cls < shown.classes.length ? data.colors[cls % data.colors.length] : GREY;

    // Projection: degrees of longitude shortened as in the middle of the map, north up.
    const box = [Infinity, Infinity, -Infinity, -Infinity];
    for (const list of [lonLat, ...rings]) {
      for (let i = 0; i < list.length; i++) {
        box[i % 2] = Math.min(box[i % 2], list[i]);
        box[2 + i % 2] = Math.max(box[2 + i % 2], list[i]);
      }
    }
    if (box[0] > box[2]) box.splice(0, 4, 0, 0, 1, 1);
    const squeeze = Math.max(Math.cos((box[1] + box[3]) / 2 * Math.PI / 180), 0.05);
    const margin = Math.max(0.04 * (box[2] - box[0]) * squeeze, 0.04 * (box[3] - box[1]), 0.05);
    const world = {
      left: box[0] * squeeze - margin, right: box[2] * squeeze + margin,
      top: -box[3] - margin, bottom: -box[1] + margin,
    };
    const xs = new Float64Array(count), ys = new Float64Array(count);
    for (let i = 0; i < count; i++) {
      xs[i] = lonLat[2 * i] * squeeze;
      ys[i] = -lonLat[2 * i + 1];
    }
    const outlines = new Path2D();
    for (const ring of rings) {
      for (let i = 0; i < ring.length; i += 2) {
        const point = [ring[i] * squeeze, -ring[i + 1]];
        if (i === 0) outlines.moveTo(...point);
        else outlines.lineTo(...point);
      }
    }

    const bar = add(root, "div", "bar");
    add(bar, "strong", "", data.title);
    const label = add(bar, "label", "", "Colour by ");
    label.hidden = columns.length === 0;
    const select = add(label, "select");
    for (const {name} of columns) add(select, "option", "", name);
    const tools = add(bar, "span");
    const main = add(root, "div", "main");
    const frame = add(main, "div", "view");
    const canvas = add(frame, "canvas");
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", `${data.title}: map of ${count} points`);
    const ring = add(frame, "div", "ring");
    const tip = add(frame, "div", "tip");
    const legend = add(main, "div", "legend");
    const pen = canvas.getContext("2d");

    // What is seen: the middle of the picture and pixels a degree of latitude.
    const view = {x: 0, y: 0, scale: 0, width: 0, height: 0};
    const widest = () =>
      Math.min(view.width / (world.right - world.left), view.height / (world.bottom - world.top));
    const screenX = x => (x - view.x) * view.scale + view.width / 2;
    const screenY = y => (y - view.y) * view.scale + view.height / 2;

    /** Moves the middle so that no side shows more of the outside than it must. */
    function settle() {
      const keep = (middle, low, high, half) =>
        high - low > 2 * half ? clamp(middle, low + half, high - half) : (low + high) / 2;
      view.scale = clamp(view.scale, widest(), Math.max(CLOSEST, widest()));
      view.x = keep(view.x, world.left, world.right, view.width / 2 / view.scale);
      view.y = keep(view.y, world.top, world.bottom, view.height / 2 / view.scale);
      redraw();
    }

    /** Changes the scale and leaves what is at pixel (x, y) there. */
    function zoom(factor, x = view.width / 2, y = view.height / 2) {
      const scale = clamp(view.scale * factor, widest(), Math.max(CLOSEST, widest()));
      view.x += (x - view.width / 2) * (1 / view.scale - 1 / scale);
      view.y += (y - view.height / 2) * (1 / view.scale - 1 / scale);
      view.scale = scale;
      settle();
    }

    function reset() {
      view.scale = 0;
      settle();
      leave();
    }

    let waiting = false;
    function redraw() {
      if (waiting) return;
      waiting = true;
      requestAnimationFrame(() => {
        waiting = false;
        draw();
      });
    }

    function draw() {
      if (view.width === 0) return;
      const ratio = window.devicePixelRatio || 1;
      pen.setTransform(ratio, 0, 0, ratio, 0, 0);
      pen.clearRect(0, 0, view.width, view.height);
      const labels = graticule();
      pen.save();
      pen.translate(screenX(0), screenY(0));
      pen.scale(view.scale, view.scale);
      pen.lineWidth = 1 / view.scale;
      pen.strokeStyle = "#888";
      pen.stroke(outlines);
      pen.restore();
      drawPoints();
      pen.font = "11px system-ui,sans-serif";
      pen.lineWidth = 3;
      pen.strokeStyle = "#fffc";
      pen.fillStyle = "#555";
      for (const [text, x, y, align, base] of labels) {
        pen.textAlign = align;
        pen.textBaseline = base;
        pen.strokeText(text, x, y);
        pen.fillText(text, x, y);
      }
    }

    /** Lines of full degrees; returns the labels, to be written on top of everything. */
    function graticule() {
      const step = STEPS.find(step => step * squeeze * view.scale >= 70) || 45;
      const decimals = Math.max(0, Math.ceil(-Math.log10(step) - 1e-9));
      const labels = [];
      const half = {x: view.width / 2 / view.scale, y: view.height / 2 / view.scale};
      const north = Math.max(screenY(-90), 0), south = Math.min(screenY(90), view.height);
      pen.strokeStyle = "#e4e4e4";
      pen.lineWidth = 1;
      pen.beginPath();
      const multiples = (low, high, line) => {
        for (let n = Math.ceil(low / step - 1e-9); n <= high / step + 1e-9; n++) line(n * step);
      };
      multiples((view.x - half.x) / squeeze, (view.x + half.x) / squeeze, lon => {
        const x = Math.round(screenX(lon * squeeze)) + 0.5;
        pen.moveTo(x, north);
        pen.lineTo(x, south);
        const text = degreeText(lon, "EW", decimals);
        if (x > 48 && x < view.width - 24) labels.push([text, x, view.height - 4, "center", "bottom"]);
      });
      multiples(Math.max(-view.y - half.y, -90), Math.min(-view.y + half.y, 90), lat => {
        const y = Math.round(screenY(-lat)) + 0.5;
        pen.moveTo(0, y);
        pen.lineTo(view.width, y);
        const text = degreeText(lat, "NS", decimals);
        if (y > 10 && y < view.height - 24) labels.push([text, 4, y, "left", "middle"]);
      });
      pen.stroke();
      return labels;
    }

    const visible = (i, x, y, edge) =>
      !shown.hidden[shown.of[i]] && x > -edge && y > -edge && x < view.width + edge && y < view.height + edge;

    /** In the order of the list, so that no class lies on top of another; the fewer in view, the larger. */
    function drawPoints() {
      let inView = 0;
      for (let i = 0; i < count; i++) if (visible(i, screenX(xs[i]), screenY(ys[i]), 0)) inView++;
      const radius = clamp(Math.sqrt(0.03 * view.width * view.height / (inView + 1)), 1.2, 4.5);
      let last = -1;
      for (let i = 0; i < count; i++) {
        const x = screenX(xs[i]), y = screenY(ys[i]);
        if (!visible(i, x, y, radius)) continue;
        if (shown.of[i] !== last) {
          last = shown.of[i];
          pen.fillStyle = colorOf(last);
        }
        if (radius < 1.6) {
          pen.fillRect(x - radius, y - radius, 2 * radius, 2 * radius);
        } else {
          pen.beginPath();
          pen.arc(x, y, radius, 0, 2 * Math.PI);
          pen.fill();
        }
      }
    }

    function hover(x, y) {
      let nearest = -1, best = HOVER_PX * HOVER_PX;
      for (let i = 0; i < count; i++) {
        const dx = screenX(xs[i]) - x, dy = screenY(ys[i]) - y;
        if (dx * dx + dy * dy <= best && !shown.hidden[shown.of[i]]) {
          best = dx * dx + dy * dy;
          nearest = i;
        }
      }
      if (nearest < 0) return leave();
      ring.style.display = tip.style.display = "block";
      ring.style.left = `${screenX(xs[nearest])}px`;
      ring.style.top = `${screenY(ys[nearest])}px`;
      tip.replaceChildren();
      add(tip, "b", "", names[nearest]);
      const [lon, lat] = [lonLat[2 * nearest], lonLat[2 * nearest + 1]];
      add(tip, "div", "", `${degreeText(lat, "NS", 4)}, ${degreeText(lon, "EW", 4)}`);
      const table = add(tip, "dl");
      for (const {name, classes, of} of columns) {
        add(table, "dt", "", name);
        add(table, "dd", "", of[nearest] < classes.length ? classes[of[nearest]] : "no class");
      }
      const beside = (at, size, room) => Math.max(at + 14 + size > room ? at - 14 - size : at + 14, 0);
      tip.style.left = `${beside(x, tip.offsetWidth, view.width)}px`;
      tip.style.top = `${beside(y, tip.offsetHeight, view.height)}px`;
    }

    function leave() {
      ring.style.display = tip.style.display = "none";
    }

    function showLegend() {
      legend.replaceChildren();
      const head = add(legend, "div", "all");
      const entries = [];
      const refresh = () => {
        entries.forEach(([entry, cls]) => entry.setAttribute("aria-pressed", String(!shown.hidden[cls])));
        leave();
        redraw();
      };
      const setAll = hidden => () => {
        shown.hidden.fill(hidden);
        refresh();
      };
      button(head, "all", "show all classes", setAll(false));
      button(head, "none", "hide all classes", setAll(true));
      shown.counts.forEach((points, cls) => {
        const named = cls < shown.classes.length;
        if (!named && points === 0) return;
        const entry = add(legend, "button", points ? "" : "empty");
        add(entry, "i").style.background = colorOf(cls);
        add(entry, "span", "", named ? shown.classes[cls] : "no class");
        add(entry, "small", "", points.toLocaleString("en"));
        entry.title = "show or hide";
        entry.addEventListener("click", () => {
          shown.hidden[cls] = !shown.hidden[cls];
          refresh();
        });
        entries.push([entry, cls]);
      });
      refresh();
    }

    function resize() {
      const ratio = window.devicePixelRatio || 1;
      const [width, height] = [frame.clientWidth, frame.clientHeight];
      if (width === 0 || height === 0) return;
      const before = view.width;
      canvas.width = Math.round(width * ratio);
      canvas.height = Math.round(height * ratio);
      view.scale *= before ? width / before : 0;
      [view.width, view.height] = [width, height];
      settle();
      draw();
      leave();
    }

    button(tools, "+", "zoom in", () => zoom(1.6));
    button(tools, "−", "zoom out", () => zoom(1 / 1.6));
    button(tools, "reset", "show the whole map", reset);
    select.addEventListener("change", () => {
      shown = columns[select.selectedIndex];
      showLegend();
    });
    let drag = null;
    canvas.addEventListener("mousedown", event => {
      if (event.button !== 0) return;
      drag = [event.clientX, event.clientY];
      frame.classList.add("dragged");
      leave();
    });
    window.addEventListener("mousemove", event => {
      if (!drag) return;
      view.x -= (event.clientX - drag[0]) / view.scale;
      view.y -= (event.clientY - drag[1]) / view.scale;
      drag = [event.clientX, event.clientY];
      settle();
    });
    window.addEventListener("mouseup", () => {
      drag = null;
      frame.classList.remove("dragged");
    });
    canvas.addEventListener("mousemove", event => {
      if (!drag) hover(event.offsetX, event.offsetY);
    });
    canvas.addEventListener("mouseleave", leave);
    canvas.addEventListener("dblclick", reset);
    canvas.addEventListener("wheel", event => {
      // The whole map is in view: let the page scroll on.
      if (event.deltaY >= 0 && view.scale <= widest()) return;
      event.preventDefault();
      zoom(Math.exp(-event.deltaY * (event.deltaMode === 1 ? 16 : 1) * 0.002), event.offsetX, event.offsetY);
      if (!drag) hover(event.offsetX, event.offsetY);
    }, {passive: false});
    showLegend();
    resize();
    new ResizeObserver(resize).observe(frame);
  }

  document.querySelectorAll(".pointmap").forEach(start);
})();
