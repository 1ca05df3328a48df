import type { SamplingParams } from '@posttrain/interfaces';
import { showValue } from '@posttrain/interfaces';
import { type LmEvalTaskConfig, taskError } from './config.js';

const KNOWN = ['until', 'do_sample', 'temperature', 'max_gen_toks', 'max_tokens', 'max_new_tokens', 'top_p', 'top_k'];

/** Tokens that the harness generates where the task does not say. */
const MOST_TOKENS = 256;

/**
 * How a task of lm-evaluation-harness draws: `generation_kwargs` in our names. Without `until` the few-shot delimiter ends an answer; the
 * default is greedy.
 *
 * @throws EvaluationError `LM_EVAL_TASK` for a setting that has no counterpart
 */
export function samplingOf(config: LmEvalTaskConfig): SamplingParams {
  const given = config.generation_kwargs ?? {};
  const unknown = Object.keys(given).find((key) => !KNOWN.includes(key));
  if (unknown !== undefined)
    throw taskError(config, `generation_kwargs.${unknown} has no counterpart here; there are ${KNOWN.join(', ')}.`);
  const { until = config.fewshot_delimiter ?? '\n\n', do_sample: sample, top_p: topP, top_k: topK } = given;
  const temperature = given.temperature === undefined ? 0 : Number(given.temperature);
  const isSampled = sample === true || (sample === undefined && temperature > 0);
  if (isSampled && !(temperature > 0)) throw taskError(config, 'do_sample needs a temperature above 0.');
  const stop = until === null ? [] : typeof until === 'string' ? [until] : until;
  if (!Array.isArray(stop) || stop.some((one) => typeof one !== 'string'))
    throw taskError(config, `generation_kwargs.until is ${showValue(until)}; it must be a text or a list of texts.`);
  const maxTokens = Number(given.max_gen_toks ?? given.max_new_tokens ?? given.max_tokens ?? MOST_TOKENS);
  return {
    maxTokens,
    temperature: isSampled ? temperature : 0,
    ...(stop.length > 0 && { stop }),
    ...(isSampled && topP !== undefined && { topP: Number(topP) }),
    ...(isSampled && topK !== undefined && { topK: Number(topK) }),
  };
}
