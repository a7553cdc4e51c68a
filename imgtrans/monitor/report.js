"use strict";
(() => {
  const root = document.documentElement;
  const data = JSON.parse(document.getElementById("data").textContent);
  const grouped = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
  const element = (name, className, text) => {
    const made = document.createElement(name);
    if (className) made.className = className;
    if (text !== undefined) made.textContent = text;
    return made;
  };
  root.classList.add("scripted");

  const samples = () => {
    const section = document.getElementById("samples");
    const slider = document.getElementById("slider");
    const play = document.getElementById("play");
    const shown = document.getElementById("shown");
    const images = [...section.querySelectorAll(".grid-of-samples img")];
    const last = data.steps.length - 1;
    const alts = images.map((image) => image.alt.replace(/^[^]* at step [\d,]+: /, ""));
    const pictures = [...data.pictures, images.map((image) => image.src)];
    let now = last;
    let timer = 0;

    const show = (index) => {
      now = Math.min(last, Math.max(0, index));
      const step = "step " + grouped.format(data.steps[now]);
      images.forEach((image, which) => {
        image.src = pictures[now][which];
        image.alt = `${data.directions[which]} at ${step}: ${alts[which]}`;
      });
      slider.value = now;
      slider.setAttribute("aria-valuetext", step);
      shown.textContent = step;
      section.dataset.step = data.steps[now];
    };
    const remember = () => {
      // The newest is the default: without a fragment, a reloaded page shows what is newest then.
      const fragment = now === last ? location.pathname + location.search : "#step=" + data.steps[now];
      history.replaceState(null, "", fragment);
    };
    const stop = () => {
      clearInterval(timer);
      timer = 0;
      play.setAttribute("aria-pressed", "false");
    };
    const start = () => {
      if (now === last) show(0);
      play.setAttribute("aria-pressed", "true");
      timer = setInterval(() => {
        show(now + 1);
        if (now === last) {
          stop();
          remember();
        }
      }, Math.min(700, Math.max(150, 12000 / last)));
    };
    const fromFragment = () => {
      const match = /^#step=(\d+)$/.exec(location.hash);
      if (!match) return;
      const off = (step) => Math.abs(step - Number(match[1]));
      show(data.steps.reduce((best, step, index) => (off(step) < off(data.steps[best]) ? index : best), 0));
    };

    slider.addEventListener("input", () => {
      stop();
      show(Number(slider.value));
    });
    slider.addEventListener("change", remember);
    play.addEventListener("click", () => {
      if (timer) {
        stop();
        remember();
      } else start();
    });
    document.addEventListener("keydown", (event) => {
      const moves = { ArrowLeft: -1, ArrowRight: 1 };
      const taken = event.target.closest("input, .plot, pre, .scrolls");
      if (taken || !(event.key in moves) || event.ctrlKey || event.altKey || event.metaKey) return;
      event.preventDefault();
      stop();
      show(now + moves[event.key]);
      remember();
    });
    window.addEventListener("hashchange", fromFragment);
    fromFragment();
  };

  const nearest = (steps, wanted) => {
    let low = 0;
    let high = steps.length - 1;
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if (steps[middle] < wanted) low = middle;
      else high = middle;
    }
    return Math.abs(steps[low] - wanted) <= Math.abs(steps[high] - wanted) ? low : high;
  };

  const number = (value) => {
    if (Math.abs(value) >= 1000 && Math.abs(value) < 1e6) return grouped.format(value);
    return String(Number(value.toPrecision(3)));
  };

  const hover = (plot) => {
    const chart = data.charts[Number(plot.dataset.chart)];
    const heading = plot.closest("figure").querySelector("h3").textContent;
    const parts = [];
    const longest = chart.series.reduce((a, b) => (b.step.length > a.step.length ? b : a)).step;
    let at = longest.length - 1;

    const hide = () => parts.splice(0).forEach((part) => part.remove());
    const add = (host, part) => {
      parts.push(part);
      host.append(part);
      return part;
    };
    const line = (series, value) => {
      const row = element("div");
      const dot = element("i");
      dot.style.background = `var(--c${series.colour % 8})`;
      const range = series.low[value] === series.high[value]
        ? number(series.low[value])
        : `${number(series.low[value])} to ${number(series.high[value])}`;
      const name = series.name ? series.name + " " : "";
      row.append(dot, name, element("b", "", number(series.mean[value])));
      if (range !== number(series.mean[value])) row.append(" ", element("small", "", `(${range})`));
      return row;
    };
    const show = () => {
      hide();
      const drawing = [...plot.querySelectorAll(".drawing")].find((each) => each.offsetParent);
      const kind = drawing.classList.contains("log") ? "log" : "linear";
      const scale = kind === "log" ? Math.log10 : (value) => value;
      const [bottom, top] = chart.y[kind].map(scale);
      const step = longest[at];
      const across = (step - chart.x[0]) / (chart.x[1] - chart.x[0]);
      add(drawing, element("div", "cross")).style.left = `${across * 100}%`;
      const tip = element("div", "tip");
      tip.append(element("div", "", "step " + grouped.format(step)));
      chart.series.forEach((series, index) => {
        const value = nearest(series.step, step);
        const dot = add(drawing, element("div", "dot"));
        dot.style.left = `${((series.step[value] - chart.x[0]) / (chart.x[1] - chart.x[0])) * 100}%`;
        dot.style.bottom = `${((scale(series.mean[value]) - bottom) / (top - bottom)) * 100}%`;
        dot.style.background = `var(--c${series.colour % 8})`;
        if (index < 16) tip.append(line(series, value));
      });
      add(drawing, tip);
      const box = drawing.getBoundingClientRect();
      const left = box.left + across * box.width;
      const beside = left + tip.offsetWidth + 28 < innerWidth ? left + 14 : left - tip.offsetWidth - 14;
      tip.style.left = `${Math.max(6, beside) - box.left}px`;
    };
    const point = (event) => {
      const box = [...plot.querySelectorAll(".drawing")].find((each) => each.offsetParent).getBoundingClientRect();
      const share = Math.min(1, Math.max(0, (event.clientX - box.left) / box.width));
      at = nearest(longest, chart.x[0] + share * (chart.x[1] - chart.x[0]));
      show();
    };
    plot.tabIndex = 0;
    plot.setAttribute("role", "group");
    plot.setAttribute("aria-label", `${heading}: arrow keys read the values out`);
    plot.addEventListener("pointermove", point);
    plot.addEventListener("pointerdown", point);
    plot.addEventListener("pointerleave", hide);
    plot.addEventListener("blur", hide);
    plot.addEventListener("keydown", (event) => {
      const far = Math.max(1, Math.round(longest.length / 50));
      const moves = { ArrowLeft: -far, ArrowRight: far, Home: -longest.length, End: longest.length };
      if (event.key === "Escape") hide();
      if (!(event.key in moves) || event.ctrlKey || event.altKey || event.metaKey) return;
      event.preventDefault();
      at = Math.min(longest.length - 1, Math.max(0, at + moves[event.key]));
      show();
      const rows = [...plot.querySelectorAll(".tip > div")].map((row) => row.textContent);
      document.getElementById("spoken").textContent = rows.join(", ");
    });
  };

  const signOfLife = () => {
    const time = document.querySelector("time");
    const silent = document.getElementById("silent");
    const update = () => {
      const minutes = Math.round((Date.now() - Date.parse(time.dateTime)) / 60000);
      if (!(minutes >= 0)) return;
      const spans = [[1440, "day"], [60, "hour"], [1, "minute"]];
      const [length, unit] = spans.find(([least]) => minutes >= least) || [1, "minute"];
      time.textContent = new Intl.RelativeTimeFormat("en").format(-Math.floor(minutes / length), unit);
      time.title = time.dateTime;
      silent.hidden = minutes < 15;
    };
    update();
    setInterval(update, 60000);
  };

  if (data.steps.length > 1) samples();
  document.querySelectorAll(".plot").forEach(hover);
  if (document.querySelector("time")) signOfLife();
  root.dataset.ready = "yes";
})();
