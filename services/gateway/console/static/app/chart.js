// Curves and bars, drawn by uPlot, which is loaded with the first of them.

import { useEffect, useRef } from 'preact/hooks';
import { html } from './html.js';

const HALF_DAY_S = 43200;
const place = new URL('../vendor/uPlot.iife.min.js', import.meta.url).href;
const policy = window.trustedTypes?.createPolicy('presswork', {
  createScriptURL: (url) => {
    if (url !== place) throw new TypeError('no other script is loaded');
    return url;
  },
});
let loading = null;

function uplot() {
  loading ??= new Promise((resolve, reject) => {
    const style = document.createElement('link');
    style.rel = 'stylesheet';
    style.href = new URL('../vendor/uPlot.min.css', import.meta.url).href;
    const script = document.createElement('script');
    script.src = policy ? policy.createScriptURL(place) : place;
    script.onload = () => resolve(window.uPlot);
    script.onerror = reject;
    document.head.append(style, script);
  });
  return loading;
}

// The value of a custom property as a colour that a canvas knows: light-dark() is resolved by an element.
function colourOf(name) {
  const probe = document.createElement('span');
  probe.style.color = `var(--${name})`;
  document.body.append(probe);
  const colour = getComputedStyle(probe).color;
  probe.remove();
  return colour;
}

const faded = (colour, share) => colour.replace(/^rgb\((.*)\)$/, (_, parts) => `rgba(${parts}, ${share})`);

// `times`: s since the epoch. `series`: { label, colour, values }. `bars`: one column each, the first series alone.
export function Chart({ times, series, bars = false, height = 200, format = String, day = false, label }) {
  const element = useRef();
  const drawn = useRef(null);
  const data = [times, ...series.map((one) => one.values)];
  const shape = series.map((one) => one.label + one.colour).join();

  useEffect(() => {
    let gone = false;
    const draw = async () => {
      const UPlot = await uplot();
      if (gone || !element.current) return;
      drawn.current?.destroy();
      drawn.current = new UPlot(options(UPlot, { element: element.current, series, bars, height, format, day }), element.current.data ?? data, element.current);
    };
    draw();
    const sizes = new ResizeObserver(() => { if (element.current) drawn.current?.setSize({ width: element.current.clientWidth, height }); });
    sizes.observe(element.current);
    const colours = new MutationObserver(draw);
    colours.observe(document.documentElement, { attributeFilter: ['data-theme'] });
    const system = matchMedia('(prefers-color-scheme: dark)');
    system.addEventListener('change', draw);
    return () => {
      gone = true;
      sizes.disconnect();
      colours.disconnect();
      system.removeEventListener('change', draw);
      drawn.current?.destroy();
      drawn.current = null;
    };
  }, [shape, bars, height, day]);

  useEffect(() => {
    element.current.data = data;
    drawn.current?.setData(data);
  });

  return html`
    <figure class="chart" role="img" aria-label=${label} style=${{ minHeight: `${height}px` }}><div ref=${element}></div></figure>`;
}

function options(UPlot, { element, series, bars, height, format, day }) {
  const line = colourOf('line');
  const text = colourOf('faint');
  const font = '11px Inter, system-ui, sans-serif';
  const axis = { stroke: text, font, grid: { stroke: line, width: 1 }, ticks: { show: false } };
  return {
    width: element.clientWidth,
    height,
    legend: { show: false },
    padding: [12, 20, 0, 0],
    cursor: { y: false, points: { size: 7 }, drag: { x: false, y: false } },
    scales: { x: { time: true, range: (_, low, high) => (bars ? [low - HALF_DAY_S, high + HALF_DAY_S] : [low, high]) }, y: { range: (_, low, high) => [0, high > 0 ? high * 1.15 : 1] } },
    axes: [
      { ...axis, grid: { show: false }, gap: 6, size: 28, space: 74, values: (_, ticks) => named(ticks, day) },
      { ...axis, size: 52, gap: 4, values: (_, ticks) => ticks.map(format) },
    ],
    series: [{}, ...series.map((one) => {
      const colour = colourOf(one.colour);
      return {
        label: one.label, stroke: colour, width: bars ? 0 : 2, points: { show: false },
        fill: bars ? colour : faded(colour, 0.08),
        paths: bars ? UPlot.paths.bars({ size: [0.62, 34], radius: 0.2 }) : UPlot.paths.spline(),
      };
    })],
    plugins: [tooltip(series, format, day)],
  };
}

const spoken = (more) => new Intl.DateTimeFormat('en-GB', more);

// Names of moments, as exact as they lie apart.
function named(ticks, day) {
  const near = ticks.length > 1 && ticks[1] - ticks[0] < 60;
  const form = spoken(day ? { day: 'numeric', month: 'short' } : { hour: '2-digit', minute: '2-digit', ...(near ? { second: '2-digit' } : {}) });
  return ticks.map((at) => form.format(at * 1000));
}

// Shows the values under the pointer, as text.
function tooltip(series, format, day) {
  const box = document.createElement('div');
  box.className = 'chart-tip';
  box.hidden = true;
  const when = spoken(day ? { day: 'numeric', month: 'short' } : { hour: '2-digit', minute: '2-digit', second: '2-digit' });
  return { hooks: {
    init: (chart) => { chart.over.append(box); },
    setCursor: (chart) => {
      const { idx, left } = chart.cursor;
      box.hidden = idx == null || left < 0;
      if (box.hidden) return;
      box.replaceChildren(...[when.format(chart.data[0][idx] * 1000), ...series.map((one, index) => `${one.label} ${format(chart.data[index + 1][idx] ?? 0)}`)].map((text, index) => {
        const row = document.createElement(index ? 'div' : 'strong');
        row.textContent = text;
        return row;
      }));
      const right = left > chart.over.clientWidth - 150;
      box.style.left = right ? 'auto' : `${left + 12}px`;
      box.style.right = right ? `${chart.over.clientWidth - left + 12}px` : 'auto';
    },
  } };
}

export const Legend = ({ series }) => html`
  <div class="legend">${series.map((one) => html`<span><i style=${{ background: `var(--${one.colour})` }}></i>${one.label}</span>`)}</div>`;
