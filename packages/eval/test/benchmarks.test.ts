import type { Completion, GenerateRequest, Generator } from '@posttrain/interfaces';
import { createRandom } from '@posttrain/interfaces/random';
import { describe, expect, it } from 'vitest';
import { zeta } from '../src/generated/ruler/frequent-words.js';
import {
  babiInText,
  babiTasks,
  evaluate,
  type GenerateTask,
  graphWalks,
  metricOf,
  needleInHaystack,
  type RulerRow,
  type RulerTaskName,
  ruler,
  rulerTasks,
  stringMatch,
} from '../src/index.js';

/** Says what a function makes of the request. */
const scripted = (say: (request: GenerateRequest) => string): Generator => ({
  name: 'scripted',
  generate: async (requests) =>
    requests.map((request): Completion[] =>
      Array.from({ length: request.n ?? 1 }, () => ({
        text: say(request),
        finishReason: 'stop',
        usage: { promptTokens: 1, completionTokens: 1 },
      })),
    ),
});
const score = async <R extends object>(task: GenerateTask<R>, say: (request: GenerateRequest) => string) =>
  metricOf(await evaluate(task, scripted(say)), 'mean').value;

/** Tokens of a made-up tokenizer: words and marks. */
const countTokens = (text: string): number => text.match(/\w+|[^\w\s]/g)?.length ?? 0;

/** Answers RULER's questions by reading them, as somebody would who knows the forms. */
const RULER_SOLVERS: Readonly<Record<string, (text: string) => string>> = {
  niah: (text) => {
    const [, query] = /for (.+) mentioned in the provided text\?$/.exec(text)!;
    return query!
      .split(/, and |, /)
      .flatMap((key) => [...text.matchAll(new RegExp(`for ${key} is: (\\S+)\\.`, 'g'))].map(([, value]) => value))
      .join(', ');
  },
  vt: (text) => {
    const problem = text.slice(text.lastIndexOf('Memorize and track'));
    const [, value] = /assigned the value (\d+) in/.exec(problem)!;
    const found = new Set<string>();
    for (const [, name, of] of problem.matchAll(/VAR ([A-Z]+) = (?:VAR )?(\w+)/g))
      if (of === value || found.has(of!)) found.add(name!);
    return [...found].join(' ');
  },
  cwe: (text) => mostFrequent(text.slice(text.lastIndexOf('Below is')).match(/(?<=\d\. )\w+/g)!, 10),
  fwe: (text) =>
    mostFrequent(
      text
        .match(/\b[a-z]{6}\b(?=.*\nQuestion)/g)!
        .filter((word) => /^[a-z]{6}$/.test(word))
        .filter((_, __, all) => all.length > 0),
      3,
    ),
  qa: (text) => {
    const [, name] = /the founder of (\w+) Works/.exec(text) ?? [];
    const person = name
      ? new RegExp(`${name} Works is [\\s\\S]*?founded by (\\w+)`).exec(text)![1]!
      : /was (\w+) born\?/.exec(text)![1]!;
    return new RegExp(`${person} was born in (\\w+) in`).exec(text)![1]!;
  },
};
function mostFrequent(words: readonly string[], count: number): string {
  const counts = new Map<string, number>();
  for (const word of words) counts.set(word, (counts.get(word) ?? 0) + 1);
  return [...counts]
    .sort(([, a], [, b]) => b - a)
    .slice(0, count)
    .map(([word]) => word)
    .join(' ');
}

describe('RULER', () => {
  const names = Object.keys(rulerTasks) as RulerTaskName[];
  it('has the 13 tasks of the paper', () => expect(names).toHaveLength(13));

  it.each(names)('%s: fills its length, is answered by reading, and not by a word', async (name) => {
    for (const length of [1024, 6000]) {
      const task = ruler(name, { length, countTokens, count: 4 });
      const rows = task.dataset as readonly RulerRow[];
      for (const { tokens, input, prefix } of rows) {
        expect(countTokens(input + prefix) + rulerTasks[name].tokens).toBe(tokens);
        expect(tokens).toBeLessThanOrEqual(length);
        expect(tokens).toBeGreaterThan(length * 0.88);
      }
      const solver = RULER_SOLVERS[name.split('_')[0]!]!;
      expect(await score(task, ({ prompt }) => solver(String(prompt)))).toBe(1);
      expect(await score(task, () => 'nothing')).toBe(0);
    }
  });

  it('is the same again for a seed, and another for another', () => {
    const of = (seed: number) => ruler('niah_multiquery', { length: 500, countTokens, count: 2, seed }).dataset;
    expect(of(1)).toEqual(of(1));
    expect(of(1)).not.toEqual(of(2));
  });

  it('takes an essay and questions of the user', async () => {
    const essay = ruler('niah_single_2', {
      length: 400,
      countTokens,
      count: 1,
      essay: 'One swallow came. Two more came!',
    });
    expect((essay.dataset as RulerRow[])[0]!.input).toContain('One swallow came. Two more came!');
    const questions = ['red', 'blue'].map((colour) => ({
      question: `Which one is ${colour}?`,
      answers: [colour],
      documents: [`It is ${colour}.`],
    }));
    const rows = ruler('qa_1', { length: 300, countTokens, count: 2, questions }).dataset as RulerRow[];
    expect(rows.map(({ outputs }) => outputs)).toEqual([['red'], ['blue']]);
  });

  it('string_match_all is a share, string_match_part any of them', async () => {
    const row = { outputs: ['Alpha', 'beta', 'gamma', 'delta'] };
    const request = { prompt: '', completion: 'ALPHA and gamma', row };
    expect((await stringMatch().verify([request]))[0]!.score).toBe(0.5);
    expect((await stringMatch({ mode: 'part' }).verify([request]))[0]!.score).toBe(1);
    await expect(stringMatch({ column: 'x' }).verify([request])).rejects.toThrow(/list of texts/);
  });

  it('ζ(2) is π²/6, and ζ(4) is π⁴/90', () => {
    expect(zeta(2)).toBeCloseTo(Math.PI ** 2 / 6, 12);
    expect(zeta(4)).toBeCloseTo(Math.PI ** 4 / 90, 12);
  });

  it('refuses a length that holds no problem', () => {
    expect(() => ruler('cwe', { length: 128, countTokens })).toThrow(
      /shortest problem has \d+ tokens, and "length" is 128/,
    );
  });
});

