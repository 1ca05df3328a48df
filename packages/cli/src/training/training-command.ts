import { join } from 'node:path';
import { createProgress } from '@posttrain/eval';
import { type OnProgress, options, type ProgressEvent } from '@posttrain/interfaces';
import { type StepMetrics, saveTrained, type Tracker, type TrainableAdapter } from '@posttrain/training';
import { type CommandContext, EXIT } from '../command.js';
import { asCommandLineError, commandLine, merged } from '../options/command-line.js';
import { CommandLineError } from '../options/command-line-error.js';
import { readConfigFile } from '../options/config-file.js';
import { DESCRIPTIONS } from '../options/descriptions.js';
import { type HelpSection, optionsHelp } from '../options/help.js';
import { kebabCase } from '../options/names.js';
import type { RunSample } from '../page/run-record.js';
import { RunRecorder } from '../page/run-recorder.js';
import { samplesOf } from '../page/samples.js';
import { serveRunPage } from '../page/serve-run-page.js';
import { isTrl, ownOptions } from '../trl/recognize.js';
import { trlOptions } from '../trl/trl-options.js';
import { dryRun } from './dry-run.js';
import { interruptible } from './interruptible.js';
import type { Trained, TrainerOptionsRecord, TrainingKind } from './kind.js';
import { loadModel, loadRows } from './load.js';
import { commandOptions, commandShape, programOnly, SAMPLES } from './made-options.js';
import { commonMakers, type MakeContext } from './makers.js';

const POSITIONALS = ['model', 'rows', 'outputFolder'] as const;

/**
 * Runs a command that trains. Gives the exit code.
 *
 * @param kindNamed the training of a command's name, where a file of TRL's is for another than was typed
 */
export async function trainingCommand(
  typed: TrainingKind,
  given: readonly string[],
  context: CommandContext,
  kindNamed: (name: string) => TrainingKind,
): Promise<number> {
  if (given.includes('--help')) {
    context.print(trainingHelp(typed));
    return 0;
  }
  const { asked, kind } = await readAsked(typed, given, context, kindNamed);
  const command = options(kind.name, commandOptions(kind.declared.shape, kind.made));
  try {
    command.read(asked as never);
  } catch (error) {
    throw asCommandLineError(error);
  }
  const settings = await prepare(kind, asked);
  if (asked.dryRun === true) {
    await dryRun(kind, settings, problemsOf(settings, asked), context);
    return 0;
  }
  return train(kind, settings, asked, context);
}

/** What was typed over what the file says. @throws CommandLineError */
async function readAsked(
  kind: TrainingKind,
  args: readonly string[],
  { complain }: CommandContext,
  kindNamed: (name: string) => TrainingKind,
) {
  const shape = commandOptions(kind.declared.shape, kind.made);
  const declared = { ...kind.declared, shape };
  const refused = args.map((one) => /^--(?:no-)?([\w-]+)/.exec(one)?.[1]).find((name) => name && isProgramOnly(name));
  if (refused) throw new CommandLineError(`--${refused}: ${programOnly[camel(refused)]}`);
  const { positionals, given } = commandLine(declared, args);
  if (positionals.length > POSITIONALS.length) {
    throw new CommandLineError(`${JSON.stringify(positionals[3])} is too much: MODEL ROWS OUTPUT are three.`);
  }
  const placed = Object.fromEntries(positionals.map((value, i) => [POSITIONALS[i]!, value]));
  const twice = Object.keys(placed).find((name) => Object.hasOwn(given, name));
  if (twice) throw new CommandLineError(`${twice} is given twice, by its place and as --${kebabCase(twice)}.`);
  const typed = { ...placed, ...given };
  const file = typeof given.config === 'string' ? await readConfigFile(given.config) : {};
  if (!isTrl(file)) return { kind, asked: merged(ownOptions(declared, file), typed) };
  const theirs = trlOptions(kind.name, declared, file);
  for (const note of theirs.notes) complain(`${kind.name}: ${note}\n`);
  const meant = theirs.command === kind.name ? kind : kindNamed(theirs.command);
  return { kind: meant, asked: merged(theirs.given, typed) };
}

