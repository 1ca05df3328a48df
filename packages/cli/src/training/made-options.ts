import { boolean, custom, integer, type OptionShape, text } from '@posttrain/interfaces';
import { isRecord } from '../options/names.js';

const isText = (value: unknown): boolean => typeof value === 'string' && value !== '';
/** A name, or options with one. */
export const isNamed = (value: unknown): boolean => isText(value) || isRecord(value);
/** A value that is made from a name, or from a name and options. */
export const chosen = custom<string | Readonly<Record<string, unknown>>>();
const source = chosen('a file or folder of rows, a name of the hub, or path and split', isNamed, {});
const heldOut = chosen('a file or folder of rows, a name of the hub, or path and split', isNamed, { optional: true });

/** Problems that are asked before and after a training. */
export const SAMPLES = 4;

/** Options that every training has from the command alone. */
export const commandShape = {
  /** A YAML file with these options, by these names or TRL's; what is typed goes over it. */
  config: text({ optional: true }),
  /** Say rows, tokens, steps, memory and time, after a few steps that are not kept, and write nothing. */
  dryRun: boolean({ default: false }),
  /** Show the page of the run in a browser of this machine while it goes; its address is said on stderr. OUTPUT/run.html is written in any case. */
  page: boolean({ default: false }),
  /** Problems that the model is asked before and after, for the page: the first of the held-out rows, or of all where none are held out. */
  samples: integer({ default: SAMPLES, min: 0 }),
  /** How the frozen model is quantised as it is read: a method, with its options after a dot. For training with an adapter. */
  quantization: chosen('nf4, fp4, int8, int4 or hqq', isNamed, { optional: true }),
};

/** Options of every training that a program gives as values, and the command makes from a text. */
export const madeShape = {
  /** A Hugging Face folder, a GGUF file, or a name on the hub. */
  model: text({}),
  /** Rows to train on: jsonl, json, csv, tsv (all also with .gz), parquet, a folder of them, or a data set of the hub. */
  rows: source,
  /** Held-out rows, of which evaluations give `eval_loss` and the like. Default: none. */
  evaluationRows: heldOut,
  /** Where checkpoints, the log, and at the end adapter/ or model/ go. */
  outputFolder: text({}),
  /** A PEFT method with its options after a dot (`--adapter lora --adapter.r 16`), or the folder of an adapter to go on with. Default: none, so that every weight is trained. */
  adapter: chosen('a method such as lora, or the folder of an adapter', isNamed, { optional: true }),
  /** Its options after a dot: `--optimizer.beta1 0.8`. Default `adamw_torch`. */
  optimizer: chosen('the name of an optimizer', isNamed, { optional: true }),
  /** An average of the weights, kept beside them: `bema` or `ema`, with options after a dot. Default: none. */
  weightAverage: chosen('bema or ema', isNamed, { optional: true }),
  /** Where entries of the log go beside metrics.jsonl: `tensorboard` writes to tensorboard/ in the output. Default: nowhere. */
  trackers: chosen('tensorboard', (value) => isText(value) || Array.isArray(value), { optional: true }),
} as const;

const PROGRAM = (what: string) => `It is ${what} of a program: call the trainer of the package from one.`;
const CALL = PROGRAM('a function');

/** Options that only a program can give, with what is said of them. */
export const programOnly: Readonly<Record<string, string>> = {
  ...{ beforeStep: CALL, afterStep: CALL, evaluate: CALL, onLog: CALL, onProgress: CALL, onWarning: CALL },
  signal: 'Ctrl-C stops a run, and --resume goes on with it.',
  penalties: PROGRAM('a list of values'),
  rollouts: PROGRAM('a value'),
};

/** What a command takes: what is declared of its trainer, but for what only a program can give, and what is made here. */
export function commandOptions(declared: OptionShape, made: OptionShape): OptionShape {
  const plain = Object.entries(declared).filter(([name]) => !Object.hasOwn(programOnly, name));
  return { ...Object.fromEntries(plain), ...madeShape, ...made, ...commandShape };
}
