import type { Command } from './arguments.js';

const METRIC = {
  value: 'NAME',
  help: 'a metric by its name; default: all that both runs have',
  multiple: true,
} as const;
const SECOND_TASK = {
  value: 'NAME',
  help: 'the task of the second file, where it is called otherwise than --task; both are then taken for one',
};
const SAME_TASK = { help: 'the two tasks are the same though their names differ' } as const;
const GRADER = { value: 'NAME', help: 'the grader it is of; default: the first' } as const;

/** The commands and their options. */
export const COMMANDS = {
  run: {
    usage: 'run TASK [options]',
    about:
      'Asks a model the task that the module TASK exports as "task" (or as its default), or the tasks of "tasks", and prints their metrics.\n' +
      'TASK may also be a task file of lm-evaluation-harness (.yaml), or with --task a folder of them.\n' +
      'The model is a folder (which needs @posttrain/lm), an OpenAI-compatible endpoint (which needs @posttrain/openai), or what a module exports as "model".',
    options: {
      folder: { value: 'FOLDER', help: 'a model folder of Hugging Face, or a GGUF file' },
      endpoint: { value: 'URL', help: 'the base of an OpenAI-compatible API, as http://127.0.0.1:8000/v1' },
      model: { value: 'NAME', help: "the endpoint's name of the model" },
      api: { value: 'KIND', help: 'chat or completions; default: chat, for .yaml completions' },
      module: { value: 'FILE', help: 'a module that exports "model": a generator, a scorer, or what the task needs' },
      task: { value: 'NAME', help: 'a task, group or tag among the .yaml files of the folder TASK' },
      split: { value: 'NAME=FILE', help: 'rows of a split of .yaml tasks, JSONL or a JSON list', multiple: true },
      functions: { value: 'FILE', help: 'a module that exports "functions" in the place of the Python of .yaml tasks' },
      'num-fewshot': {
        value: 'NUMBER',
        help: 'examples before each question of .yaml tasks; default: as the task has it',
      },
      log: { value: 'FILE', help: 'the log, from which a run goes on; default: logs/TASK-MODEL.jsonl' },
      limit: { value: 'NUMBER', help: 'stop after so many problems' },
      seed: { value: 'NUMBER', help: 'of the run; default: 0' },
      'batch-size': { value: 'NUMBER', help: 'problems that are asked at once; default: 16' },
    },
  },
  compare: {
    usage: 'compare FIRST SECOND [options]',
    about:
      'Compares two runs on the same problems, second minus first: paired bootstrap, and McNemar where values are right or wrong.\n' +
      'Logs are .jsonl of this package, .eval and .json of Inspect, results_*.json of lm-evaluation-harness.',
    options: {
      metric: METRIC,
      grader: GRADER,
      task: { value: 'NAME', help: 'the task, where a file has several' },
      'second-task': SECOND_TASK,
      'same-task': SAME_TASK,
    },
  },
  view: {
    usage: 'view LOG... [options]',
    about: 'Writes a page to look through runs of one task: metrics, plots, and every problem with search and filters.',
    options: {
      output: { value: 'FILE', help: 'the page; default: report.html' },
      open: { help: 'open it in the browser' },
      task: { value: 'NAME', help: 'the task, where a file has several' },
    },
  },
  gate: {
    usage: 'gate BASELINE NEW [options]',
    about:
      'Ends with 1 where a metric of NEW is worse than that of BASELINE by more than its interval: the whole 95 % interval of the paired difference is on the wrong side.\n' +
      'A fall whose interval is not known (all pairs differ alike) counts, too, and so does a problem that has a value in BASELINE and none in NEW. For continuous integration.',
    options: {
      metric: { ...METRIC, help: 'a metric by its name; default: all of BASELINE, which NEW must have' },
      grader: GRADER,
      task: { value: 'NAME', help: 'the task, where a file has several' },
      'second-task': SECOND_TASK,
      'same-task': SAME_TASK,
      'allow-missing': { help: 'problems without a value in NEW are left out, and shut no gate' },
      tolerance: { value: 'NUMBER', help: 'a fall that is allowed; default: 0' },
      'lower-is-better': {
        value: 'NAME',
        help: 'a metric of which less is better, such as a perplexity',
        multiple: true,
      },
    },
  },
} as const satisfies Readonly<Record<string, Command>>;

export type CommandName = keyof typeof COMMANDS;