const camel = (name: string): string => name.replace(/-([a-z])/g, (_, letter: string) => letter.toUpperCase());
const isProgramOnly = (name: string): boolean => Object.hasOwn(programOnly, camel(name));

/** Everything that a trainer is called with, but for where it writes. */
async function prepare(kind: TrainingKind, asked: Readonly<Record<string, unknown>>): Promise<TrainerOptionsRecord> {
  const language = await loadModel(String(asked.model), asked.quantization);
  const model = kind.modelOf ? await kind.modelOf(language, asked) : language;
  const context: MakeContext = {
    model: model as MakeContext['model'],
    outputFolder: String(asked.outputFolder),
    seed: typeof asked.seed === 'number' ? asked.seed : 42,
  };
  const settings: Record<string, unknown> = { model, rows: await loadRows('rows', asked.rows) };
  if (asked.evaluationRows !== undefined) {
    settings.evaluationRows = await loadRows('--evaluation-rows', asked.evaluationRows);
  }
  const elsewhere = ['model', 'rows', 'evaluationRows', ...Object.keys(commandShape), ...(kind.ofModel ?? [])];
  const makers = { ...commonMakers, ...kind.make };
  for (const [name, value] of Object.entries(asked)) {
    if (elsewhere.includes(name)) continue;
    const make = makers[name];
    settings[name] = make ? await make(value, context) : value;
  }
  for (const [name, make] of Object.entries(kind.make)) {
    // What is made whether it is asked for or not.
    if (!Object.hasOwn(asked, name) && ALWAYS.includes(name)) settings[name] = await make(undefined, context);
  }
  return settings as TrainerOptionsRecord;
}

const ALWAYS: readonly string[] = ['objective'];

async function train(
  kind: TrainingKind,
  settings: TrainerOptionsRecord,
  asked: Readonly<Record<string, unknown>>,
  { print, complain }: CommandContext,
): Promise<number> {
  const outputFolder = String(asked.outputFolder);
  const onWarning = (message: string) => complain(`${kind.name}: ${message}\n`);
  const recorder = recorderOf(kind, settings, asked, onWarning);
  const progress = createProgress();
  const shown = asked.progress === undefined ? brief(progress.onProgress) : undefined;
  const onProgress: OnProgress = (event) => {
    recorder.saw(event);
    shown?.(event);
  };
  const interrupt = interruptible(() =>
    complain(`\n${kind.name}: stopping after this step; once more ends it at once.\n`),
  );
  const page = asked.page === true ? await serveRunPage(outputFolder) : undefined;
  if (page) complain(`${kind.name}: the page of the run is at ${page.address}\n`);
  try {
    const result = await kind.train({
      ...settings,
      ...{ progress: settings.progress ?? false, onProgress, onWarning, signal: interrupt.signal },
      trackers: [...((settings.trackers as readonly Tracker[] | undefined) ?? []), recorder],
    });
    progress.finish();
    return await finish(kind, { result, outputFolder, recorder, adapter: settings.adapter }, { print, complain });
  } catch (error) {
    progress.finish();
    const message = error instanceof Error ? error.message : String(error);
    await recorder.finish({ kind: 'failed', reason: `It failed: ${message}` });
    throw error;
  } finally {
    interrupt.release();
    await page?.close();
  }
}

function recorderOf(
  { name }: TrainingKind,
  settings: TrainerOptionsRecord,
  asked: Readonly<Record<string, unknown>>,
  warn: (message: string) => void,
): RunRecorder {
  return new RunRecorder({
    ...{ folder: String(asked.outputFolder), command: name, asked, warn },
    ...{ model: settings.model, adapter: settings.adapter, problems: problemsOf(settings, asked) },
    isHeldOut: settings.evaluationRows !== undefined,
  });
}

