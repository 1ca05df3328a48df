import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { evaluate, ifbench, ifbenchChecks, ifevalChecks, instructionsFollowed, metricOf } from '../src/index.js';
import { wordTokens } from '../src/instructions/word-tokens.js';

/** What the authors' own scripts say (`goldens/benchmarks/make.py`). */
const golden = <T>(name: string): T =>
  JSON.parse(readFileSync(new URL(`../../../goldens/benchmarks/${name}.json`, import.meta.url), 'utf8'));

describe('IFBench', () => {
  const { answers, cases, instructions, tokens } = golden<{
    answers: string[];
    cases: { id: string; kwargs: Record<string, unknown>; strict: string; loose: string }[];
    instructions: string[];
    tokens: [string, string[]][];
  }>('ifbench');
  /** The stand-ins of `goldens/benchmarks/instructions.py`. */
  const verbs = ['write', 'go', 'see', 'use', 'make'];
  const tools = {
    sentences: (text: string) =>
      text
        .trim()
        .split(/(?<=[.!?])\s+/)
        .filter((one) => one !== ''),
    tags: (words: readonly string[]) => words.map((one) => (verbs.includes(one.toLowerCase()) ? 'VBP' : 'NN')),
    syllables: (word: string) => word.match(/[aeiouy]+/g)?.length ?? 0,
  };
  const rowOf = (id: string, kwargs: object) => ({
    prompt: 'p',
    instruction_id_list: [id],
    kwargs: [kwargs as Record<string, unknown>],
  });

  it("says what its authors' checkers say, strict and loose, of all 58 kinds", async () => {
    expect(Object.keys(ifbenchChecks).sort()).toEqual(instructions);
    expect(instructions).toHaveLength(58);
    const told = new Map<string, string>();
    const wrong: unknown[] = [];
    for (const { id, kwargs, ...expected } of cases) {
      told.set(id, `${told.get(id) ?? ''}${expected.strict}`);
      for (const mode of ['strict', 'loose'] as const) {
        const row = rowOf(id, kwargs);
        const verdicts = await instructionsFollowed(mode, tools).verify(
          answers.map((completion) => ({ prompt: '', completion, row })),
        );
        verdicts.forEach(({ score }, i) => {
          // e: the checker raises an error, and the answer is wrong here.
          if (String(score) !== expected[mode][i]!.replace('e', '0')) wrong.push({ id, kwargs, mode, at: answers[i] });
        });
      }
    }
    expect(wrong).toEqual([]);
    // Each kind follows some and refuses some.
    for (const verdicts of told.values()) expect(verdicts).toMatch(/0.*1|1.*0/);
  });

  it("splits words as NLTK's word_tokenize", () => {
    expect(tokens.map(([text]) => wordTokens(text))).toEqual(tokens.map(([, words]) => words));
  });

  it('needs what it is not given, and knows both benchmarks', async () => {
    const ask = (id: string, kwargs = {}) =>
      instructionsFollowed('strict').verify([{ prompt: '', completion: 'Write it.', row: rowOf(id, kwargs) }]);
    await expect(ask('words:start_verb')).rejects.toThrow('"sentences"');
    await expect(ask('words:odd_even_syllables')).rejects.toThrow('"syllables"');
    await expect(ask('count:words_japanese', { N: 0 })).rejects.toThrow(
      'argument N must be a whole number of at least 1',
    );
    await expect(ask('format:optoins')).rejects.toThrow('did you mean "format:options"');
    expect(Object.keys(ifbenchChecks).filter((id) => id in ifevalChecks)).toEqual([]);
  });

  it('is a task with the numbers of IFEval', async () => {
    const rows = [
      { ...rowOf('format:no_whitespace', {}), key: '0' },
      { prompt: 'q', instruction_id_list: ['count:numbers', 'punctuation:no_comma'], kwargs: [{ N: 2 }, {}] },
    ];
    const result = await evaluate(ifbench(rows), {
      name: 'fixed',
      generate: async (requests) =>
        requests.map(() => [
          { text: 'Sure:\n7,8', finishReason: 'stop', usage: { promptTokens: 1, completionTokens: 1 } },
        ]),
    });
    const of = (name: string, grader: string) => metricOf(result, name, grader).value;
    expect([of('prompt_level_acc', 'strict'), of('inst_level_acc', 'strict')]).toEqual([0, 0]);
    expect([of('prompt_level_acc', 'loose'), of('inst_level_acc', 'loose')]).toEqual([1 / 2, 2 / 3]);
  });
});
