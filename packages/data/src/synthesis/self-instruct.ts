import { custom, type Given, integer, number, options } from '@posttrain/interfaces';
import { createRandom } from '@posttrain/interfaces/random';
import { DataOptionError } from '../errors.js';
import { asking, fill, generatorOption, promptsOption, type Synthesised, synthesisShape } from '../steps/asking.js';
import { NoveltyPool } from './novelty.js';

/** A task that people have written. */
export interface SeedTask {
  readonly instruction: string;
  /** Default empty: the instruction needs none. */
  readonly input?: string;
  readonly output: string;
  /** Whether the answers are a few labels. Default false. */
  readonly isClassification?: boolean;
}

/** A task that was made. */
export type InstructedRow = Synthesised<Required<SeedTask>>;

const PROMPTS = {
  instructions: 'Here is a list of varied tasks. Continue it with new ones, one a line, numbered.\n\n{tasks}\n{next}.',
  classification:
    'Is this a classification task, whose answer is one of a few labels? Answer yes or no.\n\nTask: {task}',
  inputFirst:
    'Give an example of this task: an input and the right output. If the task needs no input, write "None" as the input.\n\nTask: {task}\nAnswer in two lines or more, as\nInput: …\nOutput: …',
  outputFirst:
    'This task has a few labels as answers. Choose one of them, and write an input that it is right for.\n\nTask: {task}\nAnswer in two lines or more, as\nLabel: …\nInput: …',
} as const;

const selfInstructOptions = options('selfInstruct', {
  generator: generatorOption,
  /** Tasks that people have written, at least one. */
  seeds: custom<readonly SeedTask[]>()(
    'a list of { instruction, output }, at least one',
    (value) =>
      Array.isArray(value) &&
      value.length > 0 &&
      value.every(
        (one: Partial<SeedTask> | null) => typeof one?.instruction === 'string' && typeof one.output === 'string',
      ),
    { settings: (seeds) => JSON.stringify(seeds) },
  ),
  /** Tasks to be made. */
  count: integer({ min: 0 }),
  /** Seed tasks shown in a prompt. Default 6. */
  human: integer({ default: 6, min: 1 }),
  /** Tasks of the model's own shown beside them, once there are any. Default 2. */
  machine: integer({ default: 2, min: 0 }),
  /** ROUGE-L with every instruction so far must be below this. Default 0.7. */
  novelty: number({ default: 0.7, above: 0, max: 1 }),
  /** Prompts for instructions in a row that may bring no task, before it ends. Default 20. */
  patience: integer({ default: 20, min: 1 }),
  seed: integer({ default: 0 }),
  prompts: promptsOption(PROMPTS),
  sampling: synthesisShape.sampling,
  ledger: synthesisShape.ledger,
});
/** Options of `selfInstruct`. */
export type SelfInstructOptions = Given<typeof selfInstructOptions>;

const UNSUITABLE = /(?<![\p{L}\p{N}_])(?:images?|graphs?|pictures?|files?|maps?|draw|plot|go to)(?![\p{L}\p{N}_])/iu;

/**
 * Why an instruction is not used, by the rules of Self-Instruct's own code; `null` for one that is: too short or too long, about what a language model
 * cannot see or do, a program to be written, or one that starts with a mark or a letter beyond ASCII.
 */
export function unsuitableInstruction(instruction: string): string | null {
  const words = instruction.split(/\s+/).filter((word) => word !== '').length;
  if (words <= 3 || words > 150) return 'too short or too long';
  if (UNSUITABLE.test(instruction)) return 'about what a language model cannot see or do';
  if (/^write a program/i.test(instruction)) return 'a program to be written';
  return /^[\p{P}\p{S}]|^[^\x20-\x7e]/u.test(instruction) ? 'starts with a mark' : null;
}

/** Why an instance is not used, by the rules of Self-Instruct's own code; `null` for one that is: no output, an output that is the input again, a colon at an end, behind which something is missing. */
export function unsuitableInstance({
  input,
  output,
}: {
  readonly input: string;
  readonly output: string;
}): string | null {
  if (output === '') return 'without an output';
  if (output === input) return 'the output is the input';
  return [input, output].some((text) => text.trimEnd().endsWith(':')) ? 'ends with a colon' : null;
}

