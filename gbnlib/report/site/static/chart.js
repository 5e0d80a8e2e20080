// The chart with a switch: validation error against epochs or updates. Data: see gbnlib/report/site/chart.py.
(() => {
  const NS = "http://www.w3.org/2000/svg";
  const HUES = { "LB+LR": "var(--chart-rate)", "LB+LR+GBN": "var(--chart-ghosts)", "LB+LR+GBN+RA": "var(--chart-adapted)" };
  const STEPS = [1, 2, 5];

  const number = (value) => value.toLocaleString("en");
  const element = (name, attributes = {}, text = "") => {
    const made = document.createElement(name);
    Object.assign(made, attributes);
    made.append(text);
    return made;
  };

  // Batches go from a light to a dark mark of one hue, so that their order shows.
  const colour = (curve, batches) => {
    if (HUES[curve.method]) return HUES[curve.method];
    const share = batches.length > 1 ? batches.indexOf(curve.batch) / (batches.length - 1) : 1;
    return `color-mix(in oklab, var(--chart-large) ${Math.round(100 * share)}%, var(--chart-small))`;
  };

  const ticks = (low, high) => {
    const found = [];
    for (let power = 10 ** Math.floor(Math.log10(low)); power <= high; power *= 10)
      for (const step of STEPS) if (step * power >= low && step * power <= high) found.push(step * power);
    return found;
  };

  const start = (figure) => {
    const curves = JSON.parse(figure.querySelector("script").textContent);
    const batches = [...new Set(curves.filter((c) => !HUES[c.method]).map((c) => c.batch))].sort((a, b) => a - b);
    const shown = new Set(curves.filter((curve) => curve.shown));
    const svg = document.createElementNS(NS, "svg");
    const said = element("p", { className: "said" }, "Point at a curve, or go to it with Tab, to read it.");
    said.setAttribute("aria-live", "polite");
    let axis = "epochs";

    const put = (name, attributes, text = "") => {
      const made = document.createElementNS(NS, name);
      for (const key in attributes) made.setAttribute(key, attributes[key]);
      made.textContent = text;
      svg.append(made);
      return made;
    };

    const draw = () => {
      const narrow = figure.clientWidth < 600;
      const [width, height] = narrow ? [380, 340] : [860, 400];
      const [left, right, top, bottom] = narrow ? [46, 12, 10, 40] : [56, 280, 12, 44];
      svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
      svg.replaceChildren();
      const drawn = curves.filter((curve) => shown.has(curve));
      if (!drawn.length) return;
      const errors = drawn.flatMap((c) => [...c.error, ...c.low, ...c.high]).filter((value) => value > 0);
      const places = drawn.flatMap((curve) => curve[axis]);
      const [x0, x1, y0, y1] = [Math.min(...places), Math.max(...places), Math.min(...errors), Math.max(...errors)];
      const scale = (low, high, from, to) => (value) =>
        from + ((to - from) * Math.log(Math.max(value, low) / low)) / Math.log(high / low || 2);
      const x = scale(x0, x1, left, width - right);
      const y = scale(0.95 * y0, 1.05 * y1, height - bottom, top);
      for (const value of ticks(y0, y1)) {
        put("line", { class: "grid", x1: left, x2: width - right, y1: y(value), y2: y(value) });
        put("text", { x: left - 6, y: y(value) + 4, "text-anchor": "end" }, `${value} %`);
      }
      for (const value of ticks(x0, x1).filter((tick) => !narrow || `${tick}`.startsWith("1")))
        put("text", { x: x(value), y: height - bottom + 18, "text-anchor": "middle" }, number(value));
      const middle = (left + width - right) / 2;
      put("text", { x: middle, y: height - 6, "text-anchor": "middle" }, `${axis} (log scale)`);
      const labels = drawn.map((curve) => line(curve, x, y)).sort((a, b) => a.y - b.y);
      if (!narrow) label(labels, height - bottom);
    };

    const line = (curve, x, y) => {
      const path = (errors) => curve[axis].map((place, i) => `${x(place).toFixed(1)} ${y(errors[i]).toFixed(1)}`);
      const hue = colour(curve, batches);
      if (curve.low[0] !== null) {
        const band = [...path(curve.high), ...path(curve.low).reverse()].join("L");
        put("path", { class: "band", d: `M${band}Z`, style: `fill:${hue}` });
      }
      const last = curve.error.length - 1;
      const words =
        `${curve.label}: ${curve.error[last].toFixed(2)} % after ${number(curve.epochs[last])} epochs and ` +
        `${number(curve.updates[last])} updates, n = ${curve.n}`;
      const drawn = put("path", { class: "curve", d: `M${path(curve.error).join("L")}`, style: `stroke:${hue}` });
      for (const [name, value] of [["tabindex", 0], ["role", "img"], ["aria-label", words]]) drawn.setAttribute(name, value);
      const mark = (on) => () => {
        svg.querySelectorAll(".curve").forEach((other) => other.classList.toggle("faint", on && other !== drawn));
        if (on) said.textContent = words;
      };
      for (const event of ["mouseenter", "focus", "click"]) drawn.addEventListener(event, mark(true));
      for (const event of ["mouseleave", "blur"]) drawn.addEventListener(event, mark(false));
      const end = curve[axis][last];
      return { x: x(end), y: y(curve.error[last]), text: `${curve.label}, ${curve.error[last].toFixed(2)} %`, hue };
    };

    // Labels stand at the ends of their lines, pushed apart from the top and then back from the bottom.
    const label = (labels, floor) => {
      const apart = 16;
      labels.forEach((each, i) => (each.at = i ? Math.max(each.y, labels[i - 1].at + apart) : each.y));
      for (let i = labels.length - 1, limit = floor; i >= 0; limit = labels[i].at - apart, i -= 1)
        labels[i].at = Math.min(labels[i].at, limit);
      for (const each of labels)
        put("text", { class: "label", x: each.x + 8, y: each.at + 4, style: `fill:${each.hue}` }, each.text);
    };

    const choice = (type, name, checked, words, change) => {
      const box = element("input", { type, name, checked });
      box.addEventListener("change", () => (change(box.checked), draw()));
      const made = element("label");
      made.append(box, " ", words);
      return made;
    };
    const group = (legend, choices) => {
      const made = element("fieldset");
      made.append(element("legend", {}, legend), ...choices);
      return made;
    };
    const axes = ["epochs", "updates"].map((name) =>
      choice("radio", "chart-axis", name === axis, name, () => (axis = name))
    );
    const runs = curves.map((curve) => {
      const swatch = element("span", { className: "swatch" });
      swatch.style.background = colour(curve, batches);
      const made = choice("checkbox", "", curve.shown, curve.label, (on) => shown[on ? "add" : "delete"](curve));
      made.insertBefore(swatch, made.lastChild);
      return made;
    });
    svg.setAttribute("role", "group");
    svg.setAttribute("aria-label", "Validation error, a curve a batch size and method");
    figure.append(group("Count", axes), svg, said, group("Show", runs));
    draw();
    new ResizeObserver(draw).observe(figure);
  };

  document.querySelectorAll("figure.chart").forEach(start);
})();
