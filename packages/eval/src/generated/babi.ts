import { custom, type Given, integer, oneOf, options, text } from '@posttrain/interfaces';
import { createRandom, type Random } from '@posttrain/interfaces/random';
import { functionVerifier } from '@posttrain/interfaces/verifiers';
import { EvaluationError } from '../errors.js';
import { meanScore } from '../metrics/mean.js';
import type { GenerateTask } from '../task.js';
import { type CountTokens, fitSize } from './fit.js';
import { hideIn } from './ruler/needles.js';
import { fillerSentence, sentencesOf } from './words.js';

const PEOPLE = ['Mary', 'John', 'Daniel', 'Sandra'];
const PLACES = ['bathroom', 'bedroom', 'garden', 'hallway', 'kitchen', 'office'];
const THINGS = ['apple', 'football', 'milk'];
const MOVES = ['moved to', 'went to', 'journeyed to', 'travelled to'];

/** A story of bAbI: what happened, and a question with its one answer. */
export interface BabiStory {
  readonly facts: readonly string[];
  readonly question: string;
  readonly answer: string;
}

/** Worlds of people who go from room to room and carry things: bAbI's tasks 1 to 3, by the number of facts that the answer needs. */
export const babiTasks = {
  /** Where is Mary? */
  qa1: (random, length) => {
    const world = new World(random);
    while (world.facts.length < length) world.move();
    const [person, place] = random.pick([...world.at]);
    return { facts: world.facts, question: `Where is ${person}?`, answer: place };
  },
  /** Where is the apple? It is where the one is who has it, or has left it. */
  qa2: (random, length) => {
    const world = worldWith(random, length, ({ where }) => where.size > 0);
    const [thing, places] = random.pick([...world.where]);
    return { facts: world.facts, question: `Where is the ${thing}?`, answer: places.at(-1)! };
  },
  /** Where was the apple before the kitchen? */
  qa3: (random, length) => {
    const movedIn = ({ where }: World) => [...where].filter(([, places]) => places.length > 1);
    const world = worldWith(random, length, (made) => movedIn(made).length > 0);
    const [thing, places] = random.pick(movedIn(world));
    const at = random.integer(1, places.length - 1);
    // The place must name one moment: the last time that the thing was there.
    const last = places.lastIndexOf(places[at]!);
    return {
      facts: world.facts,
      question: `Where was the ${thing} before the ${places[last]!}?`,
      answer: places[last - 1]!,
    };
  },
} as const satisfies Readonly<Record<string, (random: Random, length: number) => BabiStory>>;

/** The name of a task of `babi`. */
export type BabiTaskName = keyof typeof babiTasks;

class World {
  readonly facts: string[] = [];
  readonly at = new Map<string, string>();
  /** Places where a thing has been, since it was first taken, without repeats in a row. */
  readonly where = new Map<string, string[]>();
  readonly #held = new Map<string, string>();
  readonly #random: Random;

  constructor(random: Random) {
    this.#random = random;
  }

  move(): void {
    const person = this.#random.pick(PEOPLE);
    const place = this.#random.pick(PLACES.filter((one) => one !== this.at.get(person)));
    this.at.set(person, place);
    this.facts.push(`${person} ${this.#random.pick(MOVES)} the ${place}.`);
    for (const [thing, holder] of this.#held) if (holder === person) this.#note(thing, place);
  }

  step(): void {
    const choice = this.#random.integer(0, 3);
    if (choice < 2 || this.at.size === 0) this.move();
    else if (choice === 2) this.#take();
    else this.#drop();
  }

  #take(): void {
    const [person, place] = this.#random.pick([...this.at]);
    const thing = this.#random.pick(THINGS);
    const lies = this.where.get(thing)?.at(-1);
    if (this.#held.has(thing) || (lies !== undefined && lies !== place)) return;
    this.#held.set(thing, person);
    this.#note(thing, place);
    this.facts.push(`${person} picked up the ${thing} there.`);
  }

  #drop(): void {
    if (this.#held.size === 0) return;
    const [thing, person] = this.#random.pick([...this.#held]);
    this.#held.delete(thing);
    this.facts.push(`${person} left the ${thing} there.`);
  }

  #note(thing: string, place: string): void {
    const places = this.where.get(thing) ?? [];
    if (places.at(-1) !== place) places.push(place);
    this.where.set(thing, places);
  }
}