/** The problems that the model is asked before and after. */
function problemsOf(settings: TrainerOptionsRecord, asked: Readonly<Record<string, unknown>>): RunSample[] {
  const rows = (settings.evaluationRows ?? settings.rows) as Parameters<typeof samplesOf>[0];
  return samplesOf(rows, typeof asked.samples === 'number' ? asked.samples : SAMPLES);
}

/** What a training ended with. */
interface Ended {
  readonly result: Trained;
  readonly outputFolder: string;
  readonly recorder: RunRecorder;
  readonly adapter: TrainableAdapter | undefined;
}

/** Saves what was trained, unless Ctrl-C has stopped it, and writes the page. Gives the exit code. */
async function finish(
  { name }: TrainingKind,
  { result: { stopped, trainer, history }, outputFolder, recorder, adapter }: Ended,
  { print, complain }: Pick<CommandContext, 'print' | 'complain'>,
): Promise<number> {
  if (stopped?.reason === 'signal') {
    const reason = `It was stopped after ${stopped.step} steps; the same command with --resume goes on.`;
    await recorder.finish({ kind: 'stopped', reason });
    complain(`${name}: stopped after ${stopped.step} steps. The same command with --resume goes on.\n`);
    return EXIT.interrupted;
  }
  const folder = join(outputFolder, adapter ? 'adapter' : 'model');
  await saveTrained(folder, trainer, adapter);
  const reason = stopped ? `It ended after ${stopped.step} steps, by ${stopped.reason}.` : 'It came to its end.';
  await recorder.finish({ kind: 'finished', reason }, { model: trainer.model, adapter: adapter && trainer.adapter });
  print(`${folder}: ${summary(history)}\n`);
  return 0;
}

/** Metrics worth a place in one line. */
const SHOWN = ['loss', 'reward', 'eval_loss', 'rewards/accuracies', 'accuracy'];

const brief =
  (onProgress: OnProgress): OnProgress =>
  ({ metrics = {}, ...event }: ProgressEvent) =>
    onProgress({
      ...event,
      metrics: Object.fromEntries(Object.entries(metrics).filter(([name]) => SHOWN.includes(name))),
    });

/** Steps, and of what was logged the first and the last value. */
function summary(history: readonly StepMetrics[]): string {
  const steps = (history.at(-1)?.step ?? -1) + 1;
  const said = SHOWN.flatMap((name) => {
    const values = history.map(({ metrics }) => metrics[name]).filter((value) => value !== undefined);
    if (values.length === 0) return [];
    const [first, last] = [values[0]!, values.at(-1)!].map((value) => Number(value.toPrecision(4)));
    return [values.length === 1 ? `${name} ${last}` : `${name} ${first} to ${last}`];
  });
  return [`${steps} steps`, ...said].join(', ');
}

/** `posttrain sft --help`. */
function trainingHelp({ name, about, declared, made, descriptions, more }: TrainingKind): string {
  const shape = commandOptions(declared.shape, made);
  const text = Object.assign({}, ...[...descriptions].reverse().map((table) => DESCRIPTIONS[table]));
  const own = new Set([...Object.keys(commandShape), ...Object.keys(made)]);
  const required = Object.entries(shape).filter(([, { presence }]) => presence === 'required');
  const isRun = (option: string): boolean => Object.hasOwn(DESCRIPTIONS.run ?? {}, option) && !own.has(option);
  const part = (title: string, keep: (option: string) => boolean): HelpSection => ({
    title,
    about: text,
    shape: Object.fromEntries(
      Object.entries(shape).filter(([option]) => keep(option) && !required.some(([one]) => one === option)),
    ),
  });
  const sections = [
    { title: 'Required', about: text, shape: Object.fromEntries(required) },
    part('Of this command', (option) => own.has(option)),
    part('Of the training', (option) => !own.has(option) && !isRun(option)),
    part('Of every run', isRun),
  ];
  const width = Math.min(100, process.stdout.columns ?? 100);
  const usage = `Usage: posttrain ${name} MODEL ROWS OUTPUT [options]\n\n${about}`;
  return `${usage}\n${more ? `${more}\n` : ''}\n${optionsHelp(sections, width)}`;
}
