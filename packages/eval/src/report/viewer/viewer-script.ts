/**
 * What runs in a page of `writeViewer`. Everything shown is put in as text, never as HTML; only rows in sight are elements, so that a list of any length opens at once.
 */
export const VIEWER_SCRIPT = `'use strict';
(() => {
  const byId = (id) => document.getElementById(id);
  const data = JSON.parse(byId('index').textContent);
  const list = byId('list'), rows = byId('rows'), details = byId('details'), count = byId('count');
  const controls = { find: byId('find'), metric: byId('metric'), show: byId('show'), sort: byId('sort') };
  const HEIGHT = 44, total = data.ids.length;
  const blocks = new Map();
  let shown = [], selected = -1;

  const make = (tag, text, name) => {
    const element = document.createElement(tag);
    if (text !== undefined) element.textContent = text;
    if (name) element.className = name;
    return element;
  };
  const recordOf = async (run, i) => {
    const at = data.runs[run].places[i];
    if (at < 0) return undefined;
    const key = run + '-' + Math.floor(at / data.perBlock);
    if (!blocks.has(key)) {
      if (blocks.size > 40) blocks.clear();
      blocks.set(key, unpacked(byId('block-' + key).textContent));
    }
    return (await blocks.get(key))[at % data.perBlock];
  };
  const unpacked = (text) => {
    const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
    return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream('deflate-raw'))).json();
  };
  const metric = () => data.metrics[controls.metric.value];
  const values = (i) => metric() ? metric().values.map((of) => of === null ? null : of[i]) : [];
  const SHOWN = {
    all: () => true,
    right: (v) => v.some((x) => x !== null && x >= 1),
    wrong: (v) => v.some((x) => x !== null && x <= 0),
    partly: (v) => v.some((x) => x !== null && x > 0 && x < 1),
    none: (v) => v.some((x) => x === null),
    differs: (v) => v.some((x) => x !== v[0]),
    cut: (_, i) => data.runs.some((run) => run.cut[i] === 1),
  };
  const mean = (v) => { const known = v.filter((x) => x !== null); return known.length ? known.reduce((a, b) => a + b, 0) / known.length : 2; };
  const tokens = (i) => data.runs.reduce((sum, run) => sum + (run.tokens[i] ?? 0), 0);

  function filter() {
    const words = controls.find.value.toLowerCase().split(/\\s+/).filter(Boolean);
    const keep = SHOWN[controls.show.value];
    shown = [];
    for (let i = 0; i < total; i++) {
      if (words.length) {
        const text = (data.ids[i] + ' ' + data.previews[i]).toLowerCase();
        if (!words.every((word) => text.includes(word))) continue;
      }
      if (controls.show.value === 'all' || keep(values(i), i)) shown.push(i);
    }
    const sort = controls.sort.value;
    if (sort !== 'order') {
      const keys = new Map(shown.map((i) => [i, sort === 'worst' ? mean(values(i)) : -tokens(i)]));
      shown.sort((a, b) => keys.get(a) - keys.get(b) || a - b);
    }
    count.textContent = shown.length.toLocaleString('en') + ' of ' + total.toLocaleString('en') + ' problems';
    rows.style.height = shown.length * HEIGHT + 'px';
    selected = -1;
    list.scrollTop = 0;
    details.replaceChildren(make('p', shown.length ? 'Choose a problem: click, or use the arrow keys.' : 'No problem is like that.', 'empty'));
    draw();
  }

  function draw() {
    const first = Math.max(0, Math.floor(list.scrollTop / HEIGHT) - 5);
    const last = Math.min(shown.length, Math.ceil((list.scrollTop + list.clientHeight) / HEIGHT) + 5);
    const parts = [];
    for (let at = first; at < last; at++) {
      const i = shown[at];
      const row = make('div', undefined, 'row');
      row.id = 'row-' + at;
      row.setAttribute('role', 'option');
      row.setAttribute('aria-selected', String(at === selected));
      row.setAttribute('aria-posinset', String(at + 1));
      row.setAttribute('aria-setsize', String(shown.length));
      row.style.top = at * HEIGHT + 'px';
      row.dataset.at = String(at);
      row.append(make('span', data.ids[i], 'id'), make('span', data.previews[i], 'preview'));
      for (const value of values(i)) row.append(badge(value));
      parts.push(row);
    }
    rows.replaceChildren(...parts);
    if (selected >= 0) list.setAttribute('aria-activedescendant', 'row-' + selected);
    else list.removeAttribute('aria-activedescendant');
  }

  function badge(value) {
    const text = value === null ? '–' : Number.isInteger(value) ? String(value) : value.toFixed(2);
    return make('span', text, 'badge' + (value === null ? '' : value >= 1 ? ' right' : value <= 0 ? ' wrong' : ''));
  }

  async function choose(at, open) {
    if (shown.length === 0) return;
    selected = Math.max(0, Math.min(shown.length - 1, at));
    const top = selected * HEIGHT;
    if (top < list.scrollTop) list.scrollTop = top;
    else if (top + HEIGHT > list.scrollTop + list.clientHeight) list.scrollTop = top + HEIGHT - list.clientHeight;
    draw();
    const chosen = selected;
    const parts = await partsOf(shown[selected]);
    // Another one may have been chosen while this was unpacked.
    if (chosen !== selected) return;
    details.replaceChildren(...parts);
    details.scrollTop = 0;
    if (open) details.focus();
  }

  const turn = (title, text, badges) => {
    const part = make('div', undefined, 'turn');
    const head = make('h4', title);
    for (const one of badges || []) head.append(' ', one);
    part.append(head, make('pre', text));
    return part;
  };
  const promptText = (prompt) => typeof prompt === 'string' ? prompt : prompt.map(({ role, content }) => role + ': ' + content).join('\\n\\n');

  async function partsOf(i) {
    const parts = [make('h3', 'Problem ' + data.ids[i])];
    let asked = '';
    for (const [r, run] of data.runs.entries()) {
      const record = await recordOf(r, i);
      if (!record) { parts.push(make('p', run.name + ' was not asked this.', 'empty')); continue; }
      const prompt = promptText(record.prompt);
      if (prompt !== asked) parts.push(turn('Prompt', prompt));
      asked = prompt;
      if (r === 0) parts.push(turn('Row', JSON.stringify(record.row, null, 2)));
      const { completions, choices, id, prompt: _, row: __, type: ___, requestHash: ____, ...rest } = record;
      if (Array.isArray(completions)) completions.forEach((completion, c) => {
        const badges = Object.entries(completion.grades).map(([grader, grade]) => { const one = badge(grade.score); one.title = grader; return one; });
        if (completion.finishReason === 'length') badges.push(make('span', 'cut off', 'badge wrong'));
        const said = Object.entries(completion.grades).map(([grader, grade]) => grader + ': ' + (grade.answer === undefined ? '' : 'answer ' + JSON.stringify(grade.answer)) + (grade.explanation ? ' ' + grade.explanation : '')).filter((text) => !text.endsWith(': ')).join('\\n');
        parts.push(turn(run.name + (completions.length > 1 ? ', sample ' + (c + 1) + ' of ' + completions.length : '') + ', ' + completion.usage.completionTokens + ' tokens', completion.text, badges));
        if (said) parts.push(turn('Grades', said));
      });
      else if (choices) parts.push(turn(run.name, choices.map((choice, c) => (c === record.gold ? '* ' : '  ') + choice.logProb.toFixed(3) + '  ' + choice.text).join('\\n')));
      else parts.push(turn(run.name, JSON.stringify({ completions, ...rest }, null, 2)));
    }
    return parts;
  }

  data.metrics.forEach(({ name }, m) => { const option = make('option', name); option.value = String(m); controls.metric.append(option); });
  for (const control of Object.values(controls)) control.addEventListener('input', filter);
  list.addEventListener('scroll', () => requestAnimationFrame(draw), { passive: true });
  list.addEventListener('click', (event) => {
    const row = event.target.closest('.row');
    if (row) { list.focus(); choose(Number(row.dataset.at)); }
  });
  const page = () => Math.max(1, Math.floor(list.clientHeight / HEIGHT) - 1);
  const MOVES = { ArrowDown: () => selected + 1, j: () => selected + 1, ArrowUp: () => selected - 1, k: () => selected - 1, PageDown: () => selected + page(), PageUp: () => selected - page(), Home: () => 0, End: () => shown.length - 1 };
  document.addEventListener('keydown', (event) => {
    const inField = /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName);
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === 'Escape') { list.focus(); return; }
    if (inField) return;
    if (event.key === '/') { event.preventDefault(); controls.find.focus(); controls.find.select(); return; }
    if (document.activeElement === details && !['j', 'k'].includes(event.key)) return;
    if (event.key === 'Enter' && selected >= 0) { choose(selected, true); return; }
    const move = MOVES[event.key];
    if (!move) return;
    event.preventDefault();
    list.focus();
    choose(move());
  });
  addEventListener('resize', draw);
  filter();
  document.documentElement.dataset.ready = 'true';
})();
`;

