import { readFileSync } from 'node:fs';
import type { Completion, GenerateRequest, Generator, Verifier } from '@posttrain/interfaces';
import type { Trace, TraceNode } from '../src/index.js';

/** SplitMix64's top 53 bits: a generator of its own for the tests, so that the code under test is not its own judge. */
export function seededUniform(seed: number): () => number {
  let state = BigInt(seed);
  return () => {
    state = BigInt.asUintN(64, state + 0x9e3779b97f4a7c15n);
    let z = state;
    z = BigInt.asUintN(64, (z ^ (z >> 30n)) * 0xbf58476d1ce4e5b9n);
    z = BigInt.asUintN(64, (z ^ (z >> 27n)) * 0x94d049bb133111ebn);
    return Number((z ^ (z >> 31n)) >> 11n) / 2 ** 53;
  };
}

export const completion = (text: string, completionTokens = 3, promptTokens = 5): Completion => ({
  text,
  finishReason: 'stop',
  usage: { promptTokens, completionTokens },
});

/** Gives out `texts` in order, over all calls, and keeps the requests it saw. */
export function scripted(texts: Iterable<string>): Generator & { requests: GenerateRequest[] } {
  const next = texts[Symbol.iterator]();
  const requests: GenerateRequest[] = [];
  return {
    name: 'scripted',
    requests,
    async generate(batch) {
      requests.push(...batch);
      return batch.map(({ n = 1 }) => Array.from({ length: n }, () => completion(next.next().value ?? '')));
    },
  };
}

/** Draws texts independently, text i with probability `probabilities[i]`. */
export function categorical(
  texts: readonly string[],
  probabilities: readonly number[],
  uniform: () => number,
): Generator {
  const draw = () => {
    let u = uniform();
    for (let i = 0; i < texts.length - 1; i++) {
      u -= probabilities[i]!;
      if (u < 0) return texts[i]!;
    }
    return texts.at(-1)!;
  };
  return {
    name: 'categorical',
    generate: async (batch) => batch.map(({ n = 1 }) => Array.from({ length: n }, () => completion(draw()))),
  };
}

/** A verifier from a table or a function of the completion. */
export function table(score: (completion: string) => number | null): Verifier & { calls: number } {
  return {
    name: 'table',
    calls: 0,
    async verify(requests) {
      this.calls += requests.length;
      return requests.map((request) => ({ score: score(request.completion) }));
    },
  };
}

/** A text's place in a number of at least 0 and below 2^32, by FNV-1a: what makes a double a function of prompt and seed. */
export function hash32(text: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193) >>> 0;
  hash = Math.imul(hash ^ (hash >>> 15), 0x2c1b3c6d) >>> 0;
  return (hash ^ (hash >>> 13)) >>> 0;
}

/**
 * Steps of one letter of `letters`, ended by `stop`, until `depth` of them: then the model's own end. Which letter is a
 * function of prompt, prefix and seed, so that it is the same alone and in a batch.
 */
export function stepper(letters: readonly string[], depth: number): Generator & { requests: GenerateRequest[] } {
  const requests: GenerateRequest[] = [];
  return {
    name: 'stepper',
    requests,
    async generate(batch) {
      requests.push(...batch);
      return batch.map(({ prompt, prefix = '', seed = 0, n = 1, stop = [] }) =>
        Array.from({ length: n }, (_, i): Completion => {
          const letter = letters[hash32(JSON.stringify([prompt, prefix, seed + i])) % letters.length]!;
          const isLast = prefix.split('\n').length > depth - 1;
          return { ...completion(letter), stop: isLast ? null : (stop[0] ?? null) };
        }),
      );
    },
  };
}

