import { options, text } from '@posttrain/interfaces';
import { foldersOf, runShape } from '../page/run-options.js';
import { writeRunPage } from '../page/write-run-page.js';
import type { DeclaredCommand } from './declared-command.js';

const shape = {
  ...runShape,
  /** The file that is written. Default: run.html in the folder of the run. */
  output: text({ optional: true }),
};

export const pageCommand: DeclaredCommand<typeof shape> = {
  name: 'page',
  usage: 'RUN [options]',
  about: 'Writes the page of a training as one file: settings, curves, samples, and a comparison with other runs.',
  declared: options('page', shape),
  positionals: ['run'],
  async run({ run, with: compared, output }, { print }) {
    const file = await writeRunPage(run, {
      others: foldersOf(compared),
      ...(output !== undefined && { file: output }),
    });
    print(`${file}\n`);
    return 0;
  },
};
