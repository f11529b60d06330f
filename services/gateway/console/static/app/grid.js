// A list of any length: only the rows in sight are in the document.

import { useEffect, useLayoutEffect, useMemo, useRef, useState } from 'preact/hooks';
import { html } from './html.js';

// Rows that are kept beside those in sight, and by which the window moves.
const BESIDE = 8;

// `row(item, index)` renders a row of the height that the style sheet gives. `onEnd`: the end comes into sight.
export function Grid({ items, keyOf, row, head, onEnd, foot, cursor = -1, label, total }) {
  const body = useRef();
  const [view, setView] = useState({ top: 0, height: 900 });
  const height = useRowHeight();

  useLayoutEffect(() => {
    const element = body.current;
    let frame = 0;
    const look = () => {
      frame = 0;
      setView((before) => {
        const top = Math.floor(element.scrollTop / height / BESIDE) * height * BESIDE;
        return before.top === top && before.height === element.clientHeight ? before : { top, height: element.clientHeight };
      });
    };
    const ask = () => { frame ||= requestAnimationFrame(look); };
    element.addEventListener('scroll', ask, { passive: true });
    const sizes = new ResizeObserver(ask);
    sizes.observe(element);
    look();
    return () => {
      element.removeEventListener('scroll', ask);
      sizes.disconnect();
      cancelAnimationFrame(frame);
    };
  }, [height]);

  const first = Math.max(0, Math.floor(view.top / height) - BESIDE);
  const last = Math.min(items.length, Math.ceil((view.top + view.height) / height) + BESIDE * 2);

  useEffect(() => {
    if (onEnd && last >= items.length - BESIDE * 4) onEnd();
  }, [last, items.length, onEnd]);

  useEffect(() => {
    if (cursor < 0) return;
    const element = body.current;
    element.focus({ preventScroll: true });
    const top = cursor * height;
    if (top < element.scrollTop) element.scrollTop = top;
    else if (top + height > element.scrollTop + element.clientHeight) element.scrollTop = top + height - element.clientHeight;
  }, [cursor, height]);

  return html`
    <div class="page" role="table" aria-label=${label} aria-rowcount=${total ?? items.length + 1}>
      <div role="rowgroup">${head}</div>
      <div class="grid-body" ref=${body} role="rowgroup" tabindex="0" aria-label=${`${label}, rows`}>
        <div style=${{ height: `${items.length * height + (foot ? 44 : 0)}px` }} role="presentation"></div>
        <div class="grid-window" style=${{ transform: `translateY(${first * height}px)` }} role="presentation">
          ${items.slice(first, last).map((item, index) => html`<${Row} key=${keyOf(item)} item=${item} index=${first + index} row=${row} />`)}
        </div>
        ${foot && html`<div class="grid-foot" style=${{ top: `${items.length * height}px` }}>${foot}</div>`}
      </div>
    </div>`;
}

// A row that is the same is not rendered again.
const Row = ({ item, index, row }) => useMemo(() => row(item, index), [item, index, row]);

const NARROW = window.matchMedia('(max-width: 760px)');

function useRowHeight() {
  const [narrow, setNarrow] = useState(NARROW.matches);
  useEffect(() => {
    const changed = () => setNarrow(NARROW.matches);
    NARROW.addEventListener('change', changed);
    return () => NARROW.removeEventListener('change', changed);
  }, []);
  return narrow ? 60 : 44;
}
