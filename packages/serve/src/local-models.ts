import { custom, type Embedder, type Given, integer, oneOf, options, PosttrainError } from '@posttrain/interfaces';
import {
  type Adapter,
  type CausalLM,
  type CompiledConstraint,
  compileConstraintWith,
  completionDecoder,
  contextOf,
  LocalEmbedder,
  LocalGenerator,
  prepareConstraints,
  REASONING_PARSERS,
  type ReasoningParserName,
  type StreamEvent,
  type Tokenizer,
  type TokenPrompt,
  toolFormatOf,
} from '@posttrain/lm';
import { AdapterPrograms } from './adapter-programs.js';
import { embedInSlices } from './embed-in-slices.js';
import { scorePrompt } from './score-prompt.js';
import type { CompletionEvent, CompletionRequest, OutputConstraint, ServedModel } from './served-model.js';
import { nameOf } from './token-names.js';
import { TextWorker } from './tokenize.js';

/** What serving has of a model, however it is reached. */
export const localModelShape = {
  /** Completions decoded together. Default 64. */
  maxBatch: integer({ optional: true, min: 1 }),
  /** Capacity of the KV cache in tokens. Default: as many as 1 GiB holds. */
  cacheTokens: integer({ optional: true, min: 1 }),
  /** What the KV cache holds its numbers as: `LocalGenerator` says more. Default `float32`. */
  kvCacheDtype: oneOf(['float32', 'int8'], { default: 'float32' }),
  /** Parts `<think>…</think>` from the answers of chats: see `REASONING_PARSERS`. Default: it stays in the text. */
  reasoningParser: oneOf(REASONING_PARSERS, { optional: true }),
};
const localModelsOptions = options('localModels', {
  /** Adapters of the model, by the names that requests call them. Default: none. */
  adapters: custom<Readonly<Record<string, Adapter>>>()(
    'an object of adapters by name',
    (value) => typeof value === 'object' && value !== null && !Array.isArray(value),
    { default: {} },
  ),
  ...localModelShape,
  /** Answers `/v1/embeddings` under the model's name. Default: none. */
  embedder: custom<Embedder>()(
    'an object with embed(texts)',
    (value) => typeof value === 'object' && value !== null && 'embed' in value,
    { optional: true },
  ),
});
/** Options of serving a local model. */
export type LocalModelsOptions = Given<typeof localModelsOptions>;

/** A served model that generates text. */
export type LocalModel = ServedModel & Required<Pick<ServedModel, 'complete'>>;

/** A model, and each of its adapters, under the names that requests call them: what `createServer` takes. */
export function localModels(
  name: string,
  model: CausalLM,
  given: LocalModelsOptions = {},
): Readonly<Record<string, LocalModel>> {
  const { adapters, embedder, maxBatch, cacheTokens, kvCacheDtype, reasoningParser } = localModelsOptions.read(given);
  if (Object.hasOwn(adapters, name)) {
    throw new PosttrainError(
      'SERVE_OPTION',
      `localModels: an adapter has the name of the model, "${name}"; rename one`,
    );
  }
  const generator = new LocalGenerator(model, {
    ...(maxBatch === undefined ? {} : { maxBatch }),
    ...(cacheTokens === undefined ? {} : { cacheTokens }),
    kvCacheDtype,
  });
  const { tokenizer, chatTemplate } = model;
  const parts = { model, generator, texts: new TextWorker({ tokenizer, chatTemplate }) };
  prepareConstraints(tokenizer);
  const served = (adapter?: Adapter) => servedModel(parts, reasoningParser, adapter);
  const programs = new AdapterPrograms(model);
  const loadAdapter = async (folder: string, adapterName: string) => served(await programs.load(folder, adapterName));
  const base = { ...served(), loadAdapter };
  const embed = embedder && {
    embed: (texts: readonly string[], tokens: readonly (readonly number[])[]) =>
      // The same tokenizer with nothing before the text: the tokens are known.
      embedder instanceof LocalEmbedder && embedder.embedsTokensOf(model.tokenizer)
        ? embedInSlices(embedder, tokens)
        : embedder.embed(texts),
  };
  const adapted = Object.entries(adapters).map(([adapterName, adapter]) => [
    adapterName,
    { ...served(adapter), card: { parent: name } },
  ]);
  return { [name]: { ...base, ...embed }, ...Object.fromEntries(adapted) };
}

/** An embedding model (`loadEmbedder`) for `createServer`: it answers `/v1/embeddings` only. */
export const embeddingModel = (embedder: LocalEmbedder): ServedModel => ({
  contextLength: embedder.maxTokens,
  // No request for embeddings names token ids.
  vocabularySize: 0,
  tokenize: (text) => embedder.tokenIds(text),
  embed: (_, tokens) => embedInSlices(embedder, tokens),
});

