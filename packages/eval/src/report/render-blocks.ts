import type { Prompt } from '@posttrain/interfaces';
import { formatMeasured, formatNumber } from '../format.js';
import { type Html, html } from './html.js';
import type { Plot } from './plots.js';
import { renderPlot } from './render-plot.js';
import { renderHtmlTable } from './render-table.js';
import type { ExamplesBlock, FiguresBlock, ReportBlock, TextBlock } from './section.js';

/** The blocks of a section; neighbouring plots are put side by side. */
export function renderBlocks(blocks: readonly ReportBlock[]): Html[] {
  const rendered: Html[] = [];
  for (let i = 0; i < blocks.length; i++) {
    const block = blocks[i]!;
    if (!isPlot(block)) {
      rendered.push(renderBlock(block));
      continue;
    }
    const row: Html[] = [];
    for (; i < blocks.length && isPlot(blocks[i]!); i++) row.push(renderPlot(blocks[i] as Plot));
    i--;
    rendered.push(html`<div class="plots">${row}</div>`);
  }
  return rendered;
}

export function paragraphs(text: string): Html[] {
  return text.split(/\n\s*\n/).map((paragraph) => html`<p>${paragraph.trim()}</p>`);
}

function isPlot(block: ReportBlock): block is Plot {
  return block.type === 'line' || block.type === 'scatter' || block.type === 'bar';
}

function renderBlock(block: Exclude<ReportBlock, Plot>): Html {
  switch (block.type) {
    case 'text':
      return renderText(block);
    case 'figures':
      return renderFigures(block);
    case 'table':
      return renderHtmlTable(block.rows, block.columns, block.caption);
    case 'examples':
      return html`<div class="examples">${block.examples.map(renderExample)}</div>`;
  }
}

function renderText({ text, tone }: TextBlock): Html {
  if (tone === 'warning')
    return html`<div class="warning" role="note"><strong>Note</strong><div>${paragraphs(text)}</div></div>`;
  return html`<div class="prose">${paragraphs(text)}</div>`;
}

function renderFigures({ figures }: FiguresBlock): Html {
  return html`<dl class="figures">${figures.map(({ label, value, format = 'number', note }) => {
    const { value: main, error } =
      typeof value === 'string'
        ? { value, error: '' }
        : formatMeasured(typeof value === 'number' ? { value } : value, format);
    return html`<div><dt>${label}</dt><dd><b>${main}</b>${error && html` <span class="error">${error}</span>`}</dd>${note && html`<dd class="note">${note}</dd>`}</div>`;
  })}</dl>`;
}

function renderExample(example: ExamplesBlock['examples'][number]): Html {
  return html`<article class="example"><h3>${example.title}</h3>
${renderPrompt(example.prompt)}
${example.target !== undefined && html`<div class="turn target"><h4>Target</h4><pre>${example.target}</pre></div>`}
${example.completions.map(({ text, score, label }) => html`<div class="turn completion"><h4>${label ?? 'Completion'} ${badge(score)}</h4><pre>${text === '' ? html`<i>(empty)</i>` : text}</pre></div>`)}
</article>`;
}

function renderPrompt(prompt: Prompt): Html[] {
  const turns = typeof prompt === 'string' ? [{ role: 'prompt', content: prompt }] : prompt;
  return turns.map(({ role, content }) => html`<div class="turn"><h4>${role}</h4><pre>${content}</pre></div>`);
}

function badge(score: number | null | undefined): Html | null {
  if (score === undefined) return null;
  if (score === null) return html`<span class="badge">not scorable</span>`;
  if (score === 1) return html`<span class="badge right">✓ right</span>`;
  if (score === 0) return html`<span class="badge wrong">✗ wrong</span>`;
  return html`<span class="badge">score ${formatNumber(score)}</span>`;
}
