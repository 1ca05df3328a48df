import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import {
  beamSearch,
  contrastiveDecoding,
  contrastiveSearch,
  diverseBeamSearch,
  type LoadedWeights,
  loadWeights,
  ModelRunner,
  type SearchHypothesis,
  type SearchPrompt,
} from '../../src/index.js';
import { scoreProcessor } from '../../src/search/score-processor.js';
import { modelFolder } from '../support.js';

/** In the names of transformers. */
interface Options {
  readonly num_beams: number;
  readonly eos_token_id?: readonly number[];
  readonly length_penalty?: number;
  readonly early_stopping?: boolean | 'never';
  readonly repetition_penalty?: number;
  readonly no_repeat_ngram_size?: number;
  readonly min_new_tokens?: number;
  readonly bad_words_ids?: readonly (readonly number[])[];
  readonly num_beam_groups: number;
  readonly diversity_penalty: number;
  readonly top_k: number;
  readonly penalty_alpha: number;
  readonly alpha: number;
  readonly amateur_temperature: number;
}

interface GoldenCase {
  readonly options: Options;
  readonly results: readonly (readonly { tokens: number[]; score: number | null; log_probs: number[] }[])[];
}

const folder = join(import.meta.dirname, '../../../../goldens/search');
// Loaded once: what is compiled is kept by the network.
const models: Record<string, Promise<LoadedWeights>> = {};
async function runnerOf(name: string): Promise<ModelRunner> {
  models[name] ??= loadWeights(modelFolder(name));
  return new ModelRunner(await models[name]);
}

function compare(found: readonly SearchHypothesis[][], { results }: GoldenCase) {
  for (const [i, expected] of results.entries()) {
    const kept = found[i]!.slice(0, expected.length);
    expect(kept.map(({ tokens }) => tokens)).toEqual(expected.map(({ tokens }) => tokens));
    for (const [j, { score, log_probs }] of expected.entries()) {
      if (score !== null && score !== undefined) expect(Math.abs(kept[j]!.score / score - 1)).toBeLessThan(1e-5);
      expect(kept[j]!.logProbs.length).toBe(log_probs.length);
      for (const [t, logProb] of log_probs.entries()) expect(kept[j]!.logProbs[t]).toBeCloseTo(logProb, 4);
    }
  }
}

describe.each(['llama', 'gpt2'])('search over %s', async (kind) => {
  const golden = JSON.parse(await readFile(join(folder, `${kind}.json`), 'utf8'));
  const prompts = (options: Options): SearchPrompt[] => {
    const endTokens = new Set(options.eos_token_id ?? []);
    const { repetition_penalty, no_repeat_ngram_size, min_new_tokens, bad_words_ids } = options;
    const request = {
      prompt: '',
      ...(repetition_penalty ? { repetitionPenalty: repetition_penalty } : {}),
      ...(no_repeat_ngram_size ? { noRepeatNgramSize: no_repeat_ngram_size } : {}),
      ...(min_new_tokens ? { minNewTokens: min_new_tokens } : {}),
      ...(bad_words_ids ? { badWordsIds: bad_words_ids } : {}),
    };
    return golden.prompts.map((prompt: number[]): SearchPrompt => {
      const process = scoreProcessor(request, prompt, { endTokens, vocabSize: 256 });
      return { prompt, maxTokens: golden.max_new_tokens, endTokens, ...(process ? { process } : {}) };
    });
  };

  it.each<GoldenCase>(golden.beam)('beam search as transformers: $options', async (golden) => {
    const { options } = golden;
    const runner = await runnerOf(kind);
    const found = await beamSearch(runner, prompts(options), {
      numBeams: options.num_beams,
      lengthPenalty: options.length_penalty ?? 1,
      earlyStopping: options.early_stopping ?? false,
    });
    compare(found, golden);
    expect(runner.freeTokens).toBe(runner.capacity);
  });

  it.each<GoldenCase>(golden.diverse)('diverse beam search: $options', async (golden) => {
    const { options } = golden;
    const found = await diverseBeamSearch(await runnerOf(kind), prompts(options), {
      numBeams: options.num_beams,
      numBeamGroups: options.num_beam_groups,
      diversityPenalty: options.diversity_penalty,
      lengthPenalty: options.length_penalty ?? 1,
    });
    compare(found, golden);
  });

  it.each<GoldenCase>(golden.contrastive_search)('contrastive search: $options', async (golden) => {
    const { options } = golden;
    const runner = await runnerOf(kind);
    const found = await contrastiveSearch(runner, prompts(options), {
      topK: options.top_k,
      penaltyAlpha: options.penalty_alpha,
    });
    compare(
      found.map((hypothesis) => [hypothesis]),
      golden,
    );
    expect(runner.freeTokens).toBe(runner.capacity);
  });

  it.each<GoldenCase>(golden.contrastive_decoding)('contrastive decoding: $options', async (testCase) => {
    const { options } = testCase;
    const [expert, amateur] = [await runnerOf(kind), await runnerOf(golden.amateur)];
    const found = await contrastiveDecoding(expert, prompts(options), {
      amateur,
      alpha: options.alpha,
      amateurTemperature: options.amateur_temperature,
      numBeams: options.num_beams,
    });
    compare(found, testCase);
    expect([expert.freeTokens, amateur.freeTokens]).toEqual([expert.capacity, amateur.capacity]);
  });
});
