import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it, type TestContext } from 'vitest';
import {
  accuracy,
  bleu,
  chrf,
  estimatePassAtK,
  type IfevalRow,
  instructionsFollowed,
  lengthControlledWinRate,
  matthewsCorrelation,
  meanWithStandardError,
  rouge,
  ter,
} from '../src/index.js';

/**
 * Suites that others publish as data, read from a folder of yours that POSTTRAIN_PUBLIC_SUITES names; they are too large to keep here, or cannot be
 * given on. docs/eval/benchmarks.md says what is in it. A suite that is not there is skipped.
 */
const ROOT = process.env.POSTTRAIN_PUBLIC_SUITES;

function suite({ skip }: TestContext, ...path: string[]): string {
  if (ROOT === undefined) skip('POSTTRAIN_PUBLIC_SUITES names no folder');
  const file = join(ROOT!, ...path);
  if (!existsSync(file)) skip(`${file} is not there`);
  return file;
}
const read = (file: string): string => readFileSync(file, 'utf8');
const lines = <T>(file: string): T[] =>
  read(file)
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line));

describe("IFEval's published responses", () => {
  // Stand-ins for NLTK's punkt and langdetect, which the authors ask: what they decide is not compared one by one.
  const byTools = ['language:response_language', 'length_constraints:number_sentences'];
  const segmenter = new Intl.Segmenter('en', { granularity: 'sentence' });
  const tools = {
    sentences: (text: string) => [...segmenter.segment(text)].map(({ segment }) => segment.trim()).filter(Boolean),
    language: () => 'en',
  };

  for (const mode of ['strict', 'loose'] as const) {
    it(`have the verdicts that their authors' checkers gave, ${mode}`, async (context) => {
      const rows = new Map(
        lines<IfevalRow>(suite(context, 'ifeval', 'input_data.jsonl')).map((row) => [row.prompt, row]),
      );
      const verdicts = lines<{ prompt: string; response: string; follow_instruction_list: boolean[] }>(
        suite(context, 'ifeval', `eval_results_${mode}.jsonl`),
      );
      const ours = await instructionsFollowed(mode, tools).verify(
        verdicts.map(({ prompt, response: completion }) => ({
          ...{ prompt, completion },
          row: rows.get(prompt)! as unknown as Readonly<Record<string, unknown>>,
        })),
      );
      const wrong: unknown[] = [];
      let compared = 0;
      verdicts.forEach(({ prompt, follow_instruction_list: theirs }, i) => {
        const row = rows.get(prompt)!;
        row.instruction_id_list.forEach((id, j) => {
          // In the place of a sign the authors' checker draws a letter at random.
          const { letter = 'a' } = row.kwargs[j] as { readonly letter?: string };
          if (byTools.includes(id) || !/[a-z]/i.test(letter)) return;
          // Langdetect says of some short answers and of some in capitals that they are not English; that of one in the wrong case does not matter.
          if (id.startsWith('change_case:english') && ours[i]!.stepScores![j] === 1) return;
          compared++;
          if (Boolean(ours[i]!.stepScores![j]) !== theirs[j]) wrong.push({ prompt, id, theirs: theirs[j] });
        });
      });
      expect(compared).toBeGreaterThan(600);
      expect(wrong).toEqual([]);
    });
  }
});

it("AlpacaEval's annotations have the win rates of its leaderboard", (context) => {
  const [head, ...board] = read(suite(context, 'alpaca_eval', 'leaderboard.csv'))
    .trim()
    .split('\n')
    .map((line) => line.split(','));
  const folder = suite(context, 'alpaca_eval', 'annotations');
  const files = readdirSync(folder);
  expect(files).not.toEqual([]);
  for (const file of files) {
    const name = file.replace(/\.json$/, '');
    const line = board.find(([model]) => model === name);
    expect(line, name).toBeDefined();
    const of = (column: string) => Number(line![head!.indexOf(column)]);
    const annotations: { preference: number | null; output_1: string; output_2: string }[] = JSON.parse(
      read(join(folder, file)),
    );
    const judged = annotations.filter(({ preference }) => preference !== null);
    const preferences = judged.map(({ preference }) => preference! - 1);
    const { value, standardError } = meanWithStandardError(preferences);
    expect(100 * value!, name).toBeCloseTo(of('win_rate'), 6);
    expect(100 * standardError!, name).toBeCloseTo(of('standard_error'), 6);
    expect(preferences.filter((one) => one > 0.5)).toHaveLength(of('n_wins'));
    expect(preferences.filter((one) => one < 0.5)).toHaveLength(of('n_wins_base'));
    const { raw } = lengthControlledWinRate(
      judged.map(({ output_1, output_2, preference }) => ({
        ...{ preference: preference! - 1, length: output_2.length, baselineLength: output_1.length },
      })),
    );
    expect(100 * raw, name).toBeCloseTo(of('win_rate'), 6);
  }
});

