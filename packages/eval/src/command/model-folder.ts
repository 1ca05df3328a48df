import { basename, resolve } from 'node:path';
import type { Generator, RollingScorer, Scorer } from '@posttrain/interfaces';
import { EvaluationError } from '../errors.js';
import { importPackage } from './import-module.js';

/** What this uses of `@posttrain/lm`, which is not depended on: it brings a tensor engine. */
interface LocalModels {
  readonly CausalLM: { load(folder: string): Promise<unknown> };
  readonly LocalGenerator: new (model: unknown) => Generator;
  readonly LocalScorer: new (model: unknown) => Scorer & RollingScorer;
}

/** A model folder of Hugging Face (or a GGUF file) as generator and scorer. @throws EvaluationError `MISSING_PACKAGE`; what loading throws */
export async function modelOfFolder(folder: string, from: string): Promise<Generator & Scorer & RollingScorer> {
  const found = (await importPackage('@posttrain/lm', from, '--folder')) as Partial<LocalModels>;
  const { CausalLM, LocalGenerator, LocalScorer } = found;
  if (!CausalLM || !LocalGenerator || !LocalScorer)
    throw new EvaluationError(
      'MISSING_PACKAGE',
      '--folder needs another version of @posttrain/lm: the same as of @posttrain/eval.',
    );
  const model = await CausalLM.load(resolve(from, folder));
  const [generator, scorer] = [new LocalGenerator(model), new LocalScorer(model)];
  return {
    name: basename(resolve(from, folder)),
    generate: (requests) => generator.generate(requests),
    score: (requests) => scorer.score(requests),
    scoreRolling: (texts) => scorer.scoreRolling(texts),
  };
}
