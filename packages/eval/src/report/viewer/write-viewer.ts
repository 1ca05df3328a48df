import { createHash } from 'node:crypto';
import { deflateRawSync } from 'node:zlib';
import { assertArgument, custom, type Given, listOf, options, text } from '@posttrain/interfaces';
import { writeAtomically } from '@posttrain/interfaces/node';
import { EvaluationError } from '../../errors.js';
import type { EvalResult, GenerateProblem } from '../../log/format.js';
import { evaluationBlocks } from '../builders.js';
import { html, raw } from '../html.js';
import { renderBlocks } from '../render-blocks.js';
import type { ReportBlock } from '../section.js';
import { STYLE } from '../style.js';
import { VIEWER_SCRIPT, VIEWER_STYLE } from './viewer-script.js';

const viewerOptions = options('writeViewer', {
  /** Default: the task's name. */
  title: text({ optional: true }),
  /** Names of the runs. Default: their models' names. */
  names: listOf(text({}), { optional: true }),
  /** What stands above the problems, beside metrics and plots of the runs: a comparison, say. Default: nothing. */
  blocks: custom<readonly ReportBlock[]>()('a list of blocks of a report', Array.isArray, { default: [] }),
});
/** Options of `writeViewer`. */
export type ViewerOptions = Given<typeof viewerOptions>;

/** Problems in one piece of the page, which is unpacked when one of them is looked at. */
const PER_BLOCK = 200;
const PREVIEW = 160;

/**
 * Writes runs of one task as one HTML page to look through: metrics and plots, and every problem with what each run made of it, in a list with search, filters (right,
 * wrong, different between the runs, cut off) and sorting, by mouse, keyboard (arrows, j and k, `/`, Enter, Escape) or on a phone. Nothing is loaded from elsewhere; the one script is
 * this package's, named by its hash in the page's content security policy, so that nothing a model wrote can run. Only the rows in sight are elements, and only the problems that
 * are looked at are unpacked (`benchmarks/viewer.ts`: 100,000 problems).
 *
 * @throws OptionError; EvaluationError `NO_RECORDS` for no runs, `UNPAIRED` for runs of different tasks, `DUPLICATE_ID`; FileError
 */
export async function writeViewer(
  file: string,
  results: readonly EvalResult[],
  given: ViewerOptions = {},
): Promise<void> {
  const encoder = new TextEncoder();
  const parts = [...viewerParts(results, given)];
  await writeAtomically((files) =>
    files.stage(file, async (write) => {
      for (const part of parts) await write(encoder.encode(part));
    }),
  );
}

