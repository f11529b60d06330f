// Curves and bars, drawn by uPlot, which is loaded with the first of them.

import { useEffect, useRef } from 'preact/hooks';
import { html } from './html.js';

const DAY_S = 86400;
const WHOLE = Array.from({ length: 8 }, (_, power) => [1, 2, 5].map((step) => step * 10 ** power)).flat();
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

// `times`: s since the epoch. `series`: { label, colour, values }. `bars`: columns, each of so many s from its time on; days
// stand above the middle of their column. `whole`: steps of the axis are whole numbers.
export function Chart({ times, series, bars = 0, whole = false, height = 200, format = String, label }) {
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
      drawn.current = new UPlot(options(UPlot, { element: element.current, series, bars, whole, height, format }), element.current.data ?? data, element.current);
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
  }, [shape, bars, height]);

  useEffect(() => {
    element.current.data = data;
    drawn.current?.setData(data);
  });

  return html`
    <figure class="chart" role="img" aria-label=${label} style=${{ minHeight: `${height}px` }}><div ref=${element}></div></figure>`;
}

function options(UPlot, { element, series, bars, whole, height, format }) {
  const line = colourOf('line');
  const text = colourOf('faint');
  const font = '11px Inter, system-ui, sans-serif';
  const axis = { stroke: text, font, grid: { stroke: line, width: 1 }, ticks: { show: false } };
  return {
    width: element.clientWidth,
    height,
    legend: { show: false },
    padding: [12, 28, 0, 0],
    cursor: { y: false, points: { size: 7 }, drag: { x: false, y: false } },
    scales: { x: { time: true, range: (_, low, high) => (bars === DAY_S ? [low - DAY_S / 2, high + DAY_S / 2] : [low, high + bars]) }, y: { range: (_, low, high) => [0, high > 0 ? high * 1.15 : 1] } },
    axes: [
      { ...axis, grid: { show: false }, gap: 6, size: 28, space: 74, values: (_, ticks) => named(ticks, bars) },
      { ...axis, ...(whole ? { incrs: WHOLE } : {}), size: 52, gap: 4, values: (_, ticks) => ticks.map(format) },
    ],
    series: [{}, ...series.map((one) => {
      const colour = colourOf(one.colour);
      return {
        label: one.label, stroke: colour, width: bars ? 0 : 2, points: { show: false },
        fill: bars ? colour : faded(colour, 0.08),
        paths: bars ? UPlot.paths.bars({ size: bars === DAY_S ? [0.62, 34] : [0.8, 34], align: bars === DAY_S ? 0 : 1, radius: 0.2 }) : UPlot.paths.spline(),
      };
    })],
    plugins: [tooltip(series, format, bars)],
  };
}

const spoken = (more) => new Intl.DateTimeFormat('en-GB', more);

const DAY = { day: 'numeric', month: 'short' };
const MINUTE = { hour: '2-digit', minute: '2-digit' };

// Names of moments, as exact as they lie apart; midnight has the name of its day.
function named(ticks, bars) {
  const apart = ticks.length > 1 ? ticks[1] - ticks[0] : 0;
  const form = spoken(bars === DAY_S || apart >= DAY_S ? DAY : { ...MINUTE, ...(apart && apart < 60 ? { second: '2-digit' } : {}) });
  const [day, clock] = [spoken(DAY), spoken(MINUTE)];
  const several = ticks.length > 1 && ticks.at(-1) - ticks[0] >= DAY_S / 2;
  return ticks.map((at) => (several && clock.format(at * 1000) === '00:00' ? day : form).format(at * 1000));
}

// The name of one moment, or of the time of a column.
function moment(at, bars) {
  if (bars === DAY_S) return spoken(DAY).format(at * 1000);
  const clock = spoken({ ...MINUTE, ...(bars % 60 || !bars ? { second: '2-digit' } : {}) });
  if (!bars) return clock.format(at * 1000);
  const old = Date.now() / 1000 - at > DAY_S / 2 ? `${spoken(DAY).format(at * 1000)}, ` : '';
  return `${old}${clock.formatRange(at * 1000, (at + bars) * 1000)}`;
}

// Shows the values under the pointer, as text.
function tooltip(series, format, bars) {
  const box = document.createElement('div');
  box.className = 'chart-tip';
  box.hidden = true;
  return { hooks: {
    init: (chart) => { chart.over.append(box); },
    setCursor: (chart) => {
      const { idx, left } = chart.cursor;
      box.hidden = idx == null || left < 0;
      if (box.hidden) return;
      box.replaceChildren(...[moment(chart.data[0][idx], bars), ...series.map((one, index) => `${one.label} ${format(chart.data[index + 1][idx] ?? 0)}`)].map((text, index) => {
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

// A small curve without axes: columns up to their own highest.
export function Spark({ values, label }) {
  const most = Math.max(1, ...values);
  const columns = values.map((value, index) => (value ? `M${index + 0.1} 1V${(1 - Math.max(0.08, value / most)).toFixed(3)}h.8V1z` : '')).join('');
  return html`
    <svg class="spark" role="img" aria-label=${label} viewBox=${`0 0 ${values.length} 1`} preserveAspectRatio="none"><path d=${columns} /></svg>`;
}

export const Legend = ({ series }) => html`
  <div class="legend">${series.map((one) => html`<span><i style=${{ background: `var(--${one.colour})` }}></i>${one.label}</span>`)}</div>`;
