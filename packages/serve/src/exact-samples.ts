import { invalidField } from './api-error.js';
import { finiteLogProb, samples } from './reply.js';
import { type RequestContext, runCompletions } from './run-completions.js';
import type { CompletionRequest, ServedModel } from './served-model.js';

/** One sample as tokens: what a trainer needs of it. */
export interface ExactSample {
  readonly tokenIds: number[];
  /** One for each token, end tokens included; empty where they are not asked for. */
  readonly logProbs: number[];
  text: string;
  finishReason: 'stop' | 'length' | 'abort';
  /** The stop string that ended it. */
  stop: string | null;
}

/** What is sampled, and from what. */
interface ExactRequest {
  readonly name: string;
  readonly model: ServedModel;
  readonly complete: NonNullable<ServedModel['complete']>;
  readonly prompts: readonly (readonly number[])[];
  readonly n: number;
  readonly wantsLogProbs: boolean;
  /** Of each prompt. */
  readonly settings: readonly Omit<CompletionRequest, 'tokenIds' | 'continuesText' | 'signal'>[];
}

/** `n` samples of each prompt, in order. @throws ApiError for a model that does not say its tokens */
export async function exactSamples(request: ExactRequest, context: RequestContext): Promise<ExactSample[]> {
  const { name, complete, prompts, n, wantsLogProbs, settings } = request;
  context.metrics.promptTokens.inc(
    { model: name },
    prompts.reduce((sum, { length }) => sum + length, 0),
  );
  const requests = prompts.flatMap((tokenIds, i) => {
    const reports = wantsLogProbs ? { topLogProbs: 0 } : {};
    return samples({ ...settings[i]!, tokenIds, continuesText: true, ...reports }, n);
  });
  const found = requests.map((): ExactSample => {
    return { tokenIds: [], logProbs: [], text: '', finishReason: 'abort', stop: null };
  });
  for await (const { index, event, isCut } of runCompletions(context, name, complete, requests)) {
    const sample = found[index]!;
    const { tokenId, text, logProb, endLogProb, finishReason, stop = null } = event;
    if (!isCut) {
      if (tokenId === undefined) {
        throw invalidField('model', `"${name}" does not say its tokens.`, 'unsupported_parameter');
      }
      sample.tokenIds.push(tokenId);
      if (wantsLogProbs) sample.logProbs.push(finiteLogProb(logProb?.logProb ?? endLogProb!));
    }
    sample.text += text;
    if (finishReason) [sample.finishReason, sample.stop] = [finishReason, stop];
  }
  return found;
}
