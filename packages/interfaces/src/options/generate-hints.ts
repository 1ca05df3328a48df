import type { OptionHints } from './known-options.js';

const camelCase = (name: string): string => name.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase());
/** The same in both spellings. */
const both = (names: Readonly<Record<string, string>>): Record<string, string> =>
  Object.fromEntries(
    Object.entries(names).flatMap(([name, ours]) => [name, camelCase(name)].map((one) => [one, ours])),
  );

/** What transformers, vLLM and OpenAI call what a `GenerateRequest` has, for the error about an unknown option. */
export const GENERATE_HINTS: OptionHints = {
  aliases: both({
    ...{
      max_new_tokens: 'maxTokens',
      max_tokens: 'maxTokens',
      max_completion_tokens: 'maxTokens',
      max_length: 'maxTokens',
    },
    ...{ num_return_sequences: 'n', stop_strings: 'stop', stop_sequences: 'stop', random_seed: 'seed' },
    ...{ messages: 'prompt', top_logprobs: 'topLogProbs', response_format: 'constraint' },
  }),
  hints: both({
    do_sample: 'Sampling is the default; temperature: 0 is greedy.',
    num_beams: "A search has beams: model.search({ method: 'beamSearch', numBeams: 4 }).",
  }),
};
