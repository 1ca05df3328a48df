import { createHash } from 'node:crypto';
import { boolean, custom, type Given, options, text } from '@posttrain/interfaces';
import { writeAtomically } from '@posttrain/interfaces/node';
import { html, raw } from './html.js';
import { LIVE_SCRIPT } from './live-script.js';
import { paragraphs, renderBlocks } from './render-blocks.js';
import type { Report, ReportBlock, ReportSection } from './section.js';
import { STYLE } from './style.js';

const reportOptions = options('writeReport', {
  title: text({}),
  subtitle: text({ optional: true }),
  sections: custom<readonly ReportSection[]>()('a list of sections', Array.isArray, {}),
});
const sectionOf = (title: unknown) =>
  options(`writeReport: section "${title}"`, {
    title: text({}),
    text: text({ optional: true }),
    blocks: custom<readonly ReportBlock[]>()('a list of blocks', Array.isArray, {}),
  });

/**
 * Writes a report as one HTML file: no script, nothing loaded from elsewhere, and a content security policy that forbids
 * both, so that nothing a model wrote can run. The file is replaced at once or not at all.
 *
 * @throws OptionError for a part of a report, of a section or of a plot that is unknown or no such part, FileError where it
 *   cannot be written
 */
export async function writeReport(file: string, report: Report): Promise<void> {
  const page = renderReport(report);
  await writeAtomically((files) => files.stage(file, (write) => write(new TextEncoder().encode(page))));
}

const renderOptions = options('renderReport', {
  /**
   * For a page that a server makes anew whenever it is asked: it asks for itself every two seconds, of its own address only, and takes over
   * what has changed. What is unfolded, scrolled to or in focus stays so. Its script is named by its hash, so that no other
   * can run. Default false: no script.
   */
  live: boolean({ default: false }),
});
/** Options of `renderReport`. */
export type RenderReportOptions = Given<typeof renderOptions>;

/** The HTML of a report. */
export function renderReport(report: Report, given: RenderReportOptions = {}): string {
  const { live } = renderOptions.read(given);
  const hash = live && createHash('sha256').update(LIVE_SCRIPT).digest('base64');
  reportOptions.read(report);
  for (const section of report.sections) sectionOf(section?.title).read(section);
  const page = html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; ${hash && html`script-src 'sha256-${raw(hash)}'; connect-src 'self'; `}img-src data:; base-uri 'none'; form-action 'none'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<link rel="icon" href="data:,">
<title>${report.title}</title>
<style>${raw(STYLE)}</style>
</head>
<body>
<header><h1>${report.title}</h1>
${report.subtitle && html`<p class="subtitle">${report.subtitle}</p>`}
${report.sections.length > 1 && html`<nav aria-label="Sections"><ul>${report.sections.map(({ title }, i) => html`<li><a href="#section-${i + 1}">${title}</a></li>`)}</ul></nav>`}
</header>
<main>
${report.sections.map(
  (
    { title, text, blocks },
    i,
  ) => html`<section id="section-${i + 1}" aria-labelledby="title-${i + 1}"><h2 id="title-${i + 1}">${title}</h2>
${text && html`<div class="intro">${paragraphs(text)}</div>`}
${renderBlocks(blocks)}
</section>
`,
)}</main>
<footer>± is one standard error. Made with @posttrain/eval.</footer>
${live && html`<p id="live" role="status">Live: what is new is shown by itself.</p><script>${raw(LIVE_SCRIPT)}</script>`}</body>
</html>
`;
  return page.text;
}
