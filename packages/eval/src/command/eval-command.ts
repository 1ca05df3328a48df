import { spawn } from 'node:child_process';
import { resolve } from 'node:path';
import { isPosttrainError } from '@posttrain/interfaces';
import { formatNumber } from '../format.js';
import { writeViewer } from '../report/viewer/write-viewer.js';
import { metricsTable, type TableRow } from '../table.js';
import { createProgress } from '../terminal/progress.js';
import { renderTable } from '../terminal/table.js';
import { ArgumentsError, helpOf, readArguments, type Typed } from './arguments.js';
import { COMMANDS, type CommandName } from './commands.js';
import { type Difference, differences, hasFallen, oneRun, twoRuns } from './differences.js';
import { runTasks } from './run.js';

type Print = (text: string) => void;

/** What a command does beside printing. */
export interface CommandContext {
  readonly print: Print;
  readonly complain: Print;
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** Of relative files of `run`. Default: the folder of the process. */
  readonly folder?: string;
}

const HELP = `Usage: posttrain-eval COMMAND [options]

${Object.values(COMMANDS)
  .map(({ usage, about }) => `  ${usage}\n      ${about.split('\n')[0]}`)
  .join('\n')}

posttrain-eval COMMAND --help says more.
`;

/**
 * `posttrain-eval …`. Gives the exit code: 0, 1 where the work failed or a gate is shut, 2 where the arguments make no sense; what is wrong is said to `complain`.
 */
export async function evalCommand(given: readonly string[], context: CommandContext): Promise<number> {
  const { print, complain } = context;
  const [name, ...rest] = given;
  try {
    if (name === undefined || name === '--help' || name === 'help') {
      print(HELP);
      return 0;
    }
    if (!Object.hasOwn(COMMANDS, name))
      throw new ArgumentsError(`there is no command "${name}"; there is ${Object.keys(COMMANDS).join(', ')}.`);
    const command = COMMANDS[name as CommandName];
    const typed = readArguments(command, rest);
    if (typed.has('help')) {
      print(helpOf(command));
      return 0;
    }
    return await DO[name as CommandName](typed, context);
  } catch (error) {
    if (!isPosttrainError(error)) throw error;
    complain(`${name}: ${error.message}\n`);
    return error instanceof ArgumentsError ? 2 : 1;
  }
}

const DO: Readonly<Record<CommandName, (typed: Typed, context: CommandContext) => Promise<number>>> = {
  async run(typed, { print, environment, folder }) {
    const { onProgress, finish } = createProgress();
    const { results, groups } = await runTasks(typed, {
      environment,
      onProgress,
      ...(folder !== undefined && { folder }),
    });
    finish();
    const { rows, columns } = metricsTable(results);
    print(`${renderTable(rows, { columns })}\n`);
    for (const { group, metrics } of groups)
      for (const { metric, filter, value, standardError } of metrics) {
        const error = standardError === null ? '' : ` ± ${formatNumber(standardError)}`;
        print(`${group}: ${metric} (${filter}) ${formatNumber(value)}${error}\n`);
      }
    for (const { config, warnings } of results) for (const warning of warnings) print(`${config.task}: ${warning}\n`);
    return 0;
  },
  async compare(typed, { print }) {
    const runs = await twoRuns(typed, 'compare');
    print(`${renderTable(differences(runs, typed).map(rowOf))}\n`);
    return 0;
  },
  async view(typed, { print }) {
    if (typed.positionals.length === 0) throw new ArgumentsError('view takes one log or more.');
    const runs = await Promise.all(typed.positionals.map((file) => oneRun(file, typed)));
    const output = typed.text('output') ?? 'report.html';
    const models = runs.map(({ config }) => config.model);
    // Runs of one model are told apart by their files.
    const names = models.map((model, i) =>
      models.indexOf(model) === models.lastIndexOf(model) ? model : `${model} (${typed.positionals[i]})`,
    );
    await writeViewer(output, runs, { names });
    print(`${output}\n`);
    if (typed.has('open')) openInBrowser(resolve(output));
    return 0;
  },
  async gate(typed, { print, complain }) {
    const tolerance = typed.amount('tolerance') ?? 0;
    const lower = typed.texts('lower-is-better');
    const found = differences(await twoRuns(typed, 'gate'), typed, { all: true });
    const unknown = lower.find((name) => !found.some(({ metric }) => metric === name));
    if (unknown !== undefined) throw new ArgumentsError(`--lower-is-better ${unknown}: that metric is not compared.`);
    const fallen = found.filter((one) => hasFallen(one, lower.includes(one.metric), tolerance));
    const incomplete = typed.has('allow-missing') ? [] : found.filter(({ missing }) => missing.length > 0);
    const stateOf = (one: Difference) =>
      [...(fallen.includes(one) ? ['worse'] : []), ...(incomplete.includes(one) ? ['incomplete'] : [])].join(', ');
    print(`${renderTable(found.map((one) => ({ ...rowOf(one), gate: stateOf(one) || 'passes' })))}\n`);
    if (fallen.length > 0) {
      complain(
        `gate: ${fallen.map(({ label }) => label).join(', ')} ${fallen.length === 1 ? 'is' : 'are'} worse by more than the interval.\n`,
      );
    }
    for (const { label, missing } of incomplete) {
      complain(
        `gate: ${label} has no value in the second run for ${listed(missing)}; --allow-missing leaves them out.\n`,
      );
    }
    return fallen.length + incomplete.length > 0 ? 1 : 0;
  },
};

/** Problems by their ids, the first few of many. */
const listed = (ids: readonly string[]): string =>
  `${ids.length} ${ids.length === 1 ? 'problem' : 'problems'} of the first: ${ids.slice(0, 5).join(', ')}${ids.length > 5 ? ', …' : ''}`;

function rowOf({ label, first, second, difference, interval, pValue, mcnemar, pairs, warning }: Difference): TableRow {
  return {
    metric: label,
    first,
    second,
    difference: formatNumber(difference),
    '95 % interval': interval === null ? 'not known' : `${formatNumber(interval[0])} to ${formatNumber(interval[1])}`,
    p: pValue === null ? '–' : formatNumber(pValue),
    ...(mcnemar && { 'p (McNemar)': formatNumber(mcnemar.pValue) }),
    pairs,
    ...(warning !== undefined && { note: warning }),
  };
}

function openInBrowser(file: string): void {
  const [program, ...before] =
    process.platform === 'darwin' ? ['open'] : process.platform === 'win32' ? ['cmd', '/c', 'start', ''] : ['xdg-open'];
  // Where there is no browser the page is there all the same.
  spawn(program!, [...before, file], { stdio: 'ignore', detached: true })
    .on('error', () => {})
    .unref();
}
