"use strict";
(() => {
  const root = document.documentElement;

  // Theme: the system's, until the reader chooses.
  const button = document.getElementById("theme");
  const system = matchMedia("(prefers-color-scheme: dark)");
  const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : system.matches);
  const showTheme = () => {
    button.textContent = isDark() ? "Light" : "Dark";
    button.setAttribute("aria-label", isDark() ? "Use light colours" : "Use dark colours");
    button.setAttribute("aria-pressed", String(isDark()));
  };
  button.hidden = false;
  button.addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    showTheme();
  });
  system.addEventListener("change", showTheme);
  showTheme();

  // Navigation: mark the section being read.
  const links = new Map([...document.querySelectorAll("nav a")].map((a) => [a.hash.slice(1), a]));
  const seen = new Set();
  const observer = new IntersectionObserver((entries) => {
    for (const entry of entries) entry.isIntersecting ? seen.add(entry.target.id) : seen.delete(entry.target.id);
    const first = [...links.keys()].find((id) => seen.has(id));
    for (const [id, a] of links) id === first ? a.setAttribute("aria-current", "true") : a.removeAttribute("aria-current");
  });
  for (const section of document.querySelectorAll("main > section")) observer.observe(section);

  // Numbers, rounded as in the tables: to two digits of the uncertainty.
  const MINUS = "\u2212", NOTHING = "\u2013";
  const group = (text) => {
    const [whole, fraction] = text.replace("-", MINUS).split(".");
    const grouped = whole.replace(/\B(?=(\d{3})+$)/g, "\u202f");
    return fraction === undefined ? grouped : `${grouped}.${fraction}`;
  };
  const fixed = (value, decimals) => group(value.toFixed(Math.min(Math.max(decimals, 0), 20)));
  const decimalsOf = (error) => 1 - Math.floor(Math.log10(Number(error.toExponential(1))));
  const shown = (value, error, digits = 4) => {
    if (value === null || Number.isNaN(value)) return NOTHING;
    if (!Number.isFinite(value)) return value > 0 ? "\u221e" : `${MINUS}\u221e`;
    if (error > 0 && Number.isFinite(error)) {
      const decimals = decimalsOf(error);
      return `${fixed(value, decimals)} \u00b1 ${fixed(error, decimals)}`;
    }
    if (value === 0) return "0";
    return fixed(value, digits - 1 - Math.floor(Math.log10(Math.abs(value))));
  };

  const significance = (s, b, r) => {
    const variance = b + (r * b) ** 2;
    return variance > 0 ? s / Math.sqrt(variance) : NaN;
  };

  const add = (parent, name, attributes, text) => {
    const element = document.createElementNS(parent.namespaceURI, name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    if (text !== undefined) element.textContent = text;
    parent.append(element);
    return element;
  };
  const niceStep = (top) => {
    const power = 10 ** Math.floor(Math.log10(top / 4));
    return [1, 2, 2.5, 5, 10].map((m) => m * power).find((step) => top / step <= 5);
  };

  const start = (form) => {
    const { curves } = JSON.parse(form.querySelector("script").textContent);
    const field = (name) => form.elements.namedItem(name);
    const svg = form.querySelector("svg");
    const box = { left: 52, right: 452, top: 10, bottom: 208 };
    let significances = [];

    const yields = () => {
      const read = (name) => Math.max(Number.parseFloat(field(name).value) || 0, 0);
      return [read("signal"), read("background"), read("uncertainty")];
    };
    const curve = () => curves[Number(field("model").value)];
    // The band of the background efficiency is carried through; half its width stands behind the ± sign.
    const half = (low, high) => (Number.isFinite(low) && Number.isFinite(high) ? Math.abs(high - low) / 2 : NaN);
    const at = (c, i) => {
      const [signal, background, r] = yields();
      const s = c.signal_efficiency[i], b = c.background_efficiency[i];
      const low = c.background_efficiency_low[i] ?? NaN, high = c.background_efficiency_high[i] ?? NaN;
      const S = signal * s, B = background * b;
      const z = significance(S, B, r);
      const zLow = significance(S, background * high, r), zHigh = significance(S, background * low, r);
      const known = b > 0 && !(half(low, high) > 0.3 * b);
      return {
        threshold: c.threshold[i], s, b, S, B, z, zLow, zHigh, known,
        bError: half(low, high), zError: half(zLow, zHigh),
        rejection: b > 0 ? 1 / b : Infinity, rejectionError: half(1 / high, 1 / low),
      };
    };

    const x = (efficiency) => box.left + efficiency * (box.right - box.left);
    let y = () => box.bottom;
    const drawCurve = () => {
      const c = curve();
      significances = c.threshold.map((_, i) => at(c, i));
      const good = significances.filter((p) => p.known && Number.isFinite(p.z));
      svg.replaceChildren();
      const high = Math.max(...good.map((p) => (Number.isFinite(p.zHigh) ? p.zHigh : p.z)), 0) * 1.08 || 1;
      y = (z) => box.bottom - Math.min(z / high, 1) * (box.bottom - box.top);
      const banded = good.filter((p) => p.zError > 0);
      if (banded.length > 1) {
        const up = banded.map((p) => `${x(p.s).toFixed(1)},${y(p.zHigh).toFixed(1)}`);
        const down = banded.map((p) => `${x(p.s).toFixed(1)},${y(p.zLow).toFixed(1)}`).reverse();
        add(svg, "polygon", { class: "band", points: [...up, ...down].join(" ") });
      }
      add(svg, "polyline", { class: "curve", points: good.map((p) => `${x(p.s).toFixed(1)},${y(p.z).toFixed(1)}`).join(" ") });
      add(svg, "path", { class: "axis", d: `M${box.left} ${box.top}V${box.bottom}H${box.right}` });
      for (let tick = 0; tick <= 5; tick += 1) {
        add(svg, "text", { x: x(tick / 5), y: box.bottom + 16, "text-anchor": "middle" }, (tick / 5).toFixed(1));
      }
      const step = niceStep(high);
      for (let value = 0; value <= high; value += step) {
        add(svg, "text", { x: box.left - 6, y: y(value) + 4, "text-anchor": "end" }, String(Number(value.toPrecision(3))));
      }
      add(svg, "text", { x: box.right, y: box.bottom + 35, "text-anchor": "end" }, "signal efficiency");
      add(svg, "line", { class: "drop" });
      add(svg, "circle", { class: "marker", r: 5 });
    };

    const show = (name, text) => { field(name).textContent = text; };
    const update = () => {
      const range = field("point");
      const p = significances[Number(range.value)];
      show("threshold", shown(p.threshold));
      show("efficiency", shown(p.s));
      show("fake", shown(p.b, p.bError));
      show("rejection", shown(p.rejection, p.rejectionError));
      show("yield-signal", shown(p.S));
      show("yield-background", shown(p.B));
      show("significance", shown(p.z, p.zError));
      range.setAttribute("aria-valuetext", `signal efficiency ${(100 * p.s).toFixed(1)} %`);
      const visible = Number.isFinite(p.z) ? "visible" : "hidden";
      const drop = svg.querySelector(".drop"), marker = svg.querySelector(".marker");
      for (const element of [drop, marker]) element.setAttribute("visibility", visible);
      if (Number.isFinite(p.z)) {
        marker.setAttribute("cx", x(p.s)); marker.setAttribute("cy", y(p.z));
        drop.setAttribute("x1", x(p.s)); drop.setAttribute("x2", x(p.s));
        drop.setAttribute("y1", y(p.z)); drop.setAttribute("y2", box.bottom);
      }
    };
    const announce = () => {
      form.querySelector(".announce").textContent =
        `Signal efficiency ${field("efficiency").textContent}, background rejection ${field("rejection").textContent}, ` +
        `significance ${field("significance").textContent}`;
    };
    const nearest = (efficiency) => {
      const distances = curve().signal_efficiency.map((e) => Math.abs(e - efficiency));
      return distances.indexOf(Math.min(...distances));
    };
    const choose = (efficiency) => {
      field("point").max = curve().threshold.length - 1;
      field("point").value = nearest(efficiency);
      drawCurve();
      update();
    };

    field("model").addEventListener("change", () => {
      choose(significances[Number(field("point").value)].s); // keep the efficiency when the model changes
      announce();
    });
    for (const name of ["signal", "background", "uncertainty"]) {
      field(name).addEventListener("input", () => { drawCurve(); update(); });
      field(name).addEventListener("change", announce);
    }
    field("point").addEventListener("input", update);
    field("point").addEventListener("change", announce);
    field("optimum").addEventListener("click", () => {
      let best = -1;
      significances.forEach((p, i) => {
        if (p.known && Number.isFinite(p.z) && (best < 0 || p.z > significances[best].z)) best = i;
      });
      if (best >= 0) field("point").value = best;
      update();
      announce();
    });
    form.addEventListener("submit", (event) => event.preventDefault());
    choose(0.5);
  };
  for (const form of document.querySelectorAll("form.working-points")) start(form);
})();