interface Parts {
  readonly model: CausalLM;
  readonly generator: LocalGenerator;
  readonly texts: TextWorker;
}

function servedModel(
  { model, generator, texts }: Parts,
  reasoningParser: ReasoningParserName | undefined,
  adapter?: Adapter,
): LocalModel {
  const { tokenizer, chatTemplate, config } = model;
  return {
    contextLength: contextOf(config, adapter),
    vocabularySize: tokenizer.vocabSize,
    tokenize: (text, { addSpecialTokens, signal }) => texts.tokenize({ text, addSpecialTokens }, signal),
    complete: (request) => complete({ model, generator, texts }, request, adapter),
    resumes: true,
    score: (tokenIds, how) => scorePrompt(model, tokenIds, adapter, how),
    ...(adapter
      ? { unload: () => generator.forget(adapter) }
      : { freeze: () => generator.pause(), thaw: () => generator.resume() }),
    ...(chatTemplate
      ? {
          chat: {
            toolFormat: toolFormatOf(chatTemplate),
            reasoningParser,
            tokenize: (chat, signal) => texts.tokenize({ chat }, signal),
          },
        }
      : {}),
  };
}

async function* complete(
  { model, generator, texts }: Parts,
  { tokenIds, continuesText, topLogProbs, constraint, begunTokens = 0, maxTokens, ...settings }: CompletionRequest,
  adapter: Adapter | undefined,
): AsyncGenerator<CompletionEvent> {
  const { signal } = settings;
  const compiled = constraint && (await compiledConstraint(model.tokenizer, texts, constraint, signal));
  if (signal.aborted) return;
  const reports = topLogProbs === undefined ? {} : { logProbs: true, topLogProbs };
  const prompt = { tokenIds, continuesText };
  const begun = tokenIds.slice(tokenIds.length - begunTokens);
  const request = {
    ...settings,
    // Of the whole, as everything else is.
    maxTokens: begunTokens + maxTokens,
    ...reports,
    ...(compiled ? { constraint: () => compiled.begin(!continuesText) } : {}),
    prompt: { ...prompt, tokenIds: tokenIds.slice(0, tokenIds.length - begunTokens) },
    // Its log-probabilities are known to who asks, and not said again.
    ...(begunTokens > 0 ? { begun: { tokenIds: begun, logProbs: begun.map(() => 0) } } : {}),
    ...(adapter ? { adapter } : {}),
  };
  const report = topLogProbs === undefined ? undefined : reporter(model, prompt);
  for await (const event of generator.stream(request)) {
    const { text, tokenId, finishReason, stop = null } = event;
    yield { text, tokenId, ...report?.(event), finishReason, ...(stop === null ? {} : { stop }) };
  }
}

/**
 * Memoised by identity of the request's object, which its samples share: serialising a large one to compare it takes
 * time.
 */
const compiledConstraints = new WeakMap<OutputConstraint, Promise<CompiledConstraint>>();

function compiledConstraint(
  tokenizer: Tokenizer,
  texts: TextWorker,
  constraint: OutputConstraint,
  signal: AbortSignal,
): Promise<CompiledConstraint> {
  const known = compiledConstraints.get(constraint);
  if (known) return known;
  const compiling = compileConstraintWith(tokenizer, constraint, (json) => texts.automaton(json, signal));
  compiledConstraints.set(constraint, compiling);
  // The object may come again in a request that nobody leaves.
  compiling.catch(() => compiledConstraints.delete(constraint));
  return compiling;
}

/** What the API says of each token of one completion, end tokens excepted. */
function reporter({ tokenizer, endTokens }: CausalLM, prompt: TokenPrompt) {
  // Stop strings hold text back; here every token has what it adds.
  const decoder = completionDecoder(tokenizer, { prompt }, prompt.tokenIds);
  let isFirst = prompt.continuesText === false;
  return ({ tokenId, logProb = 0, topLogProbs = [], finishReason }: StreamEvent) => {
    if (endTokens.has(tokenId)) return { endLogProb: logProb };
    const alternatives = topLogProbs.map((one) => ({
      ...nameOf(tokenizer, one.tokenId, isFirst),
      logProb: one.logProb,
    }));
    const text = decoder.push(tokenId) + (finishReason ? decoder.flush() : '');
    const reported = { ...nameOf(tokenizer, tokenId, isFirst), logProb, alternatives, text };
    isFirst = false;
    return { logProb: reported };
  };
}
