import { integer, options } from '@posttrain/interfaces';
import { EXIT } from '../command.js';
import { CommandLineError } from '../options/command-line-error.js';
import { readRun } from '../page/read-run.js';
import { foldersOf, runShape } from '../page/run-options.js';
import { serveRunPage } from '../page/serve-run-page.js';
import { interruptible } from '../training/interruptible.js';
import type { DeclaredCommand } from './declared-command.js';

const shape = {
  ...runShape,
  /** Where the page is, on this machine only; 0 takes any port that is free. */
  port: integer({ default: 0, min: 0, max: 65_535 }),
};

export const watchCommand: DeclaredCommand<typeof shape> = {
  name: 'watch',
  usage: 'RUN [options]',
  about: 'Shows the page of a training while it goes, in a browser on this machine. Ctrl-C ends it.',
  declared: options('watch', shape),
  positionals: ['run'],
  async run({ run, with: compared, port }, { print }) {
    const folders = foldersOf(compared);
    // What is not there is said here, and not in the browser.
    await Promise.all([run, ...folders].map(readRun));
    if (folders.includes(run)) throw new CommandLineError(`--with ${run}: is the run itself.`);
    const { address, close } = await serveRunPage(run, folders, port);
    print(`${address}\n`);
    const { signal, release } = interruptible(() => {});
    await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
    release();
    await close();
    return EXIT.interrupted;
  },
};