/** The page in pieces: it may be longer than a text can be. */
function* viewerParts(results: readonly EvalResult[], given: ViewerOptions): Generator<string> {
  assertArgument('writeViewer', 'results', results, Array.isArray(results), 'a list of results');
  const [first] = results;
  if (!first) throw new EvaluationError('NO_RECORDS', 'writeViewer: there are no runs to show.');
  const {
    title = first.config.task,
    names = results.map(({ config }) => config.model),
    blocks,
  } = viewerOptions.read(given);
  const other = results.find(({ config }) => config.task !== first.config.task);
  if (other)
    throw new EvaluationError(
      'UNPAIRED',
      `writeViewer: runs of "${first.config.task}" and "${other.config.task}"; give runs of one task, and write a page for each.`,
    );
  const { ids, index } = indexOf(results, names);
  const hash = createHash('sha256').update(VIEWER_SCRIPT).digest('base64');
  const head = html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-${raw(hash)}'; img-src data:; base-uri 'none'; form-action 'none'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<link rel="icon" href="data:,">
<title>${title}</title>
<style>${raw(STYLE)}${raw(VIEWER_STYLE)}</style>
</head>
<body>
<header><h1>${title}</h1>
<p class="subtitle">${names.join(', ')}: ${ids.length.toLocaleString('en')} problems</p>
</header>
<main>
<section aria-label="Metrics">${renderBlocks([...evaluationBlocks(results, { names }), ...blocks])}</section>
<section aria-labelledby="problems"><h2 id="problems">Problems</h2>
<div class="tools">
<label>Search ids and prompts <input id="find" type="search" autocomplete="off" spellcheck="false"></label>
<label>Metric <select id="metric"></select></label>
<label>Show <select id="show"><option value="all">all</option><option value="right">right</option><option value="wrong">wrong</option><option value="partly">partly right</option><option value="none">without a value</option><option value="differs">different between runs</option><option value="cut">cut off</option></select></label>
<label>Sort by <select id="sort"><option value="order">order</option><option value="worst">lowest value</option><option value="tokens">most tokens</option></select></label>
</div>
<p id="count" role="status"></p>
<div class="panes">
<div id="list" tabindex="0" role="listbox" aria-label="Problems"><div id="rows" role="presentation"></div></div>
<div id="details" tabindex="0" role="region" aria-label="The chosen problem"></div>
</div>
<p class="keys"><kbd>↑</kbd> <kbd>↓</kbd> or <kbd>k</kbd> <kbd>j</kbd> choose, <kbd>Enter</kbd> goes to the problem, <kbd>Esc</kbd> back, <kbd>/</kbd> searches.</p>
</section>
</main>
<footer>± is one standard error. Made with @posttrain/eval.</footer>
`;
  yield head.text;
  yield `<script type="application/json" id="index">${inScript(index)}</script>\n`;
  for (const [run, { problems }] of results.entries()) {
    for (let start = 0; start < problems.length; start += PER_BLOCK) {
      const block = problems.slice(start, start + PER_BLOCK);
      const packed = deflateRawSync(JSON.stringify(block), { level: 3 }).toString('base64');
      yield `<script type="text/plain" id="block-${run}-${start / PER_BLOCK}">${packed}</script>\n`;
    }
  }
  yield `<script>${VIEWER_SCRIPT}</script>\n</body>\n</html>\n`;
}

/** JSON that cannot end the element it is in. */
const inScript = (value: unknown): string => JSON.stringify(value).replaceAll('<', '\\u003c');

/** What the list needs of every problem. */
function indexOf(results: readonly EvalResult[], names: readonly string[]) {
  const places = results.map(({ problems, config }) => {
    const of = new Map(problems.map(({ id }, i) => [id, i]));
    if (of.size === problems.length) return of;
    throw new EvaluationError('DUPLICATE_ID', `writeViewer: the run of ${config.model} has two problems of one id.`);
  });
  const ids = [...new Set(results.flatMap(({ problems }) => problems.map(({ id }) => id)))];
  const previews = ids.map((id) => {
    const run = places.findIndex((of) => of.has(id));
    const { prompt } = results[run]!.problems[places[run]!.get(id)!]!;
    const said: unknown = typeof prompt === 'string' ? prompt : prompt.at(-1)?.content;
    const text = typeof said === 'string' ? said : '';
    return text
      .slice(0, 4 * PREVIEW)
      .replaceAll(/\s+/g, ' ')
      .trim()
      .slice(0, PREVIEW);
  });
  const keyOf = ({ metric, grader }: { metric: string; grader?: string }): string =>
    grader ? `${metric} (${grader})` : metric;
  const keys = [...new Set(results.flatMap(({ metrics }) => metrics.map(keyOf)))];
  const perRun = <T>(run: number, value: (place: number) => T, absent: T): T[] =>
    ids.map((id) => {
      const place = places[run]!.get(id);
      return place === undefined ? absent : value(place);
    });
  // An arena has completions by player.
  const completionsOf = (run: number, place: number) => {
    const { completions } = results[run]!.problems[place] as Partial<GenerateProblem>;
    return Array.isArray(completions) ? (completions as GenerateProblem['completions']) : [];
  };
  return {
    ids,
    index: {
      perBlock: PER_BLOCK,
      ids,
      previews,
      runs: results.map((_, run) => ({
        name: names[run] ?? '',
        places: perRun(run, (place) => place, -1),
        tokens: perRun(
          run,
          (place) => completionsOf(run, place).reduce((sum, { usage }) => sum + usage.completionTokens, 0),
          0,
        ),
        cut: perRun(
          run,
          (place) => Number(completionsOf(run, place).some(({ finishReason }) => finishReason === 'length')),
          0,
        ),
      })),
      metrics: keys.map((name) => ({
        name,
        values: results.map(({ metrics }, run) => {
          const found = metrics.find((metric) => keyOf(metric) === name);
          return found ? perRun(run, (place) => found.values[place] ?? null, null) : null;
        }),
      })),
    },
  };
}
