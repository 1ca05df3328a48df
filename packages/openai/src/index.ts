export type {
  ChatMessage,
  Completion,
  ContinuationScore,
  Embedder,
  GenerateRequest,
  Generator,
  Prompt,
  SamplerServer,
  SamplerServerFacts,
  ScoreRequest,
  Scorer,
  TokenSample,
  TokenSampleRequest,
  TokenScorer,
  TokenScores,
  Usage,
  Verdict,
  Verifier,
  VerifyRequest,
} from '@posttrain/interfaces';
export type { EndpointOptions } from './endpoint.js';
export { EndpointError, type EndpointErrorDetails, UnsupportedRequestError } from './errors.js';
export { type JudgeOptions, type JudgePrompt, judge } from './judge.js';
export { type OpenAICompatibleOptions, openaiCompatible, type PrefixMode } from './openai-compatible.js';
export { type OpenAICompatibleEmbedderOptions, openaiCompatibleEmbedder } from './openai-compatible-embedder.js';
export { openaiCompatibleScorer } from './openai-compatible-scorer.js';
export { openaiCompatibleTokenScorer } from './openai-compatible-token-scorer.js';
export { type SglangServerOptions, sglangServer } from './sglang-server.js';
export { type VllmServerOptions, vllmServer } from './vllm-server.js';
