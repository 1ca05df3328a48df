import { readdir, readFile, stat } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { isPlainObject, showValue } from '@posttrain/interfaces';
import { EvaluationError } from '../errors.js';
import { type LmEvalGroupConfig, type LmEvalTaskConfig, readLmEvalConfig, taskError } from '../lm-eval/config.js';
import type { LmEvalFunctions } from '../lm-eval/fields.js';
import { type LmEvalGroup, resolveLmEvalTasks } from '../lm-eval/group.js';
import { type LmEvalTask, lmEvalTask } from '../lm-eval/lm-eval-task.js';
import { ArgumentsError, type Typed } from './arguments.js';
import { importModule } from './import-module.js';

const isYaml = (file: string): boolean => /\.ya?ml$/.test(file);

/** Whether what was named is a task of lm-evaluation-harness, or a folder of them. */
export const isLmEvalSource = async (source: string, typed: Typed, from: string): Promise<boolean> =>
  isYaml(source) || typed.text('task') !== undefined || (await isFolder(resolve(from, source)));

const isFolder = async (path: string): Promise<boolean> =>
  stat(path).then(
    (found) => found.isDirectory(),
    () => false,
  );

/**
 * Tasks of lm-evaluation-harness: those of a YAML file (a task, or a group whose members are beside or below it), or of a folder by the name of a task, group or tag. Rows are `--split NAME=FILE` or the files
 * that the task names itself (`dataset_path: json` with `data_files`); nothing is downloaded.
 *
 * @param from the folder that relative files are in
 * @throws ArgumentsError; EvaluationError `LM_EVAL_TASK`, `BAD_ROWS`; errors of the file system
 */
export async function lmEvalTasksOf(
  source: string,
  typed: Typed,
  from: string,
): Promise<{ readonly tasks: readonly LmEvalTask[]; readonly groups: readonly LmEvalGroup[] }> {
  const path = resolve(from, source);
  const name = typed.text('task');
  let configs: (LmEvalTaskConfig | LmEvalGroupConfig)[];
  let wanted = name;
  if (await isFolder(path)) {
    if (wanted === undefined)
      throw new ArgumentsError(`${source} is a folder; name one of its tasks with --task NAME.`);
    configs = await configsBelow(path);
  } else {
    const own = await readLmEvalConfig(path);
    const ownName = 'group' in own && typeof own.group === 'string' ? own.group : (own as LmEvalTaskConfig).task;
    if (typeof ownName !== 'string')
      throw new EvaluationError(
        'LM_EVAL_TASK',
        `${source}: it has neither a task nor a group; a file that others include is none.`,
      );
    wanted ??= ownName;
    configs = wanted === ownName && !('group' in own) ? [own] : await configsBelow(dirname(path));
  }
  const functions = await functionsOf(typed.text('functions'), from);
  const given = await givenSplits(typed.texts('split'), from);
  const numFewshot = typed.whole('num-fewshot', 0);
  const { tasks, groups } = resolveLmEvalTasks(wanted, configs);
  const made = await Promise.all(
    tasks.map(async (config) =>
      lmEvalTask(config, {
        splits: await splitsOf(config, given, from),
        functions,
        ...(numFewshot !== undefined && { numFewshot }),
      }),
    ),
  );
  return { tasks: made, groups };
}

/** Tasks and groups of a folder and those below it; files that are only included have no name. */
async function configsBelow(folder: string): Promise<(LmEvalTaskConfig | LmEvalGroupConfig)[]> {
  const names = (await readdir(folder, { recursive: true })).filter(isYaml).sort();
  const configs = await Promise.all(names.map((name) => readLmEvalConfig(join(folder, name))));
  return configs.filter((config) => 'group' in config || typeof config.task === 'string');
}

async function functionsOf(file: string | undefined, from: string): Promise<LmEvalFunctions> {
  if (file === undefined) return {};
  const { functions } = await importModule(resolve(from, file));
  if (isPlainObject(functions)) return functions as LmEvalFunctions;
  throw new EvaluationError(
    'BAD_MODULE',
    `${file} exports ${showValue(functions)} as "functions"; it must be an object of functions, as { 'utils.process_docs': (rows) => rows }.`,
  );
}

type Splits = Readonly<Record<string, readonly object[]>>;

async function givenSplits(texts: readonly string[], from: string): Promise<Splits> {
  const named = texts.map((text) => {
    const at = text.indexOf('=');
    if (at < 1) throw new ArgumentsError(`--split takes NAME=FILE, as test=rows.jsonl, not "${text}".`);
    return [text.slice(0, at), text.slice(at + 1)] as const;
  });
  return Object.fromEntries(await Promise.all(named.map(async ([name, file]) => [name, await rowsOf(file, from)])));
}

/** Rows of every split that a task names: those given, else those of its own files. */
async function splitsOf(config: LmEvalTaskConfig, given: Splits, from: string): Promise<Splits> {
  const own = config.dataset_path === 'json' ? config.dataset_kwargs?.data_files : undefined;
  const files: Readonly<Record<string, unknown>> = isPlainObject(own) ? own : own === undefined ? {} : { train: own };
  const { test_split, validation_split, training_split, fewshot_split } = config;
  const splits: Record<string, readonly object[]> = {};
  for (const name of new Set([test_split, validation_split, training_split, fewshot_split])) {
    if (name === undefined) continue;
    const ofTask = Object.hasOwn(files, name) ? [files[name]].flat() : undefined;
    if (Object.hasOwn(given, name)) splits[name] = given[name]!;
    else if (ofTask) splits[name] = (await Promise.all(ofTask.map((file) => rowsOf(String(file), from)))).flat();
  }
  const needed = test_split ?? validation_split;
  if (needed !== undefined && !(needed in splits))
    throw taskError(
      config,
      `there are no rows of its split "${needed}" of ${config.dataset_path ?? 'no dataset'}; nothing is downloaded: give them with --split ${needed}=FILE.jsonl.`,
    );
  return splits;
}

/** Rows of a JSONL file, or of a JSON file with a list. */
async function rowsOf(file: string, from: string): Promise<object[]> {
  const text = await readFile(resolve(from, file), 'utf8');
  const isList = text.trimStart().startsWith('[');
  const pieces = isList ? [text] : text.split('\n');
  const rows = pieces.flatMap((piece, i): unknown[] => {
    if (piece.trim() === '') return [];
    try {
      const value: unknown = JSON.parse(piece);
      return isList ? (value as unknown[]) : [value];
    } catch (cause) {
      throw new EvaluationError(
        'BAD_ROWS',
        `${file}${isList ? '' : `:${i + 1}`} is no JSON: ${(cause as Error).message}`,
        {
          cause,
        },
      );
    }
  });
  const bad = rows.findIndex((row) => !isPlainObject(row));
  if (bad >= 0)
    throw new EvaluationError('BAD_ROWS', `${file}: row ${bad} is ${showValue(rows[bad])}; it must be an object.`);
  return rows as object[];
}
