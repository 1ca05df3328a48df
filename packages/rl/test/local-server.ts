import { PosttrainError, type SamplerServer, type TokenSampleRequest } from '@posttrain/interfaces';
import { type Adapter, type CausalLM, LocalGenerator, NO_ADAPTER, sequenceLogProbs } from '@posttrain/lm';
import { loadAdapter } from '@posttrain/peft';

/** What a server that does not answer throws, as `EndpointError` does. */
export const noAnswer = (status?: number) =>
  Object.assign(new PosttrainError('OPENAI_ENDPOINT', `POST here: ${status ?? 'ECONNREFUSED'}`), { status });

/**
 * A server of a fleet that is in this process. `before` is called before each sample: what it throws is the server's failure. One that is forgetful knows nothing of
 * what was begun, as vLLM.
 */
export function localServer(
  model: CausalLM,
  given: {
    readonly name?: string;
    before?: (request: TokenSampleRequest) => void | Promise<void>;
    readonly isForgetful?: boolean;
  } = {},
) {
  const { name = 'here', before = () => {}, isForgetful = false } = given;
  const generator = new LocalGenerator(model, { packWeights: 'at-once' });
  const adapters = new Map<string, Adapter>();
  const adapterOf = (asked: string | undefined): Adapter => {
    const found = asked === undefined ? NO_ADAPTER : adapters.get(asked);
    if (!found) throw noAnswer(404);
    return found;
  };
  const server: SamplerServer = {
    name,
    probe: async () => ({ kind: 'test', model: model.name, hasAdapters: true, hasPause: false }),
    isHealthy: async () => true,
    async sample(request) {
      await before(request);
      const { prompt, adapter, begun: known, signal, ...settings } = request;
      const begun = isForgetful ? undefined : known;
      const at = prompt.length - (begun?.tokens ?? 0);
      const start = prompt.slice(at);
      const sampled = await generator.generate([
        {
          ...settings,
          ...{
            adapter: adapterOf(adapter),
            logProbs: true,
            prompt: { tokenIds: prompt.slice(0, at), continuesText: true },
          },
          ...(begun && {
            ...{ seed: begun.seed, maxTokens: request.maxTokens! + begun.tokens },
            begun: { tokenIds: start, logProbs: start.map(() => 0) },
          }),
          ...(signal && { signal }),
        },
      ]);
      return sampled[0]!.map(({ tokenIds, logProbs, text, finishReason }) => ({
        ...{ tokenIds: tokenIds!.slice(start.length), logProbs: logProbs!.slice(start.length), text, finishReason },
        ...(adapter !== undefined && { weightVersion: adapter }),
      }));
    },
    async score(tokens, { adapter } = {}) {
      const [scored] = await sequenceLogProbs(model, [tokens], { adapter: adapterOf(adapter) });
      return [...scored!.logProbs];
    },
    async loadAdapter(asked, folder) {
      adapters.set(asked, await loadAdapter(model, folder));
    },
    async unloadAdapter(asked) {
      adapters.delete(asked);
    },
  };
  return { server, adapters };
}