describe('other long texts', () => {
  it('needle in a haystack: at its depth, by length and depth', async () => {
    const task = needleInHaystack({ lengths: [300, 600], depths: [0, 0.5, 1], count: 2, countTokens });
    for (const { input, depth, tokens, length, outputs } of task.dataset as {
      input: string;
      depth: number;
      tokens: number;
      length: number;
      outputs: string[];
    }[]) {
      const context = input.split('\n\n')[1]!;
      expect(context.indexOf(outputs[0]!) / context.length).toBeCloseTo(depth, 0.7);
      expect(tokens).toBeLessThanOrEqual(length);
    }
    expect(await score(task, ({ prompt }) => /is (\d{7})\./.exec(String(prompt))![1]!)).toBe(1);
    const result = await evaluate(
      task,
      scripted(({ prompt }) => (String(prompt).length > 2200 ? '' : /\d{7}/.exec(String(prompt))![0])),
    );
    expect(metricOf(result, 'mean').value).toBe(0.5);
  });

  it("bAbI's stories: answers agree with a simulation that reads them", async () => {
    for (const task of ['qa1', 'qa2', 'qa3'] as const) {
      for (let i = 0; i < 200; i++) {
        const { facts, question, answer } = babiTasks[task](createRandom(5, task, i), 12);
        expect(readStory(facts, question), `${facts.join(' ')} ${question}`).toBe(answer);
      }
      const hidden = babiInText({ task, length: 700, countTokens, count: 3 });
      expect(
        await score(hidden, ({ prompt }) =>
          readStory(
            String(prompt)
              .split('\n\n')[1]!
              .split(/(?<=\.) /),
            /Question: (.*)/.exec(String(prompt))![1]!,
          ),
        ),
      ).toBe(1);
      expect(await score(hidden, () => 'the garden or the office')).toBe(0);
    }
  });

  /** Reads a story backwards from its sentences alone. */
  function readStory(facts: readonly string[], question: string): string {
    const at = new Map<string, string>();
    const holder = new Map<string, string>();
    const been = new Map<string, string[]>();
    const note = (thing: string, place: string) => {
      const places = been.get(thing) ?? [];
      if (places.at(-1) !== place) been.set(thing, [...places, place]);
    };
    for (const fact of facts) {
      const move = /^(Mary|John|Daniel|Sandra) (?:moved|went|journeyed|travelled) to the (\w+)\.$/.exec(fact);
      const take = /^(Mary|John|Daniel|Sandra) picked up the (\w+) there\.$/.exec(fact);
      const drop = /^(Mary|John|Daniel|Sandra) left the (\w+) there\.$/.exec(fact);
      if (move) {
        at.set(move[1]!, move[2]!);
        for (const [thing, person] of holder) if (person === move[1]) note(thing, move[2]!);
      } else if (take) {
        holder.set(take[2]!, take[1]!);
        note(take[2]!, at.get(take[1]!)!);
      } else if (drop) holder.delete(drop[2]!);
    }
    const before = /Where was the (\w+) before the (\w+)\?/.exec(question);
    if (before) {
      const places = been.get(before[1]!)!;
      return places[places.lastIndexOf(before[2]!) - 1]!;
    }
    const [, what] = /Where is (?:the )?(\w+)\?/.exec(question)!;
    return at.get(what!) ?? been.get(what!)!.at(-1)!;
  }

  it('GraphWalks: answers agree with powers of the adjacency matrix; F1 of sets', async () => {
    for (const problem of ['bfs', 'parents'] as const) {
      const task = graphWalks({ problem, length: 700, depth: 2, countTokens, count: 5 });
      for (const { edges, start, answer } of task.dataset as {
        edges: [string, string][];
        start: string;
        answer: string[];
      }[]) {
        const step = (from: ReadonlySet<string>) => new Set(edges.filter(([a]) => from.has(a)).map(([, b]) => b));
        const one = step(new Set([start]));
        const two = step(one);
        const expected =
          problem === 'parents'
            ? edges.filter(([, b]) => b === start).map(([a]) => a)
            : [...two].filter((node) => node !== start && !one.has(node));
        expect(new Set(answer)).toEqual(new Set(expected));
      }
      expect(await score(task, () => 'Final Answer: [x]')).toBe(0);
    }
    const [grader] = graphWalks({ length: 500, countTokens, count: 1 }).graders;
    const f1 = async (completion: string, answer: string[]) =>
      (await grader!.verify([{ prompt: '', completion, row: { answer } }]))[0]!.score;
    expect(await f1('So:\nFinal Answer: [a, b, c]', ['a', 'd'])).toBeCloseTo(2 / 5, 12);
    expect(await f1('Final Answer: []', [])).toBe(1);
    expect(await f1('Final Answer: [a]\nThat is it.', ['a'])).toBe(0);
  });
});
