import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { SitePage } from './pages.js';

/** The first page: what the README begins with, and where to go. */
export function homePage(root: string): SitePage {
  const [, introduction] = readFileSync(join(root, 'README.md'), 'utf8').split(/\n\s*\n/);
  const links = [
    ['Start', '/start', 'the two commands, and a fine-tuned adapter in ten lines'],
    ['Command line', '/cli', '`npx posttrain sft MODEL ROWS OUTPUT`'],
    ['Methods', '/methods/', 'a page for each method of the survey'],
    ['Recipes', '/examples/', 'each runs by one command, with a control and a committed study'],
    ['From TRL, PEFT, verl, lm-eval, datatrove', '/nouns', 'what you know, and its name here'],
    ['Benchmarks', '/benchmarks/RESULTS', 'beside PyTorch, TRL, PEFT and datatrove, with the processor’s name'],
  ];
  const list = links.map(([text, link, what]) => `- [${text}](${link}): ${what}`).join('\n');
  return { path: 'index.md', title: 'posttrain', text: `# posttrain\n\n${introduction}\n\n${list}\n` };
}
