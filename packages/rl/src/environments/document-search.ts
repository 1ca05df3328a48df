import { Key } from '@posttrain/core-tensor';
import { custom, type Given, integer, number, options } from '@posttrain/interfaces';
import { toolEnvironment } from '../rollout/tool-environment.js';
import { callOf, say, type TaskEnvironment } from './task-environment.js';

/** Finds passages for a query, the best first, as a `Retriever` of `@posttrain/tts` does. */
export interface PassageFinder {
  readonly name: string;
  retrieve(query: string, k: number): Promise<readonly { readonly id: string; readonly text: string }[]>;
}

/** A passage about somebody. */
export interface Fact {
  readonly id: string;
  readonly text: string;
}

/** A question whose answer is in two passages, the second of which is named in the first. */
export interface DocumentSearchRow {
  readonly prompt: string;
  readonly queries: readonly string[];
  readonly answer: string;
}

const documentSearchOptions = options('documentSearch', {
  /** Finds passages: `bm25(documentFacts(…))` of `@posttrain/tts`, an index of your own. */
  retriever: custom<PassageFinder>()(
    'a retriever ({ name, retrieve(query, k) })',
    (value) => typeof (value as Partial<PassageFinder> | null)?.retrieve === 'function',
    { settings: ({ name }) => name },
  ),
  /** People that the passages are about, as `documentFacts` has them. Default 50. */
  people: integer({ default: 50, min: 3 }),
  /** Seed of who they are. Default 0. */
  seed: integer({ default: 0, min: 0 }),
  /** Passages of one search. Default 3. */
  k: integer({ default: 3, min: 1 }),
  /** What a search costs. Default 0.05. */
  cost: number({ default: 0.05, min: 0 }),
});
/** Options of `documentSearch`. */
export type DocumentSearchOptions = Given<typeof documentSearchOptions>;

const SYLLABLES = ['ba', 'do', 'fe', 'gu', 'ki', 'lo', 'ma', 'ne', 'po', 'ru', 'sa', 'ti', 'vo', 'wu', 'ze'];
/** A name that no other number has. */
const nameOf = (n: number, prefix: string): string => {
  const [a, b, c] = [n % 15, Math.floor(n / 15) % 15, Math.floor(n / 225) % 15];
  return `${prefix}${SYLLABLES[a]}${SYLLABLES[b]}${SYLLABLES[c]}`;
};

interface Person {
  readonly name: string;
  readonly teacher: string;
  readonly town: string;
}

function peopleOf(count: number, seed: number): Person[] {
  const order = shuffled(count, Key.fromSeed(seed));
  return Array.from({ length: count }, (_, i) => ({
    name: nameOf(i, 'Mr'),
    // Everybody has another teacher than themselves.
    teacher: nameOf(order[(order.indexOf(i) + 1) % count]!, 'Mr'),
    town: nameOf((i * 7 + 3) % 3375, 'Port'),
  }));
}

function shuffled(count: number, key: Key): number[] {
  const draws = Array.from(key.uniformHost(count));
  return draws.map((_, i) => i).sort((a, b) => draws[a]! - draws[b]! || a - b);
}

/** The passages that `documentSearch` asks about: two about each person. */
export const documentFacts = (people: number, seed: number): Fact[] =>
  peopleOf(people, seed).flatMap(({ name, teacher, town }) => [
    { id: `${name} teacher`, text: `${name} learned the trade from the teacher ${teacher}.` },
    { id: `${name} town`, text: `${name} was born in the town of ${town}.` },
  ]);

/**
 * Questions over documents, of two steps: where was the teacher of somebody born? A reply that calls `search` is answered with the passages that the retriever
 * finds; one without a call is the answer, and worth 1 where it names the town. Every search costs. The oracle searches twice: 1 − 2 · cost, as long as the
 * retriever finds what is asked for.
 *
 * @throws OptionError
 */
export function documentSearch(given: DocumentSearchOptions): TaskEnvironment<DocumentSearchRow> {
  const { retriever, people, seed: world, k, cost } = documentSearchOptions.read(given);
  const persons = peopleOf(people, world);
  const tools = toolEnvironment<DocumentSearchRow>(
    'document-search',
    {
      search: {
        description: 'Finds passages for a query.',
        parameters: { type: 'object', properties: { query: { type: 'string' } }, required: ['query'] },
        call: async ({ query }) => (await retriever.retrieve(String(query), k)).map(({ text }) => text).join('\n'),
      },
    },
    documentSearchOptions.settings(given),
  );
  return {
    ...tools,
    async start(row, context) {
      const episode = await tools.start(row, context);
      return {
        ...episode,
        async step(reply) {
          const answer = await episode.step(reply);
          const searches = reply.tool_calls?.length ?? 0;
          if (!answer.done) return { ...answer, reward: -cost * searches };
          return { ...answer, reward: new RegExp(`\\b${row.answer}\\b`, 'i').test(reply.content) ? 1 : 0 };
        },
      };
    },
    rows: (count, seed) =>
      Array.from({ length: count }, (_, i) => {
        const [draw] = Key.fromSeed(seed).child(i).uniformHost(1) as unknown as readonly [number];
        const { name, teacher } = persons[Math.min(people - 1, Math.floor(draw * people))]!;
        const { town } = persons.find((person) => person.name === teacher)!;
        return {
          prompt: `In which town was the teacher of ${name} born?`,
          queries: [`${name} teacher`, `${teacher} born town`],
          answer: town,
        };
      }),
    oracle: ({ queries, answer }, messages) => {
      const searched = messages.filter(({ role }) => role === 'tool').length;
      return searched < queries.length ? callOf('search', { query: queries[searched] }) : say(`It was ${answer}.`);
    },
    best: ({ queries }) => 1 - cost * queries.length,
  };
}