describe("lighteval's cases", () => {
  interface Doc {
    readonly choices: readonly string[];
    readonly gold_index: number | readonly number[];
    readonly query: string;
  }
  interface Response {
    readonly text: readonly string[];
    readonly logprobs: readonly number[];
  }
  interface Case {
    readonly name: string;
    readonly metric_params: { readonly k?: number; readonly n?: number };
    readonly tolerance: number;
    readonly expected_output: number | Readonly<Record<string, number>>;
    readonly doc?: Doc;
    readonly model_response?: Response;
    readonly docs?: readonly Doc[];
    readonly model_responses?: readonly Response[];
  }
  const golds = ({ choices, gold_index }: Doc) => [gold_index].flat().map((i) => choices[i]!);
  const corpus =
    (metric: (said: readonly string[], wanted: readonly (readonly string[])[]) => number) =>
    ({ docs, model_responses }: Case) =>
      metric(
        model_responses!.map(({ text }) => text[0]!),
        docs!.map(golds),
      );
  const summary =
    (type: 'rouge1' | 'rouge2' | 'rougeL') =>
    ({ doc, model_response }: Case) =>
      rouge(model_response!.text[0]!, golds(doc!), { type, stem: false }).f1;
  const best = (logProbs: readonly number[]) => logProbs.indexOf(Math.max(...logProbs));
  // lighteval hands sacrebleu the texts of each problem as one list of references: it scores the first completion alone, against all texts.
  const firstOnly = (metric: (said: readonly string[], wanted: readonly (readonly string[])[]) => number) =>
    corpus((said, wanted) => metric([said[0]!], [wanted.flat()]));
  const metrics: Readonly<Record<string, (one: Case) => number>> = {
    bleu: corpus((said, wanted) => bleu(said, wanted).score),
    chrf: firstOnly((said, wanted) => chrf(said, wanted).score),
    chrf_plus: firstOnly((said, wanted) => chrf(said, wanted, { wordOrder: 2 }).score),
    ter: firstOnly((said, wanted) => ter(said, wanted).score),
    rouge1: summary('rouge1'),
    rouge2: summary('rouge2'),
    rougeL: summary('rougeL'),
    mcc: ({ docs, model_responses }) =>
      matthewsCorrelation(
        docs!.map(({ gold_index }) => [gold_index].flat()[0]!),
        model_responses!.map(({ logprobs }) => best(logprobs)),
      ),
    loglikelihood_acc: ({ doc, model_response }) => {
      const choices = model_response!.logprobs.map((logProb, i) => ({ logProb, text: doc!.choices[i]! }));
      return Math.max(
        ...[doc!.gold_index].flat().map((gold) => accuracy().value({ id: '0', gold, choices, row: {} } as never)!),
      );
    },
    pass_at_k: ({ doc, model_response, metric_params: { k, n } }) => {
      const said = model_response!.text.slice(0, n);
      return estimatePassAtK(said.length, said.filter((text) => golds(doc!).includes(text)).length, k!);
    },
  };

  for (const [name, metric] of Object.entries(metrics)) {
    it(name, (context) => {
      const { test_cases: cases }: { test_cases: Case[] } = JSON.parse(
        read(suite(context, 'lighteval', `${name}.json`)),
      );
      for (const one of cases) {
        const { expected_output: expected, tolerance } = one;
        const wanted = typeof expected === 'number' ? expected : Object.values(expected)[0]!;
        const ours = metric(one);
        expect(Math.abs(ours - Number(wanted)), `${one.name}: ${ours}, not ${wanted}`).toBeLessThanOrEqual(tolerance);
      }
    });
  }
});
