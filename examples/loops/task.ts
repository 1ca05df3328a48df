import { join } from 'node:path';
import type { ChatMessage } from '@posttrain/interfaces';
import { answersEqual, extractFinalAnswer } from '@posttrain/interfaces/answers';
import { ruleVerifier } from '@posttrain/interfaces/verifiers';
import { CausalLM } from '@posttrain/lm';
import { createAdapter, lora, type PeftAdapter, withAdapterParameters } from '@posttrain/peft';
import { problemRows } from '../pretrain-tiny/problem.js';
import { sftLoop } from './sft.js';

/** The small model of this repository. */
export const loadModel = (): Promise<CausalLM> =>
  CausalLM.load(join(import.meta.dirname, '..', 'pretrain-tiny', 'model'));

/** What is trained: the same from the same seed. */
export const newAdapter = (model: CausalLM): Promise<PeftAdapter> =>
  createAdapter(model, lora, { r: 4, loraAlpha: 8, targetModules: 'all-linear' }, { seed: 0 });

const said = (role: 'user' | 'assistant', content: string): ChatMessage[] => [{ role, content }];

/** The sums of the main job, each with a worked solution, and with one that ends in another answer. */
export const sums = (count: number) =>
  problemRows({ split: 'train', count, seed: 2 }).map(({ prompt, completion, answer }) => ({
    prompt: said('user', prompt),
    completion: said('assistant', completion),
    answer: String(answer),
    chosen: said('assistant', completion),
    rejected: said('assistant', completion.replace(/\d+$/, String(answer + 1))),
  }));

/** 1 for a completion whose answer is the row's. */
export const isRight = ruleVerifier('answer', {}, ({ completion, row }) => {
  const found = extractFinalAnswer(completion);
  return { score: Number(found !== null && answersEqual(found, String(row?.answer))), answer: found };
});

/** An adapter that has seen some worked solutions: reinforcement needs a policy that is right at times. */
export async function tunedAdapter(model: CausalLM): Promise<PeftAdapter> {
  const adapter = await newAdapter(model);
  const settings = { epochs: 4, batchSize: 16, learningRate: 2e-3, maxLength: 64, seed: 0 };
  const trainer = await sftLoop({ model, adapter, rows: sums(64), ...settings });
  return withAdapterParameters(adapter, trainer.parameters);
}
