import type { ChatMessage } from '@posttrain/interfaces';
import { type Adapter, CausalLM, LocalGenerator } from '@posttrain/lm';
import { isRecord } from '../options/names.js';
import type { RunSample } from './run-record.js';

type Row = Readonly<Record<string, unknown>>;

/** Most tokens of a sample. */
const MAX_TOKENS = 128;
/** Columns that may have the right answer, the first to be believed. */
const ANSWERS = ['completion', 'chosen', 'answer', 'solution', 'label', 'target'] as const;

/** The first problems among rows: each has a prompt, or messages that end with the assistant's. */
export function samplesOf(rows: readonly Row[], count: number): RunSample[] {
  const samples: RunSample[] = [];
  for (const row of rows) {
    if (samples.length >= count) break;
    const sample = sampleOf(row);
    if (sample) samples.push(sample);
  }
  return samples;
}

function sampleOf(row: Row): RunSample | undefined {
  const { prompt, messages } = row;
  if (typeof prompt === 'string' || isMessages(prompt)) {
    const target = ANSWERS.map((name) => answerOf(row[name])).find((text) => text !== undefined);
    return { prompt, ...(target !== undefined && { target }) };
  }
  if (!isMessages(messages) || messages.length < 2 || messages.at(-1)?.role !== 'assistant') return undefined;
  const target = answerOf(messages.slice(-1));
  return { prompt: messages.slice(0, -1), ...(target !== undefined && { target }) };
}

const isMessages = (value: unknown): value is readonly ChatMessage[] =>
  Array.isArray(value) && value.length > 0 && value.every((one) => isRecord(one) && typeof one.content === 'string');

const answerOf = (value: unknown): string | undefined => {
  if (typeof value === 'string') return value;
  if (typeof value === 'number') return String(value);
  return isMessages(value) ? value.map(({ content }) => content).join('\n\n') : undefined;
};

/** What a model says to problems, greedily. Its weights are a view, so that nothing is left behind in those of the run. */
export async function sampled(
  model: unknown,
  adapter: Adapter | undefined,
  problems: readonly RunSample[],
): Promise<string[]> {
  if (!(model instanceof CausalLM) || problems.length === 0) return [];
  const view = model.withWeights({ ...model.weights });
  const generator = new LocalGenerator(view, adapter ? { adapter: () => adapter } : {});
  const requests = problems.map(({ prompt }) => ({
    ...{ prompt: typeof prompt === 'string' ? prompt : [...prompt] },
    ...{ temperature: 0, maxTokens: MAX_TOKENS },
  }));
  return (await generator.generate(requests)).map(([first]) => first?.text ?? '');
}