/**
 * Self-Instruct (arXiv 2212.10560): from a few tasks that people have written a model makes new instructions (six of people and two of its own in each
 * prompt), says which are classification, and makes an instance of each: the input first, or, for classification, the label first, so that labels do not
 * all become the same. An instruction is kept while its ROUGE-L with every one before is below 0.7. A source of rows: `pipeline(selfInstruct({ … }), steps)`.
 * Ends, with fewer than `count`, where `patience` prompts in a row have brought no new task with an instance.
 *
 * @throws OptionError; PosttrainError `BAD_RESPONSE`
 */
export async function* selfInstruct(given: SelfInstructOptions): AsyncGenerator<InstructedRow> {
  const settings = selfInstructOptions.read(given);
  const { generator, seeds, count, human, machine, novelty, patience, seed } = settings;
  const prompts = { ...PROMPTS, ...settings.prompts };
  const pool = new NoveltyPool([], novelty);
  for (const { instruction } of seeds) {
    if (!pool.add(instruction)) throw new DataOptionError('selfInstruct', `two seeds are too alike: "${instruction}".`);
  }
  const made: string[] = [];
  const seedOf = (label: string) => createRandom(seed, label).integer(0, 2 ** 31 - 1);
  for (let round = 0, barren = 0; made.length < count && barren < patience; round++) {
    const random = createRandom(seed, 'self-instruct', round);
    const shown = random.shuffled([
      ...random
        .shuffled(seeds)
        .slice(0, human)
        .map(({ instruction }) => instruction),
      ...random.shuffled(made).slice(0, machine),
    ]);
    const ask = asking(`round ${round}`, seedOf, settings);
    const tasks = shown.map((task, i) => `${i + 1}. ${task}`).join('\n');
    const text = await ask(generator, fill(prompts.instructions, { tasks, next: shown.length + 1 }), 'instructions');
    const fresh = listed(text).filter((task) => unsuitableInstruction(task) === null && pool.add(task));
    const left = count - made.length;
    const instances: (Required<SeedTask> | null)[] = [];
    for (const task of fresh.slice(0, left)) {
      const answer = await ask(generator, fill(prompts.classification, { task }), `classification ${task}`);
      const isClassification = /^\W*yes\b/i.test(answer);
      const kind = isClassification ? prompts.outputFirst : prompts.inputFirst;
      const instance = instanceOf(await ask(generator, fill(kind, { task }), `instance ${task}`));
      instances.push(instance && { ...instance, instruction: task, isClassification });
    }
    const whole = instances.filter((one) => one !== null);
    made.push(...whole.map(({ instruction }) => instruction));
    barren = whole.length === 0 ? barren + 1 : 0;
    const synthesis = {
      method: 'self-instruct',
      generators: [generator.name],
      cost: { ...ask.cost },
      together: whole.length,
    };
    for (const one of whole) yield { ...one, synthesis };
  }
}

/** The lines of a list, without their numbers. What is behind the last line break may be cut off, so it counts only where it ends a sentence. */
function listed(text: string): string[] {
  const lines = text.split('\n').map((line) => line.replace(/^\s*(?:\d+[.)]|[-*])?\s*/, '').trim());
  return lines.filter((line, i) => line !== '' && (i < lines.length - 1 || /[.?!:"')]$/.test(line)));
}

/** The input and the output of an instance, whichever comes first; `null` for one that is not used. */
function instanceOf(text: string): { readonly input: string; readonly output: string } | null {
  const part = (name: string): string =>
    (
      new RegExp(`^${name}:[ \\t]*([\\s\\S]*?)(?=^(?:Input|Output|Label):|(?![\\s\\S]))`, 'im').exec(text)?.[1] ?? ''
    ).trim();
  const output = part('(?:Output|Label)') || '';
  const input = part('Input');
  const instance = { input: /^none\.?$/i.test(input) ? '' : input, output };
  return unsuitableInstance(instance) === null ? instance : null;
}
