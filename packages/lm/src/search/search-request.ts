import { assertKnownOptions, GENERATE_HINTS, type GenerateRequest, PosttrainError } from '@posttrain/interfaces';
import { compileConstraint } from '../constraint/compile-constraint.js';
import { completionDecoder, continuesText } from '../generate/completion-decoder.js';
import { RunningCompletion } from '../generate/running-completion.js';
import { StopStrings } from '../generate/stop-strings.js';
import type { CausalLM } from '../model/causal-lm.js';
import { promptTokens } from '../prompts/prompt-tokens.js';
import { constrained } from './constrained.js';
import { PROCESSOR_OPTIONS, scoreProcessor } from './score-processor.js';
import type { SearchPrompt } from './search-prompt.js';

const REQUEST_OPTIONS = [
  'prompt',
  'n',
  'prefix',
  'logProbs',
  'signal',
  'maxTokens',
  'stop',
  'seed',
  'constraint',
  'includeStop',
];
/** What a search does not do, with the value that asks for nothing. */
const OTHER_OPTIONS: Partial<Record<keyof GenerateRequest, unknown>> = {
  ...{ temperature: 0, topK: undefined, topP: 1, minP: 0, typicalP: 1, epsilonCutoff: 0, etaCutoff: 0 },
  ...{ topLogProbs: 0, entropies: false },
};

/** A request as a search has it. */
export interface SearchRequest extends SearchPrompt {
  readonly request: GenerateRequest;
  /** A completion with these tokens; its text ends before the first stop string, its reason is then `stop`. */
  complete(tokens: readonly number[]): RunningCompletion;
}

/** Reads a request. `maxTokens` is for those that do not say. @throws PosttrainError for what a search does not do */
export function searchRequest(model: CausalLM, request: GenerateRequest, maxTokens: number): SearchRequest {
  assertKnownOptions(
    'search',
    request,
    [...REQUEST_OPTIONS, ...PROCESSOR_OPTIONS, ...Object.keys(OTHER_OPTIONS)],
    GENERATE_HINTS,
  );
  for (const [name, nothing] of Object.entries(OTHER_OPTIONS)) {
    const value = request[name as keyof GenerateRequest];
    if (value === undefined || value === nothing) continue;
    throw new PosttrainError(
      'SEARCH',
      `search: ${name} ${String(value)} is for sampling, which a search does not do; leave it out`,
    );
  }
  const { stop = [], signal } = request;
  const { endTokens, tokenizer, config } = model;
  const prompt = promptTokens(model, request.prompt, request.prefix);
  const complete = (tokens: readonly number[]): RunningCompletion => {
    const completion = new RunningCompletion({
      decoder: completionDecoder(tokenizer, request, prompt),
      stops: new StopStrings(stop, request.includeStop),
      isEnd: (token) => endTokens.has(token),
      signal: undefined,
    });
    for (const [i, token] of tokens.entries()) {
      completion.push({ token, finish: i === tokens.length - 1 ? 'length' : undefined });
    }
    return completion;
  };
  const processor = scoreProcessor(request, prompt, { endTokens, vocabSize: config.vocabSize });
  const compiled = request.constraint && compileConstraint(tokenizer, request.constraint);
  const constraint = compiled && constrained(() => compiled.begin(!continuesText(request)), endTokens);
  const processes = [processor, constraint?.process].filter((process) => process !== undefined);
  return {
    request,
    prompt,
    complete,
    maxTokens: request.maxTokens ?? maxTokens,
    endTokens,
    isCancelled: () => signal?.aborted === true,
    ...(processes.length === 0 ? {} : { process: chain(processes) }),
    isFinished: (generated) =>
      (stop.length > 0 && complete(generated).finishReason === 'stop') || constraint?.isFinished(generated) === true,
  };
}

type Process = NonNullable<SearchPrompt['process']>;

const chain =
  (processes: readonly Process[]): Process =>
  (scores, generated) => {
    for (const process of processes) process(scores, generated);
  };
