// `npm run new -- KIND NAME`: lays out a method of a kind, here or as a package of its own. `--help` lists the kinds.
import { relative, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { isPosttrainError } from '../../packages/interfaces/src/index.js';
import { root } from '../workspace.js';
import { KINDS } from './kinds.js';
import { layOut } from './lay-out.js';
import { writeChanges } from './write-changes.js';

const HELP = `Usage: npm run new -- KIND NAME [options]

Lays out a method that works and passes the kit of its kind: its file, an export, a test, a golden's script, a changeset.
NAME is written as its file is: median-advantage.

  --package FOLDER  as a package of its own in that folder, which needs nothing of this repository
  --row ID          the row of docs/coverage.json that it is, such as D16
  --dry-run         says what would be written, and writes nothing
  --help            this

Kinds:
${Object.entries(KINDS)
  .map(([name, { summary }]) => `  ${name.padEnd(16)}  ${summary}`)
  .join('\n')}
`;

try {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      package: { type: 'string' },
      row: { type: 'string' },
      'dry-run': { type: 'boolean' },
      help: { type: 'boolean' },
    },
  });
  const [kind, name, ...more] = positionals;
  if (values.help || kind === undefined) console.log(HELP);
  else if (name === undefined || more.length > 0)
    fail('give a kind and a name: npm run new -- advantage median-advantage');
  else if (values.package !== undefined && values.row !== undefined)
    fail('--row is of this repository, not of --package');
  else {
    const target =
      values.package !== undefined
        ? { package: resolve(process.env.INIT_CWD ?? '', values.package), versions: root }
        : { repository: root, ...(values.row !== undefined && { row: values.row }) };
    const { changes, next } = layOut(kind, name, target);
    if (!values['dry-run']) writeChanges(changes);
    for (const { path, before } of changes) {
      const what = before === undefined ? 'new' : 'changed';
      console.log(`${values['dry-run'] ? `would be ${what}` : what}: ${relative(process.cwd(), path)}`);
    }
    console.log(`\nNext:\n${next.map((line) => `- ${line}`).join('\n')}`);
  }
} catch (error) {
  const isKnown = isPosttrainError(error) || (error as { code?: string }).code?.startsWith('ERR_PARSE_ARGS');
  if (!isKnown) throw error;
  fail((error as Error).message);
}

function fail(message: string): void {
  console.error(`npm run new: ${message}`);
  process.exitCode = 1;
}