export const LETTERS = ['a', 'b', 'c'];
/** Knows a tree of `depth` steps with a child for every letter: the i-th of the children asked for together is letter i. */
export function enumerating(depth: number, letters = LETTERS): Generator & { prefixes: string[] } {
  const prefixes: string[] = [];
  return {
    name: 'enumerating',
    prefixes,
    generate: async (requests) =>
      requests.map(({ prefix = '', n = 1, stop = [] }) => {
        prefixes.push(prefix);
        const left = depth - prefix.length / 2;
        return Array.from({ length: n }, (_, i): Completion => {
          const letter = letters[i % letters.length]!;
          if (stop.length > 0) return { ...completion(letter), stop: left > 1 ? stop[0]! : null };
          // Without a stop, the first letter to the end of the tree.
          const rest = [letter, ...new Array<string>(left - 1).fill(letters[0]!)];
          return { ...completion(rest.join('\n')), stop: null };
        });
      }),
  };
}
/** A value for every text, drawn once: what a process verifier would say of a tree of which nothing else is known. */
export function values(seed: number): (text: string) => number {
  const uniform = seededUniform(seed);
  const known = new Map<string, number>();
  return (text) => {
    const key = text.trimEnd();
    if (!known.has(key)) known.set(key, uniform());
    return known.get(key)!;
  };
}
/** What the authors’ code or rule gives. */
export const goldenOf = <T>(name: string, folder = 'tree-search'): T =>
  JSON.parse(readFileSync(new URL(`../../../goldens/${folder}/${name}.json`, import.meta.url), 'utf8')) as T;
/** Says of tokens what strategies ask for, as functions of the text; as many tokens as are counted. */
export const reporting = (inner: Generator): Generator => ({
  name: inner.name,
  generate: async (requests) =>
    (await inner.generate(requests)).map((completions) =>
      completions.map((it) => {
        const tokens = Array.from({ length: it.usage.completionTokens }, (_, t) => t);
        const logProb = (t: number, rank: number) => -rank - hash32(`${it.text} ${t}`) / 2 ** 32;
        return {
          ...it,
          tokenIds: tokens,
          logProbs: tokens.map((t) => logProb(t, 0)),
          topLogProbs: tokens.map((t) => [0, 1, 2, 3].map((rank) => ({ tokenId: rank, logProb: logProb(t, rank) }))),
          statistics: { selfCertainty: tokens.map((t) => -logProb(t, 0)) },
        };
      }),
    ),
});
/**
 * The table that goldens have in the place of a model: of the steps that are drawn from one text the i-th is letter i, a greedy one is z,
 * and the model ends where `ends` says so.
 */
export function lettered(ends: readonly string[]): Generator {
  const asked = new Map<string, number>();
  return {
    name: 'lettered',
    generate: async (requests) =>
      requests.map(({ prefix = '', n = 1, stop = [], temperature }) =>
        Array.from({ length: n }, (): Completion => {
          const text = prefix.replaceAll('\n', '');
          const i = asked.get(text) ?? 0;
          if (temperature !== 0) asked.set(text, i + 1);
          const letter = temperature === 0 ? 'z' : 'abcdefghijklmnop'[i]!;
          return { ...completion(letter), stop: ends.includes(text + letter) ? null : (stop[0] ?? null) };
        }),
      ),
  };
}
/** Letters of a text of such steps. */
export const lettersOf = (text: string) => text.replaceAll('\n', '');
/** Scores of such texts, and of each of their steps. */
export const scoring = (scores: Readonly<Record<string, number>>): Verifier => ({
  name: 'scoring',
  verify: async (requests) =>
    requests.map(({ completion: text }) => {
      const letters = lettersOf(text);
      const stepScores = [...letters].map((_, i) => scores[letters.slice(0, i + 1)]!);
      return { score: stepScores.at(-1)!, stepScores };
    }),
});
/** The text of every node of a trace, by letters, with the node. */
export function lettersIn({ nodes }: Trace): { readonly text: string; readonly node: TraceNode }[] {
  const texts = new Map<number, string>();
  return nodes.map((node) => {
    const text = node.parent === null ? '' : texts.get(node.parent) + lettersOf(node.text);
    texts.set(node.id, text);
    return { text, node };
  });
}