/** A world of about so many facts in which something can be asked: those that have nothing are thrown away. */
function worldWith(random: Random, length: number, isAskable: (world: World) => boolean): World {
  while (true) {
    const world = new World(random);
    while (world.facts.length < length) world.step();
    if (isAskable(world)) return world;
  }
}

const babiOptions = options('babiInText', {
  task: oneOf(['qa1', 'qa2', 'qa3'], { default: 'qa1' }),
  /** Tokens of a problem. */
  length: integer({ min: 128 }),
  /** Counts tokens as the model does. */
  countTokens: custom<CountTokens>()('a function of a text', (value) => typeof value === 'function', {}),
  /** Facts of a story. Default 10. */
  facts: integer({ default: 10, min: 6 }),
  /** Default 100. */
  count: integer({ default: 100, min: 1 }),
  /** Default 0. */
  seed: integer({ default: 0 }),
  /** A text that facts are hidden in. Default: sentences that are made up. */
  essay: text({ optional: true }),
});
/** Options of `babiInText`. */
export type BabiInTextOptions = Given<typeof babiOptions>;

/** A story between other sentences. */
export interface BabiRow {
  readonly input: string;
  readonly question: string;
  readonly target: string;
  readonly tokens: number;
}

/**
 * Stories in the manner of bAbI (arXiv 1502.05698) with their facts in order among sentences of another text, as BABILong does it (arXiv
 * 2406.10149): reasoning over facts that are far apart. A completion is right that names the answer and no other place, as there.
 *
 * @throws OptionError; EvaluationError `TOO_SHORT`
 */
export function babiInText(given: BabiInTextOptions): GenerateTask<BabiRow> {
  const { task, length, countTokens, facts, count, seed, essay } = babiOptions.read(given);
  const own = essay === undefined ? undefined : sentencesOf(essay);
  const make = (size: number, index: number): BabiRow => {
    const random = createRandom(seed, 'babi', task, index);
    const story = babiTasks[task](random, facts);
    const straw = Array.from({ length: size }, (_, i) => (own ? own[i % own.length]! : fillerSentence(random)));
    const context = hideIn(straw, story.facts, random).join(' ');
    const input = `Some facts about people and things are hidden in the text below. Answer the question with one word: the place.\n\n${context}\n\nQuestion: ${story.question}`;
    return { input, question: story.question, target: story.answer, tokens: countTokens(input) + 16 };
  };
  const dataset = Array.from({ length: count }, (_, index) =>
    make(
      fitSize('babiInText', length, 1, (size) => make(size, index).tokens),
      index,
    ),
  );
  return {
    type: 'generate',
    name: `babi ${task} ${length}`,
    dataset,
    prompt: ({ input }) => input,
    sampling: { temperature: 0, maxTokens: 16 },
    graders: [onlyPlace],
    metrics: [meanScore()],
  };
}

/** BABILong's `compare_answers`: the first sentence names the answer, and no other place that the question does not name. */
const onlyPlace = functionVerifier('onlyPlace', ({ completion, row }) => {
  const { target, question } = (row ?? {}) as Partial<BabiRow>;
  if (typeof target !== 'string' || typeof question !== 'string')
    throw new EvaluationError('BAD_ROW', 'babiInText: the columns "target" and "question" must be texts.');
  const said = completion.toLowerCase().split(/\.|<context>|<example>/, 1)[0]!;
  const asked = question.toLowerCase();
  const named = PLACES.filter((place) => said.includes(place) && !asked.includes(place));
  return Number(named.length === 1 && named[0] === target.toLowerCase());
});