/** Its look, beside that of reports. */
export const VIEWER_STYLE = `
.tools { display: flex; flex-wrap: wrap; gap: 8px; margin: 16px 0 12px; align-items: end; }
.tools label { display: flex; flex-direction: column; gap: 3px; color: var(--soft); font-size: .82rem; min-width: 0; }
.tools label:first-child { flex: 1 1 220px; }
.tools input, .tools select { font: inherit; font-size: .93rem; padding: 7px 10px; border: 1px solid var(--rule); border-radius: 8px; background: var(--card); color: var(--ink); max-width: 100%; min-width: 0; }
#count { margin: 0 0 10px; color: var(--soft); font-size: .88rem; }
.panes { display: grid; grid-template-columns: minmax(0, 5fr) minmax(0, 6fr); gap: 16px; }
#list, #details { height: min(72vh, 900px); overflow: auto; background: var(--card); border: 1px solid var(--rule); border-radius: 12px; }
#details { padding: 16px 18px; }
#rows { position: relative; }
.row { position: absolute; left: 0; right: 0; height: 44px; display: flex; align-items: center; gap: 10px; padding: 0 14px; border-bottom: 1px solid var(--grid); font-size: .88rem; cursor: default; }
.row:hover { background: color-mix(in srgb, var(--accent) 6%, var(--card)); }
.row[aria-selected="true"] { background: color-mix(in srgb, var(--accent) 14%, var(--card)); }
.row .id { flex: none; max-width: 9em; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; font-weight: 550; }
.row .preview { flex: 1; min-width: 0; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; color: var(--soft); unicode-bidi: isolate; }
.keys { color: var(--faint); font-size: .85rem; margin-top: 12px; }
kbd { font: .82rem var(--mono); padding: 1px 5px; border: 1px solid var(--rule); border-radius: 4px; background: var(--card); }
@media (max-width: 760px) {
  .panes { grid-template-columns: minmax(0, 1fr); }
  #list { height: 44vh; }
  #details { height: auto; max-height: none; overflow: visible; }
  .row { padding: 0 10px; }
  .keys { display: none; }
}
`;
