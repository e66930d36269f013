"use strict";
(() => {
  const COLORS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#5a5a5a", "#a08c00", "#7f3b08",
    "#542788", "#1b7837", "#c51b7d", "#35978f", "#8c510a", "#2166ac", "#b2182b", "#999999", "#66c2a5", "#e7298a",
    "#a6761d", "#1f78b4", "#b15928", "#6a3d9a", "#33a02c"];
  const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer;
  for (const figure of document.querySelectorAll("figure .map:not([data-done])")) {
    figure.dataset.done = "1";
    const data = JSON.parse(figure.querySelector("script").textContent);
    const places = new Int32Array(bytes(data.places));
    const n = places.length / 2;
    const lon = (i) => places[2 * i] / 1e5, lat = (i) => places[2 * i + 1] / 1e5;
    const names = data.names.split("\n");
    const columns = data.columns.map((c) => ({ ...c, of: new Uint16Array(bytes(c.of)), hidden: new Set() }));
    const canvas = figure.querySelector("canvas"), tip = figure.querySelector(".tip");
    const legend = figure.querySelector(".legend"), select = figure.querySelector("select");
    columns.forEach((c, k) => select.add(new Option(c.name, k)));
    const context = canvas.getContext("2d");
    let column = columns[0], view = null;

    const extent = () => {
      let west = 1e9, east = -1e9, south = 1e9, north = -1e9;
      const add = (x, y) => {
        west = Math.min(west, x); east = Math.max(east, x); south = Math.min(south, y); north = Math.max(north, y);
      };
      for (let i = 0; i < n; i++) add(lon(i), lat(i));
      if (n < 2) for (const ring of data.outlines) for (let k = 0; k < ring.length; k += 2) add(ring[k], ring[k + 1]);
      if (west > east) return [-180, -90, 180, 90];
      const pad = Math.max(0.03 * Math.max(east - west, north - south), 0.02);
      return [west - pad, south - pad, east + pad, north + pad];
    };
    const reset = () => {
      const [west, south, east, north] = extent();
      const squeeze = Math.max(0.05, Math.cos((south + north) / 2 * Math.PI / 180));
      const scale = Math.min(canvas.clientWidth / ((east - west) * squeeze), canvas.clientHeight / (north - south));
      view = { x: (west + east) / 2, y: (south + north) / 2, scale, squeeze };
    };
    const toX = (x) => canvas.clientWidth / 2 + (x - view.x) * view.squeeze * view.scale;
    const toY = (y) => canvas.clientHeight / 2 - (y - view.y) * view.scale;
    const color = (k) => COLORS[k % COLORS.length];

    const graticule = () => {
      const span = canvas.clientHeight / view.scale;
      const step = [30, 10, 5, 2, 1, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01].find((s) => span / s >= 4) || 0.01;
      const digits = Math.max(0, -Math.floor(Math.log10(step)));
      context.strokeStyle = "#e6e6e6"; context.fillStyle = "#777"; context.lineWidth = 1; context.font = "11px sans-serif";
      const wide = canvas.clientWidth / view.scale / view.squeeze;
      for (let k = Math.ceil((view.x - wide / 2) / step); k * step < view.x + wide / 2; k++) {
        const x = toX(k * step);
        context.beginPath(); context.moveTo(x, 0); context.lineTo(x, canvas.clientHeight); context.stroke();
        context.fillText((k * step).toFixed(digits) + "°", x + 3, canvas.clientHeight - 4);
      }
      for (let k = Math.ceil((view.y - span / 2) / step); k * step < view.y + span / 2; k++) {
        const y = toY(k * step);
        context.beginPath(); context.moveTo(0, y); context.lineTo(canvas.clientWidth, y); context.stroke();
        context.fillText((k * step).toFixed(digits) + "°", 3, y - 3);
      }
    };
    const draw = () => {
      const ratio = window.devicePixelRatio || 1;
      canvas.width = canvas.clientWidth * ratio; canvas.height = canvas.clientHeight * ratio;
      context.setTransform(ratio, 0, 0, ratio, 0, 0);
      context.fillStyle = "#fff"; context.fillRect(0, 0, canvas.clientWidth, canvas.clientHeight);
      graticule();
      context.strokeStyle = "#969696";
      for (const ring of data.outlines) {
        context.beginPath();
        for (let k = 0; k < ring.length; k += 2) context.lineTo(toX(ring[k]), toY(ring[k + 1]));
        context.stroke();
      }
      const size = Math.max(n > 20000 ? 1.5 : n > 2000 ? 2.5 : n > 300 ? 4 : 7, Math.min(7, view.scale / 60));
      for (let k = 0; k < column.classes.length; k++) {
        if (column.hidden.has(k)) continue;
        context.fillStyle = color(k);
        for (let i = 0; i < n; i++) {
          if (column.of[i] === k) context.fillRect(toX(lon(i)) - size / 2, toY(lat(i)) - size / 2, size, size);
        }
      }
    };
    const write = () => {
      const counts = new Array(column.classes.length).fill(0);
      for (let i = 0; i < n; i++) counts[column.of[i]]++;
      legend.replaceChildren();
      column.classes.forEach((name, k) => {
        if (!counts[k]) return;
        const entry = document.createElement("button"), dot = document.createElement("i");
        dot.style.background = color(k);
        entry.type = "button"; entry.append(dot, `${name} ${counts[k]}`);
        entry.setAttribute("aria-pressed", String(!column.hidden.has(k)));
        entry.onclick = () => {
          if (!column.hidden.delete(k)) column.hidden.add(k);
          write(); draw();
        };
        legend.append(entry);
      });
    };
    const nearest = (x, y) => {
      let best = -1, least = 81;
      for (let i = 0; i < n; i++) {
        const away = (toX(lon(i)) - x) ** 2 + (toY(lat(i)) - y) ** 2;
        if (away < least && !column.hidden.has(column.of[i])) { least = away; best = i; }
      }
      return best;
    };
    let held = null;
    canvas.onmousemove = (event) => {
      if (held) {
        view.x = held.x - (event.offsetX - held.left) / view.scale / view.squeeze;
        view.y = held.y + (event.offsetY - held.top) / view.scale;
        tip.hidden = true;
        return draw();
      }
      const i = nearest(event.offsetX, event.offsetY);
      tip.hidden = i < 0;
      if (i < 0) return;
      tip.replaceChildren();
      const line = (text) => { const row = document.createElement("div"); row.textContent = text; tip.append(row); };
      line(`${names[i]}  ${lon(i).toFixed(3)}° ${lat(i).toFixed(3)}°`);
      for (const c of columns) line(`${c.name}: ${c.classes[c.of[i]]}`);
      const right = event.offsetX > canvas.clientWidth / 2;
      tip.style.left = right ? "auto" : `${event.offsetX + 14}px`;
      tip.style.right = right ? `${canvas.clientWidth - event.offsetX + 14}px` : "auto";
      tip.style.top = `${event.offsetY}px`;
    };
    canvas.onmousedown = (event) => { held = { x: view.x, y: view.y, left: event.offsetX, top: event.offsetY }; };
    window.addEventListener("mouseup", () => { held = null; });
    canvas.onmouseleave = () => { tip.hidden = true; };
    canvas.ondblclick = () => { reset(); draw(); };
    canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      const factor = Math.exp(-event.deltaY / 400);
      const dx = (event.offsetX - canvas.clientWidth / 2) / view.scale / view.squeeze;
      const dy = (canvas.clientHeight / 2 - event.offsetY) / view.scale;
      view.x += dx * (1 - 1 / factor); view.y += dy * (1 - 1 / factor); view.scale *= factor;
      tip.hidden = true;
      draw();
    }, { passive: false });
    select.onchange = () => { column = columns[Number(select.value)]; write(); draw(); };
    window.addEventListener("resize", draw);
    reset(); write(); draw();
  }
})();
